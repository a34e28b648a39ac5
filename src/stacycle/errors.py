"""What a user is meant to see of a fault, in one sentence."""

from collections.abc import Iterable, Sequence
from os.path import isabs
from typing import Any

_ENDS = (".", "!", "?")


class UserError(Exception):
    """A mistake in the input, the config or the set-up.

    `problem` says what is wrong and where, `cure` what to do, `key` which key of the config is meant, with dots. As
    text they are one sentence, "KEY: PROBLEM; CURE."; several problems are given as lines, and stay as they are.
    """

    def __init__(self, problem: str, cure: str = "", key: str = "") -> None:
        super().__init__(problem, cure, key)
        self.problem, self.cure, self.key = problem, cure, key

    def __str__(self) -> str:
        sentence = f"{self.key}: {self.problem}" if self.key else self.problem
        if self.cure:
            sentence += f"{' ' if sentence.endswith(_ENDS) else '; '}{self.cure}"
        return sentence if "\n" in sentence or sentence.endswith(_ENDS) else f"{sentence}."


class ProgramFailed(UserError):
    """A program failed, or did not make what it should have made."""


def together(faults: Sequence[UserError]) -> UserError:
    """Several faults as one, a line each."""
    return faults[0] if len(faults) == 1 else UserError("\n".join(map(str, faults)))


def unreadable(path: Any, error: Exception, kind: str = "", cure: str = "") -> UserError:
    """What to say of a file that could not be opened, or not read as the `kind` that it should be ("a STAR file")."""
    if isinstance(error, FileNotFoundError):
        start = "" if isabs(path) else ", which starts at the project's folder"
        return UserError(f"{path}: there is no such file", cure or f"check the path{start}")
    wanted, reason = f" as {kind}" if kind else "", getattr(error, "strerror", None) or error
    return UserError(f"{path}: cannot be read{wanted} ({reason})", cure or "check the path")


class Interrupted(Exception):
    """A program, or whoever runs it, was asked to end: no mistake of anyone's, and what is done is kept."""


def some(items: Iterable[Any], most: int = 4) -> str:
    """The first few of a list, and how many more there are, for a sentence."""
    listed = list(map(str, items))
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def rows_of(numbers: Iterable[int]) -> str:
    """The numbers of a table's rows, counted from 1, for a sentence: "row 3", "rows 1, 4"."""
    listed = list(numbers)
    return f"row{'s' * (len(listed) > 1)} {some(listed)}"
