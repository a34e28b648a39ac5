"""Sums of particle slices as files, which an average can be made of later: as RELION's program keeps them.

`sum_T_data_halfH.mrc` holds the real parts of half set H (0 or 1) of all tomograms up to T, then the imaginary ones:
(2 box, box, box // 2 + 1); `sum_T_ctf_halfH.mrc` the weights. Without half sets all particles are in half 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray


def write(folder: Path, halves: Sequence[NDArray[np.float64]], tomogram: int) -> None:
    """Write the accumulators (box, box, box // 2 + 1, 3) of the half sets, of the tomograms up to this one (from 0)."""
    folder.mkdir(parents=True, exist_ok=True)
    for half, sums in enumerate(halves):
        parts = {"data": np.concatenate([sums[..., 0], sums[..., 1]]), "ctf": sums[..., 2]}
        for name, values in parts.items():
            mrcfile.write(_path(folder, tomogram, name, half), values.astype(np.float32), overwrite=True)


def read(folder: Path, n_halves: int, tomogram: int) -> list[NDArray[np.float64]] | None:
    """The accumulators of the tomograms up to this one (from 0); None if they are not there."""
    names = [[_path(folder, tomogram, name, half) for name in ("data", "ctf")] for half in range(n_halves)]
    if not all(path.exists() for pair in names for path in pair):
        return None
    halves = []
    for pair in names:
        data, weights = (np.asarray(mrcfile.read(path), float) for path in pair)
        real, imaginary = np.split(data, 2)
        halves.append(np.stack([real, imaginary, weights], axis=-1))
    return halves


def _path(folder: Path, tomogram: int, name: str, half: int) -> Path:
    return folder / f"sum_{tomogram}_{name}_half{half}.mrc"
