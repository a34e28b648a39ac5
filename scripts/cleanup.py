"""Clean up a finished round: remove what the config's `cleanup` asks to go, and say how much that was."""

import json
from pathlib import Path

from stacycle import cleanup
from stacycle.jobs.log import task
from stacycle.preflight import disk
from stacycle.recipe.rounds import Recipe

round_ = snakemake.wildcards.round

with task(snakemake.log[0], f"{round_}/cleanup") as log:
    recipe, settings = Recipe.from_config(snakemake.config), snakemake.params.settings
    for removal in cleanup.removals(recipe, settings, round_):
        log.info(f"removes {removal}")
        cleanup.remove(removal)
    gone = cleanup.removed(round_)
    Path(snakemake.output.record).write_text(
        json.dumps({"cleanup": settings, "removed": gone}, indent=1) + "\n"
    )
    log.info(f"removed by now: {disk.size(sum(one['bytes'] for one in gone.values()))}")
