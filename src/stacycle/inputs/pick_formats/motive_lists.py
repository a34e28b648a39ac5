"""What STOPGAP's and AV3's motive lists have in common: voxels counted from 1 as MATLAB does, and phi, psi, theta."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stacycle.inputs.orientations import wrapped

FIRST = 1  # the number of the first voxel


def angles(
    phi: NDArray[np.floating], psi: NDArray[np.floating], theta: NDArray[np.floating]
) -> NDArray[np.floating]:
    """(n, 3) RELION's rot, tilt, psi of angles in degrees that turn the particle into the tomogram by zxz(phi, theta,
    psi) about fixed axes (cryoCAT 665b581)."""
    return np.stack([wrapped(90 - phi), theta, wrapped(-90 - psi)], 1)
