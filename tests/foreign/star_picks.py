"""Picks as STAR files of RELION 3, 4 and 5, pytom-match-pick, WarpTools and M: each with its own columns and digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from foreign.pick_volume import PickVolume, euler
from foreign.truth import Array, Picks, to_rotation

CENTRED = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
CORNER = [f"rlnCoordinate{axis}" for axis in "XYZ"]
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
TURNS = ["rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi"]
ORIGINS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]


def _table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns)


def _write(path: Path, tables: dict[str, pd.DataFrame]) -> None:
    text = ""
    for name, table in tables.items():
        labels = "".join(f"_{label} #{at}\n" for at, label in enumerate(table, 1))
        rows = "".join(" ".join(map(_word, row)) + " \n" for row in table.itertuples(index=False))
        text += f"\n# version 30001\n\ndata_{name}\n\nloop_ \n{labels}{rows} \n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _word(value: object) -> str:
    return f"{value:12.6f}" if isinstance(value, float) else f"{value:>12}"


def relion5(path: Path, picks: Picks, shifted: bool = False, halves: bool = False, name: str = "") -> None:
    """A particles.star of RELION 5; `shifted`: after a refinement that moved the particles, and with turned frames."""
    _write(
        path,
        {
            "optics": _optics(picks, 4),
            "particles": _relion(picks, CENTRED, picks.centred, 1, shifted, halves, name),
        },
    )


def relion4(path: Path, picks: Picks, shifted: bool = False) -> None:
    """A particles.star of RELION 4: px of the unbinned tilt series, shifts in Å."""
    pixel = picks.series.pixel
    _write(
        path,
        {"optics": _optics(picks, 4), "particles": _relion(picks, CORNER, picks.position, pixel, shifted)},
    )


def _optics(picks: Picks, binning: float) -> pd.DataFrame:
    pixel = picks.series.pixel
    return _table(
        rlnOpticsGroup=[1],
        rlnOpticsGroupName=["optics1"],
        rlnTomoTiltSeriesPixelSize=[pixel],
        rlnImagePixelSize=[pixel * binning],
        rlnImageSize=[64],
    )


def _relion(
    picks: Picks,
    labels: list[str],
    position: Array,
    step: float,
    shifted: bool,
    halves: bool = False,
    name: str = "",
) -> pd.DataFrame:
    """position = coordinate - A_subtomogram origin; orientation = A_subtomogram A_particle. `step`: Å per unit."""
    count = len(position)
    random = np.random.default_rng(7)
    table = pd.DataFrame({"rlnTomoName": [name or picks.series.name] * count})
    origin, turns, angles = np.zeros((count, 3)), np.zeros((count, 3)), picks.angles
    if shifted:
        origin = random.uniform(-9, 9, (count, 3)).round(6)
        turns = random.uniform(0, 180, (count, 3)).round(6)
        angles = euler((to_rotation(turns).inv() * picks.rotation).inv(), "ZYZ")
    table[labels] = position + to_rotation(turns).apply(origin) / step
    table[ANGLES] = angles
    if shifted:
        table[ORIGINS], table[TURNS] = origin, turns
    table["rlnOpticsGroup"] = 1
    if halves:
        table["rlnRandomSubset"] = np.arange(count) % 2 + 1
    return table


def relion3(path: Path, picks: Picks, volume: PickVolume, optics: bool, shifted: bool = True) -> None:
    """Particles of Warp 1 and RELION 3: px of the images from the corner, the tomogram as the micrograph. With an
    optics table (3.1) shifts are in Å, else in px."""
    count, pixel = len(picks.position), volume.voxel
    origin = np.random.default_rng(8).uniform(-3, 3, (count, 3)).round(6) * shifted
    table = pd.DataFrame(
        {"rlnMicrographName": [f"../warp/reconstruction/{picks.series.name}_10.00Apx.mrc"] * count}
    )
    table[CORNER] = picks.position * picks.series.pixel / pixel + origin
    table[ANGLES] = picks.angles
    if optics:
        table["rlnOpticsGroup"] = 1
        table[ORIGINS] = origin * pixel
        group = _table(rlnOpticsGroup=[1], rlnOpticsGroupName=["opticsGroup1"], rlnImagePixelSize=[pixel])
        _write(path, {"optics": group, "particles": table})
        return
    table[[f"rlnOrigin{axis}" for axis in "XYZ"]] = origin
    table["rlnMagnification"], table["rlnDetectorPixelSize"] = 10000.0, pixel
    _write(path, {"": table})


def pytom(path: Path, picks: Picks, volume: PickVolume) -> None:
    """pytom_extract_candidates.py without options: voxels of the tomogram that was searched, numbered from 0."""
    count = len(picks.position)
    table = pd.DataFrame({label: column for label, column in zip(CORNER, volume.index(picks).T, strict=True)})
    table[ANGLES] = picks.angles
    table["rlnLCCmax"], table["rlnCutOff"], table["rlnSearchStd"] = picks.score, 0.1, 0.02
    table["rlnDetectorPixelSize"] = volume.voxel
    table["rlnMicrographName"] = [f"rec_{picks.series.name}"] * count
    _write(path, {"particles": table})


def pytom_relion5(path: Path, picks: Picks, volume: PickVolume) -> None:
    """pytom_extract_candidates.py --relion5-compat: the pixel size beside it is that of the tomogram."""
    table = pd.DataFrame({label: column for label, column in zip(CENTRED, picks.centred.T, strict=True)})
    table[ANGLES] = picks.angles
    table["rlnLCCmax"], table["rlnCutOff"], table["rlnSearchStd"] = picks.score, 0.1, 0.02
    table["rlnTomoTiltSeriesPixelSize"] = volume.voxel
    table["rlnTomoName"] = picks.series.name
    _write(path, {"particles": table})


def pytom_merged(path: Path, files: dict[str, str]) -> None:
    """pytom_merge_stars.py --relion5-compat: a list of the files, as RELION's import takes it."""
    _write(path, {"": _table(rlnTomoName=list(files), rlnTomoImportParticleFile=list(files.values()))})


def warp_export(path: Path, picks: Picks, pixel: float) -> None:
    """WarpTools ts_export_particles --2d: px of the particles, the pixel size of the tilt series being theirs, too."""
    count = len(picks.position)
    table = pd.DataFrame({"rlnTomoName": [f"{picks.series.name}.tomostar"] * count})
    table[CORNER] = (picks.position * picks.series.pixel / pixel).round(3)
    table[ANGLES] = picks.angles
    table["rlnOpticsGroup"] = 1
    table[ORIGINS] = 0.0
    group = _table(rlnOpticsGroup=[1], rlnTomoTiltSeriesPixelSize=[pixel], rlnImagePixelSize=[pixel])
    _write(path, {"optics": group, "particles": table})


def warp_match(path: Path, picks: Picks) -> None:
    """WarpTools ts_template_match: parts of the volume's size in Å."""
    table = pd.DataFrame({label: 0.0 for label in CORNER}, index=range(len(picks.position)))
    table[CORNER] = picks.position / np.array(picks.series.size)
    table[ANGLES] = picks.angles
    table["rlnMicrographName"] = f"{picks.series.name}.tomostar"
    table["rlnAutopickFigureOfMerit"] = picks.score
    _write(path, {"": table})


def m_species(path: Path, picks: Picks, samples: int = 1) -> None:
    """The particles of a species of M: Å from the corner, `samples` of them over time, and angles about their mean."""
    apart = np.arange(samples) - (samples - 1) / 2
    table = pd.DataFrame(index=range(len(picks.position)))
    for sample, away in enumerate(apart, 1):
        for axis, column in zip("XYZ", (picks.position * picks.series.pixel + away).T, strict=True):
            table[f"wrpCoordinate{axis}{sample}"] = column
    for sample, away in enumerate(apart, 1):
        moved = euler((picks.rotation * Rotation.from_euler("x", away, degrees=True)).inv(), "ZYZ")
        for name, column in zip(("Rot", "Tilt", "Psi"), moved.T, strict=True):
            table[f"wrpAngle{name}{sample}"] = column
    table["wrpRandomSubset"] = np.arange(len(table)) % 2 + 1
    table["wrpSourceName"] = f"{picks.series.name}.tomostar"
    table["wrpSourceHash"] = "1f2e"
    _write(path, {"particles": table})
