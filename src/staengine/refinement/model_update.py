"""New models from the sums of an expectation step: of each class, or of two half sets with their FSC."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.cli import ProgressBar
from staengine.numerics.fsc import fsc, fsc_of_sum
from staengine.refinement import maximisation
from staengine.refinement.auto_refine import note_resolution
from staengine.refinement.expectation import Sums
from staengine.refinement.maximisation import BackProjection
from staengine.refinement.model import ClassModel, Model
from staengine.refinement.output_files import write_iteration
from staengine.refinement.pose_search import Task
from staengine.refinement.state import Refinement

MAX_SCALE = 5.0  # contrast of a tilt series relative to the others


def maximise(run: Refinement, sums: list[Sums], tasks: list[Task]) -> None:
    """New maps and parameters of all models; writes the files of the iteration."""
    for model, sums_of_half in zip(run.models, sums, strict=True):
        update_parameters(run, model, sums_of_half)
    if run.options.auto_refine:
        _maximise_halves(run, sums)
    else:
        _maximise_classes(run, sums[0], tasks[0])


def backprojections(run: Refinement, sums: Sums) -> list[BackProjection]:
    """Of each class."""
    pad, box = run.options.pad, run.data.box
    return [
        BackProjection.of(data, weight, pad, box, run.operators)
        for data, weight in zip(sums.data, sums.weight, strict=True)
    ]


# ---------------------------------------------------------------- parameters


def update_parameters(run: Refinement, model: Model, sums: Sums) -> None:
    """Distributions of offsets, classes and directions; and, after the first correlation, noise and contrasts."""
    options = run.options
    n = sums.classes.sum()
    outcomes = list(sums.outcomes.values())
    model.average_pmax = float(np.mean([o.max_probability for o in outcomes]))
    model.log_likelihood = float(np.sum([o.log_likelihood for o in outcomes]))
    if not options.fix_sigma_offset and not options.skip_align:
        model.sigma_offset = max(float(np.sqrt(sums.offset2 / (3 * n))), 0.1 * run.data.pixel)
    for k, class_model in enumerate(model.classes):
        class_model.share = float(sums.classes[k] / n)
        total = sums.directions[k].sum()
        if total > 0:
            class_model.directions = sums.directions[k] / total
    if run.by_correlation:
        return
    if not options.fix_sigma_noise:
        known = sums.ctf2 > 0
        estimate = np.divide(sums.noise, 2 * sums.ctf2, out=np.zeros_like(sums.noise), where=known)
        model.noise = np.where(estimate > 0, estimate, model.noise)
    if options.scale:
        model.scales = _scales(run, model.scales, sums.fit)


def _scales(run: Refinement, present: NDArray[Any], fit: NDArray[Any]) -> NDArray[np.float64]:
    """Best contrast of each tilt series, with a mean of one over the particles."""
    scales = np.divide(fit[:, 0], fit[:, 1], out=present.copy(), where=fit[:, 1] > 0)
    counts = np.bincount([p.group for p in run.data.particles], minlength=len(scales))
    average = np.average(scales, weights=counts)
    if average <= 0:
        return present
    scales = np.clip(scales / average, 1 / MAX_SCALE, MAX_SCALE)
    return scales / np.average(scales, weights=counts)


# ---------------------------------------------------------------- classes


def _maximise_classes(run: Refinement, sums: Sums, task: Task) -> None:
    print(" Maximization...")
    model, mean_ctf2 = run.models[0], run.data.mean_ctf2.mean(0)
    seeds_only = run.by_correlation and run.options.K > 1
    with ProgressBar(run.options.K):
        found, scale = backprojections(run, sums), _fitted_scale(run, sums)
        for k, class_model in enumerate(model.classes[: 1 if seeds_only else None]):
            power = scale**2 * maximisation.signal_power(task.transforms[k], run.options.pad, run.data.box)
            tau2 = run.options.tau2_fudge * power
            _update_class(run, class_model, found[k], tau2, model.image_size // 2, tau2 / mean_ctf2)
            class_model.tau2 = power  # RELION records it without T, unlike that of half sets
            class_model.resolution = _capped(run, maximisation.resolution_shell(class_model.ssnr))
        if seeds_only:
            first = model.classes[0]
            model.classes = [replace(first, share=1 / run.options.K) for _ in model.classes]
    model.resolution = max(1, *(class_model.resolution for class_model in model.classes))
    note_resolution(run.progress, model.resolution)
    write_iteration(run)


def _capped(run: Refinement, shell: int) -> int:
    """After cross-correlation alone the resolution is that of the reference's filter."""
    filtered = run.by_correlation and run.options.ini_high > 0
    return run.initial_shell if filtered else shell


def _fitted_scale(run: Refinement, sums: Sums) -> float:
    """What the references must be multiplied with to have the data's grey scale; 1 after the first iteration."""
    if not run.by_correlation:
        return 1.0
    numerator, denominator = sums.fit.sum(0)
    return max(numerator / max(denominator, 1e-30), 1e-6)


def _update_class(
    run: Refinement,
    class_model: ClassModel,
    backprojection: BackProjection,
    tau2: NDArray[Any],
    radius: int,
    prior: NDArray[Any] | None = None,
) -> None:
    """A class's map, its spectra and its SSNR = tau2 / sigma2; the map's prior is `prior`, or tau2.

    In Class3D RELION 5 weighs data that are multiplied by their CTF against tau2 divided by the mean squared CTF;
    with tau2 alone, the power of the last map, weak shells would fade from one iteration to the next.
    """
    inverse = backprojection.inverse_variance()
    class_model.tau2 = tau2
    class_model.sigma2 = np.divide(1, inverse, out=np.zeros_like(inverse), where=inverse > 0)
    class_model.ssnr = tau2 * inverse
    class_model.completeness = maximisation.completeness(backprojection, tau2)
    class_model.reference = run.flattened(
        backprojection.map(tau2 if prior is None else prior, radius, run.threads)
    )


# ---------------------------------------------------------------- half sets


def _maximise_halves(run: Refinement, sums: list[Sums]) -> None:
    progress = run.progress
    separate = [backprojections(run, sums_of_half)[0] for sums_of_half in sums]
    radius = run.models[0].image_size // 2
    joined = _joined(run, separate)
    unfiltered = [half.map(None, radius, run.threads) for half in joined]
    curve = _half_map_fsc(run, unfiltered)
    print(" Maximization...")
    shell = _capped(run, maximisation.fsc_shell(curve))
    if progress.converged:
        with ProgressBar(1):
            _finish(run, separate, curve, shell, radius)
        return
    with ProgressBar(1):
        for model, half in zip(run.models, joined, strict=True):
            _update_by_fsc(run, model, half, curve, curve, shell, radius)
    progress.high_fsc_at_limit = bool(curve[min(radius, run.n_shells - 1)] > 0.2)
    note_resolution(progress, shell)
    write_iteration(run, unfiltered)


def _joined(run: Refinement, halves: list[BackProjection]) -> list[BackProjection]:
    """Both halves the same up to --low_resol_join_halves, but never beyond the resolution reached."""
    if run.options.low_resol_join_halves <= 0:
        return halves
    wanted = int(run.data.box_length / run.options.low_resol_join_halves)
    shell = min(wanted, run.models[0].resolution)
    print(
        f" Averaging half-reconstructions up to {run.data.box_length / shell:g} Angstrom resolution to prevent "
        "diverging orientations ...\n Note that only for higher resolutions the FSC-values are according to the "
        "gold-standard!"
    )
    return list(halves[0].joined_below(halves[1], shell - 1))


def _half_map_fsc(run: Refinement, halves: list[NDArray[Any]]) -> NDArray[np.float64]:
    if not run.options.solvent_correct_fsc:
        return fsc(*halves)
    print(" Calculating solvent-corrected gold-standard FSC ...")
    assert run.mask is not None
    curve, start = maximisation.corrected_fsc(halves[0], halves[1], run.mask, run.rng)
    print(f"  + randomize phases beyond: {run.data.box_length / start:14g} Angstroms")
    return curve


def _update_by_fsc(
    run: Refinement,
    model: Model,
    backprojection: BackProjection,
    curve: NDArray[Any],
    correlation: NDArray[Any],
    shell: int,
    radius: int,
) -> None:
    """The model's map, with the signal power that its correlation (shells,) with the truth stands for."""
    ssnr = run.options.tau2_fudge * maximisation.ssnr_of_fsc(correlation)
    inverse = backprojection.inverse_variance()
    tau2 = np.divide(ssnr, inverse, out=np.zeros_like(ssnr), where=inverse > 0)
    class_model = model.classes[0]
    _update_class(run, class_model, backprojection, tau2, radius)
    class_model.fsc, class_model.ssnr = curve, ssnr
    class_model.resolution = model.resolution = shell


def _finish(
    run: Refinement, halves: list[BackProjection], curve: NDArray[Any], shell: int, radius: int
) -> None:
    """The last iteration: one map from all particles, and the two independent half maps without any filter."""
    unfiltered = [half.map(None, radius, run.threads) for half in halves]
    first, second = run.models
    _update_by_fsc(run, first, halves[0].plus(halves[1]), curve, fsc_of_sum(curve), shell, radius)
    first.noise = (first.noise + second.noise) / 2
    first.scales = (first.scales + second.scales) / 2
    first.sigma_offset = float(np.hypot(first.sigma_offset, second.sigma_offset) / np.sqrt(2))
    first.log_likelihood += second.log_likelihood
    first.average_pmax = float(run.statistics["rlnMaxValueProbDistribution"].mean())
    note_resolution(run.progress, shell)
    write_iteration(run, unfiltered, final=True)
