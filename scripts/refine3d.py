"""Refine3D: two independent half sets, on several MPI ranks."""

from stacycle.jobs import job
from stacycle.steps import command_lines

gpus = command_lines.layout_of(snakemake).gpus
engine = snakemake.config["engine"]

with job.task(snakemake.log[0], f"{snakemake.wildcards.round}/refine3d") as say:
    argv, folder = command_lines.of_job(snakemake, engine), command_lines.folder_of(snakemake)
    job.run(argv, folder, engine=engine, makes=snakemake.output, say=say, gpus=gpus)
