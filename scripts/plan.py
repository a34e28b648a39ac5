"""The plan before the run, on standard output and in the log."""

import shutil

from stacycle.jobs.log import task
from stacycle.preflight import plan
from stacycle.recipe.rounds import Recipe

config, params = snakemake.config, snakemake.params

with task(snakemake.log[0], "plan") as log:
    jobs, limits = [plan.Job(**one) for one in params.jobs], plan.Limits(**params.limits)
    space = plan.space(config, Recipe.from_config(config))
    width = max(80, min(110, shutil.get_terminal_size((110, 0)).columns))
    text = plan.text(jobs, limits, space, width)
    print(text, flush=True)
    log.debug(text)
