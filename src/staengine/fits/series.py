"""What CTF refinement and polishing share: the same inputs, and a fit of each tilt series in turn to one reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.cli import say, stop_if_aborted
from staengine.errors import EngineError
from staengine.files import version_of
from staengine.ranks import ALONE, Ranks
from staengine.tilt_series import prediction
from staengine.tilt_series.inputs import read_inputs
from staengine.tilt_series.optimisation_set import OptimisationSet
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.reference import Reference, read_reference
from staengine.tilt_series.tomograms import Tomogram, common_pixel_size, load_tilt_images
from staengine.tilt_series.unfinished import SavedResults, deciding_options, digest


@dataclass(frozen=True)
class Series:
    """A tilt series and its particles, m of them in n tilts."""

    tomogram: Tomogram
    particles: ParticleSet
    halves: NDArray[np.int64]  # (m,) 0 or 1
    images: NDArray[np.float32]  # (n, h, w)

    @property
    def paths(self) -> NDArray[np.float64]:
        """Positions (m, n, 3) in Å, with the motion known so far."""
        paths = self.particles.paths(self.particles.positions)
        return paths if paths.ndim == 3 else np.repeat(paths[:, None], len(self.tomogram), axis=1)


@dataclass(frozen=True)
class FitInputs:
    """Inputs of a program that fits tilt series to a reference; `tomograms` are those with particles."""

    state: OptimisationSet
    tomograms: dict[str, Tomogram]
    particles: ParticleSet
    halves: NDArray[np.int64]  # (n particles,) 0 or 1
    reference: Reference


def read_fit_inputs(
    program: str, args: SimpleNamespace, log_level: int = 0, with_trajectories: bool = True
) -> FitInputs:
    """The files named by the flags cli.INPUT and REFERENCE_FLAGS. Raises EngineError if they do not fit together."""
    state, tomograms, particles = read_inputs(program, args, log_level, with_trajectories)
    halves = half_sets_of(program, particles)
    used = {name: tomograms[name] for name in particles.by_tomogram()}
    reference = read_reference(program, args, common_pixel_size(program, used.values()))
    return FitInputs(state, used, particles, halves, reference)


def half_sets_of(program: str, particles: ParticleSet) -> NDArray[np.int64]:
    """0 or 1 for each particle. Raises EngineError if it has no half sets."""
    halves = particles.half_sets
    if halves is None:
        raise EngineError(
            f"{program}: {particles.path} has no half sets (rlnRandomSubset); use the particles of a "
            "refinement (relion_refine_mpi --auto_refine --split_random_halves)."
        )
    return halves - 1


def fit_each_series(
    args: SimpleNamespace,
    inputs: FitInputs,
    fit: Callable[[Series], Mapping[str, Any]],
    ranks: Ranks = ALONE,
) -> dict[str, dict[str, Any]]:
    """The arrays that `fit` gives for each tilt series, by tomogram; saved for --only_do_unfinished, and for a run on
    more tilt series of which this one is a part.

    Ranks share the tilt series; the leader has all arrays in the end, others have none.
    """
    references = {args.ref1, args.ref2, args.mask, args.fsc}
    saved = SavedResults(Path(args.o) / "temp", deciding_options(args), references, args.only_do_unfinished)
    rows_of, results = inputs.particles.by_tomogram(), {}
    own = ranks.own(list(inputs.tomograms.items()))
    for number, (name, tomogram) in enumerate(own, 1):
        stop_if_aborted(args.pipeline_control)
        particles, halves = inputs.particles.subset(rows_of[name]), inputs.halves[rows_of[name]]
        content = _content(tomogram, particles, halves)
        result = saved.load(name, content)
        if result is None:
            say(f"Tomogram {number} / {len(own)}:")
            say("Loading", level=1)
            result = dict(fit(Series(tomogram, particles, halves, load_tilt_images(tomogram))))
            saved.save(name, result, content)
        results[name] = result
    found = {name: arrays for part in ranks.gathered(results) for name, arrays in part.items()}
    return {name: found[name] for name in inputs.tomograms if name in found}


def _content(tomogram: Tomogram, particles: ParticleSet, halves: NDArray[np.int64]) -> str:
    """What the fit of a tilt series follows from, besides the options and the reference."""
    geometry = [getattr(tomogram, one.name) for one in fields(tomogram) if one.name != "star_file"]
    images = sorted({path for _, path in tomogram.images})
    paths = particles.paths(particles.positions)
    return digest(*geometry, [version_of(path) for path in images], paths, particles.rotations, halves)


def predicted_images(
    series: Series, reference: Reference, visible: NDArray[Any], batch: slice, threads: int = 1
) -> NDArray[np.complex64]:
    """Predicted images (particles, n, K) of a batch of particles, where they are visible (m, n)."""
    tomogram, seen = series.tomogram, visible[batch]
    rotations, halves = series.particles.rotations[batch], series.halves[batch]
    images = prediction.slices(tomogram, reference, rotations, halves, seen, threads)
    return images * prediction.transfer_functions(tomogram, reference, series.paths[batch], seen, threads)


def product_weights(
    observed: NDArray[Any],
    visible: NDArray[Any],
    reference: Reference,
    whiten: bool,
    noise_of_each_tilt: bool,
) -> NDArray[np.float32]:
    """Weights (n, K) of products of images: trust in the reference over the power of the noise."""
    power = prediction.noise_power(observed, visible, reference.components, noise_of_each_tilt)
    if not whiten:
        power = np.broadcast_to(power.mean(axis=1, keepdims=True), power.shape)
    return (reference.weights / power).astype(np.float32)
