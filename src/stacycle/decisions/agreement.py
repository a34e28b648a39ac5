"""How class maps agree with the consensus map that all classes started from."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd

from stacycle.decisions.mask import distance, low_pass
from stacycle.errors import UserError


def with_agreement(classes: pd.DataFrame, consensus: str | Path, diameter: float, lowpass: float) -> pd.DataFrame:
    """The class table (`runs.classes`) with `correlation` and `amplitude` of each map against the consensus map.

    Both inside a sphere of `diameter` (Å), after a low-pass to `lowpass` (Å): `correlation` is Pearson's, `amplitude`
    the slope of the class map on the consensus (1: as strong; 0: nothing of it). A class of particles gives what the
    consensus shows; junk averages to something else, and weaker, whatever resolution it pretends to.
    """
    reference, pixel_size = _read(consensus)
    inside = distance(len(reference)) * pixel_size <= diameter / 2
    wanted = low_pass(reference, pixel_size, lowpass)[inside]
    wanted = wanted - wanted.mean()
    values = []
    for path in classes["map"]:
        density, _ = _read(path)
        if density.shape != reference.shape:
            raise UserError(
                f"{path}: has a box of {len(density)} voxels, the consensus {consensus} of {len(reference)}."
            )
        found = low_pass(density, pixel_size, lowpass)[inside]
        found = found - found.mean()
        product, power = float(found @ wanted), float(found @ found)
        values.append((product / np.sqrt(power * (wanted @ wanted) or 1), product / (wanted @ wanted or 1)))
    return classes.assign(
        correlation=[float(c) for c, _ in values], amplitude=[float(a) for _, a in values]
    )


def _read(path: str | Path) -> tuple[np.ndarray, float]:
    """Map and pixel size (Å)."""
    try:
        with mrcfile.open(path) as file:
            return np.asarray(file.data, np.float32), float(file.voxel_size.x)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a map ({error}).") from None
