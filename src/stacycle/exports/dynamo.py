"""Dynamo: a table (.tbl) of 36 columns, and the map of its tomograms' numbers to volumes (.doc).

The inverse of `inputs.pick_formats.dynamo`: tdrot = psi - 90, narot = rot + 90. A position is a whole voxel, the first
being 0, and the shift from it: x + dx. Columns 13 to 17, the missing wedge, are left 0: the table does not say it.
"""

from __future__ import annotations

import os

import numpy as np

from stacycle.errors import UserError, some
from stacycle.exports.export import Export, ExportAsked, Exported, Particles
from stacycle.files.star_labels import ANGLES
from stacycle.inputs.orientations import wrapped
from stacycle.inputs.place_picks import SCORE

_COLUMNS = 36


def make(particles: Particles, asked: ExportAsked) -> Exported:
    """particles.tbl and particles.doc. UserError if nothing says in which voxels positions are to count."""
    table, names = particles.table, particles.names_of_user
    number = {name: row for row, name in enumerate(names, 1)}
    voxel = {name: _voxel(particles, name, asked) for name in names}
    if unknown := [names[name] for name, size in voxel.items() if size is None]:
        problem = f"nothing says how large the voxels are that Dynamo is to count in, of {some(unknown)}"
        raise UserError(problem, "say --pixel, the Å per voxel of the volumes that Dynamo will crop from")
    each = table.rlnTomoName.map(voxel).to_numpy(float)
    index = particles.from_corner(asked) / each[:, None]
    rot, tilt, psi = table[ANGLES].to_numpy(float).T
    values = np.zeros((len(table), _COLUMNS))
    values[:, 0], values[:, 1:3] = np.arange(1, len(table) + 1), 1  # tag; aligned, averaged
    values[:, 23:26] = np.rint(index)
    values[:, 3:6] = index - np.rint(index)
    values[:, 6:9] = np.stack([wrapped(psi - 90), tilt, wrapped(rot + 90)], 1)
    for column, label in ((9, SCORE), (21, "rlnClassNumber")):
        values[:, column] = table.get(label, 0)
    values[:, 19], values[:, 35] = table.rlnTomoName.map(number), each
    lines = (" ".join(f"{value:.9g}" for value in row) for row in values)
    volumes = (f"{number[name]} {_volume(particles, name, asked)}" for name in names)
    sizes = some(f"{size:.9g}" for size in dict.fromkeys(each.tolist()))
    said = f"positions in voxels of {sizes} Å, the first being 0"
    return Exported(
        {"particles.tbl": "\n".join([*lines, ""]), "particles.doc": "\n".join([*volumes, ""])}, said
    )


def _voxel(particles: Particles, name: str, asked: ExportAsked) -> float | None:
    volume = particles.tomograms[name].volume
    return asked.pixel or (volume.voxel if volume else None)


def _volume(particles: Particles, name: str, asked: ExportAsked) -> str:
    """RELION's tomogram if positions count in its voxels; else a name, whose folder the user knows."""
    volume = particles.tomograms[name].volume
    return os.path.abspath(volume.path) if volume and not asked.pixel else f"{particles.names[name]}.mrc"


EXPORT = Export("dynamo", frozenset({"pixel", "size", "include"}), make)
