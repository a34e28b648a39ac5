"""One variant of a cycle's sweep: CTF refinement or polishing of the tilt series, against half maps and their FSC."""

from stacycle.jobs import job
from stacycle.jobs.failure import tolerate_failure
from stacycle.jobs.log import task
from stacycle.steps.registry import all_steps
from stacycle.steps.step import folder_of

folder = folder_of(snakemake)
engine = snakemake.config["engine"]

with (
    task(snakemake.log[0], "/".join(folder.parts[1:])),
    tolerate_failure(folder, snakemake.output),
):
    argv = all_steps()[snakemake.params.step].command(snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output)
