"""A digest of what a file holds, whenever and by whichever program it was written.

RELION and mrcfile write the date into the labels of an MRC file, and RELION leaves a byte of its header to chance; some
programs write the time at the top of a STAR file. None of that makes another result.
"""

from __future__ import annotations

import hashlib
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import IO

from stacycle.files import mrc

LARGE = 1_000_000  # bytes: of larger files the digest is cached, here and in a job's record
_CELL = "28x 3i 3f"  # of an MRC header: the grid that spans the cell (px), and the cell's widths (Å)


def digest(path: str | Path) -> str:
    """SHA-256 of what a file holds. OSError if it cannot be read.

    Of an MRC file that is grid, kind of voxels, pixel size and voxels; of a STAR file all but the comments at its top;
    of any other file, and of an MRC file that is not as long as its header says, all bytes.
    """
    stat = os.stat(path)
    if stat.st_size < LARGE:
        return _read.__wrapped__(str(path))
    return _read(str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@lru_cache
def _read(path: str, *state: int) -> str:
    """The digest, remembered as long as a file's `state` stays; nobody can set the time of a file's last change."""
    with open(path, "rb") as file:
        total = hashlib.sha256()
        if path.endswith(".star"):
            while (line := file.readline()).startswith(b"#") or line.isspace():
                pass
            total.update(line)
        else:
            total.update(_head(file))
        return hashlib.file_digest(file, lambda: total).hexdigest()


def _head(file: IO[bytes]) -> bytes:
    """What counts of an MRC header, the file then standing at its voxels; of any other file nothing, at its start."""
    head = file.read(mrc.HEADER_BYTES)
    found = mrc.parse(head)
    if found is None or found.bytes != os.fstat(file.fileno()).st_size:
        file.seek(0)
        return b""
    file.seek(found.start)
    *grid, x, y, z = struct.unpack_from(found.voxel[0] + _CELL, head)
    pixel = [width / number if number > 0 else 0.0 for width, number in zip((x, y, z), grid, strict=True)]
    shape = (found.nx, found.ny, found.sections)
    return f"{shape} {found.voxel} {[f'{size:.7g}' for size in pixel]} ".encode()
