"""Numba kernels of 3D reconstruction: gather the slices that pass near each voxel of a half transform.

Accumulators are (box, box, box // 2 + 1, 3) float64: real, imaginary, weight; in FFT order. Kernels work
on planes z = first, first + step, ..: threads given different `first` never touch the same voxel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from staengine.numerics import fourier

MINIMAL_WEIGHT = 0.001  # of the mean at that resolution


@numba.njit(nogil=True, cache=True, fastmath=True)
def _gather_slices(volume, slices, rotations, radii, first, step):
    box, half = volume.shape[0], volume.shape[2]
    for i in range(slices.shape[0]):
        image, r, radius = slices[i], rotations[i], radii[i]
        for iz in range(first, box, step):
            z = iz if iz < box // 2 else iz - box
            for iy in range(box):
                y = iy if iy < box // 2 else iy - box
                left = radius * radius - y * y - z * z
                if left < 0:
                    continue
                # the slab |r[2] . (x, y, z)| < 1 cuts this row between x0 and x1
                x0, x1 = 0, min(half - 1, int(math.sqrt(left)))
                offset, slope = r[2, 1] * y + r[2, 2] * z, r[2, 0]
                if abs(slope) > 1e-9:
                    a, b = (-1 - offset) / slope, (1 - offset) / slope
                    x0 = max(x0, math.ceil(min(max(min(a, b), -1.0), half + 1.0)))
                    x1 = min(x1, math.floor(max(min(max(a, b), half + 1.0), -1.0)))
                elif abs(offset) >= 1:
                    continue
                for x in range(x0, x1 + 1):
                    weight = 1 - abs(slope * x + offset)
                    if weight <= 0:
                        continue
                    px = r[0, 0] * x + r[0, 1] * y + r[0, 2] * z
                    py = r[1, 0] * x + r[1, 1] * y + r[1, 2] * z
                    sign = 1.0
                    if px < 0:
                        px, py, sign = -px, -py, -1.0
                    jx, jy = min(int(px), half - 1), math.floor(py)
                    fx, fy = px - jx, py - jy
                    c1 = jx + 1 if jx + 1 < half else half - 2  # mirrored at Nyquist
                    r0, r1 = jy % box, (jy + 1) % box
                    w00, w01 = weight * (1 - fy) * (1 - fx), weight * (1 - fy) * fx
                    w10, w11 = weight * fy * (1 - fx), weight * fy * fx
                    for c in range(3):
                        value = (
                            w00 * image[r0, jx, c]
                            + w01 * image[r0, c1, c]
                            + w10 * image[r1, jx, c]
                            + w11 * image[r1, c1, c]
                        )
                        volume[iz, iy, x, c] += sign * value if c == 1 else value


@numba.njit(nogil=True, cache=True, fastmath=True)
def _average_rotated(out, volume, rotations, first, step):
    box, half = volume.shape[0], volume.shape[2]
    for iz in range(first, box, step):
        z = iz if iz < box // 2 else iz - box
        for iy in range(box):
            y = iy if iy < box // 2 else iy - box
            for x in range(half):
                if x * x + y * y + z * z > half**2:
                    continue
                for i in range(rotations.shape[0]):
                    r = rotations[i]
                    px = r[0, 0] * x + r[0, 1] * y + r[0, 2] * z
                    py = r[1, 0] * x + r[1, 1] * y + r[1, 2] * z
                    pz = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z
                    sign = 1.0
                    if px < 0:
                        px, py, pz, sign = -px, -py, -pz, -1.0
                    jx, jy, jz = min(int(px), half - 1), math.floor(py), math.floor(pz)
                    fx, fy, fz = px - jx, py - jy, pz - jz
                    for corner in range(8):
                        dx, dy, dz = corner & 1, (corner >> 1) & 1, corner >> 2
                        cx = jx + dx if jx + dx < half else half - 2  # mirrored at Nyquist
                        weight = (
                            (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * (fz if dz else 1 - fz)
                        ) / rotations.shape[0]
                        for c in range(3):
                            value = weight * volume[(jz + dz) % box, (jy + dy) % box, cx, c]
                            out[iz, iy, x, c] += sign * value if c == 1 else value


def _in_threads(kernel: Callable[..., None], arguments: tuple[Any, ...], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda first: kernel(*arguments, first, threads), range(threads)))


def new_accumulator(box: int) -> NDArray[np.float64]:
    return np.zeros((box, box, box // 2 + 1, 3))


def backproject(
    volume: NDArray[np.float64],
    slices: NDArray[np.float32],
    rotations: NDArray[Any],
    radii: NDArray[Any],
    threads: int,
) -> None:
    """Add slices to the accumulator `volume` in place.

    slices: (n, box, box // 2 + 1, 3) real, imaginary, weight; rotations: (n, 3, 3), of which the first two
    rows span the slices; radii: (n,) Fourier px, beyond which a slice is not used. A voxel within one Fourier
    pixel of a slice gets its bilinear interpolation times 1 - distance.
    """
    arguments = (volume, slices, np.ascontiguousarray(rotations, float), np.asarray(radii, float))
    _in_threads(_gather_slices, arguments, threads)


def symmetrise(volume: NDArray[np.float64], rotations: NDArray[Any], threads: int) -> NDArray[np.float64]:
    """Average of an accumulator over rotations (n, 3, 3), up to Nyquist, by trilinear interpolation."""
    out = np.zeros_like(volume)
    _in_threads(_average_rotated, (out, volume, np.ascontiguousarray(rotations, float)), threads)
    return out


def divide(sums: NDArray[np.float64], snr: float, threads: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weighted sum, corrected for interpolation, and map, both (box, box, box), of accumulated slices.

    snr > 0: Wiener filter with 1 / snr. Else weights below MINIMAL_WEIGHT of their shell's mean are raised to
    it, and there is nothing beyond Nyquist.
    """
    box = sums.shape[0]
    transform = (sums[..., 0] + 1j * sums[..., 1]).astype(np.complex64)
    data = fourier.irfft(transform, 3, threads) * np.float32(box**1.5)
    # linear interpolation in Fourier space multiplies the map by about sinc²
    data /= np.maximum(np.sinc(np.minimum(fourier.distance(box, 3) / box, 1)) ** 2, 0.01)
    transform, weight = fourier.rfft(data, 3, threads), sums[..., 2].astype(np.float32)
    if snr > 0:
        transform /= weight + 1 / snr
    else:
        r = fourier.radius(box, 3)
        mean = _radial_mean(weight, r)
        lowest = MINIMAL_WEIGHT * np.interp(r, np.arange(len(mean)), mean)
        weight = np.maximum(weight, lowest.astype(np.float32))
        usable = (r < box // 2) & (weight > 0)
        transform = np.divide(transform, weight, out=np.zeros_like(transform), where=usable)
    return data, fourier.irfft(transform, 3, threads)


def _radial_mean(values: NDArray[Any], r: NDArray[Any]) -> NDArray[np.float64]:
    """Mean at radii 0 .. box // 2, each element being shared between the two whole radii next to its own."""
    lower, share = np.floor(r).astype(int).ravel(), (r % 1).ravel()

    def total(weights: NDArray[Any]) -> NDArray[np.float64]:
        at_lower = np.bincount(lower, weights * (1 - share)).astype(float)
        at_lower[1:] += np.bincount(lower, weights * share)[:-1]
        return at_lower[: values.shape[-1]]

    return total(values.ravel()) / total(np.ones_like(share))


def full_weight(weight: NDArray[Any]) -> NDArray[Any]:
    """Whole cube, zero frequency at box // 2, of the half transform of weights, which are even (box even)."""
    negative = -np.arange(weight.shape[0])
    mirrored = weight[negative][:, negative][:, :, :0:-1]
    return np.fft.fftshift(np.concatenate([weight[:, :, :-1], mirrored], axis=2))
