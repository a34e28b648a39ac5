"""How a refinement starts: from a reference, or from the files of a finished iteration."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.cli import ProgressBar
from staengine.errors import EngineError
from staengine.numerics import fourier, symmetry
from staengine.numerics.maps import lowpass, read_map
from staengine.numerics.projector import padded_transform
from staengine.refinement import maximisation
from staengine.refinement.continuation import (
    read_model,
    read_progress,
    read_sampling,
    take_moments,
)
from staengine.refinement.first_model import random_averages
from staengine.refinement.model import ClassModel, Model, Progress
from staengine.refinement.moments import Moments
from staengine.refinement.output_files import write_iteration
from staengine.refinement.particle_data import RefineData
from staengine.refinement.sampling import Sampling
from staengine.refinement.schedule import Schedule
from staengine.refinement.state import Refinement
from staengine.tilt_series.optimisation_set import resolve_inputs
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import ANGLES, require_columns


def begin(run: Refinement, before: dict[str, Any] | None) -> None:
    """Make the models of the first iteration, or take up those of the iteration whose optimiser.star has the general
    table `before`."""
    if before:
        resume(run, before)
    else:
        start(run)


def read_particles(
    program: str,
    options: SimpleNamespace,
    command: list[str],
    threads: int,
    before: dict[str, Any] | None = None,
) -> Refinement:
    """A refinement with its particles but without models; `before` is the general table of an optimiser.star."""
    drawn = int(before["rlnRandomSeed"]) if before else int(time.time()) % 2**31
    options.random_seed = options.random_seed if options.random_seed > 0 else drawn
    inputs = resolve_inputs(
        program,
        options.ios,
        options.i,
        options.tomograms,
        options.trajectories,
        ("--ios", "--i", "--tomograms"),
    )
    if before:
        inputs = replace(inputs, particles=before["rlnExperimentalDataStarFile"])
    particles = ParticleSet.read(inputs.particles, inputs.trajectories)
    if options.skip_align or options.sigma_ang > 0 or _local(options):
        require_columns(particles.particles, ANGLES, inputs.particles, "particles")
    data = RefineData(particles, inputs.tomograms, options.particle_diameter)
    if options.sigma_tilt > 0:
        data.tilt_priors = tilt_priors(particles)
    progress = read_progress(before, data.box_length) if before else Progress()
    rng = np.random.default_rng((options.random_seed, progress.iteration))
    step, reach = options.offset_step * data.pixel, options.offset_range * data.pixel
    original = {"healpix_order": options.healpix_order, "offset_step": step, "offset_range": reach}
    tilts = float(np.mean([p.n_tilts for p in data.particles]))
    return Refinement(
        options,
        command,
        inputs,
        data,
        threads,
        rng,
        operators=symmetry.rotations(options.sym),
        halves=half_sets(data, options.split_random_halves, rng),
        mask=solvent_mask(options, data),
        mask2=_read_mask(options.solvent_mask2, "second solvent mask", data.box)
        if options.solvent_mask2
        else None,
        sampling=Sampling(
            options.healpix_order, reach, step, options.oversampling, options.sym, original=original
        ),
        progress=progress,
        plan=Schedule.of(options, len(data), tilts, data.box_length, data.box) if options.grad else None,
    )


def _local(options: SimpleNamespace) -> bool:
    """Whether an auto-refinement begins with local searches."""
    return bool(options.auto_refine and options.healpix_order >= options.auto_local_healpix_order)


def tilt_priors(particles: ParticleSet) -> NDArray[np.float64]:
    """Tilt angles (n,) in degrees that particles are held to: their rlnAngleTiltPrior, or rlnAngleTilt."""
    for column in ("rlnAngleTiltPrior", "rlnAngleTilt"):
        if column in particles.particles:
            return particles.particles[column].to_numpy(float)
    raise EngineError(
        f"{particles.path}: --sigma_tilt holds particles to their rlnAngleTiltPrior, but table data_particles "
        "has none; leave out --sigma_tilt."
    )


def half_sets(data: RefineData, split: bool, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Row numbers of each half set, drawn if the particles have none; one set of all without `split`."""
    if not split:
        return [np.arange(len(data))]
    table = data.set.particles
    if data.set.half_sets is None:
        table["rlnRandomSubset"] = rng.permutation(len(table)) % 2 + 1
    halves = [np.flatnonzero(table["rlnRandomSubset"].to_numpy(int) == h) for h in (1, 2)]
    if min(len(h) for h in halves) == 0 or sum(len(h) for h in halves) != len(table):
        raise EngineError(f"{data.set.path}: rlnRandomSubset must hold both 1 and 2, and nothing else.")
    return halves


def solvent_mask(options: SimpleNamespace, data: RefineData) -> NDArray[np.float32] | None:
    """Mask (box, box, box) of the references: the given one, a sphere, or none. Raises EngineError."""
    if options.solvent_mask:
        return _read_mask(options.solvent_mask, "solvent mask", data.box)
    if options.flatten_solvent:
        return fourier.soft_sphere(data.box, options.particle_diameter / (2 * data.pixel), options.maskedge)
    return None


def _read_mask(path: str, what: str, box: int) -> NDArray[np.float32]:
    mask, _ = read_map(path, what)
    if mask.shape[0] != box:
        raise EngineError(f"the {what} {path} has a box of {mask.shape[0]}, the particles have {box}.")
    if mask.min() < -1e-5 or mask.max() > 1 + 1e-5:
        raise EngineError(f"the {what} {path} has values outside 0..1.")
    if mask.max() <= 0:
        raise EngineError(f"the {what} {path} is empty.")
    return mask


def start(run: Refinement) -> None:
    """Reference, noise and priors before the first iteration; writes iteration 0."""
    options = run.options
    references = [] if options.denovo_3dref else [reference_map(run)] * options.K
    n_directions = len(run.sampling.directions())
    noise = _initial_noise(run)
    references = references or random_averages(run, noise)
    sigma_angle = max(options.sigma_ang, 0.0)
    if _local(options):
        sigma_angle = 2 * run.sampling.fine_angle
    for _ in run.halves:
        classes = [ClassModel.start(one.copy(), 1 / options.K, n_directions) for one in references]
        for class_model in classes:
            class_model.tau2 = maximisation.signal_power(
                padded_transform(class_model.reference, options.pad), options.pad, run.data.box
            )
            class_model.moments = Moments.empty(run.data.box) if options.grad else None
        run.models.append(
            Model(classes, noise.copy(), np.ones(len(run.data.group_names)), options.offset, sigma_angle)
        )
    write_iteration(run)
    for model in run.models:
        model.resolution = run.initial_shell
    run.progress.best_resolution = run.initial_shell


def resume(run: Refinement, before: dict[str, Any]) -> None:
    """Take up the model and the sampling of a finished iteration."""
    if run.progress.iteration > 0 or run.options.auto_refine:
        run.sampling = read_sampling(before["rlnOrientSamplingStarFile"], run.sampling)
    files = [before[key] for key in ("rlnModelStarFile", "rlnModelStarFile2") if key in before]
    if len(files) != len(run.halves):
        raise EngineError("--continue: the run to continue has another number of half sets.")
    run.models = [read_model(path, run.data) for path in files]
    if run.options.grad:
        for model, path in zip(run.models, files, strict=True):
            take_moments(model, path, run.data.box, run.progress.iteration)
    for model in run.models:
        model.resolution = model.resolution or run.initial_shell
    if run.progress.iteration >= run.n_iterations:
        print(f" All {run.n_iterations} iterations are done; give a larger --iter to continue.")


def reference_map(run: Refinement) -> NDArray[np.float32]:
    """The reference at the pixel and box of the data, low-passed and flattened. Raises EngineError if it is unfit."""
    options, data = run.options, run.data
    values, pixel = read_map(options.ref, "reference map")
    pixel = options.ref_angpix if options.ref_angpix > 0 else pixel or data.pixel
    cure = "give --trust_ref_size to bring it to the pixel and box of the data."
    if abs(pixel - data.pixel) > 0.01 * data.pixel:
        if not options.trust_ref_size:
            raise EngineError(
                f"the reference {options.ref} has a pixel size of {pixel:g} Å, the data {data.pixel:g} Å: {cure}"
            )
        box = 2 * round(values.shape[0] * pixel / data.pixel / 2)
        values = fourier.resample(values, box, 3)
    if values.shape[0] != data.box:
        if not options.trust_ref_size:
            raise EngineError(
                f"the reference {options.ref} has a box of {values.shape[0]}, the data {data.box}: {cure}"
            )
        values = fourier.window(values, data.box, 3)
    if options.ini_high > 0:
        values = fourier.irfft(lowpass(fourier.rfft(values, 3), data.pixel, options.ini_high), 3)
    values = run.flattened(values.astype(np.float32))
    if not values.any():
        raise EngineError(f"the reference {options.ref} is empty.")
    return values


def _initial_noise(run: Refinement) -> NDArray[np.float64]:
    """Noise spectra (optics groups, shells) from the power of a few particles: upper bounds, with signal."""
    print(" Estimating initial noise spectra from at most 10 particles ")
    data, n = run.data, run.n_shells
    power, ctf2 = np.zeros((len(data.optics_names), n)), np.zeros((len(data.optics_names), n))
    with ProgressBar(10):
        for o in range(len(power)):
            members = [i for i, p in enumerate(data.particles) if p.optics == o]
            for i in members[:: max(1, len(members) // 10)][:10]:
                masked, _ = data.centred(i)
                power[o] += data.components.shell_sum(np.abs(masked) ** 2)
                ctf2[o] += data.components.shell_sum(data.particles[i].ctf ** 2)
    return power / np.maximum(2 * ctf2, 1e-30)
