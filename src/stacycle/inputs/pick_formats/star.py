"""Picks in STAR files: of RELION 3, 4 and 5, pytom-match-pick, Warp and M, told apart by their columns.

| columns | positions are |
|---|---|
| rlnCenteredCoordinateXAngst | Å from the centre: RELION 5, pytom-match-pick --relion5-compat, merged or not |
| rlnTomoName, rlnCoordinateX | px of the unbinned tilt series: RELION 4; of rlnDetectorPixelSize if that is there |
| rlnLCCmax, or rlnMicrographName and rlnDetectorPixelSize alone | voxels of the tomogram: pytom-match-pick |
| NAME.tomostar or rlnMicrographName, rlnCoordinateX | px of the images, from the corner: Warp, RELION 3 |
| rlnCoordinateX, all within 0 and 1 | parts of the volume: WarpTools' template matching |
| wrpCoordinateX1 | Å from the corner: M |

WarpTools' template matching writes positions in Å from the corner, divided by the volume's edges in Å
(TiltSeries.MatchFull.cs, VolumeDimensionsPhysical), so they are multiplied by the size here. WarpTools' own
ts_export_particles --normalized_coords multiplies them by (size - 1) px, and so puts them up to a pixel off.

A list of files (rlnTomoImportParticleFile) is followed. Shifts (rlnOrigin) and turns (rlnTomoSubtomogramRot) are
applied, so that position and angles say all.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.errors import UserError, some
from stacycle.files import safe_names, star
from stacycle.files.star_labels import ANGLES, CENTRED, CORNER, ORIGINS, SUBSET, TURNS
from stacycle.inputs.findings import Findings
from stacycle.inputs.orientations import or_zero, to_angles, to_rotation
from stacycle.inputs.pick_formats import m_species
from stacycle.inputs.pick_formats.pick_format import (
    CENTRED as CENTRED_ANGSTROM,
)
from stacycle.inputs.pick_formats.pick_format import (
    FRACTIONS,
    SERIES_CORNER,
    UNBINNED,
    VOXELS,
    PickFormat,
    Picks,
    PicksAsked,
    are_fractions,
    has_turns,
)
from stacycle.inputs.picked_twice import SCORES

_TOMOGRAM, _MICROGRAPH, _LIST = "rlnTomoName", "rlnMicrographName", "rlnTomoImportParticleFile"
_OLD_ORIGINS = [f"rlnOrigin{axis}" for axis in "XYZ"]  # px
_GROUP, _DETECTOR, _MAGNIFICATION = "rlnOpticsGroup", "rlnDetectorPixelSize", "rlnMagnification"
_PIXELS = ("rlnImagePixelSize", "rlnPixelSize")
_PRIORS = ("rlnAngleTiltPrior", "rlnAnglePsiPrior")
_ANNOTATIONS = ("rlnSphereRadius", "rlnTomoManifoldIndex")  # of RELION's Pick jobs for spheres and filaments
_SAME_PIXEL = 0.01  # relative
OF_WARP = ".tomostar"
_PYTOM_SCORE = "rlnLCCmax"


class _Positions(NamedTuple):
    """Positions (n, 3) in a unit; `voxel`: Å (n) of each one's pixels, None if only the tomograms tell."""

    values: NDArray[np.floating]
    unit: str
    voxel: NDArray[np.floating] | None


def read(asked: PicksAsked, known: tuple[str, ...], findings: Findings) -> list[Picks]:
    """The picks of each file, and of those that a list names. UserError if one has no picks that can be understood."""
    return [picks for path in asked.paths for picks in _read_file(path, asked, findings)]


def _read_file(path: Path, asked: PicksAsked, findings: Findings, name: str | None = None) -> list[Picks]:
    tables = star.read(path, oddities=[])
    findings.files.add(str(path))
    listed = next((table for table in tables.values() if _LIST in table), None)
    if listed is not None and name is None:
        return _read_list(path, listed, asked, findings)
    if (of_m := next((table for table in tables.values() if m_species.POSITION in table), None)) is not None:
        return [m_species.read(path, of_m)]
    table = _find_table(path, tables)
    for column in (
        *CENTRED,
        *CORNER,
        *ANGLES,
        *ORIGINS,
        *_OLD_ORIGINS,
        *TURNS,
        *_PIXELS,
        _DETECTOR,
        _MAGNIFICATION,
    ):
        if column in table and (table[column].dtype.kind not in "if" or not np.isfinite(table[column]).all()):
            values = pd.to_numeric(table[column], errors="coerce")
            row = int(np.flatnonzero(~np.isfinite(values))[0]) + 1
            raise UserError(f"{path}: {column} is not a number in row {row}", "correct or remove it")
    names = _names(path, table, asked, name)
    positions = _positions(path, table, tables.get("optics"), names, asked)
    score = next((table[label].to_numpy(float) for label in SCORES if _has_numbers(table, label)), None)
    if priors := [label for label in _PRIORS if label in table and table[label].nunique() > 1]:
        what = f"{some(priors)} are left out: orientations are searched around their angles alone"
        findings.warn(f"{path}: {what}", "give filaments of RELION 5 as they are")
    rows = np.arange(1, len(table) + 1)
    return [
        Picks(
            path,
            names,
            positions.values,
            positions.unit,
            rows,
            angles=_angles(path, table),
            score=score,
            voxel=positions.voxel if positions.unit == VOXELS else None,
            half=_halves(path, table, findings),
            shift=_shift(path, table, positions),
        )
    ]


def _read_list(path: Path, table: pd.DataFrame, asked: PicksAsked, findings: Findings) -> list[Picks]:
    """The picks of the files that RELION's import or pytom-match-pick's merging lists, for one tomogram each."""
    if _TOMOGRAM not in table:
        raise UserError(f"{path}: lists files ({_LIST}) without {_TOMOGRAM}", "add it")
    found: dict[tuple[object, ...], list[Picks]] = {}
    for row, (name, file) in enumerate(zip(table[_TOMOGRAM], table[_LIST], strict=True), 1):
        there = next((one for one in (Path(file), path.parent / file) if one.is_file()), None)
        if there is None:
            raise UserError(f"{path}: {file} in row {row} is not there", "correct the path")
        if there.suffix != ".star":
            raise UserError(f"{path}: {file} in row {row} is no STAR file", "give such files as text:")
        read = _read_file(there, asked, findings, str(name))
        # merging lists a file with the names of several tomograms once for each
        found.setdefault((there.resolve(), *(tuple(picks.tomogram) for picks in read)), read)
    return [picks for read in found.values() for picks in read]


def _find_table(path: Path, tables: star.Tables) -> pd.DataFrame:
    """The table with positions. UserError, saying what the file is instead, if there is none."""
    for wanted in (CENTRED, CORNER):
        if (found := next((one for one in tables.values() if set(wanted) <= set(one)), None)) is not None:
            if found.empty:
                raise UserError(f"{path}: its table has no row", "was it written completely?")
            drawn = [label for label in _ANNOTATIONS if label in found]
            if drawn and not {*ANGLES, *CENTRED} & set(found):
                problem = f"{path}: is what was drawn for RELION's Pick job ({some(drawn)}), not its picks"
                raise UserError(problem, "give that job's particles.star")
            return found
    columns = {column for table in tables.values() for column in table}
    if "rlnTomoParticlesFile" in columns:
        named = next(table for table in tables.values() if "rlnTomoParticlesFile" in table)[
            "rlnTomoParticlesFile"
        ]
        raise UserError(f"{path}: is an optimisation set, not picks", f"give {named.iloc[0]}")
    if {"rlnTomoTiltSeriesStarFile", "rlnTomoTiltSeriesName"} & columns:
        raise UserError(f"{path}: holds tomograms, not picks", "give the particles' STAR file")
    if "tomo_num" in columns:
        raise UserError(f"{path}: is a motive list of STOPGAP", "give it as stopgap:")
    problem = f"{path}: has no table with {CENTRED[0]} or {CORNER[0]} and their Y and Z"
    raise UserError(problem, "is it the right file?")


def _names(path: Path, table: pd.DataFrame, asked: PicksAsked, listed: str | None) -> NDArray[np.object_]:
    column = next((label for label in (_TOMOGRAM, _MICROGRAPH) if label in table), None)
    if column:
        names = table[column].astype(str).to_numpy(object)
        if len(absent := np.flatnonzero(np.isin(names, safe_names.ABSENT))):
            raise UserError(f"{path}: has no {column} in row {absent[0] + 1}", "correct or remove it")
        if asked.tomogram and len(set(names)) > 1:
            problem = f"{path}: has picks of {some(sorted(set(names)))}, not of {asked.tomogram} alone"
            raise UserError(problem, "leave tomogram out", asked.label)
        return np.full(len(names), asked.tomogram, object) if asked.tomogram else names
    if one := listed or asked.tomogram:
        return np.array([one] * len(table), object)
    raise UserError(
        f"{path}: has neither {_TOMOGRAM} nor {_MICROGRAPH}", "say tomogram, if all are in one", asked.label
    )


def _positions(
    path: Path,
    table: pd.DataFrame,
    optics: pd.DataFrame | None,
    names: NDArray[np.object_],
    asked: PicksAsked,
) -> _Positions:
    if set(CENTRED) <= set(table):
        return _Positions(table[CENTRED].to_numpy(float), CENTRED_ANGSTROM, None)
    values = table[CORNER].to_numpy(float)
    if are_fractions(values):
        return _Positions(values, FRACTIONS, None)
    of_warp = (
        _MICROGRAPH in table if _TOMOGRAM not in table else any(name.endswith(OF_WARP) for name in names)
    )
    if not of_warp and _DETECTOR not in table:
        return _Positions(values, UNBINNED, None)
    pixel = _pixel(path, table, optics, asked)
    if _is_of_pytom(table, optics):
        return _Positions(values, VOXELS, pixel)
    return _Positions(values * pixel[:, None], SERIES_CORNER, pixel)


def _is_of_pytom(table: pd.DataFrame, optics: pd.DataFrame | None) -> bool:
    """Whether voxels of the volume that was searched are meant, as pytom-match-pick writes them: Warp keeps its score,
    but adds other columns."""
    if optics is not None or {_MAGNIFICATION, *_PIXELS} & set(table):
        return False
    return _PYTOM_SCORE in table or _TOMOGRAM not in table


def _pixel(
    path: Path, table: pd.DataFrame, optics: pd.DataFrame | None, asked: PicksAsked
) -> NDArray[np.floating]:
    """(n) Å of the pixels that positions count in. UserError if it is not said, or in two ways that disagree."""
    said = {}
    if _DETECTOR in table:
        magnification = table[_MAGNIFICATION].to_numpy(float) if _MAGNIFICATION in table else 1e4
        said[_DETECTOR] = table[_DETECTOR].to_numpy(float) * 1e4 / magnification
    for label in _PIXELS:
        if (values := _optics_column(table, optics, label)) is not None:
            said[label] = values
    if asked.pixel:
        said[f"{asked.label}.pixel"] = np.full(len(table), asked.pixel)
    if not said:
        problem = f"{path}: nothing says in what pixels its {CORNER[0]} and the others count"
        raise UserError(problem, "say pixel, their size in Å", f"{asked.label}.pixel")
    (first, pixel), *others = said.items()
    for label, values in others:
        if (np.abs(values - pixel) > _SAME_PIXEL * pixel).any():
            problem = f"{path}: {first} says {pixel[0]:g} Å, but {label} says {values[0]:g} Å"
            raise UserError(problem, "correct or remove one")
    if not (pixel > 0).all():
        raise UserError(f"{path}: {first} is {pixel.min():g} Å", "correct it")
    return pixel


def _optics_column(
    table: pd.DataFrame, optics: pd.DataFrame | None, label: str
) -> NDArray[np.floating] | None:
    """(n) A value of each particle, its own or its optics group's; None if neither has it."""
    if label in table:
        return table[label].to_numpy(float)
    if optics is None or label not in optics or optics[label].dtype.kind not in "if":
        return None
    if _GROUP in table and _GROUP in optics:
        values = table[_GROUP].map(dict(zip(optics[_GROUP], optics[label], strict=True))).to_numpy(float)
        return values if np.isfinite(values).all() else None
    return np.full(len(table), float(optics[label].iloc[0])) if optics[label].nunique() == 1 else None


def _shift(path: Path, table: pd.DataFrame, positions: _Positions) -> NDArray[np.floating] | None:
    """(n, 3) Å to be added to positions, for the origins that RELION keeps beside them: position = coordinate - turned
    origin."""
    labels = ORIGINS if set(ORIGINS) & set(table) else _OLD_ORIGINS
    origin = or_zero(table, labels)
    if not origin.any():
        return None
    if labels is _OLD_ORIGINS:
        if positions.voxel is None:
            old = some(label for label in _OLD_ORIGINS if label in table)
            problem = (
                f"{path}: has shifts in pixels ({old}), as RELION 3 and M write them, whose size is not said"
            )
            raise UserError(problem, f"multiply them by their pixel size and call them {some(ORIGINS)}")
        origin = origin * positions.voxel[:, None]
    if has_turns(path, table):
        origin = to_rotation(or_zero(table, TURNS)).apply(origin)
    return -origin


def _angles(path: Path, table: pd.DataFrame) -> NDArray[np.floating] | None:
    """(n, 3) The whole orientation, the turn of a filament's or surface's frame included; None if there is none."""
    found = [label for label in ANGLES if label in table]
    if found and len(found) < len(ANGLES):
        missing = [label for label in ANGLES if label not in table]
        raise UserError(
            f"{path}: has {', '.join(found)}, but not {', '.join(missing)}", "add it, or leave all out"
        )
    angles = table[ANGLES].to_numpy(float) if found else None
    if not has_turns(path, table):
        return angles
    turns = or_zero(table, TURNS)
    if angles is None or not turns.any():
        return turns if angles is None else angles
    return to_angles(to_rotation(turns) * to_rotation(angles))


def _halves(path: Path, table: pd.DataFrame, findings: Findings) -> NDArray[np.integer] | None:
    if SUBSET not in table:
        return None
    if set(table[SUBSET]) == {1, 2}:
        return table[SUBSET].to_numpy(int)
    findings.warn(
        f"{path}: {SUBSET} is left out, for it does not tell two half sets, 1 and 2",
        "refine3d makes new ones",
    )
    return None


def _has_numbers(table: pd.DataFrame, label: str) -> bool:
    return label in table and table[label].dtype.kind in "if" and bool(np.isfinite(table[label]).all())


FORMAT = PickFormat("star", "STAR files of RELION, pytom-match-pick, Warp and M", read)
