"""Joint fit of tilt shifts, tilt angles, particle positions and motion to cross-correlations.

Each visible particle image has a map of its cross-correlation with the prediction, as a function of how far it lies
from where it was thought to be: its log-likelihood, but for a constant, if the noise is white and of unit
variance. The sum of the maps' values, less the priors, is maximised (Zivanov et al., eLife 2022). Lengths are in px
of the tilt series; m particles, n tilts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

from staengine.fits.motion_prior import coefficient_gradient, trajectories

TURN = np.cross(np.eye(3)[:, None], np.eye(3)).swapaxes(1, 2)  # [a] @ v = unit vector a x v
SUPPORT = 2  # nodes on either side that a cubic B-spline's value depends on


# ---------------------------------------------------------------- cross-correlations


@dataclass(frozen=True)
class Correlations:
    """Cubic B-splines through the cross-correlation maps of all visible images, within ± reach."""

    coefficients: NDArray[np.float32]  # (visible images, nodes, nodes), y x, displacement 0 in the middle
    visible: NDArray[np.bool_]  # (m, n)
    step: float  # px between nodes
    reach: float  # px

    def evaluate(self, u: NDArray) -> tuple[float, NDArray[np.float64]]:
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
    products: NDArray, kx: NDArray, ky: NDArray, visible: NDArray, box: int, reach: float
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


def _node_weight(k: NDArray, box: int, step: float) -> NDArray[np.float32]:
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


# ---------------------------------------------------------------- parameters


@dataclass(frozen=True)
class Geometry:
    """A tilt series before the fit."""

    paths: NDArray[np.float64]  # (m, n, 3) px from the tomogram's centre: positions, and motion known so far
    angles: NDArray[np.float64]  # (n, 3) rad: ZRot, YTilt, XTilt
    order: NDArray[np.int64]  # (n,) numbers of the tilts by exposure


@dataclass(frozen=True)
class Freedom:
    """Standard deviations that the priors allow; what has 0 is held constant. They also settle what images cannot
    tell: a common motion of all particles against that of all tilts."""

    shift: float = 0.0  # px, along each axis
    angle: float = 0.0  # rad, about each axis
    position: float = 0.0  # px, along each axis
    modes: NDArray[np.float64] | None = None  # (m, e), see align_motion


class Change(NamedTuple):
    """What the fit adds to shifts (n, 2) px, angles (n, 3) rad, positions (m, 3) px; displacements (m, n, 3) px."""

    shifts: NDArray[np.float64]
    angles: NDArray[np.float64]
    positions: NDArray[np.float64]
    motion: NDArray[np.float64] | None = None


class Objective:
    """Minus the posterior log-probability of parameters z in units of their prior standard deviations."""

    def __init__(
        self, correlations: Correlations, geometry: Geometry, freedom: Freedom, range_reg: float = 0.0
    ) -> None:
        self.correlations, self.geometry, self.freedom = correlations, geometry, freedom
        self.range_reg = range_reg
        m, n = geometry.paths.shape[:2]
        modes = freedom.modes
        self.blocks: list[tuple[float, tuple[int, ...]]] = [
            (freedom.shift, (n, 2)),
            (freedom.angle, (n, 3)),
            (freedom.position, (m, 3)),
            (float(modes is not None), (0 if modes is None else modes.shape[1], n - 1, 3)),
        ]
        self.sizes = [int(np.prod(shape)) if sigma > 0 else 0 for sigma, shape in self.blocks]
        self.start = np.einsum("nij,mnj->mni", tilt_matrices(geometry.angles)[0], geometry.paths)

    def first_guess(self) -> NDArray[np.float64]:
        """Shifts that are best with all else unchanged, less the translation that the particles rather made."""
        parts = [np.zeros(shape) for _, shape in self.blocks]
        freedom = self.freedom
        if freedom.shift > 0:
            shifts = self.correlations.best_shifts(freedom.shift)
            R = tilt_matrices(self.geometry.angles)[0]
            prior = np.einsum("nij,nik->jk", R, R) * freedom.position**2
            prior += np.eye(3) * len(self.geometry.paths) * freedom.shift**2
            move = np.linalg.solve(prior, np.einsum("nij,ni->j", R, shifts)) * freedom.position**2
            parts[0], parts[2] = (shifts - R @ move) / freedom.shift**2, parts[2] + move
            parts[2] /= freedom.position**2 or 1
        return self.pack(*parts)

    def unpack(self, z: NDArray) -> list[NDArray[np.float64]]:
        """Shifts, angles, positions and mode coefficients; zeros for what is held constant."""
        parts = np.split(z, np.cumsum(self.sizes)[:-1])
        return [
            sigma * part.reshape(shape) if part.size else np.zeros(shape)
            for part, (sigma, shape) in zip(parts, self.blocks, strict=True)
        ]

    def pack(self, *parts: NDArray) -> NDArray[np.float64]:
        """Derivatives by z of those by shifts, angles, positions and coefficients."""
        chosen = zip(parts, self.blocks, self.sizes, strict=True)
        return np.concatenate([sigma * part.ravel() for part, (sigma, _), size in chosen if size])

    def __call__(self, z: NDArray) -> tuple[float, NDArray[np.float64]]:
        shifts, angles, moves, coefficients = self.unpack(z)
        geometry, modes, reach = self.geometry, self.freedom.modes, self.correlations.reach
        R, turned = tilt_matrices(geometry.angles + angles)
        points = geometry.paths + moves[:, None]
        if modes is not None:
            points += trajectories(modes, coefficients, geometry.order)
        u = np.einsum("nij,mnj->mni", R, points) + shifts - self.start
        inside = np.clip(u, -reach, reach)
        excess = (u - inside) * self.correlations.visible[..., None]
        value, slope = self.correlations.evaluate(inside)
        slope = np.where(u == inside, -slope, 2 * self.range_reg * excess)
        by_point = np.einsum("nij,mni->mnj", R, slope)
        gradient = self.pack(
            slope.sum(axis=0),
            np.einsum("nij,nkij->nk", np.einsum("mni,mnj->nij", slope, points), turned),
            by_point.sum(axis=1),
            coefficients if modes is None else coefficient_gradient(modes, by_point, geometry.order),
        )
        return self.range_reg * (excess**2).sum() - value + z @ z / 2, gradient + z


def tilt_matrices(angles: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First two rows (n, 2, 3) of Rz Ry Rx of angles (n, 3) rad, and their derivatives (n, 3, 2, 3) by them."""
    z, y, x = (_about(axis, angles[:, k]) for k, axis in enumerate((2, 1, 0)))
    yx = y @ x
    R = z @ yx
    turned = np.stack([TURN[2] @ R, z @ (TURN[1] @ yx), R @ TURN[0]], axis=1)
    return R[:, :2], turned[:, :, :2]


def _about(axis: int, angle: NDArray) -> NDArray[np.float64]:
    """Rotations (n, 3, 3) about a coordinate axis (Rodrigues)."""
    K, angle = TURN[axis], angle[:, None, None]
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * (K @ K)


# ---------------------------------------------------------------- fit


def fit(
    correlations: Correlations,
    geometry: Geometry,
    freedom: Freedom,
    iterations: int = 10000,
    range_reg: float = 0.0,
    report: Callable[[int, float], Any] = lambda iteration, value: None,
) -> tuple[Change, int, bool]:
    """The most probable change, the number of iterations and whether they were enough.

    `report` is called in each iteration with its number and minus the log-probability.
    """
    objective = Objective(correlations, geometry, freedom, range_reg)
    numbers = itertools.count(1)

    def callback(intermediate_result: OptimizeResult) -> None:
        report(next(numbers), float(intermediate_result.fun))

    found = minimize(
        objective,
        objective.first_guess(),
        jac=True,
        method="L-BFGS-B",
        callback=callback,
        options={"maxiter": iterations, "maxfun": 10 * iterations, "maxcor": 20, "ftol": 1e-11, "gtol": 1e-4},
    )
    shifts, angles, moves, coefficients = objective.unpack(found.x)
    modes = freedom.modes
    motion = None if modes is None else trajectories(modes, coefficients, geometry.order)
    return Change(shifts, angles, moves, motion), found.nit, found.status != 1
