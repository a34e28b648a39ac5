"""The exceptions that a user is meant to see, each told in one sentence."""

from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """A mistake in the input, the config or the set-up, told in one sentence: what, where, what to do."""


class ProgramFailed(UserError):  # noqa: N818
    """A program that was run failed, or did not make what it should have made."""


class Interrupted(Exception):  # noqa: N818
    """A program, or whoever runs it, was asked to end: no mistake of anyone's, and what is done is kept."""


def some(items: Iterable[Any], most: int = 4) -> str:
    """The first few of a list, and how many more there are, for a sentence."""
    listed = list(map(str, items))
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def rows_of(numbers: Iterable[int]) -> str:
    """The numbers of a table's rows, counted from 1, for a sentence: "row 3", "rows 1, 4"."""
    listed = list(numbers)
    return f"row{'s' * (len(listed) > 1)} {some(listed)}"
