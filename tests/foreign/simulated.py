"""A simulated set as the truth that writers start from: tilt series whose images show particles, and their poses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mrcfile
import numpy as np
import pandas as pd

from foreign.truth import Picks, Series
from import_faults import Tables
from stacycle.files.star_labels import ANGLES, CENTRED, PIXEL, SHIFT, SIZE

DIGITS = {"rlnTomoZRot": 4, "rlnDefocusU": 2, "rlnDefocusV": 2, "rlnCtfScalefactor": 6}
SHIFT_DIGITS = 3  # of px


def rounded(tables: Tables) -> Tables:
    """The tables with as many digits as AreTomo, and Scipion, write."""
    tilts = {}
    for row in tables.tomograms.to_dict("records"):
        table = tables.tilts[row["rlnTomoName"]].round(DIGITS)
        table[SHIFT] = (table[SHIFT] / row[PIXEL]).round(SHIFT_DIGITS) * row[PIXEL]
        tilts[row["rlnTomoName"]] = table
    return Tables(tables.tomograms, tables.particles, tilts)


def renamed(tables: Tables, names: Mapping[str, str]) -> Tables:
    """The tables of a set whose tomograms have other names, old -> new."""
    tilts = {names[name]: table for name, table in tables.tilts.items()}
    tomograms, particles = (
        one.replace({"rlnTomoName": names}) for one in (tables.tomograms, tables.particles)
    )
    return Tables(tomograms, particles, tilts)


def all_series(tables: Tables, dose: float) -> list[Series]:
    """The tilt series of RELION's tables, nothing excluded or dark; `dose` in e/Å² per image."""
    rows = tables.tomograms.to_dict("records")
    return [_series(row, tables.tilts[row["rlnTomoName"]], dose) for row in rows]


def _series(row: Mapping[Any, Any], tilts: pd.DataFrame, dose: float) -> Series:
    images = mrcfile.read(tilts.rlnMicrographName[0].split("@")[1]).astype(np.float32)
    none = np.zeros(len(tilts), bool)
    return Series(
        row["rlnTomoName"],
        pixel=row[PIXEL],
        image=images.shape[:0:-1],
        size=tuple(int(row[label]) for label in SIZE),
        hand=int(row["rlnTomoHand"]),
        tilt=tilts.rlnTomoYTilt.to_numpy(),
        axis=tilts.rlnTomoZRot.to_numpy(),
        stage=tilts.rlnTomoYTilt.to_numpy(),
        shift=tilts[SHIFT].to_numpy() / row[PIXEL],
        defocus=tilts[["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"]].to_numpy(),
        phase=np.zeros(len(tilts)),
        order=np.rint(tilts.rlnMicrographPreExposure / dose).astype(int).to_numpy(),
        excluded=none,
        dark=none.copy(),
        dose=dose,
        amplitude_contrast=row["rlnAmplitudeContrast"],
        images=images,
    )


def all_picks(tables: Tables, series: list[Series]) -> list[Picks]:
    """The particles of RELION's tables, by tomogram."""
    by_name = dict(iter(tables.particles.groupby("rlnTomoName")))
    found = []
    for one in series:
        table = by_name[one.name]
        position = table[CENTRED].to_numpy() / one.pixel + np.array(one.size) / 2
        found.append(Picks(one, position, table[ANGLES].to_numpy(), np.linspace(0.9, 0.1, len(table))))
    return found


def used(tables: Tables, series: list[Series], scale: bool) -> Tables:
    """The tables without images that are excluded or dark; `scale`: with rlnCtfScalefactor, which few programs say."""
    tilts = {one.name: tables.tilts[one.name].iloc[one.kept] for one in series}
    if not scale:
        tilts = {name: table.drop(columns="rlnCtfScalefactor") for name, table in tilts.items()}
    return Tables(tables.tomograms.copy(), tables.particles, tilts)
