"""Reconstruct the half maps of a step's particles with the poses before or after it."""

from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.steps import reconstruct
from stacycle.steps.step import folder_of

folder, engine = folder_of(snakemake), snakemake.config["engine"]

with task(snakemake.log[0], "/".join(folder.parts[1:])):
    argv = reconstruct.command(snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output)
