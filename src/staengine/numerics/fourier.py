"""Discrete Fourier transforms of square images and cubic maps: centring, shells, resizing, soft edges.

Real-space arrays (..., box, box) or (..., box, box, box) have their origin at index box // 2 on each axis.
Transforms are "half transforms" in the FFT's own order, (..., box, box // 2 + 1) and
(..., box, box, box // 2 + 1), zero frequency at index 0, unnormalised (scipy's default). `ndim` is 2 or 3.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray


def rfft(values: NDArray[Any], ndim: int, workers: int = 1) -> NDArray[Any]:
    """Half transform over the last `ndim` axes of an array whose origin is at box // 2."""
    axes = tuple(range(-ndim, 0))
    return scipy.fft.rfftn(scipy.fft.ifftshift(values, axes=axes), axes=axes, workers=workers)


def irfft(transform: NDArray[Any], ndim: int, workers: int = 1) -> NDArray[Any]:
    """Inverse of `rfft`; the box is even or odd as the transform's first transformed axis says."""
    axes = tuple(range(-ndim, 0))
    shape = (transform.shape[-ndim],) * ndim
    return scipy.fft.fftshift(scipy.fft.irfftn(transform, s=shape, axes=axes, workers=workers), axes=axes)


def frequencies(box: int, ndim: int) -> tuple[NDArray[np.float32], ...]:
    """Broadcastable frequency indices (z, y, x) or (y, x) of a half transform, in 1/box."""
    full = np.rint(np.fft.fftfreq(box) * box).astype(np.float32)
    half = np.arange(box // 2 + 1, dtype=np.float32)
    axes = [full] * (ndim - 1) + [half]
    return tuple(_along(axis, k, ndim) for k, axis in enumerate(axes))


def _along(values: NDArray[Any], axis: int, ndim: int) -> NDArray[Any]:
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _sum_of_squares(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return functools.reduce(np.add, (array**2 for array in arrays))


def radius(box: int, ndim: int) -> NDArray[np.float32]:
    """Distance from zero frequency of each element of a half transform, in Fourier pixels (1/box)."""
    return np.sqrt(_sum_of_squares(frequencies(box, ndim)))


def shell_index(box: int, ndim: int) -> NDArray[np.int32]:
    """Nearest whole radius of each element of a half transform; the corners go beyond box // 2."""
    return np.rint(radius(box, ndim)).astype(np.int32)


def shell_sum(values: NDArray[Any], shells: NDArray[np.int32], n_shells: int) -> NDArray[np.float64]:
    """Sum of real `values` over each shell 0 .. n_shells - 1, (n_shells,); elements beyond are left out."""
    inside = shells < n_shells
    return np.bincount(shells[inside], np.asarray(values)[inside], n_shells).astype(np.float64)


def shell_mean(values: NDArray[Any], shells: NDArray[np.int32], n_shells: int) -> NDArray[np.float64]:
    """Mean of real `values` over each shell, (n_shells,); 0 for a shell without elements."""
    count = np.bincount(shells[shells < n_shells], minlength=n_shells)
    return shell_sum(values, shells, n_shells) / np.maximum(count, 1)


def resize_transform(transform: NDArray[Any], box: int, ndim: int) -> NDArray[Any]:
    """Crop or zero-pad a half transform to another box; amplitudes are not rescaled.

    Frequencies that both boxes have are copied; the smaller box's Nyquist plane, if even, is copied as well.
    """
    old = transform.shape[-ndim]
    small = min(old, box)
    lead = transform.shape[:-ndim]
    out = np.zeros((*lead, *(box,) * (ndim - 1), box // 2 + 1), transform.dtype)
    positive, negative = slice(0, small // 2 + small % 2), -(small // 2)
    halves = [positive, slice(negative, None)]
    for corner in np.ndindex(*(2,) * (ndim - 1)):
        index: Any = (..., *(halves[side] for side in corner), slice(0, small // 2 + 1))
        out[index] = transform[index]
    return out


def resample(values: NDArray[Any], box: int, ndim: int) -> NDArray[Any]:
    """Real-space array of the same field of view with another number of pixels; grey values are kept."""
    old = values.shape[-1]
    return irfft(resize_transform(rfft(values, ndim), box, ndim), ndim) * (box / old) ** ndim


def window(values: NDArray[Any], box: int, ndim: int, fill: float = 0.0) -> NDArray[Any]:
    """Cut or pad an array about its origin (index box // 2) to another box, padding with `fill`."""
    old = values.shape[-1]
    start = old // 2 - box // 2
    if start < 0:
        before, after = -start, box - old + start
        pad = [(0, 0)] * (values.ndim - ndim) + [(before, after)] * ndim
        return np.pad(values, pad, constant_values=fill)
    inner: Any = (..., *(slice(start, start + box),) * ndim)
    return values[inner]


def distance(box: int, ndim: int) -> NDArray[np.float32]:
    """Distance of each pixel of (box,) * ndim from the origin at box // 2, in pixels."""
    axis = np.arange(box, dtype=np.float32) - box // 2
    return np.sqrt(_sum_of_squares([_along(axis, k, ndim) for k in range(ndim)]))


def soft_sphere(box: int, radius_px: float, edge_px: float, ndim: int = 3) -> NDArray[np.float32]:
    """Mask that is 1 up to radius_px, 0 beyond radius_px + edge_px, with a raised cosine between."""
    return raised_cosine(distance(box, ndim), radius_px, edge_px)


def raised_cosine(r: NDArray[Any], start: float, width: float) -> NDArray[np.float32]:
    """1 for r <= start, 0 for r >= start + width, half a cosine period between."""
    if width <= 0:
        return (r <= start).astype(np.float32)
    return (0.5 + 0.5 * np.cos(np.pi * np.clip((r - start) / width, 0, 1))).astype(np.float32)
