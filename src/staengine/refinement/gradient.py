"""Gradient refinement: references from nothing, by mini-batches of particles, momentum and falling temperature.

Each iteration asks two halves of a batch how the map should change, and follows what both say, with momentum and a step
that is adapted to each Fourier component (Punjani et al., Nat. Methods 14 (2017) 290; Kimanius et al., Biochem. J. 478
(2021) 4169). `schedule` says how far an iteration looks, `moments` how it steps.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.cli import ProgressBar, stop_if_aborted
from staengine.numerics import fourier
from staengine.numerics.euler import euler_matrix
from staengine.numerics.fsc import fsc
from staengine.refinement import maximisation
from staengine.refinement.auto_refine import needed_angle, note_resolution
from staengine.refinement.expectation import Sums, expectation
from staengine.refinement.iterations import (
    estimate_accuracies,
    expectation_task,
    print_sampling,
    take_poses,
)
from staengine.refinement.maximisation import BackProjection
from staengine.refinement.model import ClassModel, Model
from staengine.refinement.model_update import backprojections, update_parameters
from staengine.refinement.moments import Moments
from staengine.refinement.output_files import write_iteration
from staengine.refinement.pose_search import Task
from staengine.refinement.sampling import OrientationGrid, Sampling
from staengine.refinement.schedule import Stage
from staengine.refinement.state import Refinement

MARGIN = 2  # shells beyond those compared that maps hold
# Coarse angular steps per detail that the coarse pass sees, at the particle's edge; in the final phase.
COARSE_STEPS = 1.3, 2.0
REACH = 2.0  # widths of the prior on offsets that an iteration searches
MOST_SIGNIFICANT = 100  # poses of a class that are searched finely
ACCURACIES_EVERY = 10  # iterations
CHI2_MEDIAN = 2.366  # of three squared standard normal numbers


def iterate(run: Refinement) -> None:
    """All iterations that are left."""
    first, final = run.schedule.batches
    if run.progress.iteration == 0:
        print(f" Initial subset size set to {first}\n Final subset size set to {final}")
    while run.progress.iteration < run.n_iterations:
        stop_if_aborted(run.options.pipeline_control)
        one_iteration(run)


def one_iteration(run: Refinement) -> None:
    """Poses of a batch, a step of all maps; writes the iteration's files."""
    progress, model = run.progress, run.models[0]
    progress.iteration += 1
    # numbers of its own for each iteration: a run that is continued draws the same
    run.rng = np.random.default_rng((run.options.random_seed, progress.iteration))
    run.stage = stage = run.schedule.at(progress.iteration)
    run.sampling = _sampling(run, stage)
    task = _task(run, stage)
    if progress.iteration % ACCURACIES_EVERY == 1 or progress.iteration == run.n_iterations:
        estimate_accuracies(run, replace(task, temperature=1.0))
    print_sampling(run, task)
    step = f"Step size {stage.step_size:g}"
    print(f" Gradient optimisation iteration {progress.iteration} of {run.n_iterations} ({step})")
    halves = _batch(run, stage.batch)
    with ProgressBar(stage.batch) as bar:
        sums = [expectation(task, half, run.threads, bar.advance) for half in halves]
    take_poses(run, sums)
    print(" Maximization...")
    _update(run, model, sums, stage)
    sys.stdout.flush()
    write_iteration(run)


def _batch(run: Refinement, size: int) -> list[NDArray[np.int64]]:
    """Row numbers of the batch's particles: those of even rows, and those of odd ones.

    Particles are dealt into batches at random, and dealt anew after each has had its turn.
    """
    n, turn = len(run.data), run.progress.iteration - 1
    deals, place = divmod(turn, max(1, n // size))
    dealt = np.random.default_rng((run.options.random_seed, deals, size)).permutation(n)
    chosen = np.sort(dealt[place * size : (place + 1) * size])
    halves = [chosen[chosen % 2 == parity] for parity in (0, 1)]
    return halves if min(map(len, halves)) else [chosen, chosen]


def _sampling(run: Refinement, stage: Stage) -> Sampling:
    """The iteration's grid: coarse alone at first; with --auto_sampling, finer at the end if the map deserves it."""
    options, pixel, order = run.options, run.data.pixel, run.options.healpix_order
    step, reach = options.offset_step * pixel, options.offset_range * pixel
    if stage.final and options.auto_sampling:
        fine_angle = 60 / 2 ** (order + options.oversampling)
        wanted = needed_angle(options.particle_diameter, run.resolution())
        if wanted < 2 * fine_angle and run.progress.accuracy_rotations < fine_angle:
            order, step = order + 1, step / 2
    return replace(
        run.sampling.perturbed(run.rng),
        healpix_order=order,
        offset_step=step,
        offset_range=min(max(REACH * run.models[0].sigma_offset, step), max(reach, step)),
        oversampling=options.oversampling if stage.oversampled else 0,
    )


def _task(run: Refinement, stage: Stage) -> Task:
    """What the expectation step is about."""
    options, data, model = run.options, run.data, run.models[0]
    radius = min(stage.shell + MARGIN, data.box // 2)
    model.image_size = 2 * radius
    edge_step = np.deg2rad(run.sampling.psi_step) * options.particle_diameter / 2
    coarse = min(stage.shell, data.box_length / (COARSE_STEPS[stage.final] * edge_step))
    if options.coarse_size > 0:
        coarse = min(stage.shell, options.coarse_size / 2)
    task = expectation_task(run, model)
    most = options.maxsig if options.maxsig > 0 else MOST_SIGNIFICANT
    return replace(
        task,
        grid=OrientationGrid(run.sampling),
        n_components=data.components.count_within(radius),
        n_fit=data.components.count_within(stage.shell),
        n_coarse=data.components.count_within(max(coarse, 1)),
        temperature=stage.temperature,
        max_significant=most if stage.oversampled else 0,
        sigma_tilt=max(options.sigma_tilt, 0.0),
        seed_classes=None,
    )


def _update(run: Refinement, model: Model, sums: list[Sums], stage: Stage) -> None:
    """Parameters and maps after an expectation step."""
    whole = Sums.sum_of(sums)
    noise, sigma_offset = model.noise, model.sigma_offset
    update_parameters(run, model, whole)
    if len(whole.outcomes) < len(run.data):  # a batch alone tells the noise less well
        model.noise = stage.momentum * noise + (1 - stage.momentum) * model.noise
    halves = [backprojections(run, part) for part in sums]
    for k, class_model in enumerate(model.classes):
        if min(part.classes[k] for part in sums) > 0:
            _step(run, class_model, [half[k] for half in halves], stage)
        _recentre(run, class_model, k)
    model.resolution = max(1, *(c.resolution for c in model.classes))
    model.sigma_offset = sigma_offset if run.options.fix_sigma_offset else _typical_offset(run)
    note_resolution(run.progress, model.resolution)


def _step(run: Refinement, class_model: ClassModel, halves: list[BackProjection], stage: Stage) -> None:
    """Move a class's map along its gradient.

    A half's gradient, divided by its curvature, is the difference between the map that is most probable given the half,
    and the present one. Its prior is the signal on which both halves' maps agree.
    """
    moments = class_model.moments or Moments.empty(run.data.box)
    radius = min(stage.shell + MARGIN, run.data.box // 2)
    plain = [run.flattened(half.map(None, radius, run.threads)) for half in halves]
    both = halves[0].plus(halves[1])
    agreement = fsc(plain[0], plain[1])
    ssnr = stage.tau2_fudge * maximisation.ssnr_of_fsc(_of_both(agreement))
    ssnr[radius + 1 :] = 0
    inverse = both.inverse_variance()
    tau2 = np.divide(ssnr, inverse, out=np.zeros_like(ssnr), where=inverse > 0)
    wanted = [run.flattened(half.plus(half).map(tau2, radius, run.threads)) for half in halves]
    moments.add(np.stack(wanted) - class_model.reference, stage.momentum)
    class_model.moments = moments
    class_model.reference = class_model.reference + np.float32(stage.step_size) * moments.step()
    class_model.tau2, class_model.ssnr = tau2, ssnr
    class_model.sigma2 = np.divide(1, inverse, out=np.zeros_like(inverse), where=inverse > 0)
    class_model.completeness = maximisation.completeness(both, tau2)
    class_model.resolution = min(maximisation.resolution_shell(ssnr), stage.shell)


def _of_both(agreement: NDArray[Any]) -> NDArray[np.float64]:
    """FSC of the map of both halves with the truth, squared, from the FSC of the halves."""
    trusted = np.clip(agreement, 0.0, maximisation.FSC_LIMIT)
    return 2 * trusted / (1 + trusted)


def _recentre(run: Refinement, class_model: ClassModel, class_index: int) -> None:
    """Move the map, and its particles' origins with it, to where the particles lie on their picks on average.

    No image tells where in the box the map is to be; without this it would wander.
    """
    data = run.data
    own = np.flatnonzero(data.classes == class_index + 1)
    if not len(own):
        return
    turns = euler_matrix(*data.angles[own].T)
    common = np.einsum("nji,nj->ni", turns, data.origins[own]).mean(0)  # Å, in the map's frame
    data.origins[own] -= np.einsum("nij,j->ni", turns, common)
    class_model.reference = _moved(class_model.reference, common / data.pixel)


def _moved(volume: NDArray[Any], shift: NDArray[Any]) -> NDArray[np.float32]:
    """A map whose value at x is that of the given one at x + shift, (3,) = x, y, z in px."""
    box = volume.shape[0]
    z, y, x = fourier.frequencies(box, 3)
    phase = np.exp(2j * np.pi / box * (x * shift[0] + y * shift[1] + z * shift[2]))
    return fourier.irfft(fourier.rfft(volume, 3) * phase, 3).astype(np.float32)


def _typical_offset(run: Refinement) -> float:
    """Standard deviation of offsets along an axis in Å, from their median length: junk may be anywhere."""
    squares = (run.data.origins**2).sum(1)
    return max(float(np.sqrt(np.median(squares) / CHI2_MEDIAN)), 0.1 * run.data.pixel)
