"""Small sets of tomograms and picks with sound images, and how a test spoils them."""

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd

from stacycle.files import star

PIXEL = 2.0  # Å
SIZE = np.array([200, 180, 60])  # px, the tomogram
IMAGE = (260, 300)  # px, (y, x)
CENTRED = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]


def write_set(
    folder, names=("TS_01", "TS_02"), particles=6, tilts=3, group="optics1", pixel=PIXEL, image=IMAGE, seed=1
):
    """A small set with sound images below `folder`, which may have blanks; returns its config entry."""
    folder = Path(folder)
    rng = np.random.default_rng(seed)
    rows = []
    for name in names:
        images = folder / f"{name}.mrcs"
        images.parent.mkdir(parents=True, exist_ok=True)
        mrcfile.write(images, np.zeros((tilts, *image), np.int8), voxel_size=pixel, overwrite=True)
        angles = np.linspace(-60, 60, tilts)
        order = np.argsort(np.argsort(np.abs(angles + 0.1)))  # of acquisition, dose-symmetric
        series = pd.DataFrame(
            {
                "rlnMicrographName": [f"{i + 1}@{images}" for i in range(tilts)],
                "rlnMicrographPreExposure": 3.0 * order,
                "rlnTomoXTilt": 0.0,
                "rlnTomoYTilt": angles,
                "rlnTomoZRot": 85.0,
                "rlnTomoXShiftAngst": np.sin(angles),
                "rlnTomoYShiftAngst": 0.0,
                "rlnDefocusU": 3e4 + angles,
                "rlnDefocusV": 3e4,
                "rlnDefocusAngle": 0.0,
            }
        )
        star.write(folder / f"{name}.star", {name: series})
        rows.append(
            {
                "rlnTomoName": name,
                "rlnVoltage": 300.0,
                "rlnSphericalAberration": 2.7,
                "rlnAmplitudeContrast": 0.1,
                "rlnTomoTiltSeriesPixelSize": pixel,
                "rlnTomoHand": -1,
                "rlnOpticsGroupName": group,
                "rlnTomoTiltSeriesStarFile": str(folder / f"{name}.star"),
                "rlnTomoTomogramBinning": 4.0,
                **dict(zip([f"rlnTomoSize{a}" for a in "XYZ"], SIZE.tolist(), strict=True)),
            }
        )
    picks = pd.DataFrame({"rlnTomoName": np.repeat(names, particles)})
    cells = rng.permutation(18 * 18 * 18)[:particles]  # all different
    picks[CENTRED] = (
        np.tile(np.stack(np.unravel_index(cells, (18, 18, 18)), 1) / 20 - 0.43, (len(names), 1))
        * SIZE
        * pixel
    )
    picks[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]] = rng.uniform(0, 180, (len(picks), 3))
    star.write(folder / "tomograms.star", {"global": pd.DataFrame(rows)})
    star.write(folder / "particles.star", {"particles": picks})
    return {"tomograms": str(folder / "tomograms.star"), "particles": str(folder / "particles.star")}


def change(path, edit, table=None):
    """Rewrite a table of a STAR file (the first one, unless named) by a function."""
    tables = star.read(path)
    table = table or next(iter(tables))
    star.write(path, {**tables, table: edit(tables[table])})
