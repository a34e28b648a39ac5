"""Dynamo's tables (.tbl), with the list (.doc) of the tomograms that they have numbers for.

A row is a particle: columns 4 to 6 dx, dy, dz and 24 to 26 x, y, z in voxels of its tomogram, 7 to 9 tdrot, tilt and
narot in degrees, 10 the cross-correlation, 20 the tomogram, 36 the size of its voxels in Å. Positions are taken as
dynamo2m takes them, x + dx, the first voxel being 0. Dynamo turns a tomogram into the particle by zxz(tdrot, tilt,
narot) about fixed axes (eulerangles 1.0.2).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stacycle.errors import UserError
from stacycle.inputs.findings import Findings
from stacycle.inputs.orientations import wrapped
from stacycle.inputs.pick_formats.pick_format import VOXELS, PickFormat, Picks, PicksAsked
from stacycle.inputs.pick_formats.plain_text import name_numbers, numbers, read_words, split_lists

_FEWEST = 26  # columns
_SHIFT, _ANGLES, _SCORE, _TOMOGRAM, _POSITION, _PIXEL = slice(3, 6), slice(6, 9), 9, 19, slice(23, 26), 35
_USED = [*range(3, 9), *range(23, 26)]
_OPTIONAL = (_SCORE, _TOMOGRAM, _PIXEL)  # NaN is as good as 0, which is none


def read(asked: PicksAsked, known: tuple[str, ...], findings: Findings) -> list[Picks]:
    """The picks of each table. UserError if one is damaged, or if a tomogram's name is not known."""
    tables, names = split_lists(asked, findings)
    return [_read_table(path, names, asked, known) for path in tables]


def _read_table(path: Path, names: dict[int, str], asked: PicksAsked, known: tuple[str, ...]) -> Picks:
    rows = read_words(path)
    if not rows:
        raise UserError(f"{path}: holds no particle", "was it written completely?")
    for line, words in rows:
        if len(words) < _FEWEST or len(words) != len(rows[0][1]):
            wanted = max(_FEWEST, len(rows[0][1]))
            problem = f"{path}: line {line} has {len(words)} columns, not the {wanted} of a table"
            raise UserError(problem, "is it a table of Dynamo, written completely?")
    table = np.zeros((len(rows), len(rows[0][1])))
    used = [*_USED, *(column for column in _OPTIONAL if column < table.shape[1])]  # others may hold anything
    for row, (line, words) in enumerate(rows):
        absent = {column for column in _OPTIONAL if words[column : column + 1] in (["NaN"], ["nan"])}
        table[row, used] = numbers(
            path, line, ["0" if column in absent else words[column] for column in used]
        )
    tdrot, tilt, narot = table[:, _ANGLES].T
    if names or asked.tomogram or table[:, _TOMOGRAM].any():
        tomogram = name_numbers(path, table[:, _TOMOGRAM], names, asked, known)
    else:
        raise UserError(
            f"{path}: has no tomograms in column 20", "say tomogram, if all are in one", asked.label
        )
    pixel = table[:, _PIXEL] if table.shape[1] > _PIXEL else np.zeros(len(table))
    return Picks(
        path,
        tomogram,
        table[:, _POSITION] + table[:, _SHIFT],
        VOXELS,
        np.array([line for line, _ in rows]),
        angles=np.stack([wrapped(narot - 90), tilt, wrapped(tdrot + 90)], 1),
        score=table[:, _SCORE] if np.ptp(table[:, _SCORE]) else None,
        voxel=pixel if (pixel > 0).all() else None,
    )


FORMAT = PickFormat("dynamo", "tables of Dynamo (.tbl)", read, (".tbl",))
