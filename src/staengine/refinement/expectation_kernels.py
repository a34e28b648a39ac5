"""Compiled inner loops of the expectation step; complex arrays (m, K) are rows [Re | Im] of 2·m·K real numbers."""

from __future__ import annotations

import numpy as np
from numba import njit

from staengine.numerics.projector import places, slice_at

_PANEL = 512  # components, and
_BLOCK = 16  # slices that stay in the cache while they are compared


@njit(nogil=True, cache=True, fastmath=True)
def score(transform, padding, matrices, images, shifts, kx, ky, box, ctf2, weight, scale, out, power):
    """Compare slices at matrices (n, m, 3, 3) with images (m, K) moved by shifts (t, m, 2) px, panel by panel.

    out (n, t) = scale Σ weight · Re(slice* · image); power (n,) = ½ scale² Σ weight · ctf2 · |slice|².
    """
    n_slices, n_shifts = out.shape
    room = places(_PANEL)
    rows = np.empty((_BLOCK, 2 * _PANEL), np.float32)
    columns = np.empty((n_shifts, 2 * _PANEL), np.float32)
    out[:] = 0
    power[:] = 0
    for m in range(images.shape[0]):
        ramps = _ramps(shifts[:, m], kx, ky, box)
        for start in range(0, len(kx), _PANEL):
            part = slice(start, min(start + _PANEL, len(kx)))
            length = part.stop - start
            x, y, w, c = kx[part], ky[part], weight[part], ctf2[m, part]
            for t in range(n_shifts):
                _move(images[m, part], ramps[t], x, y, columns[t, :length], columns[t, length : 2 * length])
            for first in range(0, n_slices, _BLOCK):
                last = min(first + _BLOCK, n_slices)
                for n in range(first, last):
                    real, imaginary = rows[n - first, :length], rows[n - first, length : 2 * length]
                    slice_at(transform, padding, matrices[n, m], x, y, room, real, imaginary)
                    total = np.float32(0)
                    for k in range(length):
                        re, im, f = real[k], imaginary[k], w[k]
                        total += f * c[k] * (re * re + im * im)
                        real[k], imaginary[k] = f * scale * re, f * scale * im
                    power[n] += np.float32(0.5) * scale * scale * total
                _correlate(rows, columns, 2 * length, out[first:last])


@njit(nogil=True, cache=True, fastmath=True)
def shift_table(images, shifts, kx, ky, box, out):
    """out (t, 2, m, K): components of images (m, K) moved by shifts (t, m, 2) px, for each t."""
    for m in range(shifts.shape[1]):
        ramps = _ramps(shifts[:, m], kx, ky, box)
        for t in range(shifts.shape[0]):
            _move(images[m], ramps[t], kx, ky, out[t, 0, m], out[t, 1, m])


@njit(nogil=True, cache=True, fastmath=True)
def _ramps(shifts, kx, ky, box):
    """Phase factors (t, 2, 2 reach + 1) of the components -reach .. reach along x and y for shifts (t, 2) px."""
    reach = 0
    for k in range(len(kx)):
        reach = max(reach, abs(kx[k]), abs(ky[k]))
    ramps = np.empty((len(shifts), 2, 2 * reach + 1), np.complex64)
    for t in range(len(shifts)):
        for axis in range(2):
            for q in range(-reach, reach + 1):
                angle = -2 * np.pi / box * q * shifts[t, axis]
                ramps[t, axis, reach + q] = complex(np.cos(angle), np.sin(angle))
    return ramps


@njit(nogil=True, cache=True, fastmath=True)
def _move(image, ramps, kx, ky, real, imaginary):
    """Fill real and imaginary (K,) with an image's components times the phase factors of `_ramps`."""
    reach = ramps.shape[1] // 2
    for k in range(len(kx)):
        moved = image[k] * (ramps[0, reach + kx[k]] * ramps[1, reach + ky[k]])
        real[k], imaginary[k] = moved.real, moved.imag


@njit(nogil=True, cache=True, fastmath=True)
def _correlate(rows, columns, length, out):
    """Add rows (n, L) · columns (t, L)ᵀ, of which `length` numbers are used, to out (n, t), two by four."""
    n_rows, n_columns = out.shape
    for i in range(0, n_rows, 2):
        a0, a1 = rows[i], rows[min(i + 1, n_rows - 1)]
        for j in range(0, n_columns, 4):
            b0 = columns[j]
            b1 = columns[min(j + 1, n_columns - 1)]
            b2 = columns[min(j + 2, n_columns - 1)]
            b3 = columns[min(j + 3, n_columns - 1)]
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = np.float32(0)
            for q in range(length):
                s00 += a0[q] * b0[q]
                s01 += a0[q] * b1[q]
                s02 += a0[q] * b2[q]
                s03 += a0[q] * b3[q]
                s10 += a1[q] * b0[q]
                s11 += a1[q] * b1[q]
                s12 += a1[q] * b2[q]
                s13 += a1[q] * b3[q]
            _add_row(out, i, j, s00, s01, s02, s03)
            if i + 1 < n_rows:
                _add_row(out, i + 1, j, s10, s11, s12, s13)


@njit(nogil=True, cache=True, inline="always")
def _add_row(out, i, j, s0, s1, s2, s3):
    out[i, j] += s0
    if j + 1 < out.shape[1]:
        out[i, j + 1] += s1
    if j + 2 < out.shape[1]:
        out[i, j + 2] += s2
    if j + 3 < out.shape[1]:
        out[i, j + 3] += s3


@njit(nogil=True, cache=True, fastmath=True)
def mix(weights, columns, out):
    """out (n, L) = weights (n, t) · columns (t, L), leaving out zero weights."""
    out[:] = 0
    for n in range(weights.shape[0]):
        for t in range(weights.shape[1]):
            w = weights[n, t]
            if w != 0:
                for q in range(columns.shape[1]):
                    out[n, q] += w * columns[t, q]


@njit(nogil=True, cache=True, fastmath=True)
def residuals(slices, mixed, row_weight, ctf2, scale, shell, fit_weight, noise, fit):
    """Add to noise (shells,) the part of Σ |image - scale·ctf2·slice|² that depends on the slice; and to fit (2,):
    Σ fit_weight · Re(slice* · image) and Σ fit_weight · ctf2 · |slice|², whose ratio is the best scale.

    slices (n, 2, m, K), mixed (n, 2, m, K) = weighted sums of shifted images, row_weight (n,) = sums of those weights.
    """
    for n in range(slices.shape[0]):
        w = row_weight[n]
        for m in range(slices.shape[2]):
            for k in range(slices.shape[3]):
                re, im, c = slices[n, 0, m, k], slices[n, 1, m, k], ctf2[m, k]
                cross = re * mixed[n, 0, m, k] + im * mixed[n, 1, m, k]
                power = w * c * (re * re + im * im)
                noise[shell[k]] += c * (scale * scale * power - 2 * scale * cross)
                fit[0] += fit_weight[k] * cross
                fit[1] += fit_weight[k] * power
