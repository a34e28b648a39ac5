"""AV3's and TOM's motive lists (.em): 20 values per particle, in a volume of the EM format.

Rows, from 1: 1 score, 5 tomogram, 8 to 10 x, y, z and 11 to 13 shifts in voxels counted from 1, 17 phi, 18 psi, 19
theta in degrees; or these in columns. A list beside it (.doc or .txt, lines such as: 1 TS_01) names the tomograms.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stacycle.errors import UserError
from stacycle.inputs.findings import Findings
from stacycle.inputs.pick_formats import motive_lists
from stacycle.inputs.pick_formats.pick_format import VOXELS, PickFormat, Picks, PicksAsked
from stacycle.inputs.pick_formats.plain_text import name_numbers, read_bytes, split_lists

_HEADER = 512  # bytes
_KINDS = {2: "i2", 4: "i4", 5: "f4", 9: "f8"}  # by the header's fourth byte
_VALUES = 20


def read(asked: PicksAsked, known: tuple[str, ...], findings: Findings) -> list[Picks]:
    """The picks of each motive list. UserError if one is none, or if a tomogram's name is not known."""
    lists, names = split_lists(asked, findings)
    return [_read_list(path, names, asked, known) for path in lists]


def _read_list(path: Path, names: dict[int, str], asked: PicksAsked, known: tuple[str, ...]) -> Picks:
    values = _read_values(path)
    score, tomogram, phi, psi, theta = values[:, [0, 4, 16, 17, 18]].T
    return Picks(
        path,
        name_numbers(path, tomogram, names, asked, known),
        values[:, 7:10] + values[:, 10:13] - motive_lists.FIRST,
        VOXELS,
        np.arange(1, len(values) + 1),
        angles=motive_lists.angles(phi, psi, theta),
        score=score if np.ptp(score) else None,
    )


def _read_values(path: Path) -> NDArray[np.floating]:
    """(n, 20): the values of each particle. UserError if this is no motive list."""
    raw = read_bytes(path)
    if len(raw) >= _HEADER and (kind := _KINDS.get(raw[3])):
        for order in "<>":
            sizes = struct.unpack_from(order + "3i", raw, 4)
            number = np.dtype(order + kind)
            turned = sizes[0] != _VALUES == sizes[1] and sizes[2] == 1
            if (sizes[0] != _VALUES and not turned) or min(sizes) < 1:
                continue
            count = sizes[0] if turned else sizes[1] * sizes[2]
            if len(raw) < _HEADER + count * _VALUES * number.itemsize:
                raise UserError(f"{path}: is cut short, it should hold {count} particles", "copy it again")
            values = np.frombuffer(raw, number, count * _VALUES, _HEADER).astype(float)
            values = values.reshape(_VALUES, count).T if turned else values.reshape(count, _VALUES)
            if not np.isfinite(values).all():
                raise UserError(f"{path}: holds values that are no numbers", "make it again")
            return values
    raise UserError(
        f"{path}: is no motive list, which has {_VALUES} values per particle", "is it the right file?"
    )


FORMAT = PickFormat("em", "motive lists of AV3 and TOM (.em)", read, (".em",))
