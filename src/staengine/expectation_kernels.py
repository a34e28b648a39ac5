"""Compiled inner loops of the expectation step; complex arrays (m, K) are rows [Re | Im] of 2·m·K real numbers."""

from __future__ import annotations

import numpy as np
from numba import njit

_PANEL = 1024  # numbers of each row that stay in the cache while rows are compared


@njit(nogil=True, cache=True, fastmath=True)
def shift_table(images, shifts, kx, ky, box, out):
    """out (t, 2, m, K): components of images (m, K) moved by shifts (t, m, 2) px, for each t."""
    reach = 0
    for k in range(len(kx)):
        reach = max(reach, abs(kx[k]), abs(ky[k]))
    along_x = np.empty((2, reach + 1), np.float32)
    along_y = np.empty((2, 2 * reach + 1), np.float32)
    for t in range(shifts.shape[0]):
        for m in range(shifts.shape[1]):
            for q in range(reach + 1):
                angle = -2 * np.pi / box * q * shifts[t, m, 0]
                along_x[0, q], along_x[1, q] = np.cos(angle), np.sin(angle)
                angle = -2 * np.pi / box * q * shifts[t, m, 1]
                along_y[0, reach + q] = along_y[0, reach - q] = np.cos(angle)
                along_y[1, reach + q] = np.sin(angle)
                along_y[1, reach - q] = -np.sin(angle)
            for k in range(len(kx)):
                xr, xi = along_x[0, kx[k]], along_x[1, kx[k]]
                yr, yi = along_y[0, reach + ky[k]], along_y[1, reach + ky[k]]
                pr, pi = xr * yr - xi * yi, xr * yi + xi * yr
                re, im = images[m, k].real, images[m, k].imag
                out[t, 0, m, k] = re * pr - im * pi
                out[t, 1, m, k] = re * pi + im * pr


@njit(nogil=True, cache=True, fastmath=True)
def weigh_slices(slices, ctf2, weight, scale, power):
    """Multiply slices (n, 2, m, K) by scale · weight in place; power (n,) = ½ scale² Σ weight · ctf2 · |slice|²."""
    for n in range(slices.shape[0]):
        total = np.float32(0)
        for m in range(slices.shape[2]):
            for k in range(slices.shape[3]):
                re, im = slices[n, 0, m, k], slices[n, 1, m, k]
                total += weight[k] * ctf2[m, k] * (re * re + im * im)
                slices[n, 0, m, k] = re * weight[k] * scale
                slices[n, 1, m, k] = im * weight[k] * scale
        power[n] = np.float32(0.5) * scale * scale * total


@njit(nogil=True, cache=True, fastmath=True)
def correlate(rows, columns, out):
    """out (n, t) = rows (n, L) · columns (t, L)ᵀ, four by four."""
    n_rows, n_columns, length = rows.shape[0], columns.shape[0], rows.shape[1]
    out[:] = 0
    for start in range(0, length, _PANEL):
        stop = min(start + _PANEL, length)
        for i in range(0, n_rows, 2):
            a0, a1 = rows[i, start:stop], rows[min(i + 1, n_rows - 1), start:stop]
            for j in range(0, n_columns, 4):
                b0 = columns[j, start:stop]
                b1 = columns[min(j + 1, n_columns - 1), start:stop]
                b2 = columns[min(j + 2, n_columns - 1), start:stop]
                b3 = columns[min(j + 3, n_columns - 1), start:stop]
                s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = np.float32(0)
                for q in range(stop - start):
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
