"""Picks of any format in their tomograms: names as the tomograms file has them, positions as RELION 5 counts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from stacycle.errors import UserError, some
from stacycle.files.star_labels import ANGLES, CENTRED, PIXEL, SIZE
from stacycle.inputs.pick_formats import pick_format
from stacycle.inputs.pick_formats.pick_format import Picks
from stacycle.inputs.sources.source import ImportedSeries

SCORE = "rlnAutopickFigureOfMerit"


def place(
    picks: Sequence[Picks], tomograms: pd.DataFrame, series: Mapping[str, ImportedSeries]
) -> pd.DataFrame:
    """One table of all picks: rlnTomoName, position in Å from the tomogram's centre, angles in degrees (nan where a
    file has none), score if all have one, and `file` and `row` that each comes from.

    `tomograms` has a row for each; `series` are those that a source gave, by name. UserError for a name that is none.
    """
    placed = [_placed(one, tomograms.set_index("rlnTomoName"), series) for one in picks]
    return pd.concat(placed, join="inner", ignore_index=True)


def _placed(picks: Picks, tomograms: pd.DataFrame, series: Mapping[str, ImportedSeries]) -> pd.DataFrame:
    names = [str(name) for name in picks.tomogram]
    if strangers := dict.fromkeys(name for name in names if name not in tomograms.index):
        problem = f"{picks.path}: {some(strangers)} is no tomogram of this set"
        raise UserError(problem, f"it has {some(tomograms.index)}")
    of_each = tomograms.loc[names]
    extent = of_each[SIZE].to_numpy(float) * of_each[[PIXEL]].to_numpy(float)
    table = pd.DataFrame({"rlnTomoName": names})
    table[CENTRED] = _centred(picks, extent, of_each[[PIXEL]].to_numpy(float), series)
    table[ANGLES] = np.nan if picks.angles is None else picks.angles
    if picks.score is not None:
        table[SCORE] = picks.score
    return table.assign(file=str(picks.path), row=picks.row)


def _centred(
    picks: Picks, extent: np.ndarray, pixel: np.ndarray, series: Mapping[str, ImportedSeries]
) -> np.ndarray:
    """Positions (n, 3) in Å from the centre; `extent` (n, 3) of their tomograms and `pixel` (n, 1) in Å."""
    given = np.asarray(picks.position, float)
    if picks.unit == pick_format.CENTRED:
        return given
    if picks.unit == pick_format.CORNER:
        return given - extent / 2
    if picks.unit == pick_format.UNBINNED:
        return given * pixel - extent / 2
    volumes = [series[name].volume if name in series else None for name in map(str, picks.tomogram)]
    voxel, shape = picks.voxel, picks.shape
    if voxel is None:
        voxel = np.array([volume.voxel if volume else np.nan for volume in volumes])
    shapes = np.array([shape or (volume.shape if volume else (np.nan,) * 3) for volume in volumes], float)
    if np.isnan(voxel).any() or np.isnan(shapes).any():
        problem = f"{picks.path}: the volume that these were picked in is not known"
        raise UserError(problem, "set pixel and size of particles")
    return (given - shapes / 2) * np.reshape(voxel, (-1, 1))
