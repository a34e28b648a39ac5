"""Central slices of a map's Fourier transform, and their adjoint: adding slices to a transform.

A map (N, N, N) is held as the half transform of its zero-padded self (padding · N voxels a side), divided by N² as 2D
transforms of images are, in an array (S, S, S // 2) with S = padding · N + 2 and zero frequency at [S // 2, S // 2, 0]:
both Nyquist planes are there, so that every component below Nyquist has all its neighbours. Values between grid points
are trilinear; what that costs in real space (a product of squared sinc functions) is divided out of the map beforehand.

A slice is taken at the components (kx, ky) of a list, kx >= 0; for an orientation M (3, 3) it lies along the first
two rows of M: component (kx, ky) is the transform's value at kx M[0] + ky M[1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from staengine import fourier


@dataclass(frozen=True)
class Components:
    """Fourier components of an image within a radius, sorted by radius: a prefix is a lower resolution.

    One of each Friedel pair; Nyquist components, whose phase is not defined, are left out.
    """

    kx: NDArray[np.int32]  # (K,), >= 0
    ky: NDArray[np.int32]  # (K,)
    shell: NDArray[np.int32]  # (K,) nearest whole radius
    radius: NDArray[np.float32]  # (K,)
    box: int

    @classmethod
    def within(cls, box: int, radius: float) -> Components:
        ky, kx = np.meshgrid(np.arange(-(box // 2) + 1, box // 2), np.arange(box // 2), indexing="ij")
        r = np.hypot(kx, ky)
        keep = (r <= radius) & (r < box / 2) & ((kx > 0) | (ky >= 0))
        order = np.argsort(r[keep], kind="stable")
        kx, ky, r = (values[keep][order] for values in (kx, ky, r))
        return cls(
            kx.astype(np.int32), ky.astype(np.int32), np.rint(r).astype(np.int32), r.astype(np.float32), box
        )

    def __len__(self) -> int:
        return len(self.kx)

    def pick(self, half_transforms: NDArray) -> NDArray:
        """Their values (..., K) in half transforms (..., box, box // 2 + 1) in FFT order."""
        return half_transforms[..., self.ky, self.kx]

    def count_within(self, radius: float) -> int:
        """How many of the sorted components lie within a radius."""
        return int(np.searchsorted(self.radius, radius, side="right"))


def gridding_correction(box: int, padding: int) -> NDArray[np.float32]:
    """What trilinear interpolation in Fourier space multiplies a map (box, box, box) with."""
    axis = np.sinc((np.arange(box) - box // 2) / (padding * box)) ** 2
    return (axis[:, None, None] * axis[None, :, None] * axis[None, None, :]).astype(np.float32)


def array_shape(box: int, padding: int) -> tuple[int, int, int]:
    """(S, S, S // 2) of the padded half transform of a map (box, box, box)."""
    size = padding * box + 2
    return size, size, size // 2


def padded_transform(volume: NDArray, padding: int, workers: int = 1) -> NDArray[np.complex64]:
    """The half transform (S, S, S // 2) of a map, ready to be sliced."""
    box = volume.shape[0]
    big = fourier.window(volume / gridding_correction(box, padding), padding * box, 3).astype(np.float32)
    transform = scipy.fft.fftshift(fourier.rfft(big, 3, workers), axes=(0, 1))
    both_ends = ((1, 1), (1, 1), (0, 0))  # the first of these planes stays unused
    return (np.pad(transform, both_ends, mode="wrap") / box**2).astype(np.complex64)


def unpadded_map(transform: NDArray, box: int, padding: int, workers: int = 1) -> NDArray[np.float32]:
    """The map (box, box, box) of a half transform that was gathered by interpolation (see `backproject`)."""
    inner = scipy.fft.ifftshift(transform[1:-1, 1:-1], axes=(0, 1))
    volume = fourier.window(fourier.irfft(inner, 3, workers), box, 3)
    return (volume * box**2 / gridding_correction(box, padding)).astype(np.float32)


@njit(nogil=True, cache=True, fastmath=True)
def project(transform, padding, matrices, kx, ky, out):
    """Fill out (n, 2, m, K) with real and imaginary parts of the slices at matrices (n, m, 3, 3)."""
    size = transform.shape[0]
    centre = size // 2
    for n in range(matrices.shape[0]):
        for m in range(matrices.shape[1]):
            for k in range(len(kx)):
                fx, fy = np.float32(kx[k] * padding), np.float32(ky[k] * padding)
                x = fx * matrices[n, m, 0, 0] + fy * matrices[n, m, 1, 0]
                y = fx * matrices[n, m, 0, 1] + fy * matrices[n, m, 1, 1]
                z = fx * matrices[n, m, 0, 2] + fy * matrices[n, m, 1, 2]
                sign = np.float32(1)
                if x < 0:
                    x, y, z, sign = -x, -y, -z, np.float32(-1)
                x0, y0, z0 = int(x), int(np.floor(y)), int(np.floor(z))
                ax, ay, az = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
                y0 += centre
                z0 += centre
                bx, by, bz = np.float32(1) - ax, np.float32(1) - ay, np.float32(1) - az
                value = (
                    (transform[z0, y0, x0] * bx + transform[z0, y0, x0 + 1] * ax) * (bz * by)
                    + (transform[z0, y0 + 1, x0] * bx + transform[z0, y0 + 1, x0 + 1] * ax) * (bz * ay)
                    + (transform[z0 + 1, y0, x0] * bx + transform[z0 + 1, y0, x0 + 1] * ax) * (az * by)
                    + (transform[z0 + 1, y0 + 1, x0] * bx + transform[z0 + 1, y0 + 1, x0 + 1] * ax)
                    * (az * ay)
                )
                out[n, 0, m, k] = value.real
                out[n, 1, m, k] = sign * value.imag


@njit(nogil=True, cache=True, fastmath=True)
def backproject(values, weights, padding, matrices, kx, ky, data, weight):
    """Add slices: values (n, 2, m, K) to data (S, S, S // 2, 2), weights (n, m, K) to weight (S, S, S // 2).

    The adjoint of `project`, up to Friedel symmetry (see `enforce_friedel`).
    """
    size = data.shape[0]
    centre = size // 2
    for n in range(matrices.shape[0]):
        for m in range(matrices.shape[1]):
            for k in range(len(kx)):
                fx, fy = np.float32(kx[k] * padding), np.float32(ky[k] * padding)
                x = fx * matrices[n, m, 0, 0] + fy * matrices[n, m, 1, 0]
                y = fx * matrices[n, m, 0, 1] + fy * matrices[n, m, 1, 1]
                z = fx * matrices[n, m, 0, 2] + fy * matrices[n, m, 1, 2]
                re, im, w = values[n, 0, m, k], values[n, 1, m, k], weights[n, m, k]
                if x < 0:
                    x, y, z, im = -x, -y, -z, -im
                x0, y0, z0 = int(x), int(np.floor(y)), int(np.floor(z))
                ax, ay, az = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
                y0 += centre
                z0 += centre
                for dz in range(2):
                    fz = az if dz else np.float32(1) - az
                    for dy in range(2):
                        fzy = fz * (ay if dy else np.float32(1) - ay)
                        for dx in range(2):
                            f = fzy * (ax if dx else np.float32(1) - ax)
                            data[z0 + dz, y0 + dy, x0 + dx, 0] += f * re
                            data[z0 + dz, y0 + dy, x0 + dx, 1] += f * im
                            weight[z0 + dz, y0 + dy, x0 + dx] += f * w


def enforce_friedel(data: NDArray[np.complex128], weight: NDArray[np.float64]) -> None:
    """Give both halves of the plane kx = 0 the sum of what was added to either, in place."""
    plane, mirrored = data[1:, 1:, 0], data[:0:-1, :0:-1, 0].conj()
    data[1:, 1:, 0] = plane + mirrored
    weight[1:, 1:, 0] = weight[1:, 1:, 0] + weight[:0:-1, :0:-1, 0]


@njit(nogil=True, cache=True, fastmath=True)
def add_rotated(values, operators, radius, out):
    """Add to out the sum over operators (s, 3, 3) of values (S, S, S // 2, 3) seen at the rotated grid point.

    Of the three values per voxel the second is an imaginary part, which changes sign with the Friedel mate. Only grid
    points within `radius` (padded pixels) are filled.
    """
    size = values.shape[0]
    centre = size // 2
    for iz in range(1, size):
        for iy in range(1, size):
            for ix in range(values.shape[2]):
                fz, fy = iz - centre, iy - centre
                if ix * ix + fy * fy + fz * fz > radius * radius:
                    continue
                for s in range(operators.shape[0]):
                    r = operators[s]
                    x = r[0, 0] * ix + r[0, 1] * fy + r[0, 2] * fz
                    y = r[1, 0] * ix + r[1, 1] * fy + r[1, 2] * fz
                    z = r[2, 0] * ix + r[2, 1] * fy + r[2, 2] * fz
                    sign = 1.0
                    if x < 0:
                        x, y, z, sign = -x, -y, -z, -1.0
                    x0, y0, z0 = int(x), int(np.floor(y)), int(np.floor(z))
                    ax, ay, az = x - x0, y - y0, z - z0
                    for dz in range(2):
                        for dy in range(2):
                            for dx in range(2):
                                f = (ax if dx else 1 - ax) * (ay if dy else 1 - ay) * (az if dz else 1 - az)
                                if f == 0:
                                    continue
                                for c in range(3):
                                    value = f * values[z0 + dz + centre, y0 + dy + centre, x0 + dx, c]
                                    out[iz, iy, ix, c] += sign * value if c == 1 else value
