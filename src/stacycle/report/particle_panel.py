"""What the page shows of the particles as a whole: how many in each tomogram, and where in one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from stacycle.files import mrc
from stacycle.files.image_files import parse_image_name
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.recipe.rounds import INPUTS
from stacycle.report import particle_figures, particle_table
from stacycle.report.particle_table import Particles
from stacycle.report.plots import Plot, plot
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution, of_whole
from stacycle.scoring.tilt_series import TiltSeries

GIVEN = f"{INPUTS}/particles.star"
_MOST = 360  # pixels of an image's longer side

Array = NDArray[Any]


def panel(project: Project, rows: Sequence[MapResolution]) -> list[Plot]:
    """The plots of the particles that were given, and of those that the last map is of."""
    states = [row.state for row in of_whole(rows) if Path(row.state).is_file()]
    given = project.read(GIVEN if Path(GIVEN).is_file() else None, particle_table.read)
    state = project.read(states[-1] if states else None, OptimisationSet.read)
    left = project.read(state.particles, particle_table.read) if state else None
    if given is None or left is None:
        return []
    shown = [_per_tomogram(given, left, state)]
    # Picks need not have names: those that were extracted first have.
    named = project.read(
        next((path for path in project.particles if Path(path).is_file()), None), particle_table.read
    )
    found = project.read(state.tomograms, lambda path: _positions(path, named or given, left, state))
    return shown + ([found] if found else [])


def _per_tomogram(given: Particles, left: Particles, state: OptimisationSet) -> Plot:
    before, after = (dict(Counter(one.tomograms.tolist())) for one in (given, left))
    caption = "Particles in each tomogram: given, and in the last map"
    return plot(
        caption, (GIVEN, state.particles), partial(particle_figures.per_tomogram_figure, before, after)
    )


def _positions(path: str, given: Particles, left: Particles, state: OptimisationSet) -> Plot | None:
    """Particles over the image of the smallest tilt of the tomogram that has most: no tomogram is computed for this."""
    names, counts = np.unique(left.tomograms, return_counts=True)
    tomogram = str(names[np.argmax(counts)])
    series = TiltSeries.read_all(path).get(tomogram) if len(names) else None
    if series is None or "rlnMicrographName" not in series.tilts:
        return None
    tilt = int(np.argmin(np.abs(series.tilts["rlnTomoYTilt"].to_numpy(float))))
    name = str(series.tilts["rlnMicrographName"].iloc[tilt])
    image, by = _image(name)
    pixel = float(series.row["rlnTomoTiltSeriesPixelSize"])
    gone = given.of(tomogram) & ~np.isin(given.names, left.names[left.of(tomogram)])
    height, width = (n * by * pixel for n in image.shape)
    stayed, went = (
        _projected(series, tilt, positions, np.array([width, height]))
        for positions in (left.positions[left.of(tomogram)], given.positions[gone])
    )
    draw = partial(particle_figures.positions_figure, image, width, height, stayed, went)
    angle = round(float(series.tilts["rlnTomoYTilt"].iloc[tilt])) + 0
    caption = (
        f"Particles of {tomogram}, which has most, over its tilt image at {angle}°: a projection of all of the "
        "tomogram, not a slice of it"
    )
    return plot(caption, (name, state.particles), draw)


def _projected(series: TiltSeries, tilt: int, positions: Array, size: Array) -> Array:
    """Where positions (n, 3), in Å from the tomogram's centre, lie in a tilt image of this size: (n, 2) Å from its
    corner, as RELION projects them: R p + shift, from the image's middle."""
    shift = series.tilts[["rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]].iloc[tilt].to_numpy(float)
    turned: Array = (positions @ series.rotations[tilt].T)[:, :2]
    return turned + shift + size / 2


def _image(name: str) -> tuple[Array, int]:
    """A tilt image, binned by a whole number, which is returned too, and softened by a pixel. UserError if it cannot be
    read."""
    found = parse_image_name(name)
    header = mrc.header(found.file, exact=False)
    number = (found.number or 1) - 1
    shape = (header.sections, header.ny, header.nx)
    section = np.memmap(found.file, header.voxel, "r", header.start, shape)[number]
    by = -(-max(header.nx, header.ny) // _MOST)
    height, width = header.ny // by, header.nx // by
    blocks = np.asarray(section[: height * by, : width * by], np.float32)
    return gaussian_filter(blocks.reshape(height, by, width, by).mean(axis=(1, 3)), 1.0), by
