"""STOPGAP's motive lists (.star): orig_x + x_shift in voxels counted from 1, phi, psi, the in degrees, halfset A or B.

Tomograms have numbers (tomo_num): a list beside it (.doc or .txt, lines such as: 1 TS_01) names them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.inputs.findings import Findings
from stacycle.inputs.pick_formats import motive_lists
from stacycle.inputs.pick_formats.pick_format import VOXELS, PickFormat, Picks, PicksAsked
from stacycle.inputs.pick_formats.plain_text import name_numbers, split_lists

_POSITION, _SHIFT = [f"orig_{axis}" for axis in "xyz"], [f"{axis}_shift" for axis in "xyz"]
_ANGLES = ["phi", "psi", "the"]
_NUMBERS = [*_POSITION, *_SHIFT, *_ANGLES, "tomo_num"]


def read(asked: PicksAsked, known: tuple[str, ...], findings: Findings) -> list[Picks]:
    """The picks of each motive list. UserError if one is none, or if a tomogram's name is not known."""
    lists, names = split_lists(asked, findings)
    return [_read_list(path, names, asked, known) for path in lists]


def _read_list(path: Path, names: dict[int, str], asked: PicksAsked, known: tuple[str, ...]) -> Picks:
    tables = star.read(path, oddities=[])
    table = next((one for one in tables.values() if "tomo_num" in one), None)
    missing = _NUMBERS if table is None else [label for label in _NUMBERS if label not in table]
    if table is None or missing:
        raise UserError(
            f"{path}: is no motive list of STOPGAP, without {', '.join(missing)}", "is it the right file?"
        )
    for label in (*_NUMBERS, *({"score"} & set(table))):
        if table[label].dtype.kind not in "if" or not np.isfinite(table[label]).all():
            raise UserError(f"{path}: {label} is not a number in every row", "correct it")
    position = table[_POSITION].to_numpy(float) + table[_SHIFT].to_numpy(float) - motive_lists.FIRST
    halves = table["halfset"].astype(str).map({"A": 1, "B": 2}) if "halfset" in table else None
    return Picks(
        path,
        name_numbers(path, table["tomo_num"].to_numpy(float), names, asked, known),
        position,
        VOXELS,
        np.arange(1, len(table) + 1),
        angles=motive_lists.angles(*table[_ANGLES].to_numpy(float).T),
        score=table["score"].to_numpy(float) if "score" in table and table["score"].nunique() > 1 else None,
        half=halves.to_numpy(int)
        if halves is not None and halves.nunique() == 2 and halves.notna().all()
        else None,
    )


FORMAT = PickFormat("stopgap", "motive lists of STOPGAP (.star)", read)
