"""One variant of a cycle's sweep: CTF refinement or polishing of the tilt series, against half maps and their FSC."""

from stacycle.jobs.failure import tolerate_failure
from stacycle.jobs.log import task
from stacycle.steps import running
from stacycle.steps.registry import all_steps
from stacycle.steps.running import own_folder

folder = own_folder(snakemake)
engine = snakemake.config["engine"]

with (
    task(snakemake.log[0], "/".join(folder.parts[1:])),
    tolerate_failure(folder, snakemake.output),
):
    argv = all_steps()[snakemake.params.step].command(snakemake, engine)
    running.run(snakemake, argv, engine)
