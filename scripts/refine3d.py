"""Refine3D: two independent half sets, on several MPI ranks."""

from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.report.viewers import leave_view
from stacycle.steps import refine3d
from stacycle.steps.step import folder_of, layout_of

gpus = layout_of(snakemake, half_sets=True).gpus
engine = snakemake.config["engine"]

with task(snakemake.log[0], f"{snakemake.wildcards.round}/{snakemake.wildcards.refine3d}"):
    argv, folder = refine3d.command(snakemake, engine), folder_of(snakemake)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output, gpus=gpus)
    leave_view(folder)
