"""Where picks lie in a volume that a program looked at, in its voxels: what several writers start from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from foreign.truth import Picks


@dataclass(frozen=True)
class PickVolume:
    """A volume of `shape` x, y, z voxels, `voxel` Å each, whose centre is that of the tilt series' tomogram."""

    shape: tuple[int, int, int]
    voxel: float

    def index(self, picks: Picks) -> NDArray[np.floating]:
        """(k, 3) voxels of picks, the centre of the first being 0."""
        return picks.centred / self.voxel + np.array(self.shape) / 2


def euler(rotation: Rotation, axes: str) -> NDArray[np.floating]:
    """(k, 3) degrees; at the poles one of the two that are the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rotation.as_euler(axes, degrees=True)
