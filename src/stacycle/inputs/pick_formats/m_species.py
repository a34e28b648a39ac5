"""M's own tables of particles, in the folder of a species: positions in Å from the corner, samples of time beside each
other (Warp e321344, WarpLib/Sociology/Species.cs)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.errors import UserError
from stacycle.inputs.orientations import to_angles, to_rotation
from stacycle.inputs.pick_formats.pick_format import SERIES_CORNER, Picks

POSITION = "wrpCoordinateX1"
_NAME, _HALF = "wrpSourceName", "wrpRandomSubset"


def read(path: Path, table: pd.DataFrame) -> Picks:
    """The particles, where they were on average over time. UserError if columns are missing or hold no numbers."""
    if table.empty:
        raise UserError(f"{path}: its table has no row", "was it written completely?")
    if _NAME not in table:
        raise UserError(f"{path}: has no column {_NAME}", "is it the particles' file of a species of M?")
    position = np.mean(_samples(path, table, [f"wrpCoordinate{axis}" for axis in "XYZ"]), axis=0)
    angles = None
    if "wrpAngleRot1" in table:
        turns = _samples(path, table, [f"wrpAngle{name}" for name in ("Rot", "Tilt", "Psi")])
        angles = turns[0] if len(turns) == 1 else _mean(turns)
    halves = set(table[_HALF]) == {1, 2} if _HALF in table else False
    return Picks(
        path,
        table[_NAME].astype(str).to_numpy(object),
        position,
        SERIES_CORNER,
        np.arange(1, len(table) + 1),
        angles=angles,
        half=table[_HALF].to_numpy(int) if halves else None,
    )


def _samples(path: Path, table: pd.DataFrame, names: list[str]) -> NDArray[np.floating]:
    """(samples, n, 3)"""
    count = 1
    while f"{names[0]}{count + 1}" in table:
        count += 1
    found = []
    for sample in range(1, count + 1):
        labels = [f"{name}{sample}" for name in names]
        if missing := [label for label in labels if label not in table]:
            raise UserError(f"{path}: has no column {', '.join(missing)}", "was it written completely?")
        values = table[labels].apply(pd.to_numeric, errors="coerce").to_numpy(float)
        if not np.isfinite(values).all():
            raise UserError(f"{path}: {', '.join(labels)} are not all numbers", "correct them")
        found.append(values)
    return np.array(found)


def _mean(turns: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n, 3) The middle of orientations (samples, n, 3)."""
    return np.concatenate(
        [to_angles(to_rotation(turns[:, row]).mean())[None] for row in range(turns.shape[1])]
    )
