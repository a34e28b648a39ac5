"""Tilt series that Scipion wrote as STAR files of RELION 5 (plugin reliontomo, convert50_tomo.py).

They are RELION's own but for three things: images are called N@FILE.mrc:mrcs, paths start at Scipion's project or are
doubled, and columns that Scipion cannot fill hold "FileNotFound". A path is looked for as it stands, then below the
folder and those above it, then by its longest ending that is there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stacycle.errors import UserError, some
from stacycle.files import image_files, mrc, star
from stacycle.files.star_labels import CENTRED, CORNER, PIXEL, SERIES, SIZE, TILT
from stacycle.inputs.findings import Findings
from stacycle.inputs.sources.common import even, numbers_in
from stacycle.inputs.sources.source import Asked, ImportedSeries, Source, Volume

_NAME, _IMAGE, _EXPOSURE = "rlnTomoName", "rlnMicrographName", "rlnMicrographPreExposure"
_NOMINAL, _X_TILT = "rlnTomoNominalStageTiltAngle", "rlnTomoXTilt"
_OPTIONAL = (_NOMINAL, _X_TILT, "rlnPhaseShift", "rlnCtfScalefactor")
_VOLUMES = ("rlnTomoReconstructedTomogram", "rlnTomoReconstructedTomogramHalf1")
_ABSENT = "FileNotFound"
_DEFAULT_HAND = -1
_WHOLE = 0.02  # by how much an exposure may be off a multiple of the dose, as its part


@dataclass(frozen=True)
class _Table:
    """The list of tomograms, and the file that it stands in."""

    path: Path
    rows: list[Mapping[Hashable, Any]]


def read(asked: Asked, findings: Findings) -> list[ImportedSeries]:
    """All tilt series of Scipion's list of tomograms. UserError if there is no such list, or several."""
    table = _find_table(asked)
    found = []
    for row in table.rows:
        try:
            found.append(_read_series(row, table.path, asked, findings))
        except UserError as error:
            findings.problems.append(error)
    return found


def files(asked: Asked) -> list[Path]:
    """The list of tomograms, the tilt series, and their images, as far as they can be found."""
    table = _find_table(asked)
    found = [table.path]
    for row in table.rows:
        if (path := _found(str(row[SERIES]), table.path.parent)) is None:
            continue
        found.append(path)
        images = dict.fromkeys(image_files.file_of(name) for name in star.column(path, _IMAGE))
        found += [image for name in images if (image := _found(name, path.parent))]
        found += [volume.path] if (volume := _volume(row, table.path)) else []
    return found


def _find_table(asked: Asked) -> _Table:
    """The one STAR file in the folder, or below it if none is in it, that lists tomograms with tilt series."""
    folder = asked.folder
    if not folder.exists():
        raise UserError(f"{folder} is not there", "check the path", f"{asked.label}.scipion")
    listed = [folder] if folder.is_file() else sorted(folder.glob("*.star")) or sorted(folder.rglob("*.star"))
    unreadable: list[str] = []
    tables = _lists_of_tomograms(listed, unreadable)
    if not tables and folder.is_dir():
        deeper = [path for path in sorted(folder.rglob("*.star")) if path not in listed]
        tables = _lists_of_tomograms(deeper, unreadable)
    if not tables:
        unread = f" (not read: {some(unreadable, 2)})" if unreadable else ""
        problem = f"{folder} has no STAR file of Scipion that lists tomograms ({SERIES}){unread}"
        raise UserError(problem, "give the folder of its export of tilt series", f"{asked.label}.scipion")
    if len(tables) > 1:
        problem = f"{folder} has several lists of tomograms, {some((path for path, _ in tables), 3)}"
        raise UserError(problem, "give the file of one of them", f"{asked.label}.scipion")
    path, table = tables[0]
    names = table[_NAME].astype(str)
    if (twice := names.duplicated()).any():
        raise UserError(f"{path}: {some(names[twice])} stands there twice", "remove one")
    rows = [
        row for row in table.to_dict("records") if any(fnmatchcase(str(row[_NAME]), x) for x in asked.include)
    ]
    if not rows:
        raise UserError(
            f"{path}: has none of {some(asked.include)}", f"it has {some(names)}", f"{asked.label}.include"
        )
    return _Table(path, [dict(row) for row in rows])


def _lists_of_tomograms(paths: list[Path], unreadable: list[str]) -> list[tuple[Path, pd.DataFrame]]:
    """The files that list tomograms, with these tables; what is wrong with others is added to `unreadable`."""
    found = []
    for path in paths:
        try:
            tables = star.read(path, oddities=[]).values()
        except UserError as error:
            unreadable.append(error.problem)
            continue
        found += [(path, one) for one in tables if {_NAME, SERIES} <= set(one) and len(one)][:1]
    return found


def _read_series(
    row: Mapping[Hashable, Any], listed: Path, asked: Asked, findings: Findings
) -> ImportedSeries:
    name = str(row[_NAME])
    path = _found(str(row[SERIES]), listed.parent)
    if path is None:
        raise UserError(
            f"{listed}: the tilt series of {name}, {row[SERIES]}, is not there", "copy it beside that file"
        )
    tables = star.read(path, oddities=[])
    if name not in tables and len(tables) > 1:
        raise UserError(f"{path}: has no table data_{name} (found: {some(tables)})", "is it the right file?")
    table = tables[name if name in tables else next(iter(tables))]
    _check_columns(path, name, table)
    taken = {"axis": f"{table.rlnTomoZRot.median():.2f}°, rlnTomoZRot of {path.name}"}
    pixel = float(_value(row, PIXEL, asked.pixel, f"{asked.label}.pixel", listed, taken, " Å"))
    tilts = pd.DataFrame({_IMAGE: _images(path, table)})
    taken["dropped"] = _dropped(tilts[_IMAGE], path)
    tilts[_EXPOSURE] = _exposures(path, table, asked, taken, findings)
    tilts[_NOMINAL], tilts[_X_TILT] = table["rlnTomoYTilt"], 0.0
    for label in _OPTIONAL:
        if (values := _filled(path, table, label)) is not None:
            tilts[label] = values
    for label in TILT:
        tilts[label] = tilts.get(label, table[label])
    hand = _value(row, "rlnTomoHand", asked.hand, f"{asked.label}.hand", listed, taken, default=_DEFAULT_HAND)
    if hand not in (1, -1):
        raise UserError(
            f"{listed}: rlnTomoHand of {name} is {hand:g}, not 1 or -1", "say hand", f"{asked.label}.hand"
        )
    return ImportedSeries(
        name,
        tilts,
        pixel,
        _size(row, name, listed, asked, taken),
        int(hand),
        _value(row, "rlnVoltage", asked.voltage, f"{asked.label}.voltage", listed, taken, " kV"),
        _value(row, "rlnSphericalAberration", asked.cs, f"{asked.label}.cs", listed, taken, " mm"),
        _value(
            row,
            "rlnAmplitudeContrast",
            asked.amplitude_contrast,
            f"{asked.label}.amplitude_contrast",
            listed,
            taken,
        ),
        _volume(row, listed),
        taken,
    )


def _check_columns(path: Path, name: str, table: pd.DataFrame) -> None:
    """UserError unless a tilt series is aligned, in RELION 5's way, and has numbers in every row."""
    if "rlnTomoProjX" in table:
        problem = f"{path}: has matrices of RELION 4 (rlnTomoProjX) instead of angles and shifts"
        raise UserError(problem, "export it by Scipion's protocols for RELION 5")
    if {*CENTRED, *CORNER} & set(table):
        raise UserError(f"{path}: holds particles, not the tilt series of {name}", "is it the right file?")
    if missing := [label for label in (_IMAGE, *TILT) if label not in table]:
        what = (
            "is not aligned yet"
            if "rlnTomoYTilt" in missing
            else "lacks its CTF"
            if "rlnDefocusU" in missing
            else ""
        )
        said = f"{path}: has no column {', '.join(missing)}{what and f', so that it {what}'}"
        raise UserError(said, "give Scipion's export of aligned tilt series with their CTF")
    for label in TILT:
        if _filled(path, table, label) is None:
            raise UserError(f"{path}: {label} is not a number in any row", "correct it")


def _filled(path: Path, table: pd.DataFrame, label: str) -> pd.Series | None:
    """A column as numbers; None if it is not there or Scipion could not fill it. UserError if some rows are none."""
    if label not in table or pd.to_numeric(table[label], errors="coerce").isna().all():
        return None
    return numbers_in(path, table, label)


def _value(
    row: Mapping[Hashable, Any],
    label: str,
    asked: float | None,
    key: str,
    listed: Path,
    taken: dict[str, str],
    unit: str = "",
    default: float | None = None,
) -> float:
    """What the config says, else the list of tomograms, else the default. UserError without any."""
    if asked is not None:
        value, origin = float(asked), "the config"
    elif isinstance(row.get(label), (int, float)) and np.isfinite(row[label]):
        value, origin = float(row[label]), f"{label} of {listed.name}"
    elif default is not None:
        value, origin = default, "Scipion's default"
    else:
        problem = f"{listed}: has no {label} for {row[_NAME]}"
        raise UserError(problem, f"say {key.rpartition('.')[2]}", key)
    taken[key.rpartition(".")[2]] = f"{value:g}{unit}, {origin}"
    return value


def _size(
    row: Mapping[Hashable, Any], name: str, listed: Path, asked: Asked, taken: dict[str, str]
) -> tuple[int, int, int]:
    """Unbinned px, which Scipion writes as 4092.0, or as 5755.5556, if its binning is no whole number."""
    if asked.size:
        taken["size"] = f"{' x '.join(map(str, asked.size))} px, the config"
        return asked.size
    said = [row.get(label) for label in SIZE]
    numbers = [float(value) for value in said if isinstance(value, (int, float)) and 1 <= value < np.inf]
    if len(numbers) < len(SIZE):
        problem = f"{listed}: the size of {name} ({', '.join(SIZE)}) is {some(said)}, no numbers of px"
        raise UserError(problem, "say size, in px of the unbinned tilt series", f"{asked.label}.size")
    x, y, z = (int(value) if value.is_integer() else even(value) for value in numbers)
    rounded = "" if [x, y, z] == numbers else f" ({', '.join(f'{value:.6g}' for value in numbers)})"
    taken["size"] = f"{x} x {y} x {z} px, {SIZE[0]} of {listed.name}{rounded}"
    return x, y, z


def _images(path: Path, table: pd.DataFrame) -> list[str]:
    """The images' names, found and without the format that Scipion writes behind them."""
    found: dict[str, Path | None] = {}
    names = []
    for row, name in enumerate(table[_IMAGE].astype(str), 1):
        image = image_files.parse_image_name(name)
        file = found.setdefault(image.file, _found(image.file, path.parent))
        if file is None:
            cure = "link Scipion's folder Runs beside it, or give its project's own folder"
            raise UserError(f"{path}: the image {image.file} in row {row} is not there", cure)
        names.append(image_files.renamed(image, str(file)))
    return names


def _dropped(names: Iterable[str], path: Path) -> str:
    """Which images of the stack are not used, in words."""
    used: dict[str, set[int]] = {}
    for image in map(image_files.parse_image_name, names):
        used.setdefault(image.file, set()).add(image.number or 1)
    if len(used) > 1:
        return "none"  # each image is a file
    file, numbers = next(iter(used.items()))
    header = _header(Path(file))
    dropped = sorted(set(range(1, header.sections + 1)) - numbers) if header else []
    return f"images {some(dropped, 8)}, not in {path.name}" if dropped else "none"


def _exposures(
    path: Path, table: pd.DataFrame, asked: Asked, taken: dict[str, str], findings: Findings
) -> Any:
    """(n) e/Å² before each image: Scipion's, or by its order of them and the config's dose."""
    said = table[_EXPOSURE].to_numpy(float)
    steps = np.diff(np.unique(said))
    if asked.dose is None:
        taken["dose"] = f"{said.min():g} to {said.max():g} e/Å², {_EXPOSURE} of {path.name}"
        if len(said) > 1 and not steps.size:
            fault = (
                f"all its tilts have the same {_EXPOSURE} ({said[0]:g}), so that nothing is weighted by dose"
            )
            findings.warn(f"{path}: {fault}", "give Scipion's import the dose, and export it again")
        return said
    if not steps.size:
        raise UserError(
            f"{path}: {_EXPOSURE} does not say the order of its tilts", "export it with doses", "dose"
        )
    order = said / steps.min()
    if (np.abs(order - np.rint(order)) > _WHOLE).any():
        problem = (
            f"{path}: {_EXPOSURE} are no multiples of a dose, so that they do not say which tilt came when"
        )
        raise UserError(problem, "leave out dose, or correct them", f"{asked.label}.dose")
    taken["dose"] = f"{asked.dose:g} e/Å² per tilt, the config; the order by {_EXPOSURE} of {path.name}"
    return np.rint(order) * asked.dose


def _volume(row: Mapping[Hashable, Any], listed: Path) -> Volume | None:
    """The tomogram that Scipion made, if it is there."""
    for label in _VOLUMES:
        said = str(row.get(label, _ABSENT))
        path = None if said in (_ABSENT, "") else _found(image_files.file_of(said), listed.parent)
        header = None if path is None else _header(path)
        if path and header and header.pixel > 0:
            return Volume(path, (header.nx, header.ny, header.sections), header.pixel)
    return None


def _header(path: Path) -> mrc.Header | None:
    known = image_files.look(str(path))
    return known.header if known else None


def _found(said: str, folder: Path) -> Path | None:
    """The file that a path means: as it stands, else below the folder or one above it, else its longest ending so."""
    given = Path(said)
    if given.is_file():
        return given
    parts = given.parts[1:] if given.is_absolute() else given.parts
    above = [folder, *folder.parents, *([] if folder.is_absolute() else Path.cwd().parents)]
    for first in range(len(parts)):
        for base in above:
            if (path := base.joinpath(*parts[first:])).is_file():
                return path
    return None


SOURCE = Source("scipion", "Scipion's export of tilt series for RELION 5", read, files)
