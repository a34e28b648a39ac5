"""Dynamo's tables: numbers as MATLAB prints them, 26 or 36 columns; and the list of tomograms beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foreign.pick_volume import PickVolume, euler
from foreign.truth import Picks


def write(
    path: Path,
    picks: dict[int, Picks],
    volume: PickVolume,
    digits: int = 5,
    columns: int = 26,
    apix: bool = False,
) -> None:
    """A table of picks by the number of their tomogram. Dynamo turns the tomogram's axes into the particle's: tdrot
    about z, tilt about x, narot about z. The position is a whole voxel and the shift from it."""
    lines = []
    for number, of_one in picks.items():
        index = volume.index(of_one)
        angles = euler(of_one.rotation.inv(), "zxz")
        for at, turn, score in zip(index, angles, of_one.score, strict=True):
            row = np.zeros(columns)
            whole = np.rint(at)
            row[0], row[1] = len(lines) + 1, 1
            row[3:6], row[6:9], row[9] = at - whole, turn, score
            row[12:17] = 1, -60, 60, 0, 0
            row[19], row[23:26] = number, whole
            if apix:
                row[35] = volume.voxel
            lines.append(" ".join(f"{value:.{digits}g}" for value in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_list(path: Path, names: dict[int, str]) -> None:
    """The tomograms that the numbers of column 20 mean."""
    path.write_text("".join(f"   {number}   /data/volumes/{name}\n" for number, name in names.items()))
