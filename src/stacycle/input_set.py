"""One set of tomograms and picks, read and checked in full before anything runs.

RELION drops particles of unknown tomograms with a warning and notices a missing image hours later; here every
mistake is looked for first, and all are told at once. Images are judged by header and file size, never read.

Positions: RELION 5 counts in Å from the tomogram's centre (`rlnCenteredCoordinateXAngst`). Exports with
`rlnCoordinateX` are read as RELION reads them, in pixels of the *unbinned* tilt series from the tomogram's
corner, unless `rlnDetectorPixelSize` beside them says in Å which pixels are meant.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stacycle import image_files, names, plausible, star
from stacycle.errors import UserError, some
from stacycle.labels import ANGLES, CENTRED, CORNER, ORIGINS, PIXEL, SERIES, SIZE, TILT, TOMOGRAM, TURNS

# A particle without one of these columns has zero there.
SHIFTS = [*ORIGINS, *TURNS]
_TEXT = {"rlnTomoName", SERIES, "rlnMicrographName"}

SAME_PIXEL = 0.01  # relative difference up to which two pixel sizes are taken for one


@dataclass
class Findings:
    """What is wrong, so that nothing can run, and what is worth knowing; a sentence each."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)  # that were looked at
    doubts: list[plausible.Doubt] = field(default_factory=list)  # of numbers, to be told together


@dataclass(frozen=True)
class Series:
    """A tilt series: its table, the name that this has in its file, the size of its images in px, (y, x)."""

    table: pd.DataFrame
    name: str
    shape: tuple[int, int]


@dataclass
class InputSet:
    """One set as it was read; `particles` also have the columns `file` and `row` that they came from."""

    label: str
    tomograms_file: str
    particles_file: str
    tomograms: pd.DataFrame = field(default_factory=pd.DataFrame)
    particles: pd.DataFrame = field(default_factory=pd.DataFrame)
    series: dict[str, Series] = field(default_factory=dict)


def read_set(number: int, entry: Mapping[str, str], found: Findings) -> InputSet | None:
    """A set of the config with all that can be checked without the others; None if it had a problem."""
    before = len(found.problems)
    one = InputSet(entry.get("name") or f"set{number}", entry["tomograms"], entry["particles"])
    _check_entry(number, entry, one.label, found)
    if len(found.problems) > before:
        return None
    one.tomograms = _read_table(one.tomograms_file, ["rlnTomoName", SERIES, *TOMOGRAM], found)
    if not one.tomograms.empty:
        _check_tomograms(one, found)
    tomograms_are_good = len(found.problems) == before
    one.particles = _read_table(one.particles_file, ["rlnTomoName", *ANGLES], found)
    one.particles = one.particles.assign(file=one.particles_file, row=np.arange(1, len(one.particles) + 1))
    if tomograms_are_good:
        if not one.particles.empty:
            _check_particles(one, found)
        read = {str(row.rlnTomoName): _read_series(row, found) for row in one.tomograms.itertuples()}
        one.series = {name: series for name, series in read.items() if series}
        shapes = {name: series.shape for name, series in one.series.items()}
        found.doubts += plausible.check_tomograms(one.tomograms_file, one.tomograms, shapes)
    return one if len(found.problems) == before else None


def tilt_series_of(tomograms: str | Path) -> list[str]:
    """The tilt-series STAR files that a tomograms.star names and that are there; none if it is unreadable."""
    table = _read_table(tomograms, [SERIES], Findings())
    return [path for path in table.get(SERIES, []) if not names.has_braces(path) and os.path.isfile(path)]


def _read_table(path: str | Path, columns: Sequence[str], found: Findings) -> pd.DataFrame:
    """The table of a file that has these columns, whatever its name; an empty one if there was a problem."""
    found.files.add(str(path))
    try:
        table = _table_with(path, star.read(path), columns)
        _refuse_unwritable(str(path), table, found)
        return table
    except UserError as error:
        found.problems.append(str(error))
        return pd.DataFrame()


def _table_with(path: str | Path, tables: star.Tables, columns: Sequence[str]) -> pd.DataFrame:
    """The table with the first of these columns (exports differ in its name), which must have all of them."""
    table = next((table for table in tables.values() if columns[0] in table), None)
    if table is None:
        raise UserError(f"{path}: has no table with a column {columns[0]}; is it the right file?")
    missing = [column for column in columns if column not in table]
    if missing:
        hint = (
            "picks need angles, as template matching gives them" if set(missing) & set(ANGLES) else "add it"
        )
        raise UserError(f"{path}: has no column {', '.join(missing)}; {hint}.")
    if table.empty:
        raise UserError(f"{path}: its table has no row; was it written completely?")
    for column in _TEXT & set(columns):
        if (absent := table[column].isna()).any():
            raise UserError(f"{path}: has no {column} in {_rows(absent)}; correct or remove it.")
    return table.copy()


def _check_entry(number: int, entry: Mapping[str, str], label: str, found: Findings) -> None:
    """The config's words about a set."""
    where = f"inputs.{number}"
    for key in ("tomograms", "particles"):
        if names.has_braces(entry[key]) or not names.has_no_controls(entry[key]):
            found.problems.append(
                f"{where}.{key}: {entry[key]!r} has a brace or a control character; rename the file or folder."
            )
    if not names.is_name(label):
        found.problems.append(f"{where}.name: {label!r} cannot be part of file names; {names.NAME_RULE}.")


def _refuse_unwritable(path: str, table: pd.DataFrame, found: Findings) -> None:
    """Text that a STAR file cannot hold, or that another program reads as something else."""
    for column in table.select_dtypes(exclude="number"):
        texts = table[column].astype(str)
        if (bad := texts.str.contains(names.NOT_IN_STAR)).any():
            found.problems.append(
                f"{path}: {column} has a quote, a leading # or a control character in {_rows(bad)} "
                f"({some(texts[bad], 1)!r}); rename it."
            )


def _check_tomograms(one: InputSet, found: Findings) -> None:
    path, table = one.tomograms_file, one.tomograms
    _make_numeric(table, TOMOGRAM, path, found)
    for column in (PIXEL, *SIZE):
        if (bad := table[column] <= 0).any():
            found.problems.append(f"{path}: {column} is not above 0 in {_rows(bad)}; correct it.")
    if (twice := table.rlnTomoName.duplicated()).any():
        found.problems.append(f"{path}: {some(table.rlnTomoName[twice])} stands there twice; remove one.")
    _check_names(path, table.rlnTomoName, names.is_name, "tomogram", names.NAME_RULE, found)
    if "rlnOpticsGroupName" in table:
        _check_names(path, table.rlnOpticsGroupName, names.is_label, "optics group", names.LABEL_RULE, found)


def _check_names(
    path: str, given: pd.Series, good: Callable[[str], bool], kind: str, rule: str, found: Findings
) -> None:
    if bad := [name for name in given.unique() if not good(name)]:
        found.problems.append(
            f"{path}: RELION cannot use {kind} {some(map(repr, bad))} as a name; rename it: {rule}."
        )


def _check_particles(one: InputSet, found: Findings) -> None:
    path, table = one.particles_file, one.particles
    _make_numeric(table, [c for c in (*CENTRED, *CORNER, *ANGLES, *SHIFTS) if c in table], path, found)
    known = list(one.tomograms.rlnTomoName)
    unknown = ~table.rlnTomoName.isin(known)
    if unknown.any():
        strangers = table.rlnTomoName[unknown].drop_duplicates()
        close = difflib.get_close_matches(strangers.iloc[0], known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"it has {some(known)}."
        found.problems.append(
            f"{path}: tomogram {some(strangers)} ({_rows(unknown)}) is not in {one.tomograms_file}; {hint}"
        )
    elif not (set(CENTRED) <= set(table) or set(CORNER) <= set(table)):
        found.problems.append(
            f"{path}: has no positions; it needs {', '.join(CENTRED)} (or {', '.join(CORNER)})."
        )
    else:
        _check_positions(one, found)


def _check_positions(one: InputSet, found: Findings) -> None:
    """Give every particle its position in Å from the tomogram's centre, and refuse those outside."""
    path, table = one.particles_file, one.particles
    of_each = one.tomograms.set_index("rlnTomoName").loc[table.rlnTomoName]
    pixel = of_each[[PIXEL]].to_numpy(float)
    half = of_each[SIZE].to_numpy(float) / 2 * pixel  # Å
    if not set(CENTRED) <= set(table):
        unit = pixel
        if "rlnDetectorPixelSize" in table:
            _make_numeric(table, ["rlnDetectorPixelSize"], path, found)
            unit = table[["rlnDetectorPixelSize"]].to_numpy(float)
        elif _seem_binned(table[CORNER].to_numpy(float) * pixel, 2 * half, of_each):
            found.problems.append(
                f"{path}: all particles lie in one corner of their tomograms, as if rlnCoordinateX/Y/Z were "
                "in binned pixels; add a column rlnDetectorPixelSize with the size of these pixels in Å."
            )
            return
        table[CENTRED] = table[CORNER].to_numpy(float) * unit - half
    outside = pd.Series((np.abs(table[CENTRED].to_numpy(float)) > half + pixel).any(axis=1))
    if outside.any():
        first = table[outside.to_numpy()].iloc[0]
        where = ", ".join(f"{first[column]:.0f}" for column in CENTRED)
        found.problems.append(
            f"{path}: positions outside the tomogram in {_rows(outside)}, the first {where} Å from the "
            f"centre of {first.rlnTomoName}; check their unit and rlnTomoSizeX/Y/Z in {one.tomograms_file}."
        )


def _seem_binned(from_corner: np.ndarray, extent: np.ndarray, of_each: pd.DataFrame) -> bool:
    """Whether positions in Å fill only that part of the tomograms that they would in binned pixels."""
    if "rlnTomoTomogramBinning" not in of_each or len(of_each) < 10:
        return False
    binning = of_each[["rlnTomoTomogramBinning"]].to_numpy(float)
    return bool((binning >= 2).all() and (from_corner * binning <= extent).all())


def _read_series(tomogram: Any, found: Findings) -> Series | None:
    """The tilt series of a row of the tomograms' table, with its images checked; None if unusable."""
    path, wanted = tomogram.rlnTomoTiltSeriesStarFile, tomogram.rlnTomoName
    found.files.add(path)
    try:
        tables = star.read(path)
        name = wanted if wanted in tables else next(iter(tables))
        if name != wanted and len(tables) > 1:
            raise UserError(f"{path}: has no table data_{wanted} (found: {some(tables)}).")
        table = _table_with(path, {name: tables[name]}, TILT)
        if "rlnMicrographName" not in table and hasattr(tomogram, "rlnTomoTiltSeriesName"):
            table["rlnMicrographName"] = [
                f"{i + 1}@{tomogram.rlnTomoTiltSeriesName}" for i in range(len(table))
            ]
        _table_with(path, {name: table}, ["rlnMicrographName"])
    except UserError as error:
        found.problems.append(f"{error}{_right_from_elsewhere(path)} (tilt series of {wanted})")
        return None
    _make_numeric(table, [*TILT, *({"rlnTomoXTilt"} & set(table))], path, found)
    shape = _check_images(wanted, path, table.rlnMicrographName, getattr(tomogram, PIXEL), found)
    found.doubts += plausible.check_series(wanted, path, table, shape, getattr(tomogram, PIXEL))
    return Series(table, name, shape)


def _right_from_elsewhere(path: str) -> str:
    folder = next((folder for folder in Path.cwd().parents if os.path.exists(folder / path)), None)
    return f" It is right from {folder}: is that the project folder?" if folder else ""


def _check_images(
    series: str, path: str, named: Iterable[str], pixel: float, found: Findings
) -> tuple[int, int]:
    """Look at a tilt series' image files, one sentence per kind of fault; returns the images' (y, x)."""
    images = [image_files.parse_image_name(name) for name in named]
    looked = {file: image_files.look(file) for file in dict.fromkeys(one.file for one in images)}
    found.files.update(looked)
    known = {file: one for file, one in looked.items() if one}
    there = {file: one.header for file, one in known.items() if one.header}
    shape = next((header.shape for header in there.values()), (0, 0))

    def tell(files: Iterable[str], fault: str, cure: str) -> None:
        if listed := list(dict.fromkeys(files)):
            more = f" (and {len(listed) - 1} more)" if len(listed) > 1 else ""
            if header := there.get(listed[0]):
                size = known[listed[0]].size
                fault = fault.format(size=size, needed=header.bytes, **header._asdict())
            found.problems.append(f"{path}: image {listed[0]}{more} {fault}; {cure}.")

    unset = [file for file, header in there.items() if header.pixel in (0, 1)]
    wrong = [f for f, h in there.items() if abs(h.pixel - pixel) > SAME_PIXEL * pixel and f not in unset]
    for one in {(image.file, image.format, image.number and 1): image for image in images}.values():
        if fault := image_files.fault_of_name(one) or image_files.fault_of_format(one, looked[one.file]):
            told = f"image {one.file} {fault.fault}"
            found.doubts.append(plausible.Doubt(True, fault.fault, path, series, told, fault.cure))
    tell(
        (f for f, h in there.items() if known[f].size < h.bytes),
        "is cut short, {size} of {needed} bytes",
        "copy it again",
    )
    tell(
        (f for f, h in there.items() if h.shape != shape),
        "has another size than the first",
        "RELION needs one size",
    )
    tell(
        (f for i, f, _ in images if i and f in there and i > there[f].sections),
        "has only {sections} tilts",
        "correct one",
    )
    tell(
        wrong, f"has {{pixel:g}} Å/px in its header, but {pixel:g} in the STAR file", "correct the wrong one"
    )
    if unset and pixel != 1:
        found.warnings.append(
            f"{unset[0]}: its header has no pixel size; {pixel:g} Å is taken from the STAR file."
        )
    return shape


def _make_numeric(table: pd.DataFrame, columns: Iterable[str], path: str, found: Findings) -> None:
    for column in columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            table[column] = pd.to_numeric(table[column], errors="coerce")
        if (bad := ~np.isfinite(table[column])).any():
            found.problems.append(f"{path}: {column} is not a number in {_rows(bad)}; correct or remove it.")


def _rows(which: pd.Series) -> str:
    """The rows that a mask selects, counted from 1 as in the file."""
    rows = (np.flatnonzero(which) + 1).tolist()
    return f"row{'s' * (len(rows) > 1)} {some(rows)}"
