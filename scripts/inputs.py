"""Inputs: check the software and the sets, and merge them."""

from pathlib import Path

from stacycle import inputs, job, setup_check, software
from stacycle.recipe import Recipe

config = snakemake.config

with job.task(snakemake.log[0], "inputs") as say:
    engine = software.check(config["engine"], setup_check.programs(Recipe.from_config(config), config))
    say(engine)
    params = snakemake.params
    out = Path(snakemake.output.particles).parent
    facts = inputs.merge(params.sets, out, engine=engine, duplicates=params.duplicates)
    say(inputs.describe(facts))
