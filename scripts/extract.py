"""Extract subtomograms, as 2D stacks or in 3D."""

from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.jobs.log import task
from stacycle.steps import extract, running

engine = snakemake.config["engine"]

with task(snakemake.log[0], f"{snakemake.wildcards.round}/extract") as log:
    if running.run(snakemake, extract.command(snakemake, engine), engine):
        state = OptimisationSet.read(snakemake.input.state[0])
        paths = state.particles, snakemake.output.particles
        before, after = (star.count(path, "particles") for path in paths)
        log.info(
            f"{after} particles extracted"
            + (f", {before - after} are seen in too few tilts" if after < before else "")
        )
