"""Cross-correlation maps of particle images with their predictions, as splines.

A map's value, as a function of how far the image lies from where it was thought to be, is its log-likelihood, but
for a constant, if the noise is white and of unit variance. Lengths are in px of the tilt series; m particles, n tilts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

SUPPORT = 2  # nodes on either side that a cubic B-spline's value depends on


@dataclass(frozen=True)
class Correlations:
    """Cubic B-splines through the cross-correlation maps of all visible images, within ± reach."""

    coefficients: NDArray[np.float32]  # (visible images, nodes, nodes), y x, displacement 0 in the middle
    visible: NDArray[np.bool_]  # (m, n)
    step: float  # px between nodes
    reach: float  # px

    def evaluate(self, u: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
        """Sum of all correlations at displacements (m, n, 2) = x, y within ± reach, and its derivative by them."""
        slope = np.zeros(u.shape)
        value, slope[self.visible] = _evaluate(self.coefficients, u[self.visible] / self.step)
        return value, slope / self.step

    def best_shifts(self, sigma: float) -> NDArray[np.float64]:
        """For each tilt the node (n, 2) px where the sum over particles less a Gaussian prior is highest."""
        tilt = np.nonzero(self.visible)[1]
        nodes = self.coefficients.shape[1]
        axis = self.step * (np.arange(nodes) - nodes // 2)
        prior = (axis[:, None] ** 2 + axis**2) / (2 * sigma**2)
        outside = np.abs(axis) > self.reach
        prior[outside] = prior[:, outside] = np.inf
        summed = np.zeros((self.visible.shape[1], nodes, nodes))
        np.add.at(summed, tilt, self.coefficients)
        for along in (1, 2):  # values at the nodes
            summed = (np.roll(summed, 1, along) + 4 * summed + np.roll(summed, -1, along)) / 6
        y, x = np.unravel_index((summed - prior).reshape(len(summed), -1).argmax(axis=1), (nodes, nodes))
        return np.stack([axis[x], axis[y]], axis=-1)


def correlate(
    products: NDArray[Any], kx: NDArray[Any], ky: NDArray[Any], visible: NDArray[Any], box: int, reach: float
) -> Correlations:
    """Splines through the maps Σ 2 Re(product exp(2πi k·u / box)), of weighted image times conjugate prediction.

    products: (visible images, K) at frequencies (kx, ky) (K,) in 1/box, one of each Friedel pair.
    """
    highest = max(np.abs(kx).max(), np.abs(ky).max())
    step = min(box / (4 * highest), reach / 2)  # twice as fine as the highest frequency asks for
    half = int(np.ceil(reach / step)) + SUPPORT
    axis = 2 * np.pi / box * step * np.arange(-half, half + 1)
    weight = np.float32(2) / (_node_weight(kx, box, step) * _node_weight(ky, box, step))
    columns, rows = np.arange(kx.max() + 1), np.arange(ky.min(), ky.max() + 1)
    wave_x = np.exp(1j * np.outer(columns, axis)).astype(np.complex64)
    wave_y = np.exp(1j * np.outer(axis, rows)).astype(np.complex64)
    maps = np.empty((len(products), len(axis), len(axis)), np.float32)
    plane = np.zeros((len(rows), len(columns)), np.complex64)
    for image, product in enumerate(products):
        plane[ky - rows[0], kx] = product * weight
        maps[image] = (wave_y @ plane @ wave_x).real
    return Correlations(maps, visible, step, reach)


def _node_weight(k: NDArray[Any], box: int, step: float) -> NDArray[np.float32]:
    """What going from spline coefficients to values at the nodes multiplies frequency k with."""
    return ((2 + np.cos(2 * np.pi / box * step * k)) / 3).astype(np.float32)


@njit(nogil=True, cache=True)
def _evaluate(coefficients, u):
    """Sum of splines (p, nodes, nodes), each at its u (p, 2) = x, y from the middle in nodes, and (p, 2) slopes."""
    nodes = coefficients.shape[1]
    total = 0.0
    slopes = np.zeros((len(u), 2))
    w, d = np.empty((2, 4)), np.empty((2, 4))
    first = np.empty(2, np.int64)
    for p in range(len(u)):
        for axis in range(2):
            x = u[p, axis] + nodes // 2
            node = min(max(int(np.floor(x)), 1), nodes - 3)
            t = x - node
            first[axis] = node - 1
            w[axis, 0], d[axis, 0] = (1 - t) ** 3 / 6, -((1 - t) ** 2) / 2
            w[axis, 1], d[axis, 1] = 2 / 3 - t * t + t**3 / 2, -2 * t + 1.5 * t * t
            w[axis, 3], d[axis, 3] = t**3 / 6, t * t / 2
            w[axis, 2] = 1 - w[axis, 0] - w[axis, 1] - w[axis, 3]
            d[axis, 2] = -d[axis, 0] - d[axis, 1] - d[axis, 3]
        for i in range(4):
            along = slope = 0.0
            for j in range(4):
                c = coefficients[p, first[1] + i, first[0] + j]
                along += w[0, j] * c
                slope += d[0, j] * c
            total += w[1, i] * along
            slopes[p, 0] += w[1, i] * slope
            slopes[p, 1] += d[1, i] * along
    return total, slopes
