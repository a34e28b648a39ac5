"""Reconstruct the average at the particles' poses, with the box and binning of their images."""

from stacycle.decisions.extent import check_diameter
from stacycle.jobs.log import task
from stacycle.report.viewers import leave_view
from stacycle.steps import reconstruct, running
from stacycle.steps.step import folder_of

engine = snakemake.config["engine"]

with task(snakemake.log[0], f"{snakemake.wildcards.round}/{snakemake.wildcards.reconstruct}") as log:
    if running.run(snakemake, reconstruct.command(snakemake, engine), engine):
        leave_view(folder_of(snakemake))
        if warning := check_diameter(snakemake.output.map, snakemake.config["particle"]["diameter"]):
            log.info(f"Warning: {warning}")
