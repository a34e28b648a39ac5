"""Reconstruct the average at the particles' poses, with the box and binning of their images."""

from pathlib import Path

from stacycle import job, relion
from stacycle.state import read_state

params = snakemake.params
folder = Path(snakemake.output.map).parent

with job.task(snakemake.log[0], f"{snakemake.wildcards.round}/reconstruct") as say:
    state = read_state(snakemake.input.state[0])
    argv = relion.reconstruct(
        state=state.path,
        out=str(folder),
        box=state.box,
        binning=params.binning,
        symmetry=params.symmetry,
        threads=snakemake.threads,
        **params.settings,
    )
    job.run(argv, folder, engine=snakemake.config["engine"], makes=snakemake.output, say=say)
