"""Inputs: check the software and the sets, and merge them."""

from pathlib import Path

from stacycle.inputs import merge
from stacycle.jobs.log import task
from stacycle.preflight import environment
from stacycle.programs import software
from stacycle.recipe.rounds import Recipe

config = snakemake.config

with task(snakemake.log[0], "inputs") as log:
    engine = software.check(config["engine"], environment.programs(Recipe.from_config(config), config))
    log.info(engine)
    params = snakemake.params
    out = Path(snakemake.output.particles).parent
    facts = merge.merge(params.sets, out, engine=engine, duplicates=params.duplicates)
    log.info(merge.describe(facts))
