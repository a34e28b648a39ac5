"""Motive lists: AV3's and TOM's as a volume of the EM format, STOPGAP's as a STAR file. Voxels count from 1."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from foreign.pick_volume import PickVolume, euler
from foreign.truth import Picks


def write_em(
    path: Path, picks: dict[int, Picks], volume: PickVolume, order: str = "<", kind: str = "f4"
) -> None:
    """A motive list of picks by the number of their tomogram: 20 values each. The particle is turned into the tomogram
    by phi about z, theta about x, psi about z, of fixed axes."""
    rows = []
    for number, of_one in picks.items():
        at = volume.index(of_one) + 1
        phi, theta, psi = euler(of_one.rotation, "zxz").T
        values = np.zeros((len(at), 20))
        values[:, 0], values[:, 3], values[:, 4], values[:, 5] = (
            of_one.score,
            np.arange(len(at)) + 1,
            number,
            1,
        )
        values[:, 7:10], values[:, 10:13] = np.rint(at), at - np.rint(at)
        values[:, 16], values[:, 17], values[:, 18] = phi, psi, theta
        rows.append(values)
    data = np.concatenate(rows).astype(order + kind)
    machine = {"<": 6, ">": 3}[order]
    header = bytes([machine, 0, 0, {"f4": 5, "f8": 9}[kind]]) + struct.pack(order + "3i", 20, len(data), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.ljust(512, b"\0") + data.tobytes())


def write_stopgap(path: Path, picks: dict[int, Picks], volume: PickVolume, halves: str = "AB") -> None:
    """A motive list of picks by the number of their tomogram, their half sets in turn."""
    names = "motl_idx tomo_num object subtomo_num halfset orig_x orig_y orig_z score"
    names += " x_shift y_shift z_shift phi psi the"
    lines = ["", "data_stopgap_motivelist", "", "loop_", *(f"_{name}" for name in f"{names} class".split())]
    count = 0
    for number, of_one in picks.items():
        at = volume.index(of_one) + 1
        for where, (phi, the, psi), score in zip(
            at, euler(of_one.rotation, "zxz"), of_one.score, strict=True
        ):
            count += 1
            whole = np.rint(where)
            shift = " ".join(f"{value:.6f}" for value in where - whole)
            orig = " ".join(f"{value:.0f}" for value in whole)
            half = halves[count % len(halves)]
            angles = f"{phi:.6f} {psi:.6f} {the:.6f}"
            lines.append(f"{count} {number} 1 {count} {half} {orig} {score:.6f} {shift} {angles} 1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n\n")
