"""IMOD's binary models, by its description of the format (binspec): a header of 240 bytes, then chunks, big-endian."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from foreign.pick_volume import PickVolume
from foreign.truth import Picks


def write(
    path: Path, picks: Picks, volume: PickVolume, unit: int = 0, z_scale: float = 1, objects: int = 2
) -> None:
    """A model drawn on a volume: two objects of one contour each, then a mesh and what 3dmod keeps of its windows.
    `unit`: 0 for pixels, -9 for nm, -10 for Å. The first voxel reaches from 0 to 1 in x and y, and is slice 0 in z."""
    points = (volume.index(picks) + np.array([0.5, 0.5, 0])).astype(">f4")
    pixel = {0: 1.0, -9: volume.voxel / 10, -10: volume.voxel}[unit]
    head = b"IMODV1.2" + b"a model".ljust(128, b"\0") + struct.pack(">4i", *volume.shape, objects)
    head += struct.pack(">5i3f3f", 0x3001, 1, 0, 0, 255, 0, 0, 0, 1, 1, z_scale)
    head += struct.pack(">3i2ifi i3f", 0, 0, 0, 3, 128, pixel, unit, 0, 0, 0, 0)
    assert len(head) == 240
    body = b""
    for part in np.array_split(points, objects):
        body += (
            b"OBJT"
            + b"object".ljust(128, b"\0")
            + struct.pack(">4i3fi8b2i", 1, 0x200, 0, 1, 0, 1, 0, 2, *[1] * 8, 1, 0)
        )
        body += b"CONT" + struct.pack(">4i", len(part), 0, 0, 0) + part.tobytes()
        body += b"SIZE" + struct.pack(">i", 4 * len(part)) + np.ones(len(part), ">f4").tobytes()
        body += (
            b"MESH"
            + struct.pack(">3i2h", 2, 3, 0, 0, 0)
            + np.zeros(6, ">f4").tobytes()
            + np.zeros(3, ">i4").tobytes()
        )
        body += b"IMAT" + struct.pack(">i", 16) + bytes(16)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + body + b"MINX" + struct.pack(">i", 72) + bytes(72) + b"IEOF")
