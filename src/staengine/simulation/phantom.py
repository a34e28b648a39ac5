"""An asymmetric, ribosome-like particle in two conformations, its density and its projections.

A particle is a cloud of residue-sized Gaussians arranged in helices. (Points with a weight each, as those of a given
map, are a cloud as well: a fourth column.) A projection is the cloud rotated,
summed onto an oversampled image with cubic B-splines and taken through Fourier space, where the splines are
divided out and contrast transfer, dose and the Gaussian are multiplied in: exact up to the Nyquist frequency,
without interpolation of a volume.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from numba import njit
from scipy.spatial.transform import Rotation

from staengine.numerics import fourier

RESIDUE_VOLUME = 160.0  # Å^3 of dense matter that one residue stands for
RESIDUE_SIGMA = 2.0  # Å, Gaussian radius of one residue

# Ellipsoids that make up the particle, as fractions of its diameter: centre and semi-axes.
BODY = (
    ((0.00, -0.13, 0.00), (0.37, 0.30, 0.36)),  # large subunit
    ((0.04, 0.27, 0.02), (0.32, 0.15, 0.26)),  # small subunit
    ((0.38, 0.04, -0.17), (0.10, 0.07, 0.07)),  # stalk
)
HEAD = ((-0.18, 0.29, 0.22), (0.13, 0.11, 0.12))
HEAD_PIVOT = (-0.10, 0.24, 0.12)  # conformation B: the head swivelled about this point
HEAD_SWIVEL_DEG = (55.0, 25.0, 0.0)


class Phantom(NamedTuple):
    """Residues of the two conformations, each (n, 3) x y z in Å about the particle's origin, or (n, 4); float32."""

    A: np.ndarray
    B: np.ndarray


class Grid(NamedTuple):
    """Box of a projection (px), its pixel size (Å), and the filter (box, box // 2 + 1) of a residue on it."""

    box: int
    angpix: float
    residue: np.ndarray


def build_phantom(diameter: float, rng: np.random.Generator) -> Phantom:
    """Asymmetric particle of `diameter` Å; conformation B has its head swivelled."""
    still = np.concatenate([_helices(c, r, diameter, rng) for c, r in BODY])
    head = _helices(*HEAD, diameter, rng)
    pivot = np.multiply(HEAD_PIVOT, diameter)
    swivel = Rotation.from_euler("zyx", HEAD_SWIVEL_DEG, degrees=True)
    closed, swivelled = (
        np.concatenate([still, head]),
        np.concatenate([still, swivel.apply(head - pivot) + pivot]),
    )
    centre = closed.mean(0)
    return Phantom((closed - centre).astype(np.float32), (swivelled - centre).astype(np.float32))


def amorphous_clump(diameter: float, rng: np.random.Generator) -> np.ndarray:
    """Aggregated protein, another one at each call: residues (n, 3) in Å."""
    return _helices((0, 0, 0), rng.uniform(0.2, 0.4, 3), diameter, rng).astype(np.float32)


def _helices(centre: Any, radii: Any, diameter: float, rng: np.random.Generator) -> np.ndarray:
    """Residues (n, 3) in Å of random helices that fill an ellipsoid, one to each RESIDUE_VOLUME."""
    centre, radii = np.multiply(centre, diameter), np.multiply(radii, diameter)
    wanted = int(4 / 3 * np.pi * radii.prod() / RESIDUE_VOLUME)
    # Double helices of 50 Å, with the radius (9 Å), pitch (28 Å) and rise (2.8 Å) of A-form RNA.
    along = np.tile(np.arange(-25.0, 25.0, 2.8), 2)
    turn = along * 2 * np.pi / 28 + np.repeat([0, 2.5], len(along) // 2)
    rods = wanted // len(along) * 4 + 8
    start = rng.uniform(-1, 1, (rods, 3))
    frames = Rotation.random(rods, rng=rng).as_matrix()[:, None]  # (rods, 1, 3, 3)
    helix = np.stack([9 * np.cos(turn), 9 * np.sin(turn), along], axis=-1)[None, :, :, None]
    points = (frames @ helix)[..., 0] + start[:, None] * radii
    inside = ((points / radii) ** 2).sum(-1) <= 1
    return points[inside][:wanted] + centre


@njit(inline="always")
def _spline_weights(t, weights):  # pragma: no cover - compiled
    """Cubic B-spline at the four grid points around a point at fraction t between the middle two."""
    weights[0] = (1 - t) ** 3 / 6
    weights[1] = (4 - 6 * t**2 + 3 * t**3) / 6
    weights[3] = t**3 / 6
    weights[2] = 1 - weights[0] - weights[1] - weights[3]


@njit(nogil=True, cache=True)
def _spread2d(points, matrix, shift, image):  # pragma: no cover - compiled
    """Add points, projected by matrix (2, 3) and moved by shift (x, y), to an image with origin n // 2."""
    wx, wy = np.empty(4), np.empty(4)
    weighted = points.shape[1] == 4
    for p in points:
        x = matrix[0, 0] * p[0] + matrix[0, 1] * p[1] + matrix[0, 2] * p[2] + shift[0] + image.shape[1] // 2
        y = matrix[1, 0] * p[0] + matrix[1, 1] * p[1] + matrix[1, 2] * p[2] + shift[1] + image.shape[0] // 2
        ix, iy = int(x), int(y)
        _spline_weights(x - ix, wx)
        _spline_weights(y - iy, wy)
        if weighted:
            wy *= p[3]
        for b in range(4):
            for a in range(4):
                image[iy + b - 1, ix + a - 1] += wy[b] * wx[a]


@njit(nogil=True, cache=True)
def _spread3d(points, scale, volume):  # pragma: no cover - compiled
    """Add points, `scale` voxels to a unit, to a volume with its origin at n // 2."""
    wx, wy, wz = np.empty(4), np.empty(4), np.empty(4)
    weighted = points.shape[1] == 4
    for p in points:
        x, y, z = scale * p[0], scale * p[1], scale * p[2]
        x, y, z = x + volume.shape[2] // 2, y + volume.shape[1] // 2, z + volume.shape[0] // 2
        ix, iy, iz = int(x), int(y), int(z)
        _spline_weights(x - ix, wx)
        _spline_weights(y - iy, wy)
        _spline_weights(z - iz, wz)
        if weighted:
            wz *= p[3]
        for c in range(4):
            for b in range(4):
                for a in range(4):
                    volume[iz + c - 1, iy + b - 1, ix + a - 1] += wz[c] * wy[b] * wx[a]


def residue_filter(box: int, angpix: float, ndim: int) -> np.ndarray:
    """Half transform that turns B-splines on a grid of half the pixel size into residues."""
    f = fourier.frequencies(box, ndim)
    spline = np.prod(np.broadcast_arrays(*(np.sinc(g / (2 * box)) ** 4 for g in f)), axis=0)
    k = fourier.radius(box, ndim) / (box * angpix)
    return (np.exp(-2 * (np.pi * RESIDUE_SIGMA * k) ** 2) / spline).astype(np.float32)


def phantom_map(points: np.ndarray, box: int, angpix: float) -> np.ndarray:
    """Density of residues (n, 3 or 4) in Å as a map (box, box, box), residues per voxel, origin at box // 2."""
    fine = np.zeros((2 * box,) * 3, np.float32)
    _spread3d(points, 2 / angpix, fine)
    transform = fourier.resize_transform(scipy.fft.rfftn(fine, workers=-1), box, 3)
    return scipy.fft.irfftn(transform * residue_filter(box, angpix, 3), s=(box,) * 3)


def projection(
    points: np.ndarray, matrix: np.ndarray, shift_px: np.ndarray, grid: Grid, transfer: Any = 1.0
) -> np.ndarray:
    """Image (box, box), origin at box // 2, of residues (n, 3 or 4) turned by `matrix` (3, 3), shifted and filtered."""
    fine = np.zeros((2 * grid.box,) * 2, np.float32)
    _spread2d(points, matrix[:2] * (2 / grid.angpix), np.multiply(shift_px, 2.0), fine)
    # The origin is at half the box on both grids, so the phases of the two shifts cancel.
    transform = fourier.resize_transform(scipy.fft.rfft2(fine), grid.box, 2)
    return scipy.fft.irfft2(transform * (grid.residue * transfer), s=(grid.box, grid.box))
