"""The motion of particles during a tilt series: RELION's motion.star."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.errors import EngineError
from staengine.files import written_atomically
from staengine.tilt_series.star import ORIGINS

Trajectories = dict[str, NDArray[np.float64]]
_TRAJECTORY = re.compile(r"^data_(\S+)\s+loop_\s+((?:_.*\n\s*)+)", re.MULTILINE)


def read_trajectories(path: str | Path) -> Trajectories:
    """Displacements (n, 3) in Å of each particle of a motion.star, by name; one row per image of the series.

    They are along the tomogram's axes, in the order of the tilt series' STAR file, relative to the particle's
    refined position. The general reader is too slow for a table per particle. Raises EngineError.
    """
    if not Path(path).is_file():
        raise EngineError(f"{path} does not exist.")
    text = re.sub(r"^#.*", "", Path(path).read_text(errors="replace"), flags=re.MULTILINE)
    tables = list(_TRAJECTORY.finditer(text))
    if not tables:
        raise EngineError(f"{path} holds no trajectories (a table of {', '.join(ORIGINS)} per particle).")
    ends = [table.start() for table in tables[1:]] + [len(text)]
    found: Trajectories = {}
    for table, end in zip(tables, ends, strict=True):
        name, columns = table[1], re.findall(r"^_(\S+)", table[2], re.MULTILINE)
        if not set(ORIGINS) <= set(columns):
            raise EngineError(f"{path}: table data_{name} must have the columns {', '.join(ORIGINS)}.")
        try:
            numbers = [float(word) for word in text[table.end() : end].split()]
            rows = np.reshape(numbers, (-1, len(columns)))
            if not np.isfinite(rows).all():
                raise ValueError
        except ValueError:
            raise EngineError(f"{path}: table data_{name} is not a table of numbers.") from None
        found[name] = rows[:, [columns.index(column) for column in ORIGINS]]
    return found


def write_trajectories(path: str | Path, trajectories: Mapping[str, NDArray[Any]]) -> None:
    """Write a motion.star: displacements (n, 3) in Å of each particle by name, as `read_trajectories` gives."""
    header = "\n".join(["loop_", *(f"_{column} #{number}" for number, column in enumerate(ORIGINS, 1))])
    parts = [f"\ndata_general\n\n_rlnParticleNumber {len(trajectories)}\n"]
    for name, moves in trajectories.items():
        rows = "%.6f %.6f %.6f\n" * len(moves) % tuple(np.ravel(moves))
        parts.append(f"\n\ndata_{name}\n\n{header}\n{rows}")
    with written_atomically(path) as partial:
        partial.write_text("".join(parts))
