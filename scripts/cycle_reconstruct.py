"""Reconstruct the half maps of a cycle at bin 1, of the state that it starts from or of one variant."""

from stacycle.jobs.failure import raise_if_upstream_failed, tolerate_failure
from stacycle.jobs.log import task
from stacycle.report.viewers import leave_view
from stacycle.steps import reconstruct, running
from stacycle.steps.running import own_folder

folder = own_folder(snakemake)
is_variant = snakemake.wildcards.get("variant") is not None
engine = snakemake.config["engine"]

with (
    task(snakemake.log[0], "/".join(folder.parts[1:])),
    tolerate_failure(folder, snakemake.output, allowed=is_variant),
):
    raise_if_upstream_failed(snakemake.input)
    if running.run(snakemake, reconstruct.command(snakemake, engine), engine):
        leave_view(folder)
