"""The files of picks that a config names, and about how many picks they hold."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any

from stacycle.recipe.settings import PickOptions

Entry = Mapping[str, Any]  # a set of the config, by its keys


def pick_files(entry: Entry) -> list[str]:
    """The files and folders of a set's picks: where a format is named, those under its key."""
    given = entry.get("particles") or ()
    if isinstance(given, Mapping):
        given = next(
            (files for key, files in given.items() if files and key not in PickOptions.model_fields), ()
        )
    return expanded(given)


def about_how_many(sets: Sequence[Entry]) -> int | None:
    """The number of picks in all sets, counted in their text as rows of a position and more, so that it takes no time;
    None if there are none, or a file is not there or no text.

    Tables of a few rows that stand beside the picks, such as optics groups, count, too.
    """
    count = 0
    for path in (path for entry in sets for path in pick_files(entry)):
        try:
            with open(path, encoding="utf-8") as lines:
                count += sum(len(line.replace(",", " ").split(None, 3)) > 2 for line in lines)
        except (OSError, UnicodeDecodeError):
            return None
    return count or None


def listed(given: str | Sequence[str]) -> list[str]:
    """One, or several, as a list."""
    return [given] if isinstance(given, str) else list(given)


def expanded(given: str | Sequence[str]) -> list[str]:
    """The files of paths and patterns, each once; a pattern that no file has stays."""
    found: list[str] = []
    for pattern in listed(given):
        is_pattern = glob.has_magic(pattern) and not os.path.exists(pattern)
        found += (is_pattern and sorted(glob.glob(pattern, recursive=True))) or [pattern]
    return list(dict.fromkeys(found))
