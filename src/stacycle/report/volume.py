"""A map small enough for the page: cropped to what its mask holds, of at most 96 voxels a side, a byte each."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stacycle.files import mrc
from stacycle.report.viewers import level_of

MOST = 96  # voxels a side: a surface of them is as fine as the screen shows, in 0.4 MB
FEWER = 64  # of maps of earlier rounds, which are seldom looked at
LOWEST = 0.4  # of the level that is shown at first: what is below is left out, for noise takes bytes
_FEWEST, _FINER = 40, 2  # a map of fewer voxels is interpolated to so many times as many
_MARGIN = 2  # voxels around the mask

Array = NDArray[Any]


@dataclass(frozen=True)
class Volume:
    """A map for the page.

    `data` is base64 of deflated bytes (z, y, x), of `shape`, whose 0 and 255 are the densities `low` and `high`;
    `level` is the density that the surface is cut at first, `voxel` Å, `voxel_volume` Å³. `local` is the same of local
    resolutions from `colours[0]` to `colours[1]` Å, 0 where there are none; "" without them.
    """

    name: str
    data: str
    shape: tuple[int, int, int]
    low: float
    high: float
    level: float
    voxel: float
    files: tuple[str, ...]
    local: str = ""
    colours: tuple[float, float] = (0.0, 0.0)
    sampled: Array = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)


def packed(
    name: str,
    density: str | Path,
    mask: str | Path | None = None,
    local: str | Path | None = None,
    colours: tuple[float, float] = (0.0, 0.0),
    most: int = MOST,
) -> Volume:
    """A map, cut to the box of its mask and binned by a whole number to at most so many voxels a side; with its local
    resolutions (Å). UserError if a file is damaged or the mask is of another box."""
    voxels, pixel = mrc.voxels(density), mrc.header(density).pixel
    if mask:
        mrc.check_mask(str(mask), str(density))
    within: Array = np.asarray(mrc.voxels(mask)) > 0.01 if mask else np.ones(voxels.shape, bool)
    box = _box(within)
    by = -(-max(part.stop - part.start for part in box) // most)
    values = binned(np.asarray(voxels[box], np.float32), by)
    inside = binned(within[box].astype(np.float32), by) > 0.5
    values = np.where(inside, values, 0)
    if max(values.shape) < _FEWEST:  # a coarse map has a coarse surface, but not one of steps
        values, inside, by = _finer(values), _finer(inside) > 0.5, by / _FINER
    level = level_of(density, mask)
    low, high = LOWEST * level, float(values.max())
    byte = np.clip((values - low) / max(high - low, 1e-30), 0, 1) * 255
    files = [density, *(path for path in (mask, local) if path)]
    told = ""
    if local:
        first, last = colours
        resolved = binned(np.asarray(mrc.voxels(local)[box], np.float32), max(1, int(by)))
        resolved = resolved if resolved.shape == values.shape else _finer(resolved)
        share = (resolved - first) / max(last - first, 1e-30)
        told = _deflated(np.where(inside & (resolved > 0), 1 + 254 * np.clip(share, 0, 1), 0))
    return Volume(
        name,
        _deflated(byte),
        byte.shape,
        low,
        high,
        level,
        pixel * by,
        tuple(map(str, files)),
        told,
        colours,
        values,
    )


def binned(values: Array, by: int) -> Array:
    """The means of blocks of `by` voxels a side; what is left over at the ends goes."""
    if by == 1:
        return values
    z, y, x = (n // by for n in values.shape)
    blocks = values[: z * by, : y * by, : x * by].reshape(z, by, y, by, x, by)
    return blocks.mean(axis=(1, 3, 5))


def _finer(values: Array) -> Array:
    from scipy import ndimage

    return ndimage.zoom(values.astype(np.float32), _FINER, order=1, grid_mode=True, mode="grid-constant")


def _box(within: Array) -> tuple[slice, slice, slice]:
    """The box around what is true, with a margin; all, if nothing is."""
    if not within.any():
        within = ~within
    found = []
    for axis in range(3):
        there = np.flatnonzero(within.any(axis=tuple(a for a in range(3) if a != axis)))
        found.append(slice(max(0, there[0] - _MARGIN), min(within.shape[axis], there[-1] + 1 + _MARGIN)))
    return tuple(found)  # type: ignore[return-value]


def _deflated(values: Array) -> str:
    return base64.b64encode(zlib.compress(np.rint(values).astype(np.uint8).tobytes(), 9)).decode()
