"""Prior of the particles' motion during a tilt series (Zivanov et al., IUCrJ 2019 and eLife 2022).

Each particle's velocity from one tilt to the next, in order of exposure, is a Gaussian process over space: of
variance σ_vel² per axis, correlated between particles by exp(-distance / σ_div) or its squared-exponential sister.
The eigenvectors of that covariance, scaled by the roots of their eigenvalues, are modes of deformation whose
coefficients are independent with unit variance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

SMALLEST_MODE = 1e-6  # of the largest eigenvalue; what is below is numerical noise


def dose_per_tilt(pre_exposure: NDArray[Any]) -> float:
    """Mean exposure from one tilt to the next in e/Å²; 1 if the exposures are unknown (all alike)."""
    spread = float(np.ptp(pre_exposure))
    return spread / (len(pre_exposure) - 1) if spread > 0 else 1.0


def deformation_modes(
    positions: NDArray[Any], sigma_vel: float, sigma_div: float, squared: bool = False, at_most: int = -1
) -> NDArray[np.float64]:
    """Modes (m, e) of the velocities of particles at positions (m, 3), largest first.

    sigma_vel, sigma_div and positions in one unit of length; `at_most` < 0: all modes.
    """
    distances = cdist(positions, positions) / sigma_div
    covariance = sigma_vel**2 * np.exp(-(distances**2) / 2 if squared else -distances)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > SMALLEST_MODE * values[0]
    kept[at_most if at_most >= 0 else len(kept) :] = False
    return vectors[:, kept] * np.sqrt(values[kept])


def trajectories(modes: NDArray[Any], coefficients: NDArray[Any], order: NDArray[Any]) -> NDArray[np.float64]:
    """Displacements (m, n, 3) of particles since the first of n tilts, of coefficients (e, n - 1, 3).

    modes (m, e); order (n,): numbers of the tilts by exposure.
    """
    path = np.zeros((len(modes), len(order), 3))
    path[:, order[1:]] = np.cumsum(np.einsum("me,ekj->mkj", modes, coefficients), axis=1)
    return path


def coefficient_gradient(
    modes: NDArray[Any], gradient: NDArray[Any], order: NDArray[Any]
) -> NDArray[np.float64]:
    """The adjoint of `trajectories`: from the derivative (m, n, 3) by displacement that by coefficient."""
    later = np.cumsum(gradient[:, order[:0:-1]], axis=1)[:, ::-1]
    return np.einsum("me,mkj->ekj", modes, later)
