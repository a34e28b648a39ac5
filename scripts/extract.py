"""Extract subtomograms, as 2D stacks or in 3D."""

from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.steps import extract
from stacycle.steps.step import folder_of

engine = snakemake.config["engine"]

with task(snakemake.log[0], f"{snakemake.wildcards.round}/extract") as log:
    argv, folder = extract.command(snakemake, engine), folder_of(snakemake)
    job.run(argv, folder, engine=engine, expected_outputs=snakemake.output)
    state = OptimisationSet.read(snakemake.input.state[0])
    before, after = (star.count(path, "particles") for path in (state.particles, snakemake.output.particles))
    log.info(
        f"{after} particles extracted"
        + (f", {before - after} are seen in too few tilts" if after < before else "")
    )
