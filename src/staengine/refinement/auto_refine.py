"""When auto-refinement samples finer, when it stops, and the lines of its log about that."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.numerics.euler import euler_matrix
from staengine.refinement.model import Progress
from staengine.refinement.sampling import Sampling
from staengine.refinement.state import Refinement

DECREASE = 1.03  # changes within 3 % of the smallest so far do not count as still falling
REACH = 3.0  # offsets are searched within so many times their last rms change
SMALL_CHANGE = 0.5  # of a coarse step: poses that move less have settled


def angular_changes(before: NDArray[Any], after: NDArray[Any], symmetry: NDArray[Any]) -> NDArray[np.float64]:
    """Mean angle (n,) between the axes of orientations (n, 3), all in degrees, for the nearest symmetry mates."""
    first, second = euler_matrix(*before.T), euler_matrix(*after.T)
    per_operator = []
    for operator in symmetry:
        cosines = np.einsum("nij,nij->ni", first @ operator, second)
        per_operator.append(np.rad2deg(np.arccos(np.clip(cosines, -1, 1))).mean(1))
    return np.min(per_operator, axis=0)


def note_changes(
    progress: Progress, angles: float, offsets: float, classes: float, sampling: Sampling
) -> None:
    """Record how much the assignments changed, and for how many iterations they have settled."""
    progress.changes_angles, progress.changes_offsets, progress.changes_classes = angles, offsets, classes
    quiet = (
        DECREASE * classes >= progress.smallest_classes or classes == 0,
        angles < SMALL_CHANGE * sampling.psi_step or DECREASE * angles >= progress.smallest_angles,
        offsets < SMALL_CHANGE * sampling.offset_step or DECREASE * offsets >= progress.smallest_offsets,
    )
    progress.settled = progress.settled + 1 if all(quiet) else 0
    progress.smallest_angles = min(progress.smallest_angles, angles)
    progress.smallest_offsets = min(progress.smallest_offsets, offsets)
    progress.smallest_classes = min(progress.smallest_classes, classes)


def note_resolution(progress: Progress, shell: int) -> None:
    """Record whether the resolution (a Fourier shell) improved."""
    progress.without_gain = 0 if shell > progress.best_resolution else progress.without_gain + 1
    progress.best_resolution = max(progress.best_resolution, shell)


def has_converged(progress: Progress, options: SimpleNamespace) -> bool:
    """No gain in resolution and settled poses, on a grid as fine as the accuracy of poses."""
    settled = options.auto_ignore_angles or progress.settled >= 1
    return progress.fine_enough and progress.without_gain >= 1 and settled


def needed_angle(diameter: float, resolution: float) -> float:
    """Angular step (degrees) that a particle of a diameter needs at a resolution, both in Å."""
    return float(360 / np.ceil(np.pi * diameter / resolution))


def next_sampling(
    sampling: Sampling, progress: Progress, options: SimpleNamespace, pixel: float, resolution: float
) -> Sampling:
    """The grid of the next iteration: finer if the resolution (Å) has stalled and poses have settled.

    Sets progress.fine_enough once the fine angular step is below three quarters of the estimated accuracy.
    """
    step = sampling.fine_angle
    needed = needed_angle(options.particle_diameter, resolution)
    accuracy = needed if progress.iteration == 1 and options.firstiter_cc else progress.accuracy_rotations
    stalled = progress.without_gain >= 1 and (options.auto_ignore_angles or progress.settled >= 1)
    early = options.auto_resol_angles and needed < step and accuracy < step
    if progress.iteration == 0 or not (stalled or early):
        return sampling
    if step < 0.75 * accuracy:
        progress.fine_enough = True
        return sampling
    progress.settled = 0
    progress.smallest_angles = progress.smallest_offsets = 999.0
    offset_range, offset_step = _next_offsets(sampling, progress, pixel)
    return replace(
        sampling, healpix_order=sampling.healpix_order + 1, offset_range=offset_range, offset_step=offset_step
    )


def _next_offsets(sampling: Sampling, progress: Progress, pixel: float) -> tuple[float, float]:
    """Range and step (Å) of the next offset search.

    Steps of 3/4 of the accuracy, but at least half the former; within three times the last change, and 1.5 to 4 steps.
    """
    fine_step = min(1.5 * pixel, 0.75 * progress.accuracy_offsets)
    step = np.clip(fine_step * 2**sampling.oversampling, sampling.offset_step / 2, sampling.offset_step)
    wanted = min(REACH * progress.changes_offsets, 1.3 * sampling.offset_range)
    return float(np.clip(wanted, 1.5 * step, 4 * step)), float(step)


def report_progress(run: Refinement) -> None:
    """Log the progress; from the second iteration on also decide whether the refinement has converged."""
    options, progress = run.options, run.progress
    progress.converged = progress.iteration > 1 and (
        options.force_converge or has_converged(progress, options)
    )
    print(f" Auto-refine: Iteration= {progress.iteration}")
    print(f" Auto-refine: Resolution= {run.resolution():g} (no gain for {progress.without_gain} iter) ")
    print(
        f" Auto-refine: Changes in angles= {progress.changes_angles:g} degrees; and in offsets= "
        f"{progress.changes_offsets:g} Angstroms (no gain for {progress.settled} iter) "
    )
    if progress.converged:
        print(
            " Auto-refine: Refinement has converged, entering last iteration where two halves will be combined..."
        )
        print(
            " Auto-refine: The last iteration will use data to Nyquist frequency, which may take more CPU and RAM."
        )


def choose_sampling(run: Refinement) -> None:
    """From the second iteration on, choose the grid of the iteration (see `next_sampling`) and log it."""
    if run.progress.iteration > 1:
        if not run.progress.converged:
            _go_finer(run)
        print(
            f" Auto-refine: Angular step= {run.sampling.fine_angle:g} degrees; local searches= "
            f"{'true' if run.models[0].sigma_angle > 0 else 'false'}"
        )
        print(
            f" Auto-refine: Offset search range= {run.sampling.offset_range:g} Angstroms; offset step= "
            f"{run.sampling.fine_offset:g} Angstroms"
        )


def _go_finer(run: Refinement) -> None:
    old = run.sampling
    run.sampling = next_sampling(old, run.progress, run.options, run.data.pixel, run.resolution())
    if run.sampling.healpix_order == old.healpix_order:
        return
    n = len(run.sampling.directions())
    local = run.sampling.healpix_order >= run.options.auto_local_healpix_order
    for model in run.models:
        if local:
            model.sigma_angle = 2 * run.sampling.fine_angle
        for class_model in model.classes:
            class_model.directions = np.full(n, 1 / n)


def report_end(run: Refinement) -> None:
    """Log how the refinement ended."""
    root = run.options.o
    if not run.progress.converged:
        print(f" Auto-refine: not converged after {run.progress.iteration} iterations; stopping.")
        return
    note = "already with" if run.options.solvent_correct_fsc else "without"
    print(" Auto-refine: Refinement has converged, stopping now... ")
    print(f" Auto-refine: + Final reconstruction from all particles is saved as: {root}_class001.mrc")
    print(f" Auto-refine: + Final model parameters are stored in: {root}_model.star")
    print(f" Auto-refine: + Final data parameters are stored in: {root}_data.star")
    print(f" Auto-refine: + Final resolution ({note} masking) is: {run.resolution():g}")
