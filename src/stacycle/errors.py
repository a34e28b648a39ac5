"""The one exception that a user is meant to see."""

from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """A mistake in the input, the config or the set-up, told in one sentence: what, where, what to do."""


class ProgramError(UserError):
    """A program that was run failed, or did not make what it should have made."""


def some(items: Iterable[Any], most: int = 4) -> str:
    """The first few of a list, and how many more there are, for a sentence."""
    listed = list(map(str, items))
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def rows_of(numbers: Iterable[int]) -> str:
    """The numbers of a table's rows, counted from 1, for a sentence: "row 3", "rows 1, 4"."""
    listed = list(numbers)
    return f"row{'s' * (len(listed) > 1)} {some(listed)}"
