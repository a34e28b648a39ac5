"""Files of a program that was killed: which of them it had written to their end.

A run that is cut off while it writes leaves files missing, empty or cut short at any byte, and RELION believes some of
them: it ends well, with a defocus of 0 for all tilts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files import mrc


def is_complete(path: Path) -> bool:
    """Whether a temporary file of a tomography program, a map, a stack or a STAR file, is complete and not empty."""
    if path.suffix != ".star":
        return is_complete_map(path) and (path.suffix != ".mrcs" or not _ends_in_zeros(path))
    text = _complete_text(path)
    if text is None or not _has_values(text):
        return False
    particles = re.search(r"^_rlnParticleNumber\s+(\d+)", text, re.MULTILINE)  # each has a table
    more = int(particles[1]) if particles else "_rlnTomoRelativeLuminance" in text
    return text.count("\ndata_") == 1 + more


def is_complete_star(path: str | Path, last_table: str) -> bool:
    """Whether a STAR file ends as RELION ends a table, and the last of its tables is `last_table`."""
    text = _complete_text(path)
    if text is None:
        return False
    last = text[text.rfind("\ndata_") :].partition("\n")[2].partition("\n")[0].strip()
    return last.removeprefix("data_") == last_table


def is_complete_map(path: str | Path) -> bool:
    """Whether an MRC file is as long as its header says."""
    try:
        mrc.header(path)
    except UserError:
        return False
    return True


def _complete_text(path: str | Path) -> str | None:
    """The text of a STAR file that ends as RELION ends a table; else None."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return text if text.endswith("\n \n") and "\0" not in text else None


def _has_values(text: str) -> bool:
    """Whether the rows of a STAR file's tables hold anything but 0, which no fit finds for all tilts."""
    rows = (line for line in text.splitlines() if not line.startswith(("_", "#", "data_", "loop_")))
    return any(set(row) & set("123456789") for row in rows)


def _ends_in_zeros(stack: Path) -> bool:
    """Whether the last image of a stack is empty along its middle, as of a file whose end was never written."""
    found = mrc.header(stack)
    row = found.nx * int(found.voxel[-1])
    with open(stack, "rb") as file:
        file.seek(-row * (found.ny - found.ny // 2), os.SEEK_END)
        return not any(file.read(row))
