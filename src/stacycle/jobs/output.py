"""A program's output: lines without progress bars, and what of them matters to someone who waits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from stacycle.files.job_folder import PROGRAM_OUTPUT

# RELION redraws its bars ("  3/  8 sec ....~~(,_,">o]", tail "yum!") with carriage returns.
_PROGRESS_BAR = re.compile(r"^\s*[\d.?]+\s*/\s*[\d.?]+ (sec|min|hrs?)\b.*~~\(")
_AUTO_REFINE = re.compile(r"\s*Auto-refine: (Refinement has converged|Angular step|\+ Final resolution)(.*)")
# Not that --angpix was left out: the pixel size of the header is what is meant.
_START = re.compile(r"^# \S+ \$ ", re.MULTILINE)
_WARNING = re.compile(r"\s*(WARNING|!)(?!.*--angpix)")


def clean_lines(stream: Iterable[str]) -> Iterator[str]:
    """The lines of a program's output without its progress bars and blank lines; carriage returns end a line too."""
    for raw in stream:
        for line in raw.split("\r"):
            line = line.rstrip()
            if line and not _PROGRESS_BAR.match(line):
                yield line


def last_lines(folder: Path) -> list[str]:
    """The clean lines of the last start of the program of a job; none if it never started."""
    try:
        text = (folder / PROGRAM_OUTPUT).read_text(errors="replace")
    except FileNotFoundError:
        return []
    starts = [found.start() for found in _START.finditer(text)]
    return list(clean_lines(text[starts[-1] if starts else 0 :].split("\n")))


def milestone(line: str, ranks: int = 1) -> str | None:
    """What a line of RELION's output means to someone who waits; None for the many that mean nothing.

    Of MPI `ranks` the first speaks, and of tomograms it counts its own.
    """
    if match := re.match(r"\s*Expectation iteration (\d+)(?: of (\d+))?", line):
        return f"iteration {int(match[1])}" + (f" of {match[2]}" if match[2] else "")
    if match := re.match(r"\s*CurrentResolution= (\S+) Angstroms", line):
        return f"resolution {float(match[1]):.1f} Å"
    if match := re.match(r"\s*\+ Tomogram (\d+) / (\d+)", line):
        return f"tomogram {match[1]} of {match[2]}" + f" of the first of {ranks} ranks" * (ranks > 1)
    if match := _AUTO_REFINE.match(line):
        return (match[1] + match[2]).strip("+ .").lower()
    if match := re.match(r"\s*\+ FINAL RESOLUTION:\s+(\S+)", line):
        return f"final resolution {match[1]} Å"
    return line.strip() if _WARNING.match(line) else None
