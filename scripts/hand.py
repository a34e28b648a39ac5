"""Reconstruct the half maps of a set with one of the two hands that it may have."""

from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.steps import hand
from stacycle.steps.step import folder_of

folder, engine = folder_of(snakemake), snakemake.config["engine"]

with task(snakemake.log[0], "/".join(folder.parts[1:])):
    argv = hand.command(snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output)
