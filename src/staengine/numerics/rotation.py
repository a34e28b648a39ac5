"""Turning a map: values of its Fourier transform at any points, and the map seen along other axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from staengine.numerics import fourier
from staengine.numerics.projector import padded_transform


@njit(nogil=True, cache=True, fastmath=True)
def values_at(transform, padding, points, out):
    """Fill out (n,) complex with a padded half transform's values at points (n, 3) = kx, ky, kz in 1/box.

    Trilinear interpolation; all points lie within the radius that the transform was made for.
    """
    centre = transform.shape[0] // 2
    for n in range(len(points)):
        x, y, z = padding * points[n, 0], padding * points[n, 1], padding * points[n, 2]
        mate = x < 0
        if mate:
            x, y, z = -x, -y, -z
        x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        ax, ay, az = x - x0, y - y0, z - z0
        value = 0j
        for dz in range(2):
            for dy in range(2):
                row = transform[z0 + dz + centre, y0 + dy + centre]
                factor = (az if dz else 1 - az) * (ay if dy else 1 - ay)
                value += factor * ((1 - ax) * row[x0] + ax * row[x0 + 1])
        out[n] = value.conjugate() if mate else value


def grid_points(box: int, radius: float) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which components of a half transform lie within a radius, and their kx, ky, kz (n, 3) in 1/box."""
    within = fourier.radius(box, 3) <= radius
    z, y, x = np.broadcast_arrays(*fourier.frequencies(box, 3))
    return within, np.stack([x[within], y[within], z[within]], axis=-1).astype(float)


def turned(
    volume: NDArray[Any], matrix: NDArray[Any], operators: NDArray[Any] | None = None, padding: int = 2
) -> NDArray[np.float32]:
    """The map (box, box, box) seen along the axes of a rotation matrix (3, 3): turned(x) = volume(matrixᵀ x).

    With operators (s, 3, 3) of a point group, the mean over the group of that. The corners of Fourier space stay empty.
    """
    box = volume.shape[0]
    transform = padded_transform(volume, padding)
    inside, points = grid_points(box, box / 2 - 1)
    total, values = np.zeros(len(points), complex), np.empty(len(points), complex)
    every = [np.eye(3)] if operators is None else operators
    for operator in every:
        values_at(transform, padding, points @ (operator @ matrix), values)
        total += values
    result = np.zeros(inside.shape, complex)
    result[inside] = total * (box**2 / len(every))
    return fourier.irfft(result, 3).astype(np.float32)


def shifted(volume: NDArray[Any], shift: NDArray[Any]) -> NDArray[np.float32]:
    """The map moved by `shift` = x, y, z in voxels; what leaves the box comes in on the other side."""
    box = volume.shape[0]
    z, y, x = fourier.frequencies(box, 3)
    phase = np.exp(-2j * np.pi / box * (x * shift[0] + y * shift[1] + z * shift[2]))
    return fourier.irfft(fourier.rfft(volume, 3) * phase, 3).astype(np.float32)


def centre_of_mass(volume: NDArray[Any]) -> NDArray[np.float64]:
    """x, y, z in voxels from the origin of the map's positive density, as RELION counts it; 0 for a map without any."""
    positive, axis = np.clip(volume, 0, None).astype(float), np.arange(volume.shape[0]) - volume.shape[0] // 2
    mass = positive.sum()
    if mass <= 0:
        return np.zeros(3)
    return np.array([positive.sum(axis=others) @ axis for others in ((0, 1), (0, 2), (1, 2))]) / mass
