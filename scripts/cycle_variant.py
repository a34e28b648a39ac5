"""One variant of a cycle's sweep: CTF refinement or polishing of the tilt series, against half maps and their FSC."""

from stacycle.jobs import job
from stacycle.jobs.failure import tolerate_failure
from stacycle.jobs.log import task
from stacycle.steps import ctfrefine, polish
from stacycle.steps.step import folder_of

folder = folder_of(snakemake)
step = polish if folder.parent.name == "polish" else ctfrefine
engine = snakemake.config["engine"]

with (
    task(snakemake.log[0], "/".join(folder.parts[1:])),
    tolerate_failure(folder, snakemake.output),
):
    argv = step.command(snakemake, engine)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output)
