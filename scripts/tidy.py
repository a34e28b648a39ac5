"""Tidy a finished round: remove what `cleanup` allows to go, and say how much that was."""

import json
from pathlib import Path

from stacycle import cleanup
from stacycle.jobs import job
from stacycle.preflight import disk
from stacycle.recipe.rounds import Recipe

round_ = snakemake.wildcards.round

with job.task(snakemake.log[0], f"{round_}/tidy") as say:
    recipe, keep = Recipe.from_config(snakemake.config), snakemake.params.keep
    for removal in cleanup.plan(recipe, keep, round_):
        say(f"removes {removal}")
        cleanup.remove(removal)
    gone = cleanup.removed(round_)
    Path(snakemake.output.record).write_text(json.dumps({"keep": keep, "removed": gone}, indent=1) + "\n")
    say(f"removed by now: {disk.size(sum(one['bytes'] for one in gone.values()))}")
