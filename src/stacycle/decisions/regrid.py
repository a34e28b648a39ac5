"""A map in other pixels and another box."""

from __future__ import annotations

import numpy as np

NEARLY = 1e-3  # relative difference of pixel sizes that are taken for one


def regridded(density: np.ndarray, pixel: float, box: int, to_pixel: float) -> np.ndarray:
    """A map (n, n, n) of `pixel` Å in `box` px of `to_pixel` Å; centre (n // 2) stays centre.

    What is finer than the new pixels show is filtered out first. Beyond the old box lies the mean of its faces.
    """
    from scipy import ndimage  # slow to import: most decisions need no map

    density = np.asarray(density, np.float32)
    around = _of_faces(density)
    if abs(to_pixel / pixel - 1) > NEARLY:
        if to_pixel > pixel:
            density = _coarser(density, pixel, to_pixel)
        step = to_pixel / pixel
        offset = len(density) // 2 - step * (box // 2)
        return ndimage.affine_transform(
            density, np.full(3, step), offset, (box,) * 3, order=3, mode="constant", cval=around
        )
    return _boxed(density, box, around)


def _coarser(density: np.ndarray, pixel: float, to_pixel: float) -> np.ndarray:
    """The map without what is finer than pixels of `to_pixel` Å can carry, with a soft end of the spectrum."""
    from stacycle.decisions.mask import low_pass

    return low_pass(density, pixel, 2.1 * to_pixel)


def _of_faces(density: np.ndarray) -> float:
    faces = [np.take(density, at, axis) for axis in range(3) for at in (0, -1)]
    return float(np.mean([face.mean() for face in faces]))


def _boxed(density: np.ndarray, box: int, around: float) -> np.ndarray:
    """The map cut, or filled with `around`, to a box."""
    n = len(density)
    boxed = np.full((box,) * 3, around, np.float32)
    first = box // 2 - n // 2
    there, here = (
        slice(max(first, 0), min(first + n, box)),
        slice(max(-first, 0), max(-first, 0) + min(n, box)),
    )
    here = slice(here.start, here.start + (there.stop - there.start))
    boxed[there, there, there] = density[here, here, here]
    return boxed
