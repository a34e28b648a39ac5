"""From the poses before and after a step to averages with both, to a decision, and to the state that goes on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite, nan
from pathlib import Path

import pandas as pd

from stacycle.decisions.decision import BEFORE, Decision
from stacycle.decisions.half_maps import compare, read, sphere
from stacycle.decisions.poses import AFTER, kept_poses
from stacycle.errors import UserError
from stacycle.files import mrc, star
from stacycle.files.job_folder import HALF_MAPS, MERGED, OPTIMISATION_SET, PARTICLES, STATE_FILE
from stacycle.files.optimisation_set import KINDS, OptimisationSet
from stacycle.files.star_labels import ANGLES, CENTRED, ORIGINS, PARTICLE_NAME, SUBSET, TURNS
from stacycle.provenance import record
from stacycle.provenance.identity import Record, cure, record_of

POSES = (BEFORE, AFTER)
_POSE = (*CENTRED, *TURNS, *ORIGINS, *ANGLES)


def write_candidate(before: str | Path, after: str | Path, folder: str | Path, poses: str) -> None:
    """Write the particles of a state `after` a step, with the poses of `before` or of `after`, as a state of its own;
    each particle has a half set."""
    folder, files = Path(folder), OptimisationSet.read(after)
    tables = star.read(files.particles)
    if poses == BEFORE:
        earlier = star.read(OptimisationSet.read(before).particles)["particles"]
        tables["particles"] = with_poses(tables["particles"], earlier)
    if SUBSET not in tables["particles"]:
        tables["particles"][SUBSET] = tables["particles"].index % 2 + 1
    star.write(folder / PARTICLES, tables)
    replace(files, particles=str(folder / PARTICLES)).write(folder / OPTIMISATION_SET)
    record.of_decision(folder, Path(before if poses == BEFORE else after).parent)


def with_poses(particles: pd.DataFrame, of: pd.DataFrame) -> pd.DataFrame:
    """Particles with the poses that they have in another table; what that does not have of a pose is 0."""
    there = of.set_index(PARTICLE_NAME).loc[particles[PARTICLE_NAME]].reset_index(drop=True)
    columns = [label for label in _POSE if label in particles or label in there]
    return particles.assign(**{label: there.get(label, 0.0) for label in columns})


def choose_poses(
    averages: Mapping[str, str | Path], mask: str | None, diameter: float, choice: str, key: str
) -> Decision:
    """The poses to keep, of the folders of averages with those before and after; within the mask (a file), or else a
    sphere around a particle of `diameter` Å."""
    halves, pixel = read(averages)
    inside = mrc.voxels(mask) if mask else sphere(len(halves[BEFORE][0]), pixel, diameter)
    return kept_poses(compare(halves, pixel, inside), choice, key)


def write_kept(
    decision: Decision, average: Path, after: str | Path, maps: Sequence[str], folder: Path
) -> None:
    """Write the state that goes on in `folder`, and its maps under the names that they have after the step: `maps`, the
    reference and, if the step leaves half maps, these. If the poses are rolled back, they are the `average`'s; so
    is the resolution, if its half maps agree in any shell."""
    start, sources = Path(after).parent, [Path(path) for path in maps]
    files, resolution = OptimisationSet.read(after), _record(start).get("resolution")
    if decision.choice["poses"] == BEFORE:
        made_of = _record(average)
        start, reached = Path(made_of["parent"]["path"]), decision.numbers["resolution"]
        resolution = reached if isfinite(reached) else resolution
        files = OptimisationSet(*(made_of[kind] and made_of[kind][0] for kind in KINDS))
        sources = [average / name for name in (MERGED, *HALF_MAPS)[: len(maps)]]
    files.write(folder / OPTIMISATION_SET)
    names = [Path(path).name for path in maps]
    for source, name in zip(sources, names, strict=True):
        shutil.copyfile(source, folder / name)
    record.of_decision(folder, start, names, nan if resolution is None else resolution)


def _record(folder: Path) -> Record:
    """The record of a state or its maps. UserError if there is none."""
    if (found := record_of(folder)) is None:
        raise UserError(f"{folder}: no {STATE_FILE} tells what it was made of", cure(folder))
    return found
