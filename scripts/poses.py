"""Reconstruct the half maps of a step's particles with the poses before or after it."""

from stacycle.jobs.log import task
from stacycle.steps import reconstruct, running
from stacycle.steps.running import own_folder

folder, engine = own_folder(snakemake), snakemake.config["engine"]

with task(snakemake.log[0], "/".join(folder.parts[1:])):
    argv = reconstruct.command(snakemake, engine)
    running.run(snakemake, argv, engine)
