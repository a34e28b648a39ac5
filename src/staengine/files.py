"""Files written whole or not at all, and what tells whether one has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place once all is written; makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    yield partial
    partial.replace(path)


def version_of(path: str | Path) -> str | int:
    """What tells whether a file has changed: the content of a STAR file, the time (ns) of an image."""
    path = Path(path)
    if path.suffix == ".star":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return path.stat().st_mtime_ns
