"""RELION's optimisation set: the file that says which particles, tomograms and trajectories belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.atomic import write_text

_LABELS = {
    "particles": "rlnTomoParticlesFile",
    "tomograms": "rlnTomoTomogramsFile",
    "trajectories": "rlnTomoTrajectoriesFile",
}
KINDS = tuple(_LABELS)  # of files in an optimisation set


@dataclass(frozen=True)
class OptimisationSet:
    """The state of a project: files relative to the project folder; trajectories exist after polishing only."""

    particles: str
    tomograms: str
    trajectories: str | None = None

    @classmethod
    def read(cls, path: str | Path) -> OptimisationSet:
        """The files that an `optimisation_set.star` names. UserError if it is damaged, or names too few."""
        row = star.columns(path, "", [_LABELS["particles"], _LABELS["tomograms"]])
        particles, tomograms, trajectories = ((row.get(label) or [""])[0] for label in _LABELS.values())
        if not particles or not tomograms:
            raise UserError(f"{path}: names no particles or no tomograms", "was it written completely?")
        return cls(particles, tomograms, trajectories or None)

    def write(self, path: str | Path) -> None:
        """Write it as RELION reads it."""
        write_text(path, self.to_text())

    def to_text(self) -> str:
        """What `write` writes."""
        row = {label: getattr(self, kind) or "" for kind, label in _LABELS.items()}
        return star.to_text({"": star.simple(**row)})
