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
from stacycle.files.star_labels import PIXEL, RECONSTRUCTED, SHIFT, SIZE
from stacycle.recipe.rounds import INPUTS
from stacycle.report import particle_figures, particle_table, shift_panel
from stacycle.report.particle_table import Particles
from stacycle.report.plots import Plot, plot
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution, of_whole
from stacycle.scoring.tilt_series import TiltSeries
from stacycle.steps import tomogram as slabs
from stacycle.steps.tomogram import Slab

GIVEN = f"{INPUTS}/particles.star"
_MOST = 360  # pixels of an image's longer side
_THICK = 300.0  # Å of a slice, if the particle's diameter is not known

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
    first = next((path for path in project.particles if Path(path).is_file()), None)
    named = project.read(first, particle_table.read)
    diameter = float((project.config.get("particle") or {}).get("diameter") or 0)
    thick = diameter or _THICK
    found = project.read(state.tomograms, lambda path: _positions(path, named or given, left, state, thick))
    moved = shift_panel.shifts(project, named, str(first), diameter) if named else None
    return [*shown, *filter(None, (found, moved))]


def _per_tomogram(given: Particles, left: Particles, state: OptimisationSet) -> Plot:
    before, after = (dict(Counter(one.tomograms.tolist())) for one in (given, left))
    caption = "Particles in each tomogram: given, and in the last map"
    return plot(
        caption, (GIVEN, state.particles), partial(particle_figures.per_tomogram_figure, before, after)
    )


def _positions(
    path: str, given: Particles, left: Particles, state: OptimisationSet, thick: float
) -> Plot | None:
    """Particles of a tomogram that has many, over a slab of it that was made for this; or over a slice, `thick` Å, of
    its own reconstruction; else over the image of its smallest tilt."""
    slab = slabs.read(slabs.FILE)
    if slab and Path(slab.file).is_file():
        tomogram = slab.tomogram
        said, file, *drawn = _over_slab(slab, *_stayed_and_went(tomogram, given, left))
    else:
        names, counts = np.unique(left.tomograms, return_counts=True)
        tomogram = str(names[np.argmax(counts)]) if len(names) else ""
        series = TiltSeries.read_all(path).get(tomogram)
        if series is None:
            return None
        places = _stayed_and_went(tomogram, given, left)
        over_slice = _over_slice(series, *places, thick)
        if (over := over_slice or _over_tilt(series, *places)) is None:
            return None
        said, file, *drawn = over
        if slab and slab.why and not over_slice:
            said += f"; no slice could be made ({slab.why}; logs/inputs/tomogram.log says more)"
    draw = partial(particle_figures.positions_figure, *drawn)
    return plot(f"Particles of {tomogram}, {said}", (file, state.particles), draw)


def _stayed_and_went(tomogram: str, given: Particles, left: Particles) -> tuple[Array, Array]:
    """Where the particles of a tomogram lie that are left, and those that were lost."""
    gone = given.of(tomogram) & ~np.isin(given.names, left.names[left.of(tomogram)])
    return left.positions[left.of(tomogram)], given.positions[gone]


def _over_slab(slab: Slab, stayed: Array, went: Array) -> tuple[Any, ...]:
    """Of the slab that was made for this: caption and file; its mean along z, width and height (Å), where particles lie
    in it, and their diameter. UserError if its file is damaged."""
    volume = _sections(slab.file)
    voxel = mrc.header(slab.file, exact=False).pixel
    image, by = _binned(np.asarray(volume, np.float32).mean(axis=0))
    height, width = (n * by * voxel for n in image.shape)
    middle = (np.array(volume.shape[:0:-1]) / 2 + 0.5) * voxel  # voxel n / 2 is the tomogram's middle
    above = f"{abs(slab.height):.0f} Å {'above' if slab.height >= 0 else 'below'} its middle"
    where = f"{len(volume) * voxel:.0f} Å thick, {above}"
    said = f"over a slab of it, {where}; those whose centre is in the slab"
    near = slab.thickness / 2
    places = (one[np.abs(one[:, 2] - slab.height) <= near][:, :2] + middle for one in (stayed, went))
    return said, slab.file, image, width, height, *places, slab.thickness


def _over_tilt(series: TiltSeries, stayed: Array, went: Array) -> tuple[Any, ...] | None:
    """Of the smallest tilt: caption and file; the image, its width and height (Å), and where particles lie in it."""
    if "rlnMicrographName" not in series.tilts:
        return None
    tilt = int(np.argmin(np.abs(series.tilts["rlnTomoYTilt"].to_numpy(float))))
    name = str(series.tilts["rlnMicrographName"].iloc[tilt])
    found = parse_image_name(name)
    header = mrc.header(found.file, exact=False)
    image, by = _binned(_sections(found.file)[(found.number or 1) - 1])
    pixel = float(series.row[PIXEL])
    middle = np.array([header.nx // 2, header.ny // 2]) * pixel
    height, width = (n * by * pixel for n in image.shape)
    angle = round(float(series.tilts["rlnTomoYTilt"].iloc[tilt])) + 0
    said = f"which has most, over its tilt image at {angle}°: a projection of all of the tomogram, not a slice of it"
    places = (_projected(series, tilt, positions) + middle for positions in (stayed, went))
    return said, name, image, width, height, *places


def _over_slice(series: TiltSeries, stayed: Array, went: Array, thick: float) -> tuple[Any, ...] | None:
    """The same, of a slice of the tomogram at the height of most particles, and of those particles that are in it; None
    if it was not reconstructed. UserError if its file is damaged."""
    file = str(series.row.get(RECONSTRUCTED, ""))
    if not Path(file).is_file() or not len(stayed):
        return None
    size = np.array([series.row[label] for label in SIZE], float) * float(series.row[PIXEL])
    volume = _sections(file)
    voxel = size[0] / volume.shape[2]
    at, half = float(np.median(stayed[:, 2])), thick / 2
    first, last = (round((at + size[2] / 2 + by) / voxel) for by in (-half, half))
    slab = volume[max(0, first) : max(first + 1, last)]
    if not len(slab):
        return None
    image, by = _binned(np.asarray(slab, np.float32).mean(axis=0))
    height, width = (n * by * voxel for n in image.shape)
    said = f"which has most, within {half:.0f} Å of the height of most, over a slice of the tomogram as thick"
    places = (one[np.abs(one[:, 2] - at) <= half][:, :2] + size[:2] / 2 for one in (stayed, went))
    return said, file, image, width, height, *places


def _projected(series: TiltSeries, tilt: int, positions: Array) -> Array:
    """Where positions (n, 3), in Å from the tomogram's centre, lie in a tilt image: (n, 2) Å from its middle, as RELION
    projects them: R p + shift."""
    shift = series.tilts[SHIFT].iloc[tilt].to_numpy(float)
    turned: Array = (positions @ series.rotations[tilt].T)[:, :2]
    return turned + shift


def _sections(file: str) -> Array:
    """The sections (n, y, x) of a file of images or of a tomogram, read when they are looked at. UserError if it is
    damaged."""
    header = mrc.header(file, exact=False)
    shape = (header.sections, header.ny, header.nx)
    return np.memmap(file, header.voxel, "r", header.start, shape)


def _binned(image: Array) -> tuple[Array, int]:
    """An image of a page's size, softened by a pixel, and by which whole number it was binned."""
    by = -(-max(image.shape) // _MOST)
    height, width = (n // by for n in image.shape)
    blocks = np.asarray(image[: height * by, : width * by], np.float32)
    return gaussian_filter(blocks.reshape(height, by, width, by).mean(axis=(1, 3)), 1.0), by
