"""Tilt series and picks as the tutorial's, but few; their images are as long as they should be, and empty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd

from stacycle.files import star

PIXEL = 1.91
SIZE = (960, 928, 300)  # of the tomogram, px; its first two are the images' too
TILTS = [-30.0, 0.0, 30.0]


def write_inputs(
    project: Path,
    folder: str = "gain1",
    names: Sequence[str] = ("TS_01",),
    particles: int = 10,
    seed: int = 0,
) -> dict[str, str]:
    """A set in `project/folder`, as the config names it: tomograms of these names with so many particles each."""
    rng = np.random.default_rng(seed)
    tomograms = pd.DataFrame(
        {
            "rlnTomoName": names,
            "rlnVoltage": 300.0,
            "rlnSphericalAberration": 2.7,
            "rlnAmplitudeContrast": 0.1,
            "rlnTomoTiltSeriesPixelSize": PIXEL,
            "rlnTomoHand": -1.0,
            "rlnOpticsGroupName": "opticsGroup1",
            "rlnTomoTiltSeriesStarFile": [f"{folder}/tilt_series/{name}.star" for name in names],
            **dict(zip(("rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ"), SIZE, strict=True)),
        }
    )
    picks = []
    for name in names:
        stack = f"{folder}/tilt_series/{name}.mrcs"
        write_empty_stack(project / stack)
        tilts = {
            "rlnMicrographName": [f"{i}@{stack}" for i in range(1, len(TILTS) + 1)],
            "rlnMicrographPreExposure": np.arange(len(TILTS)) * 3.0,
            "rlnTomoXTilt": 0.0,
            "rlnTomoYTilt": TILTS,
            "rlnTomoZRot": 85.0,
            "rlnTomoXShiftAngst": 0.0,
            "rlnTomoYShiftAngst": 0.0,
            "rlnDefocusU": 30000.0,
            "rlnDefocusV": 30000.0,
            "rlnDefocusAngle": 0.0,
            "rlnCtfScalefactor": np.cos(np.radians(TILTS)),
        }
        star.write(project / f"{folder}/tilt_series/{name}.star", {name: pd.DataFrame(tilts)})
        positions = rng.uniform(-0.35, 0.35, (particles, 3)) * SIZE * PIXEL
        angles = rng.uniform(0, 180, (particles, 3))
        of_one = pd.DataFrame(np.hstack([positions, angles]), columns=[*CENTRED, *ANGLES])
        of_one.insert(0, "rlnTomoName", name)
        picks.append(of_one)
    star.write(project / f"{folder}/tomograms.star", {"global": tomograms})
    star.write(project / f"{folder}/particles.star", {"particles": pd.concat(picks)})
    return {"tomograms": f"{folder}/tomograms.star", "particles": f"{folder}/particles.star"}


CENTRED = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]


def write_empty_stack(path: Path) -> None:
    """An MRC stack with one image per tilt, all zero: a hole in the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new_mmap(path, (len(TILTS), SIZE[1], SIZE[0]), mrc_mode=2) as file:
        file.voxel_size = PIXEL
