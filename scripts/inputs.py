"""Inputs: check the software and the sets, and merge them."""

from pathlib import Path

from stacycle import inputs, job, software

with job.task(snakemake.log[0], "inputs") as say:
    engine = software.check(snakemake.config["engine"])
    say(engine)
    facts = inputs.merge(snakemake.params.sets, Path(snakemake.output.particles).parent, engine=engine)
    say(inputs.describe(facts))
