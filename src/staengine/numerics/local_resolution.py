"""Local resolution: the FSC of two half maps within a small soft sphere, moved over the map in steps.

The curve of each sphere is corrected by the halves with random phases in the same sphere (Chen et al., Ultramicroscopy
2013). A voxel's resolution is the mean spatial frequency of the spheres that it lies in, weighted by their values
there; so is its density, each sphere holding the map filtered by its own curve. Spheres are small: their transforms
are made from the voxels around them alone, and only those voxels of a filtered map are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from staengine.numerics import fourier
from staengine.numerics.fsc import correct_fsc, last_shell, randomise_phases, shell_resolution

Window = tuple[slice, slice, slice]  # z, y, x


@dataclass(frozen=True)
class Spheres:
    """The soft spheres of a map: lengths in voxels."""

    step: int  # between centres, from the box's first voxel on
    radius: int  # where the spheres are 1
    edge: int  # over which they fall to 0

    def centres(self, box: int) -> NDArray[np.int64]:
        """x, y, z (n, 3) from the map's origin of all that lie less than box // 2 - radius from it; x slowest."""
        axis = np.arange(-(box // 2), box - box // 2, self.step)
        grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        return grid[np.linalg.norm(grid, axis=1) < box // 2 - self.radius]

    def at(self, centre: NDArray[np.int64], box: int) -> tuple[Window, NDArray[np.float32]]:
        """Where (z, y, x) the sphere around a centre x, y, z is not 0 in the box, and its values there."""
        reach = self.radius + self.edge
        middle = centre[::-1] + box // 2
        first, last = np.maximum(middle - reach, 0), np.minimum(middle + reach + 1, box)
        axes = [np.arange(a, b) - c for a, b, c in zip(first, last, middle, strict=True)]
        z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
        window = slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2])
        return window, fourier.raised_cosine(np.sqrt(x**2 + y**2 + z**2), self.radius, self.edge)


@dataclass(frozen=True)
class LocalCurve:
    """FSC curves of shells 0 .. box // 2 in the sphere around a centre x, y, z (voxels from the map's origin)."""

    centre: NDArray[np.int64]
    masked: NDArray[np.float64]
    randomised: NDArray[np.float64]
    corrected: NDArray[np.float64]
    resolution: float  # Å, at most the largest that was asked for


@dataclass(frozen=True)
class LocalMaps:
    """Resolution of each voxel (Å) and the locally filtered map (box, box, box); both 0 where no sphere reaches."""

    resolution: NDArray[np.float32]
    filtered: NDArray[np.float32]


def local_curves(
    half1: NDArray[Any],
    half2: NDArray[Any],
    spheres: Spheres,
    pixel: float,
    randomised_from: int,
    coarsest: float,
    rng: np.random.Generator,
    centres: Iterable[NDArray[np.int64]],
) -> Iterator[LocalCurve]:
    """The curves of the spheres around `centres` in two half maps (box, box, box).

    Pixel and `coarsest` resolution are in Å. Phases are random from shell `randomised_from` on. Resolution is read at
    FSC = 0.143.
    """
    box = len(half1)
    transforms = [fourier.rfft(half, 3) for half in (half1, half2)]
    random = [fourier.irfft(randomise_phases(one, randomised_from, rng), 3) for one in transforms]
    volumes = np.stack([half1, half2, *random]).astype(np.float32)
    shells = fourier.shell_index(box, 3)
    resolution = shell_resolution(box, pixel)
    for centre in centres:
        window, sphere = spheres.at(centre, box)
        parts = _transform_of_window(volumes[(slice(None), *window)] * sphere, box)
        masked, randomised = _curve(parts[0], parts[1], shells), _curve(parts[2], parts[3], shells)
        corrected = correct_fsc(masked, randomised, randomised_from)
        here = min(float(resolution[last_shell(corrected)]), coarsest)
        yield LocalCurve(centre, masked, randomised, corrected, here)


def sums(
    curves: Iterator[LocalCurve],
    spheres: Spheres,
    box: int,
    filtered: Callable[[LocalCurve], NDArray[Any]],
) -> NDArray[np.float64]:
    """What the maps are made of, summed over curves (3, box, box, box): those of other curves are added.
    `filtered` makes the map's half transform as a curve wants it."""
    weight, frequency, density = total = np.zeros((3, box, box, box))
    for curve in curves:
        window, sphere = spheres.at(curve.centre, box)
        weight[window] += sphere
        frequency[window] += sphere / curve.resolution
        density[window] += sphere * _window_of_map(filtered(curve), window)
    return total


def maps_of(total: NDArray[np.float64]) -> LocalMaps:
    """The maps (box, box, box) of the sums over all curves."""
    weight, frequency, density = total
    inside = weight > 0
    resolution = np.divide(weight, frequency, out=np.zeros_like(weight), where=inside)
    density = np.divide(density, weight, out=np.zeros_like(weight), where=inside)
    return LocalMaps(resolution.astype(np.float32), density.astype(np.float32))


def _transform_of_window(values: NDArray[np.float32], box: int) -> NDArray[np.complex64]:
    """Half transforms (n, box, box, box // 2 + 1) of maps that are `values` (n, ..) in a corner of the box, else 0.

    Where in the box it is changes phases alone, the same for all maps.
    """
    partial = scipy.fft.rfft(values, box, axis=3)
    for axis in (2, 1):
        partial = scipy.fft.fft(partial, box, axis=axis)
    return partial


def _window_of_map(transform: NDArray[Any], window: Window) -> NDArray[np.float32]:
    """The voxels of a window of the map (origin at box // 2) of a half transform, without making the others."""
    box = len(transform)
    k = np.fft.fftfreq(box)
    z, y, x = (
        (np.exp(2j * np.pi * np.outer(np.arange(box)[part] - box // 2, k)) / box).astype(np.complex64)
        for part in window
    )
    once = np.full(box // 2 + 1, 2, np.float32)  # each stands for itself and its mate, but for two planes
    once[0] = 1
    if box % 2 == 0:
        once[-1] = 1
    planes = np.tensordot(z, transform.astype(np.complex64, copy=False), 1)
    rows = np.matmul(y, planes)
    return np.matmul(rows, (x[:, : box // 2 + 1] * once).T).real


def _curve(
    transform1: NDArray[np.complex64], transform2: NDArray[np.complex64], shells: NDArray[np.int32]
) -> NDArray[np.float64]:
    sums = np.zeros((3, transform1.shape[0] // 2 + 1))
    _add_shells(transform1.ravel(), transform2.ravel(), shells.ravel(), sums)
    norm = np.sqrt(sums[1] * sums[2])
    curve = np.divide(sums[0], norm, out=np.zeros(len(norm)), where=norm > 0)
    curve[0] = 1.0
    return curve


@njit(nogil=True, cache=True, fastmath=True)
def _add_shells(first, second, shells, sums):
    """Add to sums (3, n) of each shell the cross product of two transforms and the power of both."""
    n = sums.shape[1]
    for i in range(len(shells)):
        shell = shells[i]
        if shell < n:
            a, b = first[i], second[i]
            sums[0, shell] += a.real * b.real + a.imag * b.imag
            sums[1, shell] += a.real * a.real + a.imag * a.imag
            sums[2, shell] += b.real * b.real + b.imag * b.imag
