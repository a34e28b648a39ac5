"""The files of IMOD that tell of an alignment: commands (.com), .edf, transforms (.xf) and .defocus."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stacycle.errors import UserError, rows_of
from stacycle.inputs.sources.common import Array, float_of, read_numbers, read_text

_NANOMETRE = 10  # Å
_MOST_SKEW = 0.004  # how far a transform may be from a rotation: a magnification of 0.2 %, 4 px at 2000 px
# What the flags of a .defocus file say, as a sum (man page of ctfphaseflip).
_ASTIGMATISM, _ANGLE_IN_RADIANS, _PHASE, _PHASE_IN_RADIANS = 1, 2, 4, 8
_FEW_DECIMALS = 4  # of a rotation: 5e-5 are 0.1 px at 2000 px from the middle


@dataclass(frozen=True)
class Command:
    """The entries of a command file, in small letters; none if it is not there."""

    path: Path
    entries: dict[str, list[str]]

    def text(self, key: str) -> str | None:
        """The last entry of this name, as the program takes it."""
        found = self.entries.get(key.lower())
        return found[-1] if found else None

    def numbers(self, key: str) -> list[float]:
        """The numbers of an entry, none if it is not there. UserError if they are words."""
        text = self.text(key)
        values = [float_of(word) for word in re.split(r"[,\s]+", text.strip())] if text else []
        numbers = [value for value in values if value is not None and np.isfinite(value)]
        if len(numbers) < len(values):
            raise UserError(f"{self.path}: {key} is {text!r}, which is no number", "correct it")
        return numbers

    def number(self, key: str) -> float | None:
        """The first number of an entry."""
        return next(iter(self.numbers(key)), None)

    def lists(self, *keys: str) -> set[int]:
        """The numbers of all lists, such as 1-3,7."""
        texts = [text for key in keys for text in self.entries.get(key.lower(), [])]
        return {number for text in texts for number in parse_list(self.path, text)}


def read_command(path: Path) -> Command:
    """A command file: a key and its value per line; without those of the shell ($) and comments (#)."""
    entries: dict[str, list[str]] = {}
    for line in read_text(path).splitlines() if path.is_file() else []:
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        if key and key[0] not in "$#":
            entries.setdefault(key.lower(), []).append(value.strip())
    return Command(path, entries)


def read_properties(path: Path) -> dict[str, str]:
    """An .edf file: Java's properties; none if it is not there."""
    lines = read_text(path).splitlines() if path.is_file() else []
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {key.strip(): value.strip().replace("\\", "") for key, _, value in pairs}


def parse_list(path: Path, text: str) -> list[int]:
    """IMOD's list of numbers: 1-3,7 is 1, 2, 3, 7."""
    numbers: list[int] = []
    for part in filter(None, re.split(r"[,\s]+", text.strip())):
        if not (found := re.fullmatch(r"(\d+)(?:-(\d+))?", part)):
            raise UserError(f"{path}: {text!r} is no list of views", "write it as 1-3,7")
        numbers += range(int(found[1]), int(found[2] or found[1]) + 1)
    return numbers


@dataclass(frozen=True)
class Transforms:
    """x' - middle' = matrix (x - middle) + shift, of the raw images: `matrix` (n, 2, 2) and `shift` (n, 2) in px."""

    path: Path
    matrix: Array
    shift: Array
    coarse: bool  # its numbers have few decimals

    @property
    def axis(self) -> Array:
        """(n) degrees: rlnTomoZRot, without a jump at 180."""
        return np.unwrap(np.degrees(np.arctan2(self.matrix[:, 0, 1], self.matrix[:, 0, 0])), period=360)

    @property
    def offset(self) -> Array:
        """(n, 2) px: where the middle of the aligned image is in the raw one, from its middle."""
        return -np.linalg.solve(self.matrix, self.shift[:, :, None])[:, :, 0]

    @property
    def skewed(self) -> NDArray[np.bool_]:
        """(n): whether it does more than turn and shift, which RELION cannot hold."""
        (a, b), (c, d) = self.matrix.transpose(1, 2, 0)
        return np.maximum.reduce([np.abs(a * d - b * c - 1), np.abs(a - d), np.abs(b + c)]) > _MOST_SKEW


def read_transforms(path: Path) -> Transforms:
    """An .xf file. UserError if it is damaged or mirrors images."""
    rows = read_numbers(path, 6)
    matrix = rows[:, [0, 1, 2, 3]].reshape(-1, 2, 2)
    if len(bad := np.flatnonzero(np.linalg.det(matrix) < 0.1)):
        problem = f"{path}: {rows_of(bad + 1)} mirrors the image, or shrinks it to nothing"
        raise UserError(problem, "align the tilt series again")
    first = read_text(path).split()[:4]
    return Transforms(
        path, matrix, rows[:, 4:6], max(len(word.partition(".")[2]) for word in first) <= _FEW_DECIMALS
    )


@dataclass(frozen=True)
class Defocus:
    """A row per view, of nan where the file does not tell of it: `values` (n, 4) are defocus U and V in Å, its angle
    and the phase shift in degrees. `ranges`: it was fitted to several views at once, and lies between for each."""

    values: Array
    ranges: bool


def read_defocus(path: Path, views: int) -> Defocus:
    """A .defocus file, of version 2 or 3. UserError if it is damaged, or tells of views that are not there."""
    lines = [
        (number, line.split()) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()
    ]
    try:
        table = [(number, [float(word) for word in words]) for number, words in lines]
    except ValueError as error:
        raise UserError(f"{path}: has what is no number ({error})", "estimate the CTF again") from None
    if bad := [number for number, row in table if not np.isfinite(row).all()]:
        raise UserError(f"{path}: line {bad[0]} has what is no number", "estimate the CTF again")
    flags = 0
    if table and len(table[0][1]) == 6 and table[0][1][5] == 3 and table[0][1][1] == 0:
        flags = int(table.pop(0)[1][0])
    elif table and len(table[0][1]) != 6:
        raise UserError(
            f"{path}: line 1 does not say its version, 2 or 3", "estimate the CTF again by ctfplotter"
        )
    columns = 4 + (3 if flags & _ASTIGMATISM else 1) + bool(flags & _PHASE)
    if not table:
        raise UserError(f"{path}: has no views", "was it written completely?")
    rows = np.empty((len(table), 6))  # from, to, U, V, angle, phase
    for index, (number, row) in enumerate(table):
        if len(row) < columns or not 1 <= row[0] <= row[1] <= views:
            problem = f"{path}: line {number} is not {columns} numbers for some of {views} views"
            raise UserError(problem, "does the file belong to this tilt series?")
        rows[index] = [*row[:2], *_of_row(row, flags)]
    return _per_view(rows, views)


def _of_row(row: list[float], flags: int) -> list[float]:
    """U and V in Å, their angle and the phase shift in degrees."""
    u, v, angle = row[4:7] if flags & _ASTIGMATISM else (row[4], row[4], 0.0)
    phase = row[7 if flags & _ASTIGMATISM else 5] if flags & _PHASE else 0.0
    if flags & _ANGLE_IN_RADIANS:
        angle = float(np.degrees(angle))
    if flags & _PHASE_IN_RADIANS:
        phase = float(np.degrees(phase))
    return [u * _NANOMETRE, v * _NANOMETRE, angle, phase]


def _per_view(rows: Array, views: int) -> Defocus:
    """Of rows (k, 6) of a range of views each, a value per view: that of its own row, or between those of ranges."""
    rows = rows[np.argsort(rows[:, :2].mean(1), kind="stable")]
    middle = rows[:, :2].mean(1)
    values = np.full((views, 4), np.nan)
    for view in range(1, views + 1):
        own = np.flatnonzero((rows[:, 0] <= view) & (view <= rows[:, 1]))
        if not len(own):
            continue
        nearest = own[np.abs(middle[own] - view).argmin()]
        values[view - 1] = rows[nearest, 2:]
        if rows[nearest, 0] < rows[nearest, 1]:
            values[view - 1, :2] = [np.interp(view, middle, rows[:, column]) for column in (2, 3)]
    return Defocus(values, bool((rows[:, 0] < rows[:, 1]).any()))
