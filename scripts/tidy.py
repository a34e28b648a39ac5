"""Tidy a finished round: remove what `keep` allows to go, and say how much that was."""

import json
from pathlib import Path

from stacycle import disk, job, tidy
from stacycle.recipe import Recipe

round_ = snakemake.wildcards.round

with job.task(snakemake.log[0], f"{round_}/tidy") as say:
    recipe, keep = Recipe.from_config(snakemake.config), snakemake.params.keep
    for removal in tidy.plan(recipe, keep, round_):
        say(f"removes {removal}")
        tidy.remove(removal)
    gone = tidy.removed(round_)
    Path(snakemake.output.record).write_text(json.dumps({"keep": keep, "removed": gone}, indent=1) + "\n")
    say(f"removed by now: {disk.size(sum(one['bytes'] for one in gone.values()))}")
