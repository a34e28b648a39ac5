"""IMOD's models (.mod): every point is a pick, without angles; one tomogram in each model.

Points count in voxels of the volume that the model was drawn on, the first voxel's centre being at 0.5 in x and y and
at 0 in z. Its header says that volume's size, and its voxel size if the model was given one. IMOD's binary format
("IMODV1.2", big-endian) has chunks of a name, a length and data; those of objects, contours and meshes have lengths of
their own.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from stacycle.errors import UserError
from stacycle.inputs.findings import Findings
from stacycle.inputs.pick_formats.pick_format import VOXELS, PickFormat, Picks, PicksAsked
from stacycle.inputs.pick_formats.plain_text import read_bytes

_MAGIC, _HEADER, _OBJECT = b"IMODV1.2", 240, 176  # bytes of the header and of an object
_SIZE, _SCALE, _PIXEL = 136, 184, 216  # where the header has the volume's size, the scale and the voxel size
_FLAGS = 152  # where the header has the model's flags
_FLIPPED = 3 << 16  # of these: the volume was shown with y and z exchanged, or turned about x
_ANGSTROM = {-10: 1.0, -9: 10.0, -6: 1e4}  # Å per unit, by its number
_CENTRE = np.array([0.5, 0.5, 0.0])  # of the first voxel


def read(asked: PicksAsked, known: tuple[str, ...], findings: Findings) -> list[Picks]:
    """The picks of each model. UserError if one is none, or has no point."""
    findings.files.update(map(str, asked.paths))
    return [_read_model(path, asked) for path in asked.paths]


def _read_model(path: Path, asked: PicksAsked) -> Picks:
    raw = read_bytes(path)
    if not raw.startswith(_MAGIC):
        raise UserError(f"{path}: is no model of IMOD", "is it the right file? point2model makes one of text")
    try:
        shape = struct.unpack_from(">3i", raw, _SIZE)
        (flags,) = struct.unpack_from(">I", raw, _FLAGS)
        scale = struct.unpack_from(">3f", raw, _SCALE)
        pixel, unit = struct.unpack_from(">fi", raw, _PIXEL)
        points = _points(raw)
    except (struct.error, ValueError):
        raise UserError(f"{path}: is cut short", "copy it again") from None
    if flags & _FLIPPED:
        problem = f"{path}: was saved while 3dmod showed the volume flipped: its y and z are exchanged"
        raise UserError(problem, "turn that off (3dmod Edit > Image > Flip, or without -Y) and save it again")
    if not len(points):
        raise UserError(f"{path}: has no point", "was it saved?")
    if not np.isfinite(points).all():
        raise UserError(f"{path}: has points that are no numbers", "make it again")
    if abs(scale[2] - scale[0]) > 1e-3 * abs(scale[0]):
        problem = f"{path}: its volume was drawn with a scale of {scale[2]:g} along z, so that its voxels are no cubes"
        raise UserError(
            problem, "set the scale to 1 (imodtrans, or 3dmod Edit > Model > Header), or correct the points"
        )
    name = asked.tomogram or path.name
    return Picks(
        path,
        np.array([name] * len(points), object),
        points - _CENTRE,
        VOXELS,
        np.arange(1, len(points) + 1),
        voxel=pixel * _ANGSTROM[unit] if unit in _ANGSTROM and pixel > 0 else None,
        shape=(shape[0], shape[1], shape[2]) if min(shape) > 0 else None,
    )


def _points(raw: bytes) -> np.ndarray:
    """(n, 3) x, y, z of the points of all contours. struct.error or ValueError if the file is cut short."""
    found, at = [np.empty((0, 3))], _HEADER
    while (chunk := raw[at : at + 4]) != b"IEOF":
        if len(chunk) < 4:
            raise ValueError("no end")
        at += 4
        if chunk == b"OBJT":
            at += _OBJECT
        elif chunk == b"CONT":
            count = struct.unpack_from(">i", raw, at)[0]
            found.append(np.frombuffer(raw, ">f4", 3 * count, at + 16).reshape(-1, 3).astype(float))
            at += 16 + 12 * count
        elif chunk == b"MESH":
            vertices, indices = struct.unpack_from(">2i", raw, at)
            at += 16 + 12 * vertices + 4 * indices
        else:
            at += 4 + struct.unpack_from(">i", raw, at)[0]
    return np.concatenate(found)


FORMAT = PickFormat("imod", "models of IMOD (.mod)", read, (".mod",))
