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
