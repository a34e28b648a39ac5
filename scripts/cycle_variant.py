"""One variant of a cycle's sweep: CTF refinement or polishing of the tilt series, against half maps and their FSC."""

from stacycle.jobs import job
from stacycle.jobs.failure import tolerate_failure
from stacycle.jobs.log import task
from stacycle.steps import command_lines

folder = command_lines.folder_of(snakemake)
engine = snakemake.config["engine"]

with (
    task(snakemake.log[0], "/".join(folder.parts[1:])),
    tolerate_failure(folder, snakemake.output),
):
    argv = command_lines.of_job("cycle_variant", snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output)
