"""Whether the average is as large as the config says the particle is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from stacycle.decisions.mask import SIGMAS, coarse, distance, otsu_level
from stacycle.files import job_folder, mrc
from stacycle.files.atomic import read_json, write_json

LARGER = 1.2  # x the diameter: soft edges and noise add up to a sixth
SMALLER = 0.55  # x the diameter: an average's weak ends drown in noise
COARSE = 12  # the box's width over the low-pass filter: a sixth of a particle that fills half of the box
_LEVEL = 0.5  # of the particle's level above the solvent is its edge, however blurred
# x the box's radius: solvent is looked for between them; farther out a reconstruction is tapered
_SHELLS = (0.3, 0.9)
_WITHIN = 0.95  # x the box's radius is looked at
_ONE_PIECE = 0.5  # of what is above the threshold: less is noise
_OF_RADII = 99  # percent: a voxel that sticks out does not count


def check_diameter(average: str | Path, diameter: float) -> str:
    """A warning if an average is not as large as the config's diameter (Å), else ""; also written beside the map."""
    header = mrc.header(average)
    size = extent(np.asarray(mrc.voxels(average), np.float32), header.pixel)
    warning = wrong_diameter(diameter, size, header.nx * header.pixel)
    numbers = {"diameter": diameter, "extent": size if math.isfinite(size) else None, "warning": warning}
    write_json(Path(average).with_name(job_folder.EXTENT), numbers)
    return warning


def noted(average: str | Path) -> str:
    """The warning that was written beside an average; "" if there is none."""
    return read_json(Path(average).with_name(job_folder.EXTENT)).get("warning", "")


def extent(density: np.ndarray, pixel_size: float) -> float:
    """The longest extent in Å of the particle in an average (n, n, n); nan if it does not stand out of the noise.

    Twice the distance, from its own centre, within which 99 % of its voxels lie: the largest piece that is nearer to
    the particle's level than to the solvent's, and above its noise, of the map low-passed to a twelfth of the box.
    """
    from scipy import ndimage

    width = len(density) * pixel_size
    resolution = max(2.5 * pixel_size, width / COARSE)
    smooth, pixel = coarse(density, pixel_size, resolution)
    radius = distance(len(smooth)) * pixel / (width / 2)
    solvent, noise = _solvent(smooth, radius, max(2 * pixel / width, 0.05))
    values = smooth[radius < _SHELLS[1]]
    if np.ptp(values) == 0:
        return math.nan
    level = float(values[values > otsu_level(values)].mean())
    threshold = max(solvent + SIGMAS * noise, solvent + _LEVEL * (level - solvent))
    pieces, count = ndimage.label((smooth > threshold) & (radius < _WITHIN))
    if not count:
        return math.nan
    sizes = np.bincount(pieces.ravel())[1:]
    if sizes.max() < _ONE_PIECE * sizes.sum():
        return math.nan
    voxels = np.argwhere(pieces == 1 + int(np.argmax(sizes))) * pixel
    distances = np.linalg.norm(voxels - voxels.mean(axis=0), axis=1)
    found = 2 * float(np.percentile(distances, _OF_RADII))
    return found if found > resolution else math.nan


def _solvent(smooth: np.ndarray, radius: np.ndarray, thickness: float) -> tuple[float, float]:
    """Level and noise of the solvent: the median of the lowest shell, and the spread below it.
    In a box that is too small the particle fills so much that its own level is the most frequent one."""
    shells = [
        smooth[(radius >= start) & (radius < start + thickness)]
        for start in np.arange(_SHELLS[0], _SHELLS[1] - thickness + 1e-6, thickness / 2)
    ]
    lowest = min(shells, key=lambda values: float(np.median(values)))
    level = float(np.median(lowest))
    return level, float(np.sqrt(np.mean((lowest[lowest <= level] - level) ** 2)))


def wrong_diameter(diameter: float, found: float, box: float) -> str:
    """A warning if an average's extent (Å; nan: unknown) in a box (Å) does not fit the config's diameter; or ""."""
    if not (found > LARGER * diameter or found < SMALLER * diameter):
        return ""
    size, unless = f"{10 * round(found / 10)} Å only", "parts of it are too weak to be seen yet"
    if found > diameter:
        least = "at least " if found > 0.5 * box else ""
        size, unless = f"{least}{10 * round(found / 10)} Å", "that is a membrane or a neighbour"
    return (
        f"particle.diameter is {diameter:g} Å but the average extends to {size}: give the longest extent of the "
        f"particle, unless {unless}; the box follows from it."
    )
