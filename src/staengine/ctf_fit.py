"""Fits of defocus, astigmatism and contrast scale to what the particles of one tilt series show.

With slices S and CTFs sin γ as recorded, images o of a tilt whose contrast is s and whose phases are off by δ
have the log-likelihood 2 s N - s² D, where N and D are sums over particles and Fourier components, weighted by
1 / noise power, of Re(o S*) sin(γ + δ) and |S|² sin²(γ + δ). As sin(γ + δ) = sin γ cos δ + cos γ sin δ, the sums
over particles are made once for every δ that they share (Zivanov et al., IUCrJ 2020). The best scale N / D
leaves N² / D as a tilt's evidence for δ.

The defocus offsets d_t of the tilts and their common offset m are where

    E = Σ_t [ -N_t² / D_t (d_t) + (d_t - m)² / 2 σ_t² ] + m² / 2 σ_m²

is lowest: the most probable ones if recorded defoci are off by σ_m in common and by σ_t tilt by tilt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, minimize

MAX_SLAB_ANGLE = np.radians(30.0)  # of the ice, about the tilt axis
UNIT = 100.0  # Å, in which the local search counts
TINY = np.finfo(float).tiny


@dataclass
class Evidence:
    """Sums over the particles of a tilt series of n images, for each Fourier component: see `add`."""

    sums: NDArray[np.float64]  # (6, n, K)
    count: NDArray[np.int64]  # (n,) images in them

    @classmethod
    def empty(cls, n: int, size: int) -> Evidence:
        return cls(np.zeros((6, n, size)), np.zeros(n, np.int64))

    def add(self, observed: NDArray, slices: NDArray, sine: NDArray, cosine: NDArray) -> None:
        """Add images (m, n, K) of particles, their slices, and sine and cosine of the CTF's phase γ."""
        cross, power = (observed * slices.conj()).real, np.abs(slices) ** 2
        terms = [cross * sine, cross * cosine, power * sine**2, power * sine * cosine, power * cosine**2]
        for total, term in zip(self.sums, [*terms, np.abs(observed) ** 2], strict=True):
            total += term.sum(axis=0)
        self.count += slices.any(axis=-1).sum(axis=0)

    @property
    def power(self) -> NDArray[np.float64]:
        """|o|² (n, K)."""
        return self.sums[5]

    def overlap(self, weights: NDArray, delta: NDArray) -> tuple[NDArray, NDArray]:
        """N and D (n,), for weights (n, K) and phase changes δ (n, K) or (K,)."""
        os, oc, ss, sc, cc, _ = self.sums
        sine, cosine = np.sin(delta), np.cos(delta)
        n = weights * (os * cosine + oc * sine)
        d = weights * (ss * cosine**2 + 2 * sc * sine * cosine + cc * sine**2)
        return n.sum(axis=1), np.maximum(d.sum(axis=1), TINY)

    def slope(self, weights: NDArray, delta: NDArray) -> tuple[NDArray, NDArray]:
        """What each component's δ changes in N and D, (n, K) each."""
        os, oc, ss, sc, cc, _ = self.sums
        sine, cosine = np.sin(delta), np.cos(delta)
        d = (cc - ss) * sine * cosine + sc * (cosine**2 - sine**2)
        return weights * (oc * cosine - os * sine), weights * 2 * d


@dataclass(frozen=True)
class Prior:
    """Standard deviations in Å: of the offset common to a series, and of each tilt's from that."""

    common: float
    tilt: float

    @classmethod
    def of(cls, search: tuple[float, float], lam: float) -> Prior:
        """The range searched is three standard deviations either way; lambda makes the tilts 100 Å / √λ."""
        common = (search[1] - search[0]) / 6
        return cls(common, min(common, 100 / np.sqrt(lam)) if lam > 0 else common)


@dataclass(frozen=True)
class Defocus:
    """Changes in Å: defocus of each tilt (n,); astigmatism of the series, a1 cos 2φ + a2 sin 2φ, as (a1, a2)."""

    offsets: NDArray[np.float64]
    astigmatism: NDArray[np.float64]


def phase_changes(fx: NDArray, fy: NDArray, wavelength: float) -> NDArray[np.float64]:
    """How much the CTF's phase (3, K) changes per Å of defocus, a1 and a2; fx, fy (K,) in 1/Å."""
    return np.pi * wavelength * np.stack([fx**2 + fy**2, fx**2 - fy**2, 2 * fx * fy])


def fit_defocus(
    evidence: Evidence, weights: NDArray, changes: NDArray, offsets: NDArray, prior: Prior
) -> Defocus:
    """Defocus offsets of the tilts: the best on the grid `offsets` (g,) Å, then between its points.

    weights (n, K): 1 / noise power, 0 for components not to use; changes: see `phase_changes`.
    """
    cost = np.array([_cost(*evidence.overlap(weights, offset * changes[0])) for offset in offsets])
    start, common = joint_optimum(cost, offsets, prior)
    bounds = (offsets[0], offsets[-1])
    return _descend(evidence, weights, changes, Defocus(start, np.zeros(0)), common, bounds, prior)[0]


def fit_astigmatism(
    evidence: Evidence,
    weights: NDArray,
    changes: NDArray,
    start: Defocus,
    search: tuple[float, float],
    prior: Prior,
) -> Defocus:
    """`start` with astigmatism, if that is worth its two parameters by the Bayesian information criterion."""
    common = float(start.offsets.mean())
    plain, cost = _descend(
        evidence, weights, changes, Defocus(start.offsets, np.zeros(0)), common, search, prior
    )
    found, better = _descend(
        evidence, weights, changes, Defocus(start.offsets, np.zeros(2)), common, search, prior
    )
    observations = 2 * evidence.count.sum() * np.count_nonzero(weights.any(axis=0))
    return found if cost - better > np.log(max(observations, 1)) else plain


def _cost(n: NDArray, d: NDArray) -> NDArray:
    return -(np.maximum(n, 0) ** 2) / d


def joint_optimum(cost: NDArray, offsets: NDArray, prior: Prior) -> tuple[NDArray[np.float64], float]:
    """d (n,) and m for which E is lowest among `offsets` (g,), given the tilts' cost (g, n) there."""
    best, found = np.inf, (np.zeros(cost.shape[1]), 0.0)
    for common in offsets:
        total = cost + ((offsets - common) ** 2 / (2 * prior.tilt**2))[:, None]
        value = total.min(axis=0).sum() + common**2 / (2 * prior.common**2)
        if value < best:
            best, found = value, (offsets[total.argmin(axis=0)], float(common))
    return found


def _descend(
    evidence: Evidence,
    weights: NDArray,
    changes: NDArray,
    start: Defocus,
    common: float,
    search: tuple[float, float],
    prior: Prior,
) -> tuple[Defocus, float]:
    """The minimum of E next to `start` and its value; `start.astigmatism` (2,) is free, (0,) absent.

    Astigmatism has the prior of a tilt's offset.
    """
    n, free = len(start.offsets), len(start.astigmatism)
    per_unit = changes * UNIT
    sigma_common, sigma_tilt = prior.common / UNIT, prior.tilt / UNIT

    def cost(x: NDArray) -> tuple[float, NDArray]:
        d, m, a = x[:n], x[n], x[n + 1 :]
        delta = d[:, None] * per_unit[0] + a @ per_unit[1 : 1 + free]
        N, D = evidence.overlap(weights, delta)
        N = np.maximum(N, 0)
        dN, dD = evidence.slope(weights, delta)
        slope = (N / D)[:, None] ** 2 * dD - 2 * (N / D)[:, None] * dN
        apart = (d - m) / sigma_tilt**2
        gradient = [slope @ per_unit[0] + apart, [m / sigma_common**2 - apart.sum()]]
        gradient.append(slope.sum(axis=0) @ per_unit[1 : 1 + free].T + a / sigma_tilt**2)
        prior_cost = apart @ (d - m) + (m / sigma_common) ** 2 + (a / sigma_tilt) @ (a / sigma_tilt)
        return float(_cost(N, D).sum() + prior_cost / 2), np.concatenate(gradient)

    bounds = [(search[0] / UNIT, search[1] / UNIT)] * (n + 1) + [(None, None)] * free
    first = np.concatenate([start.offsets, [common], start.astigmatism]) / UNIT
    found = minimize(cost, first, jac=True, method="L-BFGS-B", bounds=bounds)
    x = found.x * UNIT
    return Defocus(x[:n], x[n + 1 :] if free else np.zeros(2)), float(found.fun)


# ---------------------------------------------------------------- contrast scale


@dataclass(frozen=True)
class Contrast:
    """How strong the particles are in each tilt: best scale N / D (n,) and its inverse variance, about D (n,)."""

    scale: NDArray[np.float64]  # not negative; 0 without evidence
    precision: NDArray[np.float64]

    @classmethod
    def of(cls, evidence: Evidence, weights: NDArray, changes: NDArray, defocus: Defocus) -> Contrast:
        delta = defocus.offsets[:, None] * changes[0] + defocus.astigmatism @ changes[1:]
        n, d = evidence.overlap(weights, delta)
        return cls(np.maximum(n, 0) / d, np.where(d > TINY, d, 0))


@dataclass(frozen=True)
class Ice:
    """Beer-Lambert law of a series: scale = luminance · exp(-thickness / cos(angle between beam and normal))."""

    luminance: float
    thickness: float  # in mean free paths
    normal: NDArray[np.float64]  # (3,) of the slab, in the tomogram; it lies in the plane y = 0

    def scale(self, beams: NDArray) -> NDArray[np.float64]:
        """Of tilts whose beam runs along unit vectors (n, 3) of the tomogram."""
        return _lambert(self.luminance, self.thickness, np.abs(beams @ self.normal))


def _lambert(luminance: float, thickness: float, cosine: NDArray) -> NDArray[np.float64]:
    return luminance * np.exp(-thickness / np.maximum(cosine, 0.05))


def fit_ice(contrasts: list[Contrast], beams: list[NDArray]) -> list[Ice]:
    """Beer-Lambert laws of several tilt series that share one luminance; beams as in `Ice.scale`."""

    def normal(angle: float) -> NDArray:
        return np.array([np.sin(angle), 0.0, np.cos(angle)])

    def residuals(x: NDArray) -> NDArray:
        return np.concatenate(
            [
                np.sqrt(c.precision) * (c.scale - _lambert(x[0], t, np.abs(b @ normal(angle))))
                for c, b, t, angle in zip(contrasts, beams, x[1::2], x[2::2], strict=True)
            ]
        )

    brightest = max(float(c.scale.max()) for c in contrasts)
    start = [2 * brightest, *[np.log(2), 0.0] * len(contrasts)]
    lower = [0.0, *[0.0, -MAX_SLAB_ANGLE] * len(contrasts)]
    upper = [np.inf, *[np.inf, MAX_SLAB_ANGLE] * len(contrasts)]
    x = least_squares(residuals, start, bounds=(lower, upper), x_scale="jac").x
    return [Ice(float(x[0]), float(t), normal(angle)) for t, angle in zip(x[1::2], x[2::2], strict=True)]
