"""A cache of results that were read from files: each is valid as long as its files stay as they were."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from stacycle.files.atomic import write_text


class Cache:
    """Results in a JSON file, each with the size and time of the files that it was read from.
    A cache that cannot be read or written costs time, nothing else."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._entries: dict[str, Any] = {}
        with suppress(OSError, ValueError, TypeError):
            self._entries.update(json.loads(self._path.read_text()))

    def get(self, kind: str, question: Any) -> Any:
        """The answer of this kind, if it was to this question and none of its files has changed since; else None."""
        with suppress(KeyError, TypeError):  # nothing of this kind, or the file is no cache
            entry = self._entries[kind]
            same = entry["question"] == json.loads(json.dumps(question))
            return entry["answer"] if same and _stat(entry["files"]) == entry["files"] else None
        return None

    def put(self, kind: str, question: Any, answer: Any, files: Iterable[str]) -> None:
        """Write an answer (JSON) in place of the last one of its kind, with the state of the files it was read from."""
        self._entries[kind] = {"question": question, "answer": answer, "files": _stat(files)}
        with suppress(OSError):
            write_text(self._path, json.dumps(self._entries))


def _stat(files: Iterable[str]) -> dict[str, list[int] | None]:
    """Size in bytes and time of change in ns of each file; None for one that is not there."""
    found: dict[str, list[int] | None] = {}
    for file in files:
        try:
            status = os.stat(file)
            found[file] = [status.st_size, status.st_mtime_ns]
        except OSError:
            found[file] = None
    return found
