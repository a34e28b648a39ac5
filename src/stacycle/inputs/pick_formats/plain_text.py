"""Lines of plain text files, and the lists that name tomograms by number: what several formats of picks are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stacycle.errors import UserError, some, unreadable
from stacycle.inputs.findings import Findings
from stacycle.inputs.pick_formats.pick_format import PicksAsked

_DECIMAL_COMMAS = re.compile(r"\s*-?\d+,\d+([\s;]+-?\d+,\d+)+[\s;]*")
_ENDS = str.maketrans(",;", "  ")  # of words
LISTS = (".doc", ".txt", ".csv")  # of names of tomograms by number


def read_bytes(path: Path) -> bytes:
    """What a file holds. UserError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def read_words(path: Path) -> list[tuple[int, list[str]]]:
    """The words of each line with its number from 1, without comments and blank lines; commas and semicolons end words.

    UserError if the file is no text, or has decimal commas.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no plain text", "is it the right file?") from None
    lines = [line.split("#", 1)[0] for line in text.splitlines()]
    for number, line in enumerate(lines, 1):
        if _DECIMAL_COMMAS.fullmatch(line):
            raise UserError(f"{path}: line {number} has commas for decimal points", "write 1.5 for 1,5")
    split = (line.translate(_ENDS).split() for line in lines)
    return [(number, words) for number, words in enumerate(split, 1) if words]


def numbers(path: Path, line: int, words: Sequence[str]) -> list[float]:
    """The words of a line as numbers. UserError if one is none."""
    values = []
    for word in words:
        try:
            values.append(float(word))
        except ValueError:
            values.append(math.nan)
        if not math.isfinite(values[-1]):
            problem = f"{path}: line {line} holds something that is no number ({word[:60]})"
            raise UserError(problem, "correct it")
    return values


def split_lists(asked: PicksAsked, findings: Findings) -> tuple[list[Path], dict[int, str]]:
    """The files of picks among those given, and the names of tomograms by number that the others list; without any,
    the list that stands beside the picks, if it is the only NAME.doc there."""
    lists = [path for path in asked.paths if path.suffix.lower() in LISTS]
    if not lists and not asked.tomogram:
        beside = {path for given in asked.paths for path in given.parent.glob(f"*{LISTS[0]}")}
        lists = sorted(beside) if len(beside) == 1 else []
    findings.files.update(map(str, (*asked.paths, *lists)))
    names: dict[int, str] = {}
    for path in lists:
        for line, words in read_words(path):
            if len(words) < 2 or not words[0].isdigit():
                raise UserError(f"{path}: line {line} is no number and name of a tomogram", "correct it")
            name = " ".join(words[1:])
            if names.setdefault(int(words[0]), name) != name:
                raise UserError(f"{path}: tomogram {words[0]} has two names in line {line}", "correct one")
    return [path for path in asked.paths if path not in lists], names


def name_numbers(
    path: Path, found: NDArray[np.floating], names: dict[int, str], asked: PicksAsked, known: tuple[str, ...]
) -> NDArray[np.object_]:
    """The names of tomograms (n) that a file has numbers for (n): from a list, from the config if it is one, or the
    numbers themselves if the set's tomograms are called so. UserError if none of these says it."""
    whole = found.astype(int)
    different = sorted(set(whole.tolist()))
    if asked.tomogram:
        if len(different) > 1:
            problem = f"{path}: has picks of {len(different)} tomograms ({some(different)}), not of {asked.tomogram}"
            raise UserError(
                problem, "give the list of their names (lines such as: 1 TS_01) instead", asked.label
            )
        return np.array([asked.tomogram] * len(whole), object)
    named = names or _called_by_numbers(known)
    if missing := [number for number in different if number not in named]:
        problem = f"{path}: its tomograms have only numbers, and nothing says which is {some(missing)}"
        cure = "give a list of their names (NAME.doc, lines such as: 1 TS_01) beside it, or tomogram if it is one"
        raise UserError(problem, cure, asked.label)
    return np.array([named[number] for number in whole.tolist()], object)


def _called_by_numbers(known: Sequence[str]) -> dict[int, str]:
    """Tomograms whose names are numbers, such as 3 or 003, if no two are the same."""
    numbered = [(int(name), name) for name in known if name.isdecimal()]
    found = dict(numbered)
    return found if len(found) == len(numbered) else {}
