"""Central slices of a map's Fourier transform, and their adjoint: adding slices to a transform.

A map (N, N, N) is stored as the half transform of its zero-padded self (padding · N voxels a side), divided by N² as 2D
transforms of images are, in an array (S, S, S // 2) with zero frequency at [S // 2, S // 2, 0]. S = padding · N + 2:
the array holds both Nyquist planes, so that every component below Nyquist has all its neighbours; it is smaller if
only components within a radius are used. Values between grid points are interpolated trilinearly. In real space that
multiplies the map by squared sinc functions, which are divided out beforehand.

A slice is taken at the components (kx, ky) of a list, kx >= 0; for an orientation M (3, 3) it lies along the first
two rows of M: component (kx, ky) is the transform's value at kx M[0] + ky M[1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from staengine.numerics import fourier


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

    def pick(self, half_transforms: NDArray[Any]) -> NDArray[Any]:
        """Their values (..., K) in half transforms (..., box, box // 2 + 1) in FFT order."""
        return half_transforms[..., self.ky, self.kx]

    def shell_sum(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sum of values (..., K) over each shell 0 .. box // 2."""
        shells = np.broadcast_to(self.shell, values.shape).ravel()
        return np.bincount(shells, values.ravel(), self.box // 2 + 1).astype(np.float64, copy=False)

    def count_within(self, radius: float) -> int:
        """How many of the sorted components lie within a radius."""
        return int(np.searchsorted(self.radius, radius, side="right"))


def gridding_correction(box: int, padding: int) -> NDArray[np.float32]:
    """What trilinear interpolation in Fourier space multiplies a map (box, box, box) with."""
    axis = np.sinc((np.arange(box) - box // 2) / (padding * box)) ** 2
    return (axis[:, None, None] * axis[None, :, None] * axis[None, None, :]).astype(np.float32)


def array_shape(box: int, padding: int, radius: int | None = None) -> tuple[int, int, int]:
    """(S, S, S // 2) of the padded half transform of a map (box, box, box), up to `radius` (default: Nyquist)."""
    half = padding * box // 2 + 1
    if radius is not None:
        half = min(half, padding * radius + 2)
    return 2 * half, 2 * half, half


def padded_transform(
    volume: NDArray[Any], padding: int, workers: int = 1, radius: int | None = None
) -> NDArray[np.complex64]:
    """The half transform (S, S, S // 2) of a map, ready to be sliced at components within `radius`."""
    box = volume.shape[0]
    big = fourier.window(volume / gridding_correction(box, padding), padding * box, 3).astype(np.float32)
    transform = fourier.rfft(big, 3, workers)
    half = array_shape(box, padding, radius)[2]
    rows = np.arange(-half, half)  # the first of these planes stays unused
    return (transform[rows[:, None], rows, :half] / np.float32(box**2)).astype(np.complex64, copy=False)


def unpadded_map(transform: NDArray[Any], box: int, padding: int, workers: int = 1) -> NDArray[np.float32]:
    """The map (box, box, box) of a half transform that was gathered by interpolation (see `backproject`)."""
    middle, half = len(transform) // 2, min(padding * box // 2, len(transform) // 2)
    rows = np.arange(-half, half)
    whole = np.zeros((padding * box, padding * box, padding * box // 2 + 1), np.complex64)
    whole[rows[:, None], rows, : transform.shape[2]] = transform[middle + rows[:, None], middle + rows]
    volume = fourier.window(fourier.irfft(whole, 3, workers), box, 3)
    return (volume * box**2 / gridding_correction(box, padding)).astype(np.float32)


@njit(nogil=True, cache=True, fastmath=True)
def project(transform, padding, matrices, kx, ky, out):
    """Fill out (n, 2, m, K) with real and imaginary parts of the slices at matrices (n, m, 3, 3)."""
    room = places(len(kx))
    for m in range(matrices.shape[1]):  # slices of one tilt lie close together: they stay in the cache
        for n in range(matrices.shape[0]):
            slice_at(transform, padding, matrices[n, m], kx, ky, room, out[n, 0, m], out[n, 1, m])


@njit(nogil=True, cache=True, fastmath=True)
def slice_at(transform, padding, matrix, kx, ky, room, real, imaginary):
    """Fill real and imaginary (K,) with one slice; `room` is what `places` gives for at least K components."""
    size, row = transform.shape[0], transform.shape[2]
    plane = size * row
    flat = transform.view(np.float32).reshape(-1)
    _locate(matrix, padding, kx, ky, size, row, room)
    index, ax, ay, az, sign = room
    one = np.float32(1)
    for k in range(len(kx)):
        near, far = one - az[k], az[k]
        f00, f01, f10, f11 = near * (one - ay[k]), near * ay[k], far * (one - ay[k]), far * ay[k]
        i = index[k]
        # unsigned: numba need not look for negative indices
        a, b = np.uint32(2 * i), np.uint32(2 * (i + row))
        c, d = np.uint32(2 * (i + plane)), np.uint32(2 * (i + plane + row))
        re0 = f00 * flat[a] + f01 * flat[b] + f10 * flat[c] + f11 * flat[d]
        im0 = f00 * flat[a + 1] + f01 * flat[b + 1] + f10 * flat[c + 1] + f11 * flat[d + 1]
        re1 = f00 * flat[a + 2] + f01 * flat[b + 2] + f10 * flat[c + 2] + f11 * flat[d + 2]
        im1 = f00 * flat[a + 3] + f01 * flat[b + 3] + f10 * flat[c + 3] + f11 * flat[d + 3]
        real[k] = re0 + ax[k] * (re1 - re0)
        imaginary[k] = sign[k] * (im0 + ax[k] * (im1 - im0))


@njit(nogil=True, cache=True, fastmath=True)
def backproject(values, weights, padding, matrices, kx, ky, data, weight):
    """Add slices: values (n, 2, m, K) to data (S, S, S // 2, 2), weights (n, m, K) to weight (S, S, S // 2).

    The adjoint of `project`, up to Friedel symmetry (see `enforce_friedel`).
    """
    size, row = data.shape[0], data.shape[2]
    plane = size * row
    flat, flat_weight = data.reshape(-1), weight.reshape(-1)
    room = places(len(kx))
    index, ax, ay, az, sign = room
    one = np.float32(1)
    for m in range(matrices.shape[1]):
        for n in range(matrices.shape[0]):
            _locate(matrices[n, m], padding, kx, ky, size, row, room)
            for k in range(len(kx)):
                re, im, w = values[n, 0, m, k], sign[k] * values[n, 1, m, k], weights[n, m, k]
                near, far, i, a = one - az[k], az[k], index[k], ax[k]
                _add_pair(flat, flat_weight, i, near * (one - ay[k]), a, re, im, w)
                _add_pair(flat, flat_weight, i + row, near * ay[k], a, re, im, w)
                _add_pair(flat, flat_weight, i + plane, far * (one - ay[k]), a, re, im, w)
                _add_pair(flat, flat_weight, i + plane + row, far * ay[k], a, re, im, w)


@njit(nogil=True, cache=True, inline="always")
def _add_pair(flat, flat_weight, i, factor, ax, re, im, w):
    f1 = factor * ax
    f0 = factor - f1
    j, i = np.uint32(2 * i), np.uint32(i)
    flat[j] += f0 * re
    flat[j + 1] += f0 * im
    flat[j + 2] += f1 * re
    flat[j + 3] += f1 * im
    flat_weight[i] += f0 * w
    flat_weight[i + 1] += f1 * w


@njit(nogil=True, cache=True)
def places(n):
    """Room for what `_locate` finds: index, ax, ay, az and sign of n components."""
    empty = np.empty((4, n), np.float32)
    return np.empty(n, np.int32), empty[0], empty[1], empty[2], empty[3]


@njit(nogil=True, cache=True, fastmath=True)
def _locate(matrix, padding, kx, ky, size, row, room):
    """Where the components lie in a half transform: flat index of the grid point below, distance from it, and -1
    if the Friedel mate is there.

    A pass of its own, in loops over few arrays each: only so are they compiled to vector instructions.
    """
    index, ax, ay, az, sign = room
    one, centre, pad, n = np.float32(1), np.float32(size // 2), np.float32(padding), len(kx)
    row, plane = np.int32(row), np.int32(size * row)
    for axis, values in enumerate((ax, ay, az)):
        along_x, along_y = matrix[0, axis] * pad, matrix[1, axis] * pad
        for k in range(n):
            values[k] = np.float32(kx[k]) * along_x + np.float32(ky[k]) * along_y
    for k in range(n):
        sign[k] = one if ax[k] >= 0 else -one
    for k in range(n):
        ax[k] *= sign[k]
    for values in (ay, az):
        for k in range(n):
            values[k] = values[k] * sign[k] + centre
    for k in range(n):
        index[k] = np.int32(az[k]) * plane + np.int32(ay[k]) * row + np.int32(ax[k])
    for values in (ax, ay, az):
        for k in range(n):
            values[k] -= np.float32(np.int32(values[k]))


def enforce_friedel(data: NDArray[np.complex64], weight: NDArray[np.float32]) -> None:
    """Give both halves of the plane kx = 0 the sum of what was added to either, in place; the origin has no mate."""
    origin = len(data) // 2, len(data) // 2, 0
    once = data[origin].real, weight[origin]
    data[1:, 1:, 0] += data[:0:-1, :0:-1, 0].conj()
    weight[1:, 1:, 0] += weight[:0:-1, :0:-1, 0]
    data[origin], weight[origin] = once


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
