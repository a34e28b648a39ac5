"""The text files that AreTomo writes of a tilt series: its alignment and its CTF, and what it was called with.

What they mean is read from the code of AreTomo2 (commit 01e7219) and of AreTomo3 2.3.1 (commit 8a068cf); a file is
named with each reader.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stacycle.errors import UserError
from stacycle.inputs.sources.common import float_of, read_text

SESSION = "AreTomo3_Session.json"
METRICS = "TiltSeries_Metrics.csv"
_ALN_COLUMNS = 10
_HEADER = {"RawSize": 3, "NumPatches": 1, "AlphaOffset": 1, "BetaOffset": 1}  # numbers of each line
_CTF_COLUMNS = (7, 8)
COMPLETE = "was it written completely?"


@dataclass(frozen=True)
class Alignment:
    """An .aln file with k tilts that were kept, in order of their tilt.

    `section` (k): SEC as it stands there. `axis`, `tilt` (k) in degrees and `shift` (k, 2) in px of the raw stack.
    `raw`: x, y, number of images of that stack; None of AreTomo up to 1.2. `dark` (d, 2): the number of each image
    that was left out, from 0 in order of the tilt, and its section. `alpha`, `beta` in degrees: None before AreTomo3.
    """

    path: Path
    section: NDArray[np.integer]
    axis: NDArray[np.floating]
    tilt: NDArray[np.floating]
    shift: NDArray[np.floating]
    raw: tuple[int, int, int] | None
    dark: NDArray[np.integer]
    patches: int = 0
    alpha: float | None = None
    beta: float = 0.0

    @property
    def program(self) -> str:
        """Which AreTomo wrote it, by its header."""
        if self.raw is None:
            return "AreTomo 1"
        return "AreTomo2" if self.alpha is None else "AreTomo3"


@dataclass(frozen=True)
class Session:
    """What AreTomo3 was called with: `parameters` by their names, such as PixSize; empty without its file."""

    path: Path | None = None
    version: tuple[int, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def number(self, name: str, which: int = 0) -> float | None:
        """A parameter, or the one with the number `which` of several; None if it is not there."""
        value = self.parameters.get(name)
        if isinstance(value, list):
            value = value[which] if which < len(value) else None
        return float_of(str(value))


def read_alignment(path: Path) -> Alignment:
    """An .aln file (CSaveAlignFile.cpp; AreTomo2's CSaveAlnFile.cpp). UserError if it is none."""
    rows: list[list[float]] = []
    dark: list[list[int]] = []
    said: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.startswith("#"):
            name, _, value = (part.strip() for part in line[1:].partition("="))
            if name == "Local Alignment":
                break
            if name == "DarkFrame":
                dark.append([int(word) for word in numbers_of(path, number, value.split(), 3)[:2]])
            elif re.fullmatch(r"\d+\s+\d+", name):  # AreTomo up to 1.2: tilts and patches
                said["NumPatches"] = name.split()[1:]
            elif value:
                said[name] = value.split()
        elif line.strip():
            rows.append(numbers_of(path, number, line.split(), _ALN_COLUMNS))
    if not rows:
        raise UserError(
            f"{path}: has no row of an alignment", "is it an .aln file of AreTomo, written completely?"
        )
    table = np.array(rows)
    header = {name: numbers_of(path, 0, said[name], count) for name, count in _HEADER.items() if name in said}
    raw = header.get("RawSize")
    return Alignment(
        path,
        section=table[:, 0].astype(int),
        axis=table[:, 1],
        tilt=table[:, 9],
        shift=table[:, 3:5],
        raw=(int(raw[0]), int(raw[1]), int(raw[2])) if raw else None,
        dark=np.array(dark, int).reshape(-1, 2),
        patches=int(header.get("NumPatches", [0])[0]),
        alpha=header["AlphaOffset"][0] if "AlphaOffset" in header else None,
        beta=header.get("BetaOffset", [0.0])[0],
    )


def place(alignment: Alignment, images: int) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Where the k tilts of an alignment are in a stack of so many images: sections from 1, and numbers from 0 in order
    of the tilt. UserError if the file does not say so.

    AreTomo 1 and 2 count sections from 0, AreTomo3 from 1, and early AreTomo3 counted only those it had kept; what it
    left out is numbered from 0 always.
    """
    path, kept, dark = alignment.path, alignment.section, alignment.dark
    count = len(kept)
    if alignment.raw and alignment.raw[2] != count + len(dark):
        tilts = f"{count} rows and {len(dark)} DarkFrame lines, but {alignment.raw[2]} images in its RawSize"
        raise UserError(f"{path}: has {tilts}", COMPLETE)
    if np.any(np.diff(alignment.tilt) < 0):
        row = int(np.argmax(np.diff(alignment.tilt) < 0)) + 2
        raise UserError(f"{path}: its tilts do not ascend at row {row}", "give the file as AreTomo wrote it")
    if alignment.raw is None:
        section = kept + 1
        if len(set(section)) == count and section.min() >= 1 and section.max() <= images:
            return section, np.arange(count) if count == images else section - 1
        raise UserError(f"{path}: its SEC are not sections of a stack of {images} images", COMPLETE)
    left = np.setdiff1d(np.arange(images), dark[:, 0])
    everything = sorted([*kept, *dark[:, 1]])
    if len(left) == count:
        by_tilt = [left, left + 1, np.arange(count), np.arange(count) + 1]
        found = None
        if everything == list(range(1, images + 1)):
            found = kept
        elif everything == list(range(images)):
            found = kept + 1
        elif alignment.alpha is not None and any(np.array_equal(kept, numbers) for numbers in by_tilt):
            found = left + 1  # AreTomo3's stack is in order of the tilt
        if found is not None and (np.any(np.diff(found) < 0) or np.array_equal(found, left + 1)):
            return found, left
    problem = f"{path}: its SEC and DarkFrame lines do not name each of {images} images once"
    raise UserError(problem, "give the file as AreTomo wrote it")


def read_ctf(path: Path) -> NDArray[np.floating]:
    """A _CTF.txt file (CSaveCtfResults.cpp): defocus U, V in Å, azimuth in degrees, phase shift in degrees, and dfHand,
    0 where the file has none; a row per image (n, 5). UserError if it is none."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            words = numbers_of(path, number, line.split(), *_CTF_COLUMNS)
            rows.append([*words[1:4], np.degrees(words[4]), words[7] if len(words) > _CTF_COLUMNS[0] else 0])
    if not rows:
        raise UserError(f"{path}: has no row", COMPLETE)
    return np.array(rows)


def read_session(folder: Path) -> Session:
    """What AreTomo3 was called with in a folder (CAreTomo3Json.cpp); empty if there is no such file. Without a block
    "parameters" all of it is."""
    path = folder / SESSION
    if not path.is_file():
        return Session()
    try:
        read = json.loads(read_text(path))
        version = re.search(r"(\d+)\.(\d+)\.(\d+)", str(read.get("software", {}).get("version")))
        numbers = tuple(map(int, version.groups())) if version else ()
        return Session(path, numbers, dict(read.get("parameters", read)))
    except (ValueError, AttributeError, TypeError):
        raise UserError(f"{path}: is not what AreTomo3 was called with", "remove or correct it") from None


def read_metrics(folder: Path, name: str) -> dict[str, float]:
    """The numbers of a tilt series in AreTomo3's table (CTsMetrics.cpp), by column; empty if it is not there."""
    path = folder / METRICS
    if not path.is_file():
        return {}
    lines = csv.reader(read_text(path).splitlines())
    header, *rows = [[word.strip() for word in row] for row in lines] or [[]]
    found: dict[str, float] = {}
    for row in rows:  # the last counts: a run that is resumed appends
        if row and row[0] == f"{name}.mrc" and len(row) == len(header):
            values = zip(header[1:], map(float_of, row[1:]), strict=True)
            found = {column: value for column, value in values if value is not None and np.isfinite(value)}
    return found


def numbers_of(path: Path, number: int, words: list[str], *counts: int) -> list[float]:
    """So many numbers of a line; UserError if there are others."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) not in counts or not np.isfinite(values).all():
        where = f"line {number}" if number else "its header"
        expected = " or ".join(map(str, counts))
        raise UserError(f"{path}: {where} has not {expected} numbers", COMPLETE)
    return values
