"""The picks of the inputs: which format they are in, and whether positions, angles and half sets can be meant so.

Positions: RELION 5 counts in Å from the tomogram's centre (`rlnCenteredCoordinateXAngst`). Exports with
`rlnCoordinateX` are read as RELION reads them, in pixels of the *unbinned* tilt series from the tomogram's
corner, unless `rlnDetectorPixelSize` beside them says in Å which pixels are meant.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from stacycle.errors import UserError, some
from stacycle.files import star
from stacycle.files.star_labels import ANGLES, CENTRED, CORNER, ORIGINS, PIXEL, SIZE, SUBSET, TURNS
from stacycle.inputs.findings import Findings
from stacycle.inputs.pick_formats.pick_format import are_fractions, has_turns
from stacycle.inputs.series import make_numeric, rows_where
from stacycle.inputs.tomogram_names import match_names

# A particle without one of these columns has zero there.
SHIFTS = [*ORIGINS, *TURNS]
_LIST = "rlnTomoImportParticleFile"
_BY_MICROGRAPH = "rlnMicrographName"
_OF_M = "wrpCoordinateX1"
_OLD_ORIGINS = [f"rlnOrigin{axis}" for axis in "XYZ"]  # pixels: RELION 3's
_LARGEST_ANGLE = 720  # degrees: more is no angle but a fault, or another column
_MANY = 10  # picks, from which on what all have in common is no chance


def is_foreign(tables: star.Tables, tomograms: Sequence[str]) -> bool:
    """Whether a STAR file holds picks that are not in RELION 5's format, or name their tomograms in another way, so
    that they have to be converted; `tomograms` are those known. Of a file without picks this is not said."""
    columns = {column for table in tables.values() for column in table}
    if {_LIST, _OF_M, "tomo_num"} & columns:
        return True
    found = [table for table in tables.values() if set(CENTRED) <= set(table) or set(CORNER) <= set(table)]
    if not found or found[0].empty:
        return False
    table = found[0]
    if "rlnTomoName" not in table:
        return _BY_MICROGRAPH in table
    if not set(ANGLES) & set(table) or (set(_OLD_ORIGINS) & set(table) and not set(ORIGINS) & set(table)):
        return True
    if are_fractions(table.reindex(columns=CORNER).apply(pd.to_numeric, errors="coerce").to_numpy(float)):
        return True
    names = sorted(set(table.rlnTomoName))
    if not tomograms or set(names) <= set(tomograms):
        return False
    trial = Findings()
    match_names(names, tomograms, "", trial)
    return not trial.problems  # else it is said as of any others


def check_format(path: str, table: pd.DataFrame, tomograms: Sequence[str]) -> None:
    """UserError, naming the format and the cure, for picks that are not in RELION 5's: `tomograms` are those known."""
    if _LIST in table:
        made = "as of RELION's import or of pytom-match-pick's merging"
        cure = f"give each of its files as a set ({some(table[_LIST], 2)}), or join them into one table"
        raise UserError(f"{path}: is a list of particle files ({_LIST}, {made}), not picks", cure)
    if "rlnTomoName" not in table and _BY_MICROGRAPH in table:
        named = table[_BY_MICROGRAPH].astype(str)
        of_warp = named.str.contains(".tomostar", regex=False).any()
        kind = "Warp or M" if of_warp else "pytom-match-pick or RELION 3"
        problem = f"names its tomograms by {_BY_MICROGRAPH} ({some(named.unique(), 2)}), as {kind} does"
        cure = f"add a column rlnTomoName with the names that the tomograms file has ({some(tomograms, 2)})"
        raise UserError(f"{path}: {problem}", cure)
    missing = [label for label in ("rlnTomoName", *ANGLES) if label not in table]
    if "rlnTomoName" in missing:
        raise UserError(f"{path}: has no table with a column rlnTomoName", "is it the right file?")
    if missing:
        cure = "picks need angles, as template matching gives them"
        raise UserError(f"{path}: has no column {', '.join(missing)}", cure)
    has_turns(path, table)


def check_picks(
    path: str, table: pd.DataFrame, tomograms_file: str, tomograms: pd.DataFrame, findings: Findings
) -> None:
    """Check picks in RELION 5's format, in place: numbers, tomograms, positions (to be CENTRED, in Å) and half sets."""
    make_numeric(table, [c for c in (*CENTRED, *CORNER, *ANGLES, *SHIFTS) if c in table], path, findings)
    _check_angles(path, table, findings)
    _check_half_sets(path, table, findings)
    known = list(tomograms.rlnTomoName)
    unknown = ~table.rlnTomoName.isin(known)
    if unknown.any():
        strangers = table.rlnTomoName[unknown].drop_duplicates()
        close = difflib.get_close_matches(strangers.iloc[0], known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"it has {some(known)}."
        problem = f"{path}: tomogram {some(strangers)} ({rows_where(unknown)}) is not in {tomograms_file}"
        findings.refuse(problem, hint)
    elif not (set(CENTRED) <= set(table) or set(CORNER) <= set(table)):
        cure = f"it needs {', '.join(CENTRED)} (or {', '.join(CORNER)})"
        findings.refuse(f"{path}: has no positions", cure)
    else:
        _check_positions(path, table, tomograms_file, tomograms, findings)


def _check_angles(path: str, table: pd.DataFrame, findings: Findings) -> None:
    for label in (label for label in (*ANGLES, *TURNS) if label in table):
        if (bad := table[label].abs() > _LARGEST_ANGLE).any():
            where = f"{rows_where(bad)} ({some(table[label][bad], 1)})"
            findings.refuse(f"{path}: {label} is no angle in {where}", "correct it")
    angles = table[ANGLES].abs().to_numpy(float)
    if len(table) >= _MANY and 0 < np.max(angles, initial=0) <= 2 * math.pi and np.ptp(angles, axis=0).all():
        fault = "all angles lie within ± 2 π, as if they were in radians, but RELION takes degrees"
        findings.warn(f"{path}: {fault}", "see whether these are")


def _check_half_sets(path: str, table: pd.DataFrame, findings: Findings) -> None:
    """Half sets that came with the picks are used if they are two; else refine3d makes new ones."""
    if SUBSET not in table:
        return
    halves = pd.to_numeric(table[SUBSET], errors="coerce")
    if set(halves) == {1, 2}:
        table[SUBSET] = halves.astype(int)
        return
    counts = some(f"{count} in {half}" for half, count in table[SUBSET].value_counts().items())
    fault = f"{SUBSET} is left out, for it does not tell two half sets, 1 and 2 ({counts})"
    findings.warn(f"{path}: {fault}", "refine3d makes new ones")
    del table[SUBSET]


def _check_positions(
    path: str, table: pd.DataFrame, tomograms_file: str, tomograms: pd.DataFrame, findings: Findings
) -> None:
    """Give every particle its position in Å from the tomogram's centre, and refuse those outside."""
    of_each = tomograms.set_index("rlnTomoName").loc[table.rlnTomoName]
    pixel = of_each[[PIXEL]].to_numpy(float)
    half = of_each[SIZE].to_numpy(float) / 2 * pixel  # Å
    given = CENTRED if set(CENTRED) <= set(table) else CORNER
    values = table[given].to_numpy(float)
    if are_fractions(values):
        fractions = "fractions of the tomogram, as WarpTools' template matching writes them"
        cure = "multiply them by rlnTomoSizeX/Y/Z, and call them rlnCoordinateX/Y/Z"
        findings.refuse(f"{path}: {some(given)} are all between 0 and 1: {fractions}", cure)
        return
    if given == CORNER:
        unit = pixel
        if "rlnDetectorPixelSize" in table:
            make_numeric(table, ["rlnDetectorPixelSize"], path, findings)
            unit = table[["rlnDetectorPixelSize"]].to_numpy(float)
        elif _seem_binned(values * pixel, 2 * half, of_each):
            corner = "in one corner of their tomograms, as if rlnCoordinateX/Y/Z were in binned pixels"
            cure = "add a column rlnDetectorPixelSize with the size of these pixels in Å"
            findings.refuse(f"{path}: all particles lie {corner}", cure)
            return
        table[CENTRED] = values * unit - half
    elif _seem_pixels(values, half, pixel):
        pixels = f"as if {CENTRED[0]} and the others were in pixels, but RELION takes Å"
        fault = f"all particles lie close to the middle of their tomograms, {pixels}"
        findings.warn(f"{path}: {fault}", "see whether these are")
    outside = (np.abs(table[CENTRED].to_numpy(float)) > half + pixel).any(axis=1)
    if outside.any():
        first = table[outside].iloc[0]
        where = ", ".join(f"{first[column]:.0f}" for column in CENTRED)
        where = f"{rows_where(outside)}, the first {where} Å from the centre of {first.rlnTomoName}"
        cure = f"check their unit and rlnTomoSizeX/Y/Z in {tomograms_file}"
        findings.refuse(f"{path}: positions outside the tomogram in {where}", cure)
    origins = table[[label for label in ORIGINS if label in table]].to_numpy(float)
    if (far := (np.abs(origins) > half.max(axis=1, keepdims=True)).any(axis=1)).any():
        fault = f"shifts (rlnOriginX/Y/ZAngst) larger than half the tomogram in {rows_where(far)}"
        findings.refuse(f"{path}: {fault}", "correct them")


def _seem_binned(from_corner: np.ndarray, extent: np.ndarray, of_each: pd.DataFrame) -> bool:
    """Whether positions in Å fill only that part of the tomograms that they would in binned pixels."""
    if "rlnTomoTomogramBinning" not in of_each or len(of_each) < _MANY:
        return False
    binning = of_each[["rlnTomoTomogramBinning"]].to_numpy(float)
    return bool((binning >= 2).all() and (from_corner * binning <= extent).all())


def _seem_pixels(centred: np.ndarray, half: np.ndarray, pixel: np.ndarray) -> bool:
    """Whether positions in Å would fill the tomograms along x and y if they were in pixels instead."""
    if len(centred) < 5 * _MANY or not (pixel > 1.2).all():
        return False
    return bool((np.abs(centred[:, :2]) * pixel <= half[:, :2]).all())
