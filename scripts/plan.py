"""The plan before the run, on standard output and in the log."""

import json
import os
import shutil
from pathlib import Path

from stacycle.jobs.log import task
from stacycle.preflight import plan_numbers, plan_table
from stacycle.recipe.rounds import Recipe

config, params = snakemake.config, snakemake.params

with task(snakemake.log[0], "plan", makes_results=False) as log:
    jobs, limits = [plan_table.PlannedJob(**one) for one in params.jobs], plan_table.Limits(**params.limits)
    inputs = plan_table.read(config)
    jobs = plan_table.with_tomograms(jobs, inputs)
    recipe = Recipe.from_config(config)
    parts = [plan_numbers.text(config, recipe, inputs[1]), plan_table.space(config, recipe, inputs)]
    width = max(80, min(110, shutil.get_terminal_size((110, 0)).columns))
    text = plan_table.text(jobs, limits, "\n\n".join(filter(None, parts)), width)
    print(text, flush=True)
    if asked := os.environ.get("STACYCLE_PLAN"):  # `stacycle diff` reads it
        Path(asked).write_text(json.dumps(params.jobs))
    log.debug(text)
