"""Reconstruct the half maps of a cycle at bin 1, of the state that it starts from or of one variant."""

from stacycle.jobs import job
from stacycle.steps import command_lines

folder = command_lines.folder_of(snakemake)
is_variant = snakemake.wildcards.get("variant") is not None
engine = snakemake.config["engine"]

with (
    job.task(snakemake.log[0], "/".join(folder.parts[1:])) as say,
    job.may_fail(folder, snakemake.output, say, allowed=is_variant),
):
    job.need(snakemake.input)
    argv = command_lines.of_job(snakemake, engine)
    job.run(argv, folder, engine=engine, makes=snakemake.output, say=say)
