"""Results that are worked out once and remembered as long as the files that they were read from stay the same."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from stacycle.files.atomic import write_text


class Remembered:
    """Results in a JSON file, each with the size and time of the files that it hangs on.

    A file that cannot be read or written costs time, nothing else: nothing is remembered then.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._entries: dict[str, Any] = {}
        with suppress(OSError, ValueError, TypeError):
            self._entries.update(json.loads(self._path.read_text()))

    def recall(self, kind: str, question: Any) -> Any:
        """The newest answer of this kind, if it was to this question and no file has changed since; else None."""
        with suppress(KeyError, TypeError):  # not known, or the file is not of this kind
            entry = self._entries[kind]
            same = entry["question"] == json.loads(json.dumps(question))
            return entry["answer"] if same and _stat(entry["files"]) == entry["files"] else None
        return None

    def keep(self, kind: str, question: Any, answer: Any, files: Iterable[str]) -> None:
        """Remember an answer (JSON) instead of the last one of its kind, and the files that it hangs on."""
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
