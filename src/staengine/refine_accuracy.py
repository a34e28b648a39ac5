"""How accurately poses can be known: how far a reference may be turned or moved before the data of a particle notice.

The data of a particle tell two poses apart with 99 % certainty when the expected log-likelihood ratio of their slices,
½ Σ CTF² |P₁ - P₂|² / σ², reaches log 100 (Scheres 2012). A class whose reference has little signal is told apart worst.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from staengine.expectation import ParticleStep, Task
from staengine.projector import project
from staengine.tomo import euler_matrix

CERTAINTY = np.log(100)
MAX_PARTICLES = 100
ANGLES = np.geomspace(0.2, 30.0, 9)  # degrees
SHIFTS_PX = np.geomspace(0.02, 10.0, 9)


def accuracy(
    task: Task, klass: int, indices: NDArray[np.int64], rng: np.random.Generator
) -> tuple[float, float, NDArray[np.float64]]:
    """Accuracy of rotations (degrees) and offsets (Å), and each shell's part in telling rotations apart (shells,)."""
    chosen = rng.permutation(indices)[:MAX_PARTICLES]
    each = [_of_particle(task, klass, int(index)) for index in chosen]
    rotations, offsets, spectra = (np.array(values) for values in zip(*each, strict=True))
    spectrum = spectra.mean(0)
    total = spectrum.sum()
    return float(rotations.mean()), float(offsets.mean()), spectrum / total if total > 0 else spectrum


def _of_particle(task: Task, klass: int, index: int) -> tuple[float, float, NDArray[np.float64]]:
    step = ParticleStep(task, index)
    n, c = task.n_fit, task.data.components
    weight = 0.5 * step.ctf2[:, :n] * step.fit_weight[:n] * step.scale**2
    pose = euler_matrix(*task.data.angles[index])

    def slices(rotations: NDArray) -> NDArray:
        matrices = step.tilt_matrices(rotations)
        out = np.empty((len(rotations), 2, len(step.masked), n), np.float32)
        project(task.transforms[klass], task.padding, matrices, c.kx[:n], c.ky[:n], out)
        return out[:, 0] + 1j * out[:, 1]

    here = slices(pose)[0]
    by_axis, spectra = [], []
    for axis in np.eye(3):
        turns = Rotation.from_rotvec(ANGLES[:, None] * axis, degrees=True).as_matrix()
        difference = np.abs(slices(pose @ turns) - here) ** 2 * weight
        ratio = difference.sum((1, 2))
        by_axis.append(_reaching(ANGLES, ratio))
        at = difference[min(int(np.searchsorted(ratio, CERTAINTY)), len(ANGLES) - 1)].sum(0)
        spectra.append(np.bincount(c.shell[:n], at, minlength=task.noise.shape[1]))
    by_shift = []
    for direction in np.eye(3):
        moved = task.data.shifts(step.particle, SHIFTS_PX[:, None] * direction * task.data.pixel)
        phase = 2 * np.pi / task.data.box * (moved[..., :1] * c.kx[:n] + moved[..., 1:] * c.ky[:n])
        ratio = (2 * (1 - np.cos(phase)) * np.abs(here) ** 2 * weight).sum((1, 2))
        by_shift.append(_reaching(SHIFTS_PX, ratio) * task.data.pixel)
    return float(np.mean(by_axis)), float(np.mean(by_shift)), np.mean(spectra, axis=0)


def _reaching(steps: NDArray, ratio: NDArray) -> float:
    """The step at which the ratio first reaches certainty, interpolated; the largest step if it never does."""
    after = np.flatnonzero(ratio >= CERTAINTY)
    if not len(after):
        return float(steps[-1])
    i = int(after[0])
    if i == 0:
        return float(steps[0])
    log = np.log(np.maximum(ratio[i - 1 : i + 1], 1e-30))
    return float(np.exp(np.interp(np.log(CERTAINTY), log, np.log(steps[i - 1 : i + 1]))))
