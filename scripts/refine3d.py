"""Refine3D: two independent half sets, on several MPI ranks."""

from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.steps import command_lines

gpus = command_lines.layout_of(snakemake, halves=True).gpus
engine = snakemake.config["engine"]

with task(snakemake.log[0], f"{snakemake.wildcards.round}/refine3d"):
    argv, folder = command_lines.of_job("refine3d", snakemake, engine), command_lines.folder_of(snakemake)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output, gpus=gpus)
