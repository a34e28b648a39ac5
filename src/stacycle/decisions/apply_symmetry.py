"""From a map that was turned to its symmetry axes to a decision, and to the particles that are turned with it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from stacycle.decisions.decision import Decision
from stacycle.decisions.likeness import Likeness
from stacycle.decisions.symmetry import Least, has_symmetry
from stacycle.files import mrc, star
from stacycle.files.job_folder import OPTIMISATION_SET, PARTICLES, PROGRAM_OUTPUT, REFERENCE
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import ANGLES
from stacycle.inputs.orientations import to_angles, to_rotation
from stacycle.programs.align_symmetry import solution
from stacycle.provenance import record

_PRIORS = [f"{label}Prior" for label in ANGLES]


def tested(
    aligned: str | Path, group: str, diameter: float, resolution: float, least: Least, key: str
) -> Decision:
    """Whether a map on RELION's axes has the group, within a sphere around a particle of `diameter` Å and up to
    `resolution` Å. UserError if it has not."""
    density, pixel = np.asarray(mrc.voxels(aligned), np.float32), mrc.header(aligned).pixel
    return has_symmetry(Likeness(density, pixel, diameter, resolution), group, least, key)


def turn_of(aligned: str | Path) -> Rotation:
    """How a map was turned, by what the program said in its folder: aligned(x) = map(inverse x)."""
    said = Path(aligned).with_name(PROGRAM_OUTPUT).read_text(encoding="utf-8", errors="replace")
    return to_rotation(solution(said.splitlines()))


def turned(particles: pd.DataFrame, turn: Rotation) -> pd.DataFrame:
    """Particles of a map that was turned, so that they fit it: A_new = A_old · Aᵀ, of their angles and their priors.
    Positions, origins and the turns of subtomograms, which come before the angles, stay."""
    found = particles.assign(**_turned(particles, ANGLES, turn))
    if priors := [label for label in _PRIORS if label in particles]:
        labels = [
            prior if prior in particles else angle for prior, angle in zip(_PRIORS, ANGLES, strict=True)
        ]
        angles = _turned(particles, labels, turn)
        found = found.assign(**{prior: angles[prior] for prior in priors})
    return found


def write_turned(state: str | Path, aligned: str | Path, folder: str | Path) -> None:
    """Write the particles of a state turned as the map was, as a state of their own, and the map as its reference."""
    folder, files = Path(folder), OptimisationSet.read(state)
    tables = star.read(files.particles)
    tables["particles"] = turned(tables["particles"], turn_of(aligned))
    star.write(folder / PARTICLES, tables)
    replace(files, particles=str(folder / PARTICLES)).write(folder / OPTIMISATION_SET)
    shutil.copyfile(aligned, folder / REFERENCE)
    record.of_decision(folder, Path(state).parent, [REFERENCE])


def _turned(particles: pd.DataFrame, labels: list[str], turn: Rotation) -> dict[str, np.ndarray]:
    angles = to_angles(to_rotation(particles[labels]) * turn.inv())
    return dict(zip(labels, angles.T, strict=True))
