"""The iterations of a refinement: expectation, new poses, estimated accuracies, maximisation."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.cli import ProgressBar, stop_if_aborted
from staengine.numerics.projector import padded_transform
from staengine.refinement.accuracy import accuracy
from staengine.refinement.auto_refine import (
    angular_changes,
    choose_sampling,
    needed_angle,
    note_changes,
    report_end,
    report_progress,
)
from staengine.refinement.expectation import Sums, expectation
from staengine.refinement.model import Model
from staengine.refinement.model_update import maximise
from staengine.refinement.pose_search import Task
from staengine.refinement.sampling import OrientationGrid
from staengine.refinement.state import Refinement

STATISTICS = {  # columns of data.star, and what of an outcome they hold
    "rlnLogLikeliContribution": "log_likelihood",
    "rlnMaxValueProbDistribution": "max_probability",
    "rlnNrOfSignificantSamples": "n_significant",
}
COARSE_LIMIT = (
    2.5  # coarse steps per detail: the coarse pass sees none finer, so half a step off still matches
)


def iterate(run: Refinement) -> None:
    """All iterations that are left."""
    while run.progress.iteration < run.n_iterations and not run.progress.converged:
        stop_if_aborted(run.options.pipeline_control)
        one_iteration(run)
    if run.options.auto_refine:
        report_end(run)


def one_iteration(run: Refinement) -> None:
    """One expectation and one maximisation step; writes the iteration's files."""
    options, progress = run.options, run.progress
    progress.iteration += 1
    if options.auto_refine:
        report_progress(run)
    tasks = [expectation_task(run, model) for model in run.models]
    if progress.iteration > 1:
        limit_resolution(run, tasks[0], run.models[0])
        estimate_accuracies(run, tasks[0])
    if options.auto_refine:
        choose_sampling(run)
    run.sampling = run.sampling.perturbed(run.rng)
    grid = OrientationGrid(run.sampling)
    for task, model in zip(tasks, run.models, strict=True):
        task.grid, task.sigma_angle = grid, model.sigma_angle
        limit_resolution(run, task, model)
    print_sampling(run, tasks[0])
    sums = _expect(run, tasks)
    maximise(run, sums, tasks)


def expectation_task(run: Refinement, model: Model) -> Task:
    """What the expectation step of a half set is about; `limit_resolution` is still to say how far it looks."""
    options, data = run.options, run.data
    radius = run.image_radius(model)
    return Task(
        data=data,
        transforms=[padded_transform(c.reference, options.pad, run.threads, radius) for c in model.classes],
        padding=options.pad,
        n_components=0,
        n_fit=0,
        n_coarse=0,
        noise=model.noise,
        scales=model.scales,
        grid=OrientationGrid(run.sampling),
        class_priors=np.array([c.share for c in model.classes]),
        sigma_angle=model.sigma_angle,
        sigma_offset=model.sigma_offset,
        cross_correlation=run.by_correlation,
        skip_align=options.skip_align,
        seed_classes=_seed_classes(run),
        adaptive_fraction=options.adaptive_fraction,
        noise_outside_mask=not options.zero_mask,
        iteration=run.progress.iteration,
    )


def _seed_classes(run: Refinement) -> NDArray[np.int64] | None:
    """With identical references: all particles to the first class by correlation, then each to a random class."""
    k, iteration = run.options.K, run.progress.iteration
    if k == 1:
        return None
    if run.by_correlation:
        return np.zeros(len(run.data), np.int64)
    if iteration == (2 if run.options.firstiter_cc else 1):
        return np.random.default_rng((run.options.random_seed, 1)).integers(k, size=len(run.data))
    return None


def limit_resolution(run: Refinement, task: Task, model: Model) -> None:
    """Which components are used: some beyond the resolution; in the coarse pass what its steps can resolve."""
    options, c = run.options, run.data.components
    radius, limit = run.image_radius(model), run.reference_radius(model)
    model.image_size = 2 * radius
    if options.strict_highres_exp > 0:
        limit = min(limit, run.data.box_length / options.strict_highres_exp)
    # Å between coarse orientations
    edge_step = np.deg2rad(run.sampling.psi_step) * options.particle_diameter / 2
    finest = COARSE_LIMIT * max(edge_step, run.sampling.offset_step)
    coarse = options.coarse_size / 2 if options.coarse_size > 0 else run.data.box_length / finest
    task.n_components = c.count_within(radius)
    task.n_fit = c.count_within(limit)
    task.n_coarse = c.count_within(min(limit, coarse))


def _expect(run: Refinement, tasks: list[Task]) -> list[Sums]:
    options, iteration = run.options, run.progress.iteration
    of = "" if options.auto_refine else f" of {options.iter}"
    print(f" Expectation iteration {iteration}{of}")
    with ProgressBar(len(run.data)) as bar:
        sums = [
            expectation(task, half, run.threads, lambda: bar.advance(run.ranks.size), run.ranks)
            for task, half in zip(tasks, run.halves, strict=True)
        ]
    take_poses(run, sums)
    return sums


def take_poses(run: Refinement, sums: list[Sums]) -> None:
    """Move the particles of the sums to their most probable poses, and record how much that changed."""
    data = run.data
    before = data.angles.copy(), data.origins.copy(), data.classes.copy()
    outcomes = {i: o for s in sums for i, o in s.outcomes.items()}
    for i, o in outcomes.items():
        if run.options.skip_align:
            data.classes[i] = o.class_index + 1
        else:
            data.set_pose(i, o.rotation, o.origin, o.class_index + 1)
    seen = np.array(sorted(outcomes))
    for column, attribute in STATISTICS.items():
        values = [getattr(outcomes[i], attribute) for i in seen]
        run.statistics[column] = _with_values(run, column, seen, np.array(values))
    run.statistics["rlnNormCorrection"] = np.ones(len(data))
    angles = angular_changes(before[0][seen], data.angles[seen], run.operators).mean()
    offsets = np.sqrt(((before[1] - data.origins)[seen] ** 2).sum(1).mean() / 2)
    classes = float((before[2] != data.classes)[seen].mean()) if run.progress.iteration > 1 else 0.0
    note_changes(run.progress, float(angles), float(offsets), classes, run.sampling)


def _with_values(run: Refinement, column: str, seen: NDArray[np.int64], values: NDArray[Any]) -> NDArray[Any]:
    """A column of data.star with new values of the particles seen; those of others stay, or are zero."""
    blank = np.zeros(len(run.data), values.dtype)
    before = run.statistics.get(column, run.data.set.particles.get(column, blank))
    column_values = np.array(before, values.dtype)
    column_values[seen] = values
    return column_values


def estimate_accuracies(run: Refinement, task: Task) -> None:
    """Of each class, from particles of the first half set; the progress keeps the best class's."""
    print(" Estimating accuracies in the orientational assignment ... ")
    model, members = run.models[0], run.halves[0]
    with ProgressBar(len(model.classes)) as bar:
        for k, class_model in enumerate(model.classes):
            own = members[run.data.classes[members] == k + 1]
            if (
                not len(own) and class_model.share > 0.01
            ):  # the references are all the same before classes are seeded
                own = members
            class_model.accuracy_rotations, class_model.accuracy_offsets, class_model.orientability = (
                accuracy(task, k, own, run.rng, run.threads)
            )
            bar.advance()
    occupied = [c for c in model.classes if c.share > 0.01] or model.classes
    run.progress.accuracy_rotations = min(c.accuracy_rotations for c in occupied)
    run.progress.accuracy_offsets = min(c.accuracy_offsets for c in occupied)
    print(
        f" Auto-refine: Estimated accuracy angles= {run.progress.accuracy_rotations:g} degrees; "
        f"offsets= {run.progress.accuracy_offsets:g} Angstroms"
    )


def print_sampling(run: Refinement, task: Task) -> None:
    options, sampling = run.options, run.sampling
    resolution = run.resolution()
    needed = needed_angle(options.particle_diameter, resolution)
    print(
        f" CurrentResolution= {resolution:g} Angstroms, which requires orientationSampling of at least {needed:g} "
        f"degrees for a particle of diameter {options.particle_diameter:g} Angstroms"
    )
    if options.skip_align:
        orientations = offsets = 1
    else:
        first = int(run.halves[0][0])
        grid = task.grid
        local = task.sigma_angle > 0
        orientations = len(
            grid.around(run.data.angles[first], task.sigma_angle) if local else grid.everywhere()
        )
        offsets = len(sampling.offsets())
    for o in range(1 if options.skip_align else sampling.oversampling + 1):
        n_orientations, n_offsets = orientations * 8**o, offsets * 8**o
        print(f" Oversampling= {o} NrHiddenVariableSamplingPoints= {options.K * n_orientations * n_offsets}")
        print(f" OrientationalSampling= {sampling.psi_step / 2**o:g} NrOrientations= {n_orientations}")
        print(f" TranslationalSampling= {sampling.offset_step / 2**o:g} NrTranslations= {n_offsets}")
        print("=============================")
    sys.stdout.flush()
