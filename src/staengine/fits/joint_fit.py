"""Joint fit of tilt shifts, tilt angles, particle positions and motion to cross-correlations.

The sum of the correlations' values, less the priors, is maximised (Zivanov et al., eLife 2022). Lengths are in px
of the tilt series; m particles, n tilts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

from staengine.fits.correlations import Correlations
from staengine.fits.motion_prior import coefficient_gradient, trajectories

TURN = np.cross(np.eye(3)[:, None], np.eye(3)).swapaxes(1, 2)  # [a] @ v = unit vector a x v


@dataclass(frozen=True)
class Geometry:
    """Geometry of a tilt series before the fit."""

    paths: NDArray[np.float64]  # (m, n, 3) px from the tomogram's centre: positions, and motion known so far
    angles: NDArray[np.float64]  # (n, 3) rad: ZRot, YTilt, XTilt
    order: NDArray[np.int64]  # (n,) numbers of the tilts by exposure


@dataclass(frozen=True)
class Freedom:
    """Standard deviations of the priors; a parameter with 0 stays constant.

    The priors also decide what images cannot: whether all particles moved, or all tilts.
    """

    shift: float = 0.0  # px, along each axis
    angle: float = 0.0  # rad, about each axis
    position: float = 0.0  # px, along each axis
    modes: NDArray[np.float64] | None = None  # (m, e), see motion_prior


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
        self.start = np.einsum("nij,mnj->mni", tilt_rotations(geometry.angles)[0], geometry.paths)

    def first_guess(self) -> NDArray[np.float64]:
        """Shifts that are best with all else unchanged, less the translation that the particles rather made."""
        parts = [np.zeros(shape) for _, shape in self.blocks]
        freedom = self.freedom
        if freedom.shift > 0:
            shifts = self.correlations.best_shifts(freedom.shift)
            R = tilt_rotations(self.geometry.angles)[0]
            prior = np.einsum("nij,nik->jk", R, R) * freedom.position**2
            prior += np.eye(3) * len(self.geometry.paths) * freedom.shift**2
            move = np.linalg.solve(prior, np.einsum("nij,ni->j", R, shifts)) * freedom.position**2
            parts[0], parts[2] = (shifts - R @ move) / freedom.shift**2, parts[2] + move
            parts[2] /= freedom.position**2 or 1
        return self.pack(*parts)

    def unpack(self, z: NDArray[Any]) -> list[NDArray[np.float64]]:
        """Shifts, angles, positions and mode coefficients; zeros for constant ones."""
        parts = np.split(z, np.cumsum(self.sizes)[:-1])
        return [
            sigma * part.reshape(shape) if part.size else np.zeros(shape)
            for part, (sigma, shape) in zip(parts, self.blocks, strict=True)
        ]

    def pack(self, *parts: NDArray[Any]) -> NDArray[np.float64]:
        """Derivatives by z of those by shifts, angles, positions and coefficients."""
        chosen = zip(parts, self.blocks, self.sizes, strict=True)
        return np.concatenate([sigma * part.ravel() for part, (sigma, _), size in chosen if size])

    def __call__(self, z: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
        shifts, angles, moves, coefficients = self.unpack(z)
        geometry, modes, reach = self.geometry, self.freedom.modes, self.correlations.reach
        R, turned = tilt_rotations(geometry.angles + angles)
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


def tilt_rotations(angles: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First two rows (n, 2, 3) of Rz Ry Rx of angles (n, 3) rad, and their derivatives (n, 3, 2, 3) by them."""
    z, y, x = (_about(axis, angles[:, k]) for k, axis in enumerate((2, 1, 0)))
    yx = y @ x
    R = z @ yx
    turned = np.stack([TURN[2] @ R, z @ (TURN[1] @ yx), R @ TURN[0]], axis=1)
    return R[:, :2], turned[:, :, :2]


def _about(axis: int, angle: NDArray[Any]) -> NDArray[np.float64]:
    """Rotations (n, 3, 3) about a coordinate axis (Rodrigues)."""
    K, angle = TURN[axis], angle[:, None, None]
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * (K @ K)


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
