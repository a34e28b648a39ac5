"""Atomic writing of files, and a version that tells whether a file has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; it replaces `path` when the block ends without an error. Makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    yield partial
    partial.replace(path)


def version_of(path: str | Path) -> str | int:
    """The hash of a STAR file's content, or the modification time (ns) of another file."""
    path = Path(path)
    if path.suffix == ".star":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return path.stat().st_mtime_ns
