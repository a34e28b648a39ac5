"""What every format of an export is given, particles and where they are to count from, and gives: texts of files."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle import exports
from stacycle.errors import UserError
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import CENTRED
from stacycle.inputs.place_picks import Frame


@dataclass(frozen=True)
class ExportAsked:
    """What the user says; None where nothing is said.

    `folder` for the files, below the project folder. `pixel`: Å per voxel of the volume that positions are to count
    in; `size`: its voxels x, y, z, if it shares its centre with the tilt series' tomogram, not its corner. `object`:
    the particle's name. `split`: a file per tomogram, too. `include`: patterns of tomograms' names, all if none.
    """

    folder: Path
    pixel: float | None = None
    size: tuple[int, int, int] | None = None
    object: str | None = None
    split: bool = False
    include: tuple[str, ...] = ()


@dataclass(frozen=True)
class Particles:
    """The particles of a state.

    `table`: rlnTomoName; rlnCenteredCoordinateX/Y/ZAngst with the shifts applied; the whole orientation as rlnAngleRot,
    rlnAngleTilt, rlnAnglePsi; rlnRandomSubset, rlnClassNumber, rlnAutopickFigureOfMerit where they are known.
    `tomograms` and the `names` that their user gave them, by rlnTomoName: merging sets may have renamed them.
    """

    state: OptimisationSet
    table: pd.DataFrame
    tomograms: Mapping[str, Frame]
    names: Mapping[str, str]

    @property
    def names_of_user(self) -> dict[str, str]:
        """The names that the user's programs know the tomograms with particles by. UserError if two have one name."""
        found = {name: self.names[name] for name in self.table.rlnTomoName.unique()}
        for name, other in combinations(found, 2):
            if found[name] == found[other]:
                problem = (
                    f"{name} and {other} are both called {found[name]} by the programs that they come from"
                )
                raise UserError(problem, "export one after the other, with --include and --to")
        return found

    def from_corner(self, asked: ExportAsked) -> NDArray[np.floating]:
        """(n, 3) Å from the centre of the first voxel: of the volume that is asked for by its size, else of the tilt
        series' tomogram, at whose corner the first voxel of RELION's and Warp's own tomograms is, too."""
        half = {
            name: np.array(asked.size or one.size) * (asked.pixel if asked.size else one.pixel) / 2
            for name, one in self.tomograms.items()
        }
        return self.table[CENTRED].to_numpy(float) + np.stack([half[name] for name in self.table.rlnTomoName])


@dataclass(frozen=True)
class Exported:
    """Texts of files by their paths in the export's folder, and what the user has to know of them."""

    texts: Mapping[str, str]
    said: str


@dataclass(frozen=True)
class Export:
    """A program that particles are exported to, by its name on the command line. `options`: the fields of `ExportAsked`
    that it knows. `make` raises UserError for what the format cannot hold."""

    key: str
    options: frozenset[str]
    make: Callable[[Particles, ExportAsked], Exported]


@cache
def all_exports() -> Mapping[str, Export]:
    """The exports by their keys."""
    names = (found.name for found in pkgutil.iter_modules(exports.__path__))
    modules = [import_module(f"{exports.__name__}.{name}") for name in names]
    return {module.EXPORT.key: module.EXPORT for module in modules if hasattr(module, "EXPORT")}
