"""Copies of tilt series and tomograms.star with some columns changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from staengine.tilt_series.star import as_loop, read_star, write_star

Columns = Mapping[str, Any]  # values by name of the column


def rewrite_tilt_series(
    folder: str | Path,
    tomograms_file: str,
    tilts: Mapping[str, Columns],
    series: Mapping[str, Columns] | None = None,
) -> str:
    """Write FOLDER/tomograms.star and, as FOLDER/PATH, each of the tilt series PATH that it names.

    tilts: new values of columns, one per tilt, by tomogram; series: new single values for tomograms.star.
    Everything else stays as it is; new columns are 0 for other tomograms. Returns the path of the new
    tomograms.star.
    """
    folder = str(folder).rstrip("/")
    tables = read_star(tomograms_file)
    table = as_loop(tables["global"]).copy()
    for column in [name for values in (series or {}).values() for name in values if name not in table]:
        table[column] = 0.0
    for row, name, old in zip(
        table.index, table["rlnTomoName"], table["rlnTomoTiltSeriesStarFile"], strict=True
    ):
        new = f"{folder}/{_inside(old)}"
        loops = read_star(old)
        write_star(loops | {name: as_loop(loops[name]).assign(**tilts.get(name, {}))}, new)
        for column, value in {"rlnTomoTiltSeriesStarFile": new, **(series or {}).get(name, {})}.items():
            table.loc[row, column] = value
    write_star(tables | {"global": table}, f"{folder}/tomograms.star")
    return f"{folder}/tomograms.star"


def _inside(path: str) -> str:
    """A path as one below a folder."""
    return "/".join(part for part in Path(path).parts if part not in ("/", ".."))
