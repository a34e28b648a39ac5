"""How far one program has come, from its folder: its parts (iterations or tomograms) and when each of them ended.

RELION writes no times. Of an iteration, its table's tells; the end of `run.out` tells where it is now, and its progress
bar how much of the present part is done.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from stacycle.files.job_folder import PROGRAM_OUTPUT
from stacycle.jobs.output import clean_lines

_TAIL = 1 << 16  # bytes of run.out that are read
_TABLE = re.compile(r"run_it(\d{3})_data\.star")
_ITERATION = re.compile(r"\s*Expectation iteration (\d+)(?: of (\d+))?")
_TOMOGRAM = re.compile(r"\s*\+ Tomogram (\d+) / (\d+)")
_RESOLUTION = re.compile(
    r"\s*(?:CurrentResolution=|Auto-refine: \+ Final resolution.* is:|\+ FINAL RESOLUTION:)\s*([\d.]+)"
)
_BAR = re.compile(r"([\d.]+)/\s*([\d.]+) (sec|min|hrs) (\.*)~~\(")
_ANGULAR_STEP = re.compile(r"Auto-refine: Angular step= ([\d.]+)")
_ACCURACY = re.compile(r"Auto-refine: Estimated accuracy angles= ([\d.]+)")
_WITHOUT_GAIN = re.compile(r"Auto-refine: .*\(no gain for (\d+) iter\)")
_CONVERGED = "Refinement has converged"
_WIDTH = 60  # columns of a full bar
_REFINES = re.compile(r"\brelion_refine(_mpi)? ")
_START = "# "  # of the line that job.run writes above each start's output


@dataclass(frozen=True)
class Search:
    """What an auto-refinement says of its search: angular `step` and estimated `accuracy` (degrees), how often it has
    `told` the accuracy, the number of iterations `at_step` by now, whether it still `gains`, and whether it has
    `converged` and does its last one."""

    step: float = 0.0
    accuracy: float = 0.0
    at_step: int = 1
    gains: bool = True
    converged: bool = False
    told: int = 0


@dataclass(frozen=True)
class Timeline:
    """A program's work. `done` parts of `parts` (None: as many as it takes, or not known) are done since it `started`,
    the last one at the last of `ends` (s since 1970; those of tomograms are not known), and of the present one the
    `fraction`. `first` is the part before the first of this start, which `begun` says the time of: until then the
    program reads its input. `resolution` in Å, if it told one."""

    started: float
    done: int = 0
    parts: int | None = None
    ends: tuple[float, ...] = ()
    fraction: float = 0.0
    first: int = 0
    resolution: float | None = None
    what: str = ""  # "iteration" or "tomogram"
    begun: float | None = None
    search: Search = Search()

    @property
    def now(self) -> int:
        """The part that it is at."""
        return self.done + 1 if self.parts is None else min(self.done + 1, self.parts)


def of_job(folder: str | Path, record: Mapping[str, Any]) -> Timeline | None:
    """The last start of a job, given its record; None if it has never started."""
    runs = record.get("runs") or []
    if not runs:
        return None
    started = seconds(runs[-1]["started"])
    told = _told(Path(folder, PROGRAM_OUTPUT))
    first = runs[-1].get("continued_from")
    first = first if isinstance(first, int) else 0
    if told.get("what") == "iteration" or _REFINES.search(str(record.get("command", ""))):
        ends = _ends(folder, started)
        done = max([first, told.get("part", 1) - 1, *ends])
        given = tuple(ends[number] for number in sorted(ends) if number > first)
        parts = told.get("parts") or _asked(record)
        begun = ends.get(first, started if first else None)
        bar, reached = told.get("bar", 0.0), told.get("resolution")
        search = told.get("search", Search())
        if done >= told.get("part", 1):  # its table is there, and nothing was said since
            bar, search = 0.0, replace(search, at_step=search.at_step + 1)
        return Timeline(started, done, parts, given, bar, first, reached, "iteration", begun, search)
    done, parts, what = told.get("part", 1) - 1, told.get("parts"), told.get("what", "")
    return Timeline(started, done, parts, (), told.get("bar", 0.0), 0, told.get("resolution"), what)


def seconds(stamp: str) -> float:
    """The time of a stamp in a job's record, in s since 1970."""
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S%z").timestamp()


def _asked(record: Mapping[str, Any]) -> int | None:
    """The iterations that the command line asks for; None if the program finds out itself."""
    found = re.search(r" --iter (\d+)", str(record.get("command", "")))
    return int(found[1]) if found else None


def _ends(folder: str | Path, started: float) -> dict[int, float]:
    """When each iteration of this start was written, by its number; also that of the one before the first, 0."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := _TABLE.fullmatch(entry.name):
                changed = entry.stat().st_mtime
                if changed >= started - 1:
                    found[int(match[1])] = changed
    return found


_known: dict[tuple[str, int, int], dict[str, Any]] = {}


def _told(path: Path) -> dict[str, Any]:
    """What the end of a program's output says: `what` part it is at, `part` of `parts`, `bar`, `resolution`."""
    try:
        stat = path.stat()
        key = (str(path.absolute()), stat.st_mtime_ns, stat.st_size)
        if key not in _known:
            for old in [one for one in _known if one[0] == key[0]]:
                del _known[old]
            with path.open("rb") as file:
                file.seek(max(0, stat.st_size - _TAIL))
                _known[key] = parse(file.read().decode(errors="replace"))
    except OSError:
        return {}
    return _known[key]


def parse(text: str) -> dict[str, Any]:
    """As `_told`, of the text of the end of `run.out`; only of the last start in it."""
    begin = text.rfind("\n" + _START)
    text = text[begin + 1 :] if begin >= 0 else text
    told: dict[str, Any] = {}
    for line in clean_lines(text.splitlines()):
        for what, pattern in (("iteration", _ITERATION), ("tomogram", _TOMOGRAM)):
            if match := pattern.match(line):
                told |= {"what": what, "part": int(match[1])}
                told |= {"parts": int(match[2])} if match[2] else {}
        if match := _RESOLUTION.match(line):
            told["resolution"] = float(match[1])
    told["bar"] = _fraction(text)
    if steps := _ANGULAR_STEP.findall(text):
        accuracies = _ACCURACY.findall(text)
        alike = len(list(takewhile(lambda one: one == steps[-1], reversed(steps))))
        accuracy = float(accuracies[-1]) if accuracies else 0.0
        gains = "0" in _WITHOUT_GAIN.findall(text)[-2:]  # of resolution, and of poses
        converged = _CONVERGED in text
        told["search"] = Search(float(steps[-1]), accuracy, alike, gains, converged, len(accuracies))
    return told


def _fraction(text: str) -> float:
    """How much of the present part the newest progress bar shows; 0 if no bar was begun since the part began."""
    marks = [text.rfind("Expectation iteration"), text.rfind("+ Tomogram")]
    since = text[max(marks) :] if max(marks) >= 0 else ""
    bars: Sequence[re.Match[str]] = list(_BAR.finditer(since))
    if not bars:
        return 0.0
    return min(1.0, len(bars[-1][4]) / _WIDTH)
