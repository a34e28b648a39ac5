"""Estimated accuracy of poses: the smallest rotation and shift of a reference that a particle's data can detect.

The data of a particle distinguish two poses with 99 % certainty when the expected log-likelihood ratio of their slices,
½ Σ CTF² |P₁ - P₂|² / σ², reaches log 100 (Scheres 2012). The less signal a reference has, the larger that step is.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from staengine.numerics.euler import euler_matrix
from staengine.numerics.projector import project
from staengine.refinement.pose_search import ParticleStep, Task

CERTAINTY = np.log(100)
MAX_PARTICLES = 40
MAX_ANGLE, MAX_SHIFT_PX = 30.0, 10.0  # reported for references without signal
START_ANGLE, START_SHIFT_PX = 3.0, 0.3
ROUNDS = 3  # of following the ratio's square-root law to the step that reaches certainty


def accuracy(
    task: Task, class_index: int, indices: NDArray[np.int64], rng: np.random.Generator, threads: int = 1
) -> tuple[float, float, NDArray[np.float64]]:
    """Accuracy of rotations (degrees) and offsets (Å), and each shell's share in distinguishing rotations (shells,).

    Uses at most MAX_PARTICLES of the given particles; without any, or without signal, returns the largest values.
    """
    chosen = rng.permutation(indices)[:MAX_PARTICLES]
    if not len(chosen) or not task.transforms[class_index].any():
        return MAX_ANGLE, MAX_SHIFT_PX * task.data.pixel, np.zeros(task.noise.shape[1])
    with ThreadPoolExecutor(threads) as pool:
        each = list(pool.map(lambda index: _of_particle(task, class_index, int(index)), chosen))
    rotations, offsets, spectra = (np.array(values) for values in zip(*each, strict=True))
    spectrum = spectra.mean(0)
    return float(rotations.mean()), float(offsets.mean()), spectrum / max(spectrum.sum(), 1e-30)


def _of_particle(task: Task, class_index: int, index: int) -> tuple[float, float, NDArray[np.float64]]:
    step = ParticleStep(task, index)
    n, c = task.n_fit, task.data.components
    weight = 0.5 * step.ctf2[:, :n] * step.fit_weight[:n] * step.scale**2
    pose = euler_matrix(*task.data.angles[index])

    def slices(rotations: NDArray[Any]) -> NDArray[np.float32]:
        out = np.empty((len(rotations), 2, len(weight), n), np.float32)
        project(
            task.transforms[class_index], task.padding, step.tilt_matrices(rotations), c.kx[:n], c.ky[:n], out
        )
        return out

    here = slices(pose)[0]
    power = (here**2).sum(0) * weight

    def by_turns(angles: NDArray[Any]) -> NDArray[np.float32]:
        turns = Rotation.from_rotvec(np.diag(angles), degrees=True).as_matrix()  # one about each axis
        return ((slices(pose @ turns) - here) ** 2).sum(1) * weight

    def by_shifts(shifts_px: NDArray[Any]) -> NDArray[np.float32]:
        moved = task.data.shifts(step.particle, np.diag(shifts_px) * task.data.pixel)
        phase = np.float32(2 * np.pi / task.data.box) * (
            moved[..., :1] * c.kx[:n] + moved[..., 1:] * c.ky[:n]
        )
        return 2 * (1 - np.cos(phase)) * power

    angles, difference = _certain(by_turns, START_ANGLE, MAX_ANGLE)
    shifts, _ = _certain(by_shifts, START_SHIFT_PX, MAX_SHIFT_PX)
    spectrum = np.bincount(c.shell[:n], difference.sum((0, 1)), minlength=task.noise.shape[1]).astype(float)
    return float(angles.mean()), float(shifts.mean()) * task.data.pixel, spectrum


def _certain(
    ratios: Callable[[NDArray[Any]], NDArray[Any]], start: float, largest: float
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Steps (3,) along three axes whose log-likelihood ratio is just certain, and the ratio's terms (3, m, K) there."""
    steps = np.full(3, start)
    for _ in range(ROUNDS):
        terms = ratios(steps)
        total = np.maximum(terms.sum((1, 2)), 1e-30)
        steps = np.clip(steps * np.sqrt(CERTAINTY / total), 1e-3 * largest, largest)
    return steps, terms
