"""Preflight: one table of what was checked, and exit status 1 if there is a problem."""

from stacycle.jobs.log import task
from stacycle.preflight import preflight
from stacycle.recipe.rounds import Recipe

config, params = snakemake.config, snakemake.params

with task(snakemake.log[0], "preflight", makes_results=False) as log:
    report = preflight.run(
        config,
        Recipe.from_config(config),
        params.asked,
        configfiles=params.configfiles,
        local=params.local,
        limit=params.limit,
    )
    preflight.refuse(report)
    log.info(str(report))
