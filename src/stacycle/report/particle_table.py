"""Particles as the page's figures take them: in which tomogram, where, and seen from which direction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stacycle.files.star_labels import ANGLES, PARTICLE_NAME, TURNS
from stacycle.inputs.orientations import to_rotation
from stacycle.provenance import particles

Array = NDArray[Any]


@dataclass(frozen=True)
class Particles:
    """Of n particles: `tomograms` and `names`, `positions` (n, 3) in Å from the tomogram's centre, and `directions`
    (n, 3) in the particle's frame that they are seen from along the tomogram's z axis, if they have angles."""

    tomograms: Array
    names: Array
    positions: Array
    directions: Array | None

    def of(self, tomogram: str) -> NDArray[np.bool_]:
        """Which are in a tomogram."""
        found: NDArray[np.bool_] = self.tomograms == tomogram
        return found


def read(path: str | Path) -> Particles:
    """The particles of a file; the last few that were read are remembered. UserError if it is damaged."""
    stat = Path(path).stat()
    return _read(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: str, *state: int) -> Particles:
    columns = particles.read(path)
    tomograms = np.array(columns["rlnTomoName"], str)
    names = np.array(columns.get(PARTICLE_NAME, [""] * len(tomograms)), str)
    return Particles(tomograms, names, particles.positions(columns), _directions(columns))


def _directions(columns: Any) -> Array | None:
    if not set(ANGLES) <= set(columns):
        return None
    turn = to_rotation(np.array([columns[label] for label in ANGLES], float).T)
    if set(TURNS) <= set(columns):
        turn = to_rotation(np.array([columns[label] for label in TURNS], float).T) * turn
    return turn.inv().apply([0, 0, 1])
