"""Orientations as RELION's three angles and as rotations of the particle into the tomogram."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation


def to_rotation(angles: ArrayLike) -> Rotation:
    """rlnAngleRot, rlnAngleTilt, rlnAnglePsi (n, 3) in degrees as rotations of the particle into the tomogram
    (RELION 5.0.1, src/jaz/tomography/particle_set.cpp)."""
    return Rotation.from_euler("ZYZ", np.array(angles, float), degrees=True).inv()


def to_angles(rotation: Rotation) -> NDArray[np.floating]:
    """(n, 3) rot, tilt, psi in degrees. Where tilt is 0 or 180, only one of the other two counts: psi is 0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock", UserWarning)
        angles: NDArray[np.floating] = rotation.inv().as_euler("ZYZ", degrees=True)
    return angles


def or_zero(table: pd.DataFrame, labels: list[str]) -> NDArray[np.floating]:
    """(n, labels) Columns, 0 for those that a table lacks, as RELION takes origins and turns."""
    return np.array(table.reindex(columns=labels, fill_value=0.0), float)


def wrapped(angles: Any) -> NDArray[np.floating]:
    """Angles in degrees, turned by whole turns into -180 to 180."""
    turned: NDArray[np.floating] = (np.asarray(angles, float) + 180) % 360 - 180
    return turned
