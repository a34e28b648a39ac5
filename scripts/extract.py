"""Extract subtomograms as 2D stacks."""

from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.jobs import job
from stacycle.steps import command_lines

engine = snakemake.config["engine"]

with job.task(snakemake.log[0], f"{snakemake.wildcards.round}/extract") as say:
    argv, folder = command_lines.of_job("extract", snakemake, engine), command_lines.folder_of(snakemake)
    job.run(argv, folder, engine=engine, makes=snakemake.output, say=say)
    state = OptimisationSet.read(snakemake.input.state[0])
    before, after = (
        len(star.read(path)["particles"]) for path in (state.particles, snakemake.output.particles)
    )
    say(
        f"{after} particles extracted"
        + (f", {before - after} are seen in too few tilts" if after < before else "")
    )
