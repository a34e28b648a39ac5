"""RELION's optimisation_set.star: the files that make up a state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from staengine.errors import EngineError
from staengine.tilt_series.star import as_list, read_star, write_star

SET_FILES = {
    "particles": "rlnTomoParticlesFile",
    "tomograms": "rlnTomoTomogramsFile",
    "trajectories": "rlnTomoTrajectoriesFile",
}


@dataclass(frozen=True)
class OptimisationSet:
    """File names of a state: RELION's optimisation_set.star."""

    particles: str
    tomograms: str
    trajectories: str = ""

    def as_list(self) -> dict[str, str]:
        """The file names by RELION's labels."""
        return {label: getattr(self, name) for name, label in SET_FILES.items()}


def read_optimisation_set(path: str | Path) -> OptimisationSet:
    """Raises EngineError if a file is not named."""
    table = as_list(next(iter(read_star(path).values()), {}))
    names = {key: str(table.get(column, "")) for key, column in SET_FILES.items()}
    for key in ("particles", "tomograms"):
        if not names[key]:
            raise EngineError(f"{path} has no {SET_FILES[key]}.")
    return OptimisationSet(**names)


def write_optimisation_set(
    path: str | Path, particles: str | Path, tomograms: str | Path, trajectories: str | Path | None = None
) -> None:
    """Write an optimisation_set.star that names the files there are."""
    state = OptimisationSet(str(particles), str(tomograms), str(trajectories or ""))
    write_star({"": {label: name for label, name in state.as_list().items() if name}}, path)


def resolve_inputs(
    program: str,
    optimisation_set: str,
    particles: str = "",
    tomograms: str = "",
    trajectories: str = "",
    flags: tuple[str, str, str] = ("--i", "--p", "--t"),
) -> OptimisationSet:
    """The input state: files given one by one go before those that the optimisation set names.

    `flags` are those of set, particles and tomograms. Raises EngineError if particles or tomograms are missing.
    """
    named = read_optimisation_set(optimisation_set) if optimisation_set else OptimisationSet("", "")
    state = OptimisationSet(
        particles or named.particles, tomograms or named.tomograms, trajectories or named.trajectories
    )
    if not state.particles or not state.tomograms:
        i, p, t = flags
        raise EngineError(
            f"{program}: give {i} optimisation_set.star, or {p} particles.star {t} tomograms.star."
        )
    return state
