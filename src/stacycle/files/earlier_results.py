"""Folders with earlier results of a job, known by their names.

Beside a job's folder `refine3d` lie `refine3d.previous1`, `refine3d.previous2` and so on, the newest with the highest
number, each with its record; and `refine3d.failed`, what a run left that had not ended well. All can be deleted.
"""

from __future__ import annotations

import re
from pathlib import Path

PREVIOUS, FAILED = "previous", "failed"
ASIDE = re.compile(r"(?P<folder>.+)\.(previous(?P<number>\d*)|failed)")


def is_aside(path: str | Path) -> bool:
    """Whether a path is, or lies in, a folder of earlier results."""
    return any(map(ASIDE.fullmatch, Path(path).parts))
