"""RELION's Euler angles rot, tilt, psi, and the matrices that they stand for."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation


def euler_matrix(rot: ArrayLike, tilt: ArrayLike, psi: ArrayLike) -> NDArray[np.float64]:
    """RELION's Euler matrices A (n, 3, 3) of angles in degrees (n,)."""
    angles = np.stack(np.broadcast_arrays(*np.atleast_1d(rot, tilt, psi)), axis=-1)
    return Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()


def euler_angles(matrices: NDArray[Any]) -> NDArray[np.float64]:
    """Angles (n, 3) = rot, tilt, psi in degrees of Euler matrices (n, 3, 3)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gimbal lock: one angle is arbitrary
        return Rotation.from_matrix(matrices).inv().as_euler("ZYZ", degrees=True)
