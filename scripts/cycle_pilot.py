"""One variant of a cycle's sweep on a share of the tomograms: CTF refinement or polishing, an average, and its FSC."""

from stacycle.jobs.failure import tolerate_failure
from stacycle.jobs.log import task
from stacycle.steps import pilot
from stacycle.steps.step import folder_of

folder = folder_of(snakemake)

with (
    task(snakemake.log[0], "/".join(folder.parts[1:-1])),
    tolerate_failure(folder, snakemake.output),
):
    pilot.run(snakemake, snakemake.config["engine"])
