"""Tilt series written anew with some columns changed, and results kept until a program has done them all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from staengine.tilt_series.tomo import OptimisationSet, Tomogram, read_star, version_of, write_star

Columns = Mapping[str, Any]  # values by name of the column
NEUTRAL = ("o", "j", "only_do_unfinished", "pipeline_control", "theme", "version", "help")


def rewrite_tilt_series(
    folder: str | Path,
    tomograms_file: str,
    tilts: Mapping[str, Columns],
    series: Mapping[str, Columns] | None = None,
) -> str:
    """Write FOLDER/tomograms.star and, as FOLDER/PATH, each of the tilt series PATH that it names.

    tilts: new values of columns, one per tilt, by tomogram; series: new single values for tomograms.star.
    Everything else is kept as it is; new columns are 0 for other tomograms. Returns the path of the new
    tomograms.star.
    """
    folder = str(folder).rstrip("/")
    tables = read_star(tomograms_file)
    table = _loop(tables["global"])
    for column in [name for values in (series or {}).values() for name in values if name not in table]:
        table[column] = 0.0
    for row, name, old in zip(
        table.index, table["rlnTomoName"], table["rlnTomoTiltSeriesStarFile"], strict=True
    ):
        new = f"{folder}/{_inside(old)}"
        loops = read_star(old)
        write_star(loops | {name: _loop(loops[name]).assign(**tilts.get(name, {}))}, new)
        for column, value in {"rlnTomoTiltSeriesStarFile": new, **(series or {}).get(name, {})}.items():
            table.loc[row, column] = value
    write_star(tables | {"global": table}, f"{folder}/tomograms.star")
    return f"{folder}/tomograms.star"


def _loop(table: Any) -> pd.DataFrame:
    return pd.DataFrame([table]) if isinstance(table, dict) else table.copy()


def _inside(path: str) -> str:
    """A path as one below a folder."""
    return "/".join(part for part in Path(path).parts if part not in ("/", ".."))


class TemporaryResults:
    """Arrays for each finished tomogram in FOLDER/temp, for --only_do_unfinished.

    Those of other options or of inputs that have changed since are not used.
    """

    def __init__(
        self,
        args: SimpleNamespace,
        inputs: OptimisationSet,
        tomograms: Iterable[Tomogram],
        others: Iterable[str],
    ) -> None:
        self.folder, self.resume = Path(args.o) / "temp", args.only_do_unfinished
        options = {name: value for name, value in vars(args).items() if name not in NEUTRAL}
        files = {inputs.particles, inputs.tomograms, inputs.trajectories, *others} - {""}
        for tomogram in tomograms:
            files |= {tomogram.star_file, *(path for _, path in tomogram.images)}
        versions = {file: version_of(file) for file in sorted(files)}
        self.key = json.dumps([options, versions], sort_keys=True)

    def load(self, tomogram: str) -> dict[str, NDArray] | None:
        """What `save` was given, or None."""
        path = self._path(tomogram)
        if not (self.resume and path.is_file()):
            return None
        with np.load(path) as data:
            found = dict(data)
        return found if str(found.pop("key")) == self.key else None

    def save(self, tomogram: str, **arrays: Any) -> None:
        path = self._path(tomogram)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.savez(file, key=self.key, **arrays)
        partial.replace(path)

    def _path(self, tomogram: str) -> Path:
        return self.folder / f"{tomogram}.npz"
