"""How far particles moved: from where they were picked, and in each step that searched their positions."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stacycle.files import star
from stacycle.files.job_folder import JOB_FILE, OPTIMISATION_SET
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.jobs import record as job_record
from stacycle.programs.command import Command
from stacycle.recipe.rounds import MOVES, POSES
from stacycle.recipe.step_names import part_of
from stacycle.recipe.step_settings import kind_of
from stacycle.report import particle_figures, particle_table
from stacycle.report.particle_table import Particles
from stacycle.report.plots import Plot, plot
from stacycle.report.project import Project

_UNMOVED = 0.01  # Å: less is rounding

Array = NDArray[Any]


@dataclass(frozen=True)
class Moved:
    """How far each particle moved in a step (n) Å, and how far one iteration of it searched (Å); nan if that is not
    known."""

    step: str
    distances: Array
    searched: float = nan

    @property
    def beyond(self) -> int:
        """How many moved further than one iteration searched."""
        return int((self.distances > self.searched).sum())


def shifts(project: Project, picked: Particles, file: str, diameter: float) -> Plot | None:
    """How far the particles that are left lie from where they were `picked`, by a `file`, and how far each step moved
    them; None if no step did, or if they have no names."""
    steps, before, last = [], picked, ""
    for step, state in _states(project):
        after = project.read(state.particles, particle_table.read)
        if after is not None and state.particles not in (file, last):
            distances = _distances(before, after)
            if distances.max(initial=0) > _UNMOVED:
                steps.append(Moved(step, distances, _searched(step, state.particles)))
            before, last = after, state.particles
    if not steps or not len(total := _distances(picked, before)):
        return None
    draw = [partial(particle_figures.shifts_figure, total)]
    if len(steps) > 1:
        draw.append(partial(particle_figures.shifts_by_step_figure, _as_rows(steps)))
    return plot(_caption(steps, total, diameter), (file, last), *draw)


def _caption(steps: Sequence[Moved], total: Array, diameter: float) -> str:
    half, most = np.percentile(total, [50, 95])
    far = int((total > diameter / 2).sum()) if diameter else 0
    said = f"How far particles moved from their picks: half of them less than {half:.1f} Å, 95 % less than {most:.1f} Å"
    if diameter:
        said += f", {f'{far:,}' if far else 'none'} further than the particle's radius"
    if len(steps) > 1:
        said += "; beside it, in each step: median, and where 90 % are; a mark shows how far an iteration searched"
    beyond = [f"{one.beyond:,} of {len(one.distances):,} in {one.step}" for one in steps if one.beyond]
    return said + (f". Further than an iteration searched: {', '.join(beyond)}" if beyond else "")


def _as_rows(steps: Sequence[Moved]) -> dict[str, tuple[Array, float]]:
    return {one.step: (np.percentile(one.distances, [5, 50, 95]), one.searched) for one in steps}


def _states(project: Project) -> Iterator[tuple[str, OptimisationSet]]:
    """The steps of the whole particle that may have moved particles, and the state that went on from each, in order."""
    for round_ in project.rounds:
        for step in round_["steps"]:
            for name, path in _left_by(project, round_, step):
                if state := project.read(path, OptimisationSet.read):
                    yield f"{round_['name']}/{name}", state


def _left_by(project: Project, round_: Mapping[str, Any], step: str) -> Iterator[tuple[str, str]]:
    """Name and optimisation set of a step, or of the sweeps of its cycles; nothing of one that moves none, or that is
    not there."""
    if step == "cycle":
        of_round = [one for one in project.steps_with_resolution if one["round"] == round_["name"]]
        found = [
            ("/".join(Path(one["state"]).parts[2:4]), one["state"])
            for one in of_round
            if one["cycle"] and one["decision"]
        ]
    elif kind_of(step) in MOVES and not part_of(step, round_.get("parts")):
        folder = f"results/{round_['name']}/{step}"
        names = (
            f"{folder}{POSES}/{OPTIMISATION_SET}",
            f"{folder}/{OPTIMISATION_SET}",
            f"{folder}/run_{OPTIMISATION_SET}",
        )
        found = [(step, path) for path in names if Path(path).is_file()][:1]
    else:
        found = []
    yield from ((name, path) for name, path in found if Path(path).is_file())


def _distances(before: Particles, after: Particles) -> Array:
    """How far (n) Å the particles that are in both moved; none if they have no names of their own."""
    if np.array_equal(before.names, after.names) and before.names.any():
        return np.linalg.norm(after.positions - before.positions, axis=1)
    names, there = np.unique(after.names, return_index=True)
    known, here = np.unique(before.names, return_index=True)
    if len(names) < len(after.names) or len(known) < len(before.names):
        return np.zeros(0)
    _, at, was = np.intersect1d(names, known, assume_unique=True, return_indices=True)
    return np.linalg.norm(after.positions[there[at]] - before.positions[here[was]], axis=1)


def _searched(step: str, particles: str) -> float:
    """How far (Å) from where a particle was an iteration of a step's program searched; nan if it does not say."""
    folder = Path("results", step)
    for path in (folder / JOB_FILE, *sorted(folder.glob(f"*/{JOB_FILE}"))):
        words = shlex.split(str(job_record.read(path.parent).get("command") or ""))
        value = Command.of(words).get("--offset_range") if words else None
        pixel = star.column(particles, "rlnImagePixelSize")
        if value and pixel:
            return float(value) * float(pixel[0])
    return nan
