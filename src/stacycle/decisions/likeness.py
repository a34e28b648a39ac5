"""How like a map is to itself turned: by shells of resolution, so that its outline counts no more than its detail."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from stacycle.decisions.half_maps import sphere
from stacycle.decisions.mask import distance, frequencies
from stacycle.decisions.point_groups import Array, about

OVERSAMPLED = 4  # pixels for each resolution element: splines between them are exact enough
MOST_PIXELS = 96  # of a side: finer detail than a twentieth of the diameter tells no more
_STEPS = 36  # of half a turn about an axis


class Likeness:
    """Of a map (n, n, n) of `pixel` Å to itself turned about the middle of its box (n // 2), within a soft sphere
    around a particle of `diameter` Å, in the shells up to `resolution` Å or to what MOST_PIXELS can carry."""

    def __init__(
        self, density: NDArray[np.floating], pixel: float, diameter: float, resolution: float
    ) -> None:
        part = _middle(np.asarray(density, float), pixel, diameter)
        inside = sphere(len(part), pixel, diameter)
        part = (part - part[inside < 0.5].mean()) * inside
        extent = len(part) * pixel
        box = min(len(part), MOST_PIXELS, 2 * int(np.ceil(extent * OVERSAMPLED / resolution / 2)))
        self.shells = max(2, min(int(extent / resolution), 2 * box // OVERSAMPLED))
        self.resolution = extent / self.shells  # Å, up to which it is compared
        self._map = _resampled(part, box)
        self._splines = ndimage.spline_filter(self._map)
        self._inside = distance(box) <= box / 2 - 1
        self._points = np.argwhere(self._inside).T - box // 2.0
        self._known: dict[bytes, float] = {}

    def __call__(self, turn: Array) -> float:
        """The mean over the shells of the correlation with the map turned by a matrix (3, 3) of x, y, z."""
        key = np.round(turn, 6).tobytes()
        if key not in self._known:
            self._known[key] = self._compared(turn)
        return self._known[key]

    def about(self, axis: Array) -> float:
        """The mean over all turns about an axis (3): what they have in common, whatever the axis' order."""
        angles = (np.arange(_STEPS) + 0.5) * 180 / _STEPS
        return float(np.mean([self(about(axis, angle)) for angle in angles]))

    def of_order(self, axis: Array, order: int) -> float:
        """The mean over the turns that an axis (3) of this order has, but for none at all."""
        turns = np.arange(1, order // 2 + 1)  # the others are these backwards, which say the same
        weights = np.where(2 * turns == order, 1, 2)
        return float(np.average([self(about(axis, 360 * k / order)) for k in turns], weights=weights))

    def agreement(self, axis: Array, order: int) -> float:
        """That mean beyond the one over all turns: 1 for a symmetric map, 0 or less for one without the symmetry."""
        common = self.about(axis)
        return (self.of_order(axis, order) - common) / max(1 - common, 1e-6)

    @cached_property
    def _shells(self) -> tuple[NDArray[np.bool_], NDArray[np.intp], Array]:
        """Which Fourier coefficients are compared, the shell of each, and how often it counts."""
        box = len(self._map)
        shell = np.rint(frequencies(box)).astype(int)
        used = (shell >= 1) & (shell <= self.shells)
        mates = np.broadcast_to(np.where(np.arange(box // 2 + 1) % (box // 2), 2.0, 1.0), used.shape)
        return used, shell[used] - 1, mates[used]

    @cached_property
    def _itself(self) -> NDArray[np.complexfloating]:
        return fft.rfftn(self._map)[self._shells[0]]

    def _compared(self, turn: Array) -> float:
        used, shell, mates = self._shells
        turned = np.zeros_like(self._map)
        points = turn[::-1, ::-1] @ self._points + len(self._map) // 2
        turned[self._inside] = ndimage.map_coordinates(self._splines, points, prefilter=False)
        here, there = self._itself, fft.rfftn(turned)[used]
        cross, of_here, of_there = (
            np.bincount(shell, mates * values)
            for values in ((here * there.conj()).real, np.abs(here) ** 2, np.abs(there) ** 2)
        )
        return float(np.mean(cross / np.sqrt(np.maximum(of_here * of_there, 1e-30))))


def _middle(density: Array, pixel: float, diameter: float) -> Array:
    """The middle of a map, around the sphere that is compared."""
    n = len(density)
    wide = int(np.count_nonzero(sphere(n, pixel, diameter)[n // 2, n // 2])) // 2 + 2
    if wide > n // 2:
        return density
    kept = slice(n // 2 - wide, n // 2 + wide)
    return density[kept, kept, kept]


def _resampled(density: Array, box: int) -> Array:
    """The map (n, n, n) in fewer pixels (box, box, box), without what these cannot carry."""
    n = len(density)
    kept = np.r_[: box // 2, n - box // 2 : n]
    transform = fft.rfftn(density)[np.ix_(kept, kept, np.arange(box // 2 + 1))]
    return fft.irfftn(transform, s=(box,) * 3) * (box / n) ** 3
