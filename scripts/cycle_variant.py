"""One variant of a cycle's sweep: CTF refinement or polishing of the tilt series, against half maps and their FSC."""

from stacycle.jobs import job
from stacycle.steps import command_lines

folder = command_lines.folder_of(snakemake)
engine = snakemake.config["engine"]

with (
    job.task(snakemake.log[0], "/".join(folder.parts[1:])) as say,
    job.may_fail(folder, snakemake.output, say),
):
    argv = command_lines.of_job(snakemake, engine)
    job.run(argv, folder, engine=engine, makes=snakemake.output, say=say)
