"""From the runs of a sweep to one decision, and from a decision to the files that the next step starts from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

import pandas as pd

from stacycle.decisions.agreement import with_agreement
from stacycle.decisions.decision import Decision, combine
from stacycle.decisions.duplicates import SCORE
from stacycle.decisions.early_stop import told
from stacycle.decisions.iteration import Choice, align_iteration, class3d_iteration
from stacycle.decisions.variant import Alignment, Variant, align_variant, class3d_variant
from stacycle.errors import UserError
from stacycle.files import job_folder, relion_output, removed, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import PARTICLE_NAME, PIXEL
from stacycle.provenance import record
from stacycle.provenance.particles import NEAR, picked_twice
from stacycle.recipe import geometry

Sweep = Mapping[str, Sequence[float]]  # folder name -> [T, K], or [T, K, number of the run]


@dataclass(frozen=True)
class Chosen:
    """The run that a decision took: its folder, iteration and class table, and the decision itself."""

    folder: Path
    iteration: int
    classes: pd.DataFrame
    decision: Decision


def choose_alignment(
    folder: str | Path, sweep: Sweep, iteration: Choice, variant: str, key: str, *, sampling: float | str
) -> Chosen:
    """The iteration of each K = 1 run under `folder`, then the run; `key` names the config's section.

    Warns if `sampling` (degrees, or auto) was given and auto would be finer: picks that are better than the sampling
    come out worse.
    """
    folder = Path(folder)
    runs = {name: relion_output.iterations(folder / name, maps=False) for name in sweep}
    first = {name: align_iteration(run, iteration, f"{key}.iteration") for name, run in runs.items()}
    tables = {name: _with_maps(relion_output.classes(folder / name, _number(first[name]))) for name in sweep}
    candidates = []
    for name, (T, *_) in sweep.items():
        resolution = relion_output.resolution_at_unit_T(folder / name, _number(first[name]))
        candidates.append(Alignment(name, T, resolution, tables[name]["accuracy_rotations"].iloc[0]))
    second = align_variant(candidates, variant, f"{key}.variant")
    chosen = _chosen(folder, "Alignment", first, second, tables)
    accuracy = chosen.classes["accuracy_rotations"].iloc[0]
    finer = geometry.angular_sampling(accuracy)
    if sampling != "auto" and float(sampling) > finer:
        chosen.decision.warnings.append(
            f"The sampling of {sampling:g} degrees is coarse: these images tell angles to {accuracy:.1f}, for which "
            f"{key}.sampling: auto takes {finer:g}."
        )
    return chosen


def choose_classification(
    folder: str | Path,
    sweep: Sweep,
    iteration: Choice,
    variant: str,
    key: str,
    *,
    consensus: str,
    diameter: float,
    lowpass: float,
) -> Chosen:
    """The iteration of each run under `folder`, then the run that separates best.
    The classes are compared with the `consensus` map that they started from, within `diameter` and to `lowpass` (Å)."""
    folder = Path(folder)
    first, tables, moved = {}, {}, {}
    for name in sweep:
        run = relion_output.iterations(folder / name, maps=False)
        unlike = relion_output.unlike_last(folder / name, [it.number for it in run if it.number > 1])
        first[name] = class3d_iteration(run, iteration, f"{key}.iteration", unlike).add(told(folder / name))
        table = _with_maps(relion_output.classes(folder / name, _number(first[name])))
        moved[name] = relion_output.moved(folder / name, _number(first[name]))
        tables[name] = with_agreement(table, consensus, diameter, lowpass)
    candidates = [Variant(name, T, tables[name], moved[name]) for name, (T, *_) in sweep.items()]
    second = class3d_variant(candidates, variant, f"{key}.variant")
    return _chosen(folder, "Classification", first, second, tables)


def _with_maps(classes: pd.DataFrame) -> pd.DataFrame:
    """The classes, whose maps are there. UserError if cleanup removed them."""
    if gone := next(filter(None, map(removed.explain_missing, classes["map"])), ""):
        raise UserError(gone)
    return classes


def write_selected(
    particles: star.Tables,
    tomograms: OptimisationSet,
    folder: str | Path,
    reference: str | Path | None = None,
    resolution: float = nan,
    why: str = "in classes that were not selected",
) -> dict[str, int]:
    """Write the state of selected particles; of those that now lie at one position, only the first.
    `tomograms` is the state that they were selected from, `why` says why others are left out. Returns how many
    particles were dropped, by reason."""
    rows = particles["particles"]
    once = without_duplicates(particles)
    dropped = {
        why: star.count(tomograms.particles, "particles") - len(rows),
        "picked twice": len(rows) - len(once["particles"]),
    }
    dropped = {reason: number for reason, number in dropped.items() if number}
    _write_state(once, tomograms, folder, Path(tomograms.particles).parent, reference, resolution, dropped)
    return dropped


def write_once(
    particles: star.Tables, stays: Sequence[bool], tomograms: OptimisationSet, folder: str | Path
) -> None:
    """Write the state of the particles that stay (n, bool) where several lay on one place; `tomograms` is the state
    before."""
    rows = particles["particles"]
    kept = rows[stays].reset_index(drop=True)
    dropped = {"on one place with a better one": len(rows) - len(kept)}
    before = Path(tomograms.particles).parent
    _write_state({**particles, "particles": kept}, tomograms, folder, before, None, nan, dropped)


def with_scores(particles: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """Particles with a column `score`, of the first file of scores, if there is one; nan where it has no such
    particle."""
    if not scores or PARTICLE_NAME not in particles:
        return particles
    table = star.read(scores[0], {"scores": [PARTICLE_NAME, SCORE]})["scores"]
    of_name = table.set_index(PARTICLE_NAME)[SCORE].astype(float)
    return particles.assign(**{SCORE: of_name.reindex(particles[PARTICLE_NAME]).to_numpy()})


def same_place(particles: star.Tables) -> float:
    """The distance in Å up to which two particles are surely the same one."""
    return NEAR * float(particles["optics"][PIXEL].max())


def without_duplicates(particles: star.Tables) -> star.Tables:
    """The particles without those that now lie where an earlier one does: the same particle, picked twice. Copies that
    were made of a particle, which have its name, stay or go with it."""
    rows = particles["particles"]
    named = rows.get(PARTICLE_NAME, rows.index.to_series())
    once = rows[~named.duplicated()]
    twice = picked_twice({str(label): list(once[label]) for label in once}, same_place(particles))
    gone = named.isin(named[once.index[twice]])
    return {**particles, "particles": rows[~gone].reset_index(drop=True)}


def write_chosen(chosen: Chosen, folder: str | Path, reference: str | Path | None = None) -> None:
    """Write the particles, state and `reference` map of the chosen iteration under their stable names in `folder`."""
    data = job_folder.iteration(chosen.iteration, "data.star")
    state = job_folder.iteration(chosen.iteration, job_folder.OPTIMISATION_SET)
    _write_state(
        star.read(chosen.folder / data),
        OptimisationSet.read(chosen.folder / state),
        folder,
        record.start_folder(chosen.folder),  # the run's own state is that of its last iteration
        reference,
        chosen.decision.numbers.get("resolution", nan),
        accuracy=_accuracy(chosen.classes),
    )


def _write_state(
    particles: star.Tables,
    tomograms: OptimisationSet,
    folder: str | Path,
    start: Path,
    reference: str | Path | None,
    resolution: float,
    dropped: Mapping[str, int] | None = None,
    accuracy: Sequence[float] = (),
) -> None:
    """Write what the next step starts from: particles, the optimisation set that joins them to their tomograms, the
    reference if there is one, and the record of the state. `start` is the folder of the state before."""
    path = Path(folder) / job_folder.PARTICLES
    star.write(path, particles)
    state = OptimisationSet(str(path), tomograms.tomograms, tomograms.trajectories)
    state.write(path.with_name(job_folder.OPTIMISATION_SET))
    maps = []
    if reference is not None:
        maps = [job_folder.REFERENCE]
        shutil.copyfile(reference, path.with_name(job_folder.REFERENCE))
    record.of_decision(folder, start, maps, resolution, dropped, accuracy=accuracy)


def of_classes(particles: star.Tables, classes: Sequence[int]) -> star.Tables:
    """The particles of these classes; the tables general and optics stay as they are."""
    rows = particles["particles"]
    kept = rows[rows["rlnClassNumber"].astype(int).isin(classes)].reset_index(drop=True)
    return {**particles, "particles": kept}


def _chosen(
    folder: Path, question: str, first: dict[str, Decision], second: Decision, tables: dict[str, pd.DataFrame]
) -> Chosen:
    name = second.choice["variant"]
    decision = combine(question, [second, first[name]])
    return Chosen(folder / name, _number(first[name]), tables[name], decision)


def _accuracy(classes: pd.DataFrame) -> list[float]:
    """Of angles (degrees) and positions (Å), as far as an alignment to one reference tells them."""
    told = classes[["accuracy_rotations", "accuracy_translations"]].iloc[0].tolist()
    return [float(one) for one in told] if len(classes) == 1 and all(map(isfinite, told)) else []


def _number(decision: Decision) -> int:
    return decision.choice["iteration"]
