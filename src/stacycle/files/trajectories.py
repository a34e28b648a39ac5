"""Trajectories of particles, as polishing writes them: a table of three columns for each particle.

They stay text as far as can be: there is a table for each of 100,000 particles, too many to parse in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stacycle.errors import UserError, some
from stacycle.files import star

if TYPE_CHECKING:  # who only looks whether they are there does not wait
    import numpy as np

_AT_ONCE = 1000  # particles


def all_shifts(path: str | Path) -> Iterator[np.ndarray]:
    """The shifts (Å) of all particles in all tilts, of many particles at a time (n, 3). UserError if the file cannot
    be read, ValueError if they are no numbers, or not three for each tilt."""
    import numpy as np

    tables = [text for name, text in star.blocks(path) if name != "general"]
    for first in range(0, len(tables), _AT_ONCE):
        values = [value for table in tables[first : first + _AT_ONCE] for value in shifts(table)]
        yield np.array(values, float).reshape(-1, 3)


def shifts(table: str) -> list[str]:
    """The shifts (Å) of a particle, given its table as text: x, y, z of each tilt, one after the other."""
    return table.rpartition("_rln")[2].partition("\n")[2].partition("#")[0].split()


def of_particles(path: str | Path, names: Sequence[str]) -> dict[str, str]:
    """The tables of these particles, as text, by name. UserError if the file cannot be read, or lacks one."""
    tables = dict(star.blocks(path))
    if missing := [name for name in names if name not in tables]:
        raise UserError(f"{path}: has no trajectory of {some(missing, 3)}", "give that of these particles")
    return {name: tables[name] for name in names}


def to_text(tables: Mapping[str, str]) -> str:
    """A file of trajectories, of the particles' tables as text."""
    parts = [f"\ndata_general\n\n_rlnParticleNumber {len(tables)}\n"]
    parts += [f"\n\ndata_{name}\n\n{table.strip()}\n" for name, table in tables.items()]
    return "".join(parts)
