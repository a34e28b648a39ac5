"""Where the symmetry axes of a map lie: the rotation that makes it most like itself turned by a point group.

The measure is the squared difference between the map's Fourier components and those at the places that the group's
rotations take them to, over the power of both: 0 for a symmetric map, 1 for one that has nothing in common with its
copies. Orientations spread over all rotations are compared at low resolution, where the optimum is wide; the best of
them are refined, the low resolutions first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from staengine.numerics.projector import padded_transform
from staengine.numerics.rotation import grid_points, values_at

STAGES = (
    (4, 16),
    (7, 8),
    (11, 4),
    (16, 2),
)  # radius in Fourier pixels, and how many orientations go on from it
STEP_DEGREES = 4.0  # of the first refinement; halved in each further stage


class Asymmetry:
    """How much a map (box, box, box) differs from itself turned by the operators (s, 3, 3) of a point group."""

    def __init__(self, volume: NDArray[Any], operators: NDArray[Any], radius: int, padding: int = 2) -> None:
        box = volume.shape[0]
        self.padding = padding
        self.transform = padded_transform(volume, padding)
        _, points = grid_points(box, min(radius, box // 2 - 1))
        self.points = points[np.linalg.norm(points, axis=1) > 0]
        self.operators = operators[1:]

    def __call__(self, matrix: NDArray[Any]) -> float:
        """For the map whose axes are the rows of `matrix`, as `rotation.turned` turns it."""
        here, there = np.empty(len(self.points), complex), np.empty(len(self.points), complex)
        values_at(self.transform, self.padding, self.points @ matrix, here)
        difference = power = 0.0
        for operator in self.operators:
            values_at(self.transform, self.padding, self.points @ (operator @ matrix), there)
            difference += float(np.sum(np.abs(here - there) ** 2))
            power += float(np.sum(np.abs(here) ** 2 + np.abs(there) ** 2))
        return difference / power if power > 0 else 1.0


def spread_rotations(n: int, only_rot: bool = False) -> NDArray[np.float64]:
    """n rotation matrices (n, 3, 3) spread evenly over all rotations, the identity first; or over those about z."""
    if only_rot:
        return Rotation.from_euler("z", np.arange(n)[:, None] * 360 / n, degrees=True).as_matrix()
    # points of an even sequence in the unit cube, taken to quaternions (Shoemake, Graphics Gems III, 1992)
    step = 1.2207440846057596 ** -np.arange(1, 4)  # root of x^4 = x + 1
    u, v, w = np.mod(np.arange(1, n)[:, None] * step, 1).T
    turn, angle = 2 * np.pi * v, 2 * np.pi * w
    a, b = np.sqrt(1 - u), np.sqrt(u)
    quaternions = np.stack(
        [a * np.sin(turn), a * np.cos(turn), b * np.sin(angle), b * np.cos(angle)], axis=-1
    )
    return np.concatenate([np.eye(3)[None], Rotation.from_quat(quaternions).as_matrix()])


def find_axes(
    volume: NDArray[Any],
    operators: NDArray[Any],
    n_orientations: int = 400,
    only_rot: bool = False,
    largest_radius: float = np.inf,
    padding: int = 2,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Rotation (3, 3) for `rotation.turned` that puts a map's symmetry axes where the operators (s, 3, 3) have them.

    Returns the best of the orientations first compared, the refined one, and its asymmetry (0 to about 1). Fourier
    pixels beyond `largest_radius` are not used.
    """
    candidates = spread_rotations(n_orientations, only_rot)
    first, step = None, STEP_DEGREES
    for radius, keep in STAGES:
        asymmetry = Asymmetry(volume, operators, int(min(radius, largest_radius)), padding)
        scores = np.array([asymmetry(matrix) for matrix in candidates])
        candidates = candidates[np.argsort(scores, kind="stable")[:keep]]
        if first is None:
            first = candidates[0]
        candidates = np.array([_refined(asymmetry, matrix, step, only_rot) for matrix in candidates])
        step /= 2
    scores = np.array([asymmetry(matrix) for matrix in candidates])
    assert first is not None
    return first, candidates[scores.argmin()], float(scores.min())


def _refined(asymmetry: Asymmetry, start: NDArray[Any], step: float, only_rot: bool) -> NDArray[np.float64]:
    """The rotation near `start` with the lowest asymmetry; `step` in degrees is the size of the first simplex."""
    free = 1 if only_rot else 3

    def matrix(turn: NDArray[Any]) -> NDArray[np.float64]:
        return Rotation.from_rotvec(np.r_[np.zeros(3 - free), turn], degrees=True).as_matrix() @ start

    def score(turn: NDArray[Any], /, *_: Any) -> float:
        return asymmetry(matrix(turn))

    simplex = np.concatenate([np.zeros((1, free)), step * np.eye(free)])
    options: Any = {"initial_simplex": simplex, "xatol": step / 100, "fatol": 1e-7, "maxiter": 80}
    return matrix(minimize(score, np.zeros(free), method="Nelder-Mead", options=options).x)
