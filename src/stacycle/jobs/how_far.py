"""How far a program that works by iterations goes: it is ended where more would be in vain, and its folder says so.

It is one run, which is stopped, and not a run of few iterations that is continued again and again: so its command line
is the whole run's, no particles are copied to the scratch folder again, and what is there is what the whole run had by
then, whatever a continued run would have made of it.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from stacycle.files import star
from stacycle.files.atomic import write_json
from stacycle.files.job_folder import HOW_FAR
from stacycle.programs import refine_iterations
from stacycle.programs.command import Command

InVain = Callable[[Path, int], str]  # of a folder and a finished iteration: why more would be in vain, or ""
_BEGINS = re.compile(r"\s*Expectation iteration (\d+)")


def never(folder: Path, iteration: int) -> str:
    """All iterations are wanted."""
    return ""


@dataclass
class Iterations:
    """The iterations of one program in its folder: `stop` gets a signal when it need go no further."""

    command: Command
    folder: Path
    in_vain: InVain
    stop: list[int] = field(default_factory=list)
    why: str = ""  # it need go no further
    _asked: int = 0  # the newest iteration that was asked about
    _begun: list[float] = field(default_factory=list)  # when iterations began, in s

    def ended(self, start: int | str | None) -> bool:
        """Whether a run that would go on from an iteration has nothing left to do."""
        found = start if isinstance(start, int) else 0
        self._ask(found)
        return bool(found and (self.why or found >= self._limit))

    def see(self, line: str) -> None:
        """Take notice of a line of the program's output: when an iteration begins, the one before it is finished."""
        if not (begins := _BEGINS.match(line)):
            return
        self._begun.append(time.monotonic())
        finished = int(begins[1]) - 1
        if (
            not self.stop
            and finished > 0
            and refine_iterations.is_complete(self._root, finished, self._particles)
        ):
            self._ask(finished)
            self.stop += [signal.SIGTERM] * bool(self.why)

    def settle(self, before: dict[str, Any], start: int | str | None) -> dict[str, Any]:
        """What the job's record, and a file in its folder, say of how far it went, once it has ended: `iterations` of
        its `limit`, `why` no more, and the `seconds_each` took; `before` is what they said before.

        What the program had begun of later iterations is removed, but nothing that was there at its `start`.
        """
        last = max(self._asked, start if isinstance(start, int) else 0) if self.why else self._limit
        for number, paths in refine_iterations.iterations(self._root).items() if self.why else ():
            for path in paths if number > last else ():
                path.unlink()
        each = [after - begun for begun, after in zip(self._begun, self._begun[1:], strict=False)]
        told = {
            "iterations": last,
            "limit": self._limit,
            "why": self.why if last < self._limit else "",
            "seconds_each": median(each) if each else before.get("seconds_each"),
        }
        write_json(self.folder / HOW_FAR, told)
        return told

    def _ask(self, finished: int) -> None:
        """Ask of each iteration up to this one, in order, whether more would be in vain."""
        while self._asked < finished and not self.why:
            self._asked += 1
            self.why = self.in_vain(self.folder, self._asked)

    @property
    def _root(self) -> str:
        return self.command.get("--o") or ""

    @property
    def _limit(self) -> int:
        return int(self.command.get("--iter") or 0)

    @property
    def _particles(self) -> int:
        return len(star.column(self.command.state().particles, "rlnTomoName"))
