"""Extract subtomograms as 2D stacks."""

from pathlib import Path

from stacycle import geometry, job, relion, star
from stacycle.state import series_pixel

params = snakemake.params
folder = Path(snakemake.output.state).parent

with job.task(snakemake.log[0], f"{snakemake.wildcards.round}/extract") as say:
    state = star.read_optimisation_set(snakemake.input.state[0])
    box = params.box
    if box == "auto":
        box = geometry.box(params.diameter, series_pixel(state.tomograms) * params.binning)
    argv = relion.extract(
        particles=state.particles,
        tomograms=state.tomograms,
        trajectories=state.trajectories,
        out=str(folder),
        box=box,
        binning=params.binning,
        threads=snakemake.threads,
        **params.settings,
    )
    job.run(argv, folder, engine=snakemake.config["engine"], makes=snakemake.output, say=say)
    before, after = (
        len(star.read(path)["particles"]) for path in (state.particles, snakemake.output.particles)
    )
    say(
        f"{after} particles extracted"
        + (f", {before - after} are seen in too few tilts" if after < before else "")
    )
