"""A particle of two parts: what lies beyond the middle of its longest axis swings, in each particle its own way."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from staengine.numerics.euler import euler_angles
from staengine.simulation.given_map import longest_axis

NECK = 8.0  # Å on either side of the middle: the hinge is in the middle of what lies there


class Hinge(NamedTuple):
    """The points (n,) of a cloud that swing, and the pivot (3,) in Å that they swing about."""

    part: NDArray[np.bool_]
    pivot: NDArray[np.float64]


def hinge_of(cloud: NDArray[np.float32]) -> Hinge:
    """The hinge of a cloud (n, 3 or 4) of x y z in Å and weight."""
    along = cloud[:, :3] @ longest_axis(cloud)
    return Hinge(along > 0, cloud[np.abs(along) < NECK, :3].mean(0).astype(float))


def swings(count: int, degrees: float, rng: np.random.Generator) -> Rotation:
    """A turn for each of `count` particles, about any axis, of `degrees` in the root mean square."""
    return Rotation.from_rotvec(rng.normal(0, np.deg2rad(degrees) / np.sqrt(3), (count, 3)))


def swung(cloud: NDArray[np.float32], hinge: Hinge, turn: Rotation) -> NDArray[np.float32]:
    """A cloud whose part has turned about the pivot."""
    moved = cloud.copy()
    moved[hinge.part, :3] = turn.apply(cloud[hinge.part, :3] - hinge.pivot) + hinge.pivot
    return moved


def poses_of_part(
    positions: NDArray[np.float64], rotations: Rotation, hinge: Hinge, turns: Rotation, columns: list[str]
) -> pd.DataFrame:
    """The poses of the parts of particles at `positions` (n, 3) in Å, as if each part were of a rigid particle."""
    moved = positions + rotations.apply(hinge.pivot - turns.apply(hinge.pivot))
    values: list[Any] = [moved, euler_angles((rotations * turns).as_matrix())]
    return pd.DataFrame(np.hstack(values), columns=columns)
