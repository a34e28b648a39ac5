"""Finished parts of an interrupted run, saved for --only_do_unfinished."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.files import version_of, written_atomically

IGNORED_ARGUMENTS = ("o", "j", "only_do_unfinished", "pipeline_control", "theme", "version", "help")
STATE_ARGUMENTS = (
    "i",
    "p",
    "t",
    "mot",
)  # of a saved result, what they name is looked at, not how they name it
LARGEST_SHARE = 0.25  # of the time since the last save, that saving may take


def deciding_options(args: SimpleNamespace) -> dict[str, Any]:
    """The arguments of a program that decide its results."""
    ignored = {*IGNORED_ARGUMENTS, *STATE_ARGUMENTS}
    return {name: value for name, value in vars(args).items() if name not in ignored}


def digest(*arrays: Any) -> str:
    """The hash of arrays, or of what arrays can be made of; None is one, too."""
    total = hashlib.sha256()
    for array in arrays:
        values = np.asarray(b"" if array is None else array)
        total.update(f"{values.dtype} {values.shape}".encode() + values.tobytes())
    return total.hexdigest()


class SavedResults:
    """Arrays by name in the files FOLDER/NAME.npz.

    They are used only with `resume`, and only if options and input files are the same, and so the `content`, whatever
    else one of them follows from.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any], files: Iterable[str], resume: bool) -> None:
        self.folder, self.resume = folder, resume
        versions = {file: version_of(file) for file in sorted(set(files) - {""})}
        self.key = json.dumps([dict(options), versions], sort_keys=True)
        self.saved, self.cost = time.time(), 0.0

    def load(self, name: str, content: str = "") -> dict[str, NDArray[Any]] | None:
        """The arrays saved as `name`, or None if there are none that can be used."""
        path = self.path(name)
        if not (self.resume and path.is_file()):
            return None
        with np.load(path) as data:
            arrays = dict(data)
        return arrays if str(arrays.pop("key")) == self.key + content else None

    def save(self, name: str, arrays: Mapping[str, Any], content: str = "") -> None:
        started = time.time()
        with written_atomically(self.path(name)) as partial, partial.open("wb") as file:
            np.savez(file, key=self.key + content, **arrays)
        self.saved = time.time()
        self.cost = self.saved - started

    def save_if_cheap(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Save, unless the last save took a large part of the time since."""
        if self.cost <= LARGEST_SHARE * (time.time() - self.saved):
            self.save(name, arrays)

    def remove(self, name: str) -> None:
        """Remove a file; not its folder, as in RELION."""
        self.path(name).unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"
