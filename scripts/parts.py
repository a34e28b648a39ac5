"""The parts of a round over the consensus: one map, a picture of it, and commands for ChimeraX."""

import os
from pathlib import Path

import numpy as np

from stacycle.decisions.composite import chimerax, composite
from stacycle.files import mrc
from stacycle.jobs.log import task
from stacycle.report import map_figures

files, made = snakemake.input, snakemake.output

with task(snakemake.log[0], f"{snakemake.wildcards.round}/parts") as log:
    consensus = np.asarray(mrc.voxels(files.consensus), np.float32)
    parts = ((mrc.voxels(path), mrc.voxels(mask)) for path, mask in zip(files.maps, files.masks, strict=True))
    density = composite(consensus, ((np.asarray(part, np.float32), mask) for part, mask in parts))
    mrc.write_map(made.map, density, mrc.header(files.consensus).pixel)
    map_figures.slices_figure(made.map, made.picture)
    folder = Path(made.map).parent
    beside = [os.path.relpath(path, folder) for path in (files.consensus, *files.maps)]
    commands = chimerax(beside[0], dict(zip(snakemake.params.names, beside[1:], strict=True)))
    Path(made.commands).write_text(commands)
    log.info(f"look at {made.picture}, or open {made.commands} in ChimeraX")
