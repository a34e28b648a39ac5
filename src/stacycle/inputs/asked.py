"""What a set of the config asks for: which source of tilt series, which format of picks, which files."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from stacycle.errors import UserError
from stacycle.inputs.pick_formats.pick_format import PickFormat, PicksAsked, all_formats
from stacycle.inputs.sources.source import Asked, Source, all_sources
from stacycle.recipe.pick_files import Entry, expanded, listed, pick_files

RELIONS = "tomograms"  # the key of RELION's own tilt series, which need no source
UNKNOWN = "auto"  # a hand that the data are to tell
STAR = "star"  # the format of a path without a key


def label_of(number: int, entry: Entry) -> str:
    """The name of a set, counted from 1."""
    return entry.get("name") or f"set{number}"


def source_of(number: int, entry: Entry) -> tuple[Source, Asked] | None:
    """The source of a set's tilt series and what it is asked; None for RELION's own."""
    if entry.get(RELIONS):
        return None
    source = next(source for key, source in all_sources().items() if entry.get(key))
    numbers: dict[str, Any] = {
        key: entry.get(key) for key in ("dose", "voltage", "cs", "amplitude_contrast", "pixel")
    }
    is_open = entry.get("hand") == UNKNOWN
    numbers |= {"hand": None if is_open else entry.get("hand"), "hand_is_open": is_open}
    size = tuple(entry["size"]) if entry.get("size") else None
    include = tuple(listed(entry.get("include") or "*"))
    asked = Asked(Path(entry[source.key]), f"inputs.{number}", size=size, include=include, **numbers)
    return source, asked


def picks_of(number: int, entry: Entry) -> tuple[PickFormat | None, PicksAsked]:
    """The format of a set's picks and what it is asked; no format if none is known that reads STAR files.
    UserError for a file that is not there."""
    given, label = entry["particles"], f"inputs.{number}.particles"
    if not isinstance(given, Mapping):
        one = isinstance(given, str) and not glob.has_magic(given)  # whose reader says if it is not there
        paths = (Path(given),) if one else _found(given, label)
        _refuse_others(paths, label)
        return all_formats().get(STAR), PicksAsked(paths, label)
    key = next(key for key in all_formats() if given.get(key))
    size = tuple(given["size"]) if given.get("size") else None
    others = {name: given.get(name) for name in ("tomogram", "pixel", "unit")}
    return all_formats()[key], PicksAsked(_found(given[key], label), label, size=size, **others)


def _refuse_others(paths: Sequence[Path], label: str) -> None:
    """UserError for files without a key that are no STAR files, by their endings."""
    for path, form in product(paths, all_formats().values()):
        if path.suffix.lower() in form.endings:
            problem = f"{path}: is not a STAR file, but one of {form.title}, by its ending"
            raise UserError(problem, f"give it with the format's key, {{{form.key}: {path}}}", label)


def of_unknown_hand(sets: Sequence[Entry]) -> list[str]:
    """The names of the sets whose hand the data are to tell."""
    return [label_of(number, entry) for number, entry in enumerate(sets, 1) if entry.get("hand") == UNKNOWN]


def files_of(sets: Sequence[Entry]) -> list[str]:
    """All files that the sets name, or that their sources read; a folder that is not there stands for its own files."""
    return [path for number, entry in enumerate(sets, 1) for path in _files_of_set(number, entry)]


def _files_of_set(number: int, entry: Entry) -> list[str]:
    found = [entry[RELIONS]] if entry.get(RELIONS) else []
    if of_source := source_of(number, entry):
        found += _files_of_source(*of_source)
    for path in map(Path, pick_files(entry)):
        found += map(str, sorted(path.rglob("*.json"))) if path.is_dir() else [str(path)]
    return found


def _files_of_source(source: Source, asked: Asked) -> list[str]:
    """The files that a source reads; its folder, if there are none or the source refuses it."""
    with suppress(UserError):
        if found := list(map(str, source.files(asked))):
            return found
    return [str(asked.folder)]


def _found(given: str | Sequence[str], label: str) -> tuple[Path, ...]:
    """The files of paths and patterns, which are there."""
    found = expanded(given)
    for path in found:
        if not os.path.exists(path):
            raise UserError(f"there is no file {path}", "paths start at the project folder", label)
    return tuple(map(Path, found))
