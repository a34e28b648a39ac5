"""What the readers of several sources share: reading text, choosing what to take, and counting exposures."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.errors import UserError, rows_of, unreadable
from stacycle.files import mrc
from stacycle.inputs.sources.source import Asked

Array = NDArray[np.floating]
T = TypeVar("T")
_UNSET_PIXELS = (0, 1)  # Å/px: what headers say where nobody said anything
_STEPS = 0.05  # how far exposures may be from whole multiples of one


def is_included(name: str, asked: Asked) -> bool:
    """Whether the set asks for the tilt series of this name."""
    return any(fnmatchcase(name, pattern) for pattern in asked.include)


def read_text(path: Path) -> str:
    """The text of a file. UserError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise unreadable(path, error) from None


def float_of(text: str) -> float | None:
    """The number that a text is; None if it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def read_numbers(path: Path, least: int) -> Array:
    """(n, m): the numbers of a text file, a row per line that is not blank; all lines have as many, at least `least`.

    UserError, with the line, for words and for lines of another length.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            raise UserError(
                f"{path}: line {number} is not numbers ({line.strip()[:40]!r})", "correct it"
            ) from None
        if not np.isfinite(row).all():
            raise UserError(f"{path}: line {number} has {line.strip()[:40]!r}", "give it a number")
        if len(row) < least or (rows and len(row) != len(rows[0])):
            wanted = len(rows[0]) if rows else least
            problem = f"{path}: line {number} has {len(row)} numbers, not {wanted}"
            raise UserError(problem, "was it written completely?")
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: is empty", "was it written completely?")
    return np.array(rows)


def numbers_in(path: Path, table: pd.DataFrame, label: str) -> pd.Series:
    """A column of a table as numbers. UserError, with the rows, if some are none."""
    values = pd.to_numeric(table[label], errors="coerce").astype(float)
    if (bad := ~np.isfinite(values)).any():
        where = rows_of(np.flatnonzero(bad) + 1)
        raise UserError(f"{path}: {label} is not a number in {where}", "correct it")
    return values


def first_known(key: str, name: str, asked: Asked, *found: tuple[T | None, str]) -> tuple[T, str]:
    """What the set asks for by this key, or else the first value that a file says, with the name of where it is from.

    UserError with the key if nobody says it.
    """
    wanted: T | None = getattr(asked, key)
    if wanted is not None:
        return wanted, f"{asked.label}.{key}"
    for value, where in found:
        if value is not None:
            return value, where
    looked = " and ".join(where for _, where in found) or "its files"
    problem = f"the {key.replace('_', ' ')} of {name} is not known: {looked} does not say it"
    raise UserError(problem, "set it", f"{asked.label}.{key}")


def pixel_of(name: str, asked: Asked, path: Path, header: mrc.Header) -> tuple[float, str]:
    """Å/px of the images of a tilt series, with where it is from. UserError if their header does not say it."""
    said = None if header.pixel in _UNSET_PIXELS else header.pixel
    pixel, where = first_known("pixel", name, asked, (said, f"the header of {path.name}"))
    if said and abs(said - pixel) > 0.01 * pixel:
        problem = f"{path}: has {said:g} Å/px in its header, but {pixel:g} is asked for"
        raise UserError(problem, "correct the wrong one", f"{asked.label}.pixel")
    return pixel, where


def even(size: float) -> int:
    """The even number nearest to a size: RELION counts from the middle of a volume, which odd ones have in a voxel."""
    return 2 * round(size / 2)


def numbers_of_images(exposures: Array, where: str) -> NDArray[np.integer]:
    """(n): how many images were taken before each, by what each had been exposed to (n) in e/Å².

    UserError if these are no multiples of one exposure, or all the same.
    """
    steps = np.diff(np.unique(exposures))
    if len(exposures) > 1 and not len(steps):
        problem = f"{where}: says the same exposure, {exposures[0]:g} e/Å², of all tilts"
        raise UserError(
            problem, "import the tilt series again with its exposure: the order of the images is not known"
        )
    number = exposures / steps.min() if len(steps) else np.zeros(len(exposures))
    if (np.abs(number - number.round()) > _STEPS).any():
        problem = f"{where}: has exposures that are no multiples of one ({steps.min():g} e/Å²)"
        raise UserError(problem, "leave `dose` out to take them as they are")
    return number.round().astype(int)
