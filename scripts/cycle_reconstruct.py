"""Reconstruct the half maps of a cycle at bin 1, of the state that it starts from or of one variant."""

from pathlib import Path

from stacycle import geometry, job, relion
from stacycle.state import read_state

params = snakemake.params
folder = Path(snakemake.output.map).parent
is_variant = snakemake.wildcards.get("variant") is not None

with (
    job.task(snakemake.log[0], "/".join(folder.parts[1:])) as say,
    job.may_fail(folder, snakemake.output, say, allowed=is_variant),
):
    job.need(snakemake.input)
    state = read_state(snakemake.input.state[0])
    argv = relion.reconstruct(
        state=state.path,
        out=str(folder),
        box=geometry.bin1_box(state.box, params.binning) if params.box == "auto" else params.box,
        binning=1,
        symmetry=params.symmetry,
        threads=snakemake.threads,
        **params.settings,
    )
    job.run(argv, folder, engine=snakemake.config["engine"], makes=snakemake.output, say=say)
