"""Reconstruct the average at the particles' poses, with the box and binning of their images."""

from stacycle.decisions.extent import check_diameter
from stacycle.jobs import job
from stacycle.steps import command_lines

engine = snakemake.config["engine"]

with job.task(snakemake.log[0], f"{snakemake.wildcards.round}/reconstruct") as say:
    argv, folder = command_lines.of_job(snakemake, engine), command_lines.folder_of(snakemake)
    job.run(argv, folder, engine=engine, makes=snakemake.output, say=say)
    if warning := check_diameter(snakemake.output.map, snakemake.config["particle"]["diameter"]):
        say(f"Warning: {warning}")
