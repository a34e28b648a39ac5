"""What every format of picks gives: where particles are, how they are turned, and in which tomogram."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.errors import UserError
from stacycle.files.star_labels import TURNS
from stacycle.inputs import pick_formats
from stacycle.inputs.findings import Findings

# What positions count in.
CENTRED = "Å from the tomogram's centre"
CORNER = "Å from the corner of its first voxel"
VOXELS = "voxels of a volume, the first being 0"  # a voxel's centre is at its number
UNBINNED = "px of the unbinned tilt series, from the tomogram's corner"
SERIES_CORNER = (
    "Å from the corner of the tilt series' tomogram"  # Warp's and M's: whatever volume was looked at
)
FRACTIONS = "parts of the tilt series' tomogram along each axis"


def are_fractions(positions: NDArray[np.floating]) -> bool:
    """Whether positions (n, 3) are FRACTIONS: all within 0 and 1, which no pixels and no Å are."""
    return bool(positions.size and positions.min() >= 0 and positions.max() <= 1)


def has_turns(path: str | Path, table: pd.DataFrame) -> bool:
    """Whether particles are in frames that are turned themselves, by rlnTomoSubtomogramRot, Tilt and Psi, of which the
    last two may lack. UserError for these without Rot, for RELION then reads none."""
    found = [label for label in TURNS if label in table]
    if found and TURNS[0] not in found:
        problem = (
            f"{path}: has {', '.join(found)}, but not {TURNS[0]}, without which RELION does not read them"
        )
        raise UserError(problem, "add it, or leave them out")
    return bool(found)


@dataclass(frozen=True)
class PicksAsked:
    """What a set of the config says of its picks; None where it says nothing.

    `tomogram`: the one that all are in; `pixel`: Å per voxel of the volume that they were made in, `size` its voxels
    x, y, z; `unit`: px or angstrom, of text.
    """

    paths: tuple[Path, ...]
    label: str = "inputs.1.particles"
    tomogram: str | None = None
    pixel: float | None = None
    size: tuple[int, int, int] | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Picks:
    """Picks of one or several tomograms, as they stand in one file.

    `tomogram` (n): names as the file has them, which are matched later. `position` (n, 3) in `unit`; `voxel` (Å) and
    `shape` (x, y, z) of the volume where the unit needs them and the file says them, else None.
    `angles` (n, 3): rlnAngleRot, rlnAngleTilt, rlnAnglePsi in degrees, such that
    scipy's Rotation.from_euler("ZYZ", angles).inv() turns the particle into the tomogram; None if there are none.
    `score` (n): the higher the better; `half` (n): the half set, 1 or 2; None if there is none. `row` (n): from 1, for
    messages. `shift` (n, 3) in Å is to be added to the position, along the same axes.
    """

    path: Path
    tomogram: NDArray[Any]
    position: NDArray[np.floating]
    unit: str
    row: NDArray[np.integer]
    angles: NDArray[np.floating] | None = None
    score: NDArray[np.floating] | None = None
    half: NDArray[np.integer] | None = None
    shift: NDArray[np.floating] | None = None
    voxel: float | NDArray[np.floating] | None = None
    shape: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class PickFormat:
    """A format of picks, by its key in the config. `read` gives the picks of each file; it raises UserError, or notes
    problems in the findings. `known` are the names of the tomograms of the set. `endings`: of files that are of this
    format and no other."""

    key: str
    title: str
    read: Callable[[PicksAsked, tuple[str, ...], Findings], list[Picks]]
    endings: tuple[str, ...] = ()


@cache
def all_formats() -> Mapping[str, PickFormat]:
    """The formats by their keys."""
    names = (found.name for found in pkgutil.iter_modules(pick_formats.__path__))
    modules = [import_module(f"{pick_formats.__name__}.{name}") for name in names]
    return {module.FORMAT.key: module.FORMAT for module in modules if hasattr(module, "FORMAT")}
