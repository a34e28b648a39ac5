"""Particles: the tables of RELION's particles.star, and where they put each particle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from staengine.errors import EngineError
from staengine.numerics.euler import euler_matrix
from staengine.tilt_series.star import (
    ANGLES,
    COORDINATES,
    ORIGINS,
    SUBTOMOGRAM_ANGLES,
    as_list,
    loop_of,
    numbers,
    read_star,
    require_columns,
    require_numbers,
    write_star,
)
from staengine.tilt_series.tomograms import TOMOGRAM_NUMBERS, Tomogram
from staengine.tilt_series.trajectories import Trajectories, read_trajectories


@dataclass
class ParticleSet:
    """The tables of a RELION particles.star, and its trajectories; `particles` has a plain index 0 .. n - 1."""

    particles: pd.DataFrame
    optics: pd.DataFrame | None = None
    general: dict[str, Any] = field(default_factory=dict)
    path: str = ""
    trajectories: Trajectories | None = None

    @classmethod
    def read(cls, path: str | Path, trajectories: str | Path = "") -> ParticleSet:
        tables = read_star(path)
        particles = loop_of(tables, "particles", path)
        require_columns(particles, ["rlnTomoName", *COORDINATES], path, "particles")
        if particles.empty:
            raise EngineError(f"{path}: table data_particles is empty.")
        numeric = [*COORDINATES, *ORIGINS, *ANGLES, *SUBTOMOGRAM_ANGLES, "rlnRandomSubset"]
        require_numbers(particles, numeric, path, "particles")
        optics = loop_of(tables, "optics", path) if "optics" in tables else None
        if optics is not None:
            require_columns(optics, ["rlnOpticsGroup"], path, "optics")
            require_columns(particles, ["rlnOpticsGroup"], path, "particles")
            require_numbers(optics, TOMOGRAM_NUMBERS, path, "optics")
        elif "rlnOpticsGroup" in particles:
            raise EngineError(f"{path}: has rlnOpticsGroup but no table data_optics.")
        motion = read_trajectories(trajectories) if trajectories else None
        return cls(
            particles.reset_index(drop=True), optics, as_list(tables.get("general", {})), str(path), motion
        )

    def write(self, path: str | Path) -> None:
        tables: dict[str, Any] = {"general": self.general or {"rlnTomoSubTomosAre2DStacks": 1}}
        if self.optics is not None:
            tables["optics"] = self.optics
        write_star(tables | {"particles": self.particles}, path)

    def __len__(self) -> int:
        return len(self.particles)

    def subset(self, rows: ArrayLike) -> ParticleSet:
        """The particles of the given row numbers or boolean mask, in that order."""
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index
        return replace(self, particles=self.particles.iloc[index].reset_index(drop=True))

    def by_tomogram(self) -> dict[str, NDArray[np.int64]]:
        """Row numbers of the particles of each tomogram, by name, in the order of the table."""
        groups = self.particles.groupby("rlnTomoName", sort=False).indices
        return {str(name): np.asarray(rows) for name, rows in groups.items()}

    @property
    def positions(self) -> NDArray[np.float64]:
        """Refined positions (n, 3) in Å: coordinate - A_subtomogram · origin."""
        coordinates = self.particles[COORDINATES].to_numpy(float)
        return coordinates - np.einsum("nij,nj->ni", self.subtomogram_rotations, self.origins)

    def paths(self, positions: NDArray[Any]) -> NDArray[np.float64]:
        """Where the particles, all of one tilt series, are in each of its n images, at rest at positions (m, 3) Å.

        (m, n, 3) Å with trajectories; without them they do not move: `positions`.
        """
        if self.trajectories is None or not len(self):
            return positions
        return positions[:, None] + np.stack([self.trajectories[name] for name in self.names])

    @property
    def names(self) -> list[str]:
        """rlnTomoParticleName of each particle. Raises EngineError if there are none."""
        require_columns(self.particles, ["rlnTomoParticleName"], self.path, "particles")
        return list(self.particles["rlnTomoParticleName"])

    def check_trajectories(self, tomograms: Mapping[str, Tomogram]) -> None:
        """Raise EngineError unless each particle has a trajectory as long as its tilt series, or none has."""
        if self.trajectories is None:
            return
        for name, tomogram in zip(self.names, self.particles["rlnTomoName"], strict=True):
            if name not in self.trajectories:
                raise EngineError(
                    f"{self.path}: particle {name} has no trajectory; the motion file must be that of "
                    "these particles."
                )
            rows, images = len(self.trajectories[name]), len(tomograms[tomogram])
            if rows != images:
                raise EngineError(
                    f"{self.path}: the trajectory of particle {name} has {rows} rows, its tilt series "
                    f"{tomogram} has {images} images."
                )

    @property
    def origins(self) -> NDArray[np.float64]:
        """Refined origins (n, 3) in Å, zero if there are none."""
        return np.stack([numbers(self.particles, name) for name in ORIGINS], axis=-1)

    @property
    def subtomogram_rotations(self) -> NDArray[np.float64]:
        """A_subtomogram (n, 3, 3), the identity if there are no rlnTomoSubtomogramRot.."""
        return self._matrices(SUBTOMOGRAM_ANGLES)

    @property
    def rotations(self) -> NDArray[np.float64]:
        """Orientation in the tomogram A_subtomogram · A (n, 3, 3); a tilt's is R_tilt times that."""
        return self.subtomogram_rotations @ self._matrices(ANGLES)

    def _matrices(self, columns: Sequence[str]) -> NDArray[np.float64]:
        return euler_matrix(*(numbers(self.particles, name) for name in columns))

    @property
    def half_sets(self) -> NDArray[np.int64] | None:
        """rlnRandomSubset (n,) of 1 and 2, or None. Raises EngineError for other values."""
        if "rlnRandomSubset" not in self.particles.columns:
            return None
        halves = self.particles["rlnRandomSubset"].to_numpy(np.int64)
        if not np.isin(halves, (1, 2)).all():
            raise EngineError(f"{self.path}: rlnRandomSubset must be 1 or 2.")
        return halves

    @property
    def visible(self) -> list[NDArray[np.bool_]] | None:
        """Visible tilts of each particle, or None before extraction."""
        if "rlnTomoVisibleFrames" not in self.particles.columns:
            return None
        return [parse_visible(text) for text in self.particles["rlnTomoVisibleFrames"]]


def parse_visible(text: str) -> NDArray[np.bool_]:
    """`[1,0,1]` as a boolean array."""
    return np.array([flag == "1" for flag in text.strip("[]").split(",")])


def format_visible(visible: ArrayLike) -> str:
    """A boolean array as `[1,0,1]`."""
    return "[" + ",".join(str(int(flag)) for flag in np.asarray(visible)) + "]"
