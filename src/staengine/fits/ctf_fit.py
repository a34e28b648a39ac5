"""Fits of defocus, astigmatism and contrast scale to the particle images of one tilt series.

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
from typing import Any

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

    def add(
        self, observed: NDArray[Any], slices: NDArray[Any], sine: NDArray[Any], cosine: NDArray[Any]
    ) -> None:
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

    def overlap(self, weights: NDArray[Any], delta: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """N and D (n,), for weights (n, K) and phase changes δ (n, K) or (K,)."""
        os, oc, ss, sc, cc, _ = self.sums
        sine, cosine = np.sin(delta), np.cos(delta)
        n = weights * (os * cosine + oc * sine)
        d = weights * (ss * cosine**2 + 2 * sc * sine * cosine + cc * sine**2)
        return n.sum(axis=1), np.maximum(d.sum(axis=1), TINY)

    def slope(self, weights: NDArray[Any], delta: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
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
    energy: float = 0.0  # E, with a prior for the astigmatism like that of a tilt


def phase_changes(fx: NDArray[Any], fy: NDArray[Any], wavelength: float) -> NDArray[np.float64]:
    """How much the CTF's phase (3, K) changes per Å of defocus, a1 and a2; fx, fy (K,) in 1/Å."""
    return np.pi * wavelength * np.stack([fx**2 + fy**2, fx**2 - fy**2, 2 * fx * fy])


@dataclass(frozen=True)
class DefocusFit:
    """The data and priors of E, and its minimum."""

    evidence: Evidence
    weights: NDArray[np.float64]  # (n, K) 1 / noise power, 0 for components not to use
    changes: NDArray[np.float64]  # (3, K) see `phase_changes`
    search: tuple[float, float]  # lowest and highest defocus offset, Å
    prior: Prior

    def defocus(self, step: float) -> Defocus:
        """The best offsets on a grid of `step` Å, then between its points."""
        grid = np.arange(self.search[0], self.search[1] + step / 2, step)
        costs = [_cost(*self.evidence.overlap(self.weights, d * self.changes[0])) for d in grid]
        offsets, common = joint_optimum(np.array(costs), grid, self.prior)
        return self._descend(np.r_[offsets, common])

    def astigmatism(self, start: Defocus) -> Defocus:
        """`start`, or with astigmatism if that is worth two parameters by the Bayesian information criterion."""
        found = self._descend(np.r_[start.offsets, start.offsets.mean(), 0.0, 0.0])
        observations = 2 * self.evidence.count.sum() * np.count_nonzero(self.weights.any(axis=0))
        return found if start.energy - found.energy > np.log(max(observations, 1)) else start

    def _descend(self, start: NDArray[Any]) -> Defocus:
        """The minimum of E next to offsets (n,), their common offset, and astigmatism (2,) or none, all in Å."""
        n, free = len(self.evidence.count), len(start) > len(self.evidence.count) + 1
        bounds = [(self.search[0] / UNIT, self.search[1] / UNIT)] * (n + 1) + [(None, None)] * (2 * free)
        found = minimize(self._energy, start / UNIT, jac=True, method="L-BFGS-B", bounds=bounds)
        x = found.x * UNIT
        return Defocus(x[:n], x[n + 1 :] if free else np.zeros(2), float(found.fun))

    def _energy(self, x: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """E and its gradient; x as in `_descend`, in units."""
        n = len(self.evidence.count)
        d, m, a = x[:n], x[n], x[n + 1 :]
        by_defocus, by_astigmatism = self.changes[0] * UNIT, self.changes[1 : 1 + len(a)] * UNIT
        delta = d[:, None] * by_defocus + a @ by_astigmatism
        N, D = self.evidence.overlap(self.weights, delta)
        dN, dD = self.evidence.slope(self.weights, delta)
        scale = np.maximum(N, 0)[:, None] / D[:, None]
        slope = scale**2 * dD - 2 * scale * dN
        apart = (d - m) * (UNIT / self.prior.tilt) ** 2
        centred = m * (UNIT / self.prior.common) ** 2
        small = a * (UNIT / self.prior.tilt) ** 2
        energy = _cost(N, D).sum() + (apart @ (d - m) + centred * m + small @ a) / 2
        by_d = slope @ by_defocus + apart
        return float(energy), np.r_[by_d, centred - apart.sum(), by_astigmatism @ slope.sum(axis=0) + small]


def _cost(n: NDArray[Any], d: NDArray[Any]) -> NDArray[Any]:
    return -(np.maximum(n, 0) ** 2) / d


def joint_optimum(cost: NDArray[Any], grid: NDArray[Any], prior: Prior) -> tuple[NDArray[np.float64], float]:
    """d (n,) and m for which E is lowest among the values `grid` (g,), given the tilts' cost (g, n) there."""
    best, found = np.inf, (np.zeros(cost.shape[1]), 0.0)
    for common in grid:
        total = cost + ((grid - common) ** 2 / (2 * prior.tilt**2))[:, None]
        energy = total.min(axis=0).sum() + common**2 / (2 * prior.common**2)
        if energy < best:
            best, found = energy, (grid[total.argmin(axis=0)], float(common))
    return found


# ---------------------------------------------------------------- contrast scale


@dataclass(frozen=True)
class Contrast:
    """How strong the particles are in each tilt: best scale N / D (n,) and its inverse variance, about D (n,)."""

    scale: NDArray[np.float64]  # not negative; 0 without evidence
    precision: NDArray[np.float64]

    @classmethod
    def of(
        cls, evidence: Evidence, weights: NDArray[Any], changes: NDArray[Any], defocus: Defocus
    ) -> Contrast:
        delta = defocus.offsets[:, None] * changes[0] + defocus.astigmatism @ changes[1:]
        n, d = evidence.overlap(weights, delta)
        return cls(np.maximum(n, 0) / d, np.where(d > TINY, d, 0))


@dataclass(frozen=True)
class Ice:
    """Beer-Lambert law of a series: scale = luminance · exp(-thickness / cos(angle between beam and normal))."""

    luminance: float
    thickness: float  # in mean free paths
    normal: NDArray[np.float64]  # (3,) of the slab, in the tomogram; it lies in the plane y = 0

    def scale(self, beams: NDArray[Any]) -> NDArray[np.float64]:
        """Of tilts whose beam runs along unit vectors (n, 3) of the tomogram."""
        return _lambert(self.luminance, self.thickness, np.abs(beams @ self.normal))


def _lambert(luminance: float, thickness: float, cosine: NDArray[Any]) -> NDArray[np.float64]:
    return luminance * np.exp(-thickness / np.maximum(cosine, 0.05))


def fit_ice(contrasts: list[Contrast], beams: list[NDArray[Any]]) -> list[Ice]:
    """Beer-Lambert laws of several tilt series that share one luminance; beams as in `Ice.scale`."""

    def normal(angle: float) -> NDArray[Any]:
        return np.array([np.sin(angle), 0.0, np.cos(angle)])

    def residuals(x: NDArray[Any]) -> NDArray[Any]:
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
