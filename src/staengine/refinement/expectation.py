"""The expectation step: what the next model is made of, summed over the probable poses of all particles.

Scheres, J. Mol. Biol. 415 (2012) 406 and J. Struct. Biol. 180 (2012) 519; for the scores see pose_search.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.numerics.projector import backproject, project
from staengine.ranks import ALONE, Ranks
from staengine.refinement import expectation_kernels as kernels
from staengine.refinement.particle_data import RefineData
from staengine.refinement.pose_search import ParticleStep, Poses, Task, keep_fraction, probabilities

CHUNK_BYTES = 16e6  # of slices or shifted images in memory at a time


@dataclass
class Outcome:
    """What the expectation step found for one particle."""

    rotation: NDArray[np.float64]
    origin: NDArray[np.float64]
    class_index: int  # from 0
    max_probability: float
    log_likelihood: float
    n_significant: int


@dataclass
class Sums:
    """Probability-weighted sums over particles; sums of different threads are added."""

    data: NDArray[np.float32]  # (K, S, S, S // 2, 2)
    weight: NDArray[np.float32]  # (K, S, S, S // 2)
    noise: NDArray[np.float64]  # (optics, shells) squared residuals
    ctf2: NDArray[np.float64]  # (optics, shells) squared CTF, counted as the residuals
    fit: NDArray[np.float64]  # (groups, 2) numerator and denominator of the best scale
    classes: NDArray[np.float64]  # (K,)
    directions: NDArray[np.float64]  # (K, directions)
    offset2: float = 0.0  # Å²
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @classmethod
    def empty(cls, task: Task) -> Sums:
        k, grid = len(task.transforms), task.transforms[0].shape
        shells = task.noise.shape
        return cls(
            np.zeros((k, *grid, 2), np.float32),
            np.zeros((k, *grid), np.float32),
            np.zeros(shells),
            np.zeros(shells),
            np.zeros((len(task.scales), 2)),
            np.zeros(k),
            np.zeros((k, len(task.grid.directions))),
        )

    @classmethod
    def sum_of(cls, parts: list[Sums]) -> Sums:
        """A new one, of parts that stay as they are."""
        total = deepcopy(parts[0])
        for part in parts[1:]:
            total.add(part)
        return total

    def add(self, other: Sums) -> None:
        for name in ("data", "weight", "noise", "ctf2", "fit", "classes", "directions"):
            getattr(self, name).__iadd__(getattr(other, name))
        self.offset2 += other.offset2
        self.outcomes |= other.outcomes


def expectation(
    task: Task,
    indices: NDArray[np.int64],
    threads: int,
    advance: Callable[[], None] = lambda: None,
    ranks: Ranks = ALONE,
) -> Sums:
    """Sums over the given particles, which the ranks share; `advance` is called after each of the leader's. Poses in
    task.data are not changed."""
    if ranks.size > 1:
        data, told = task.data, copy(task)
        del told.data  # each rank has it
        ranks.shared((told, (data.angles, data.origins, data.classes), indices))
    first, *others = ranks.gathered(_sums(task, indices[:: ranks.size], threads, advance))
    for sums in others:
        first.add(sums)
    return first


def serve(data: RefineData, threads: int, ranks: Ranks) -> None:
    """Do this rank's share of each expectation step, until the leader says that there are no more."""
    while (asked := ranks.shared()) is not None:
        task, (data.angles, data.origins, data.classes), indices = asked
        task.data = data
        ranks.gathered(_sums(task, indices[ranks.rank :: ranks.size], threads, int))


def _sums(task: Task, indices: NDArray[np.int64], threads: int, advance: Callable[[], Any]) -> Sums:
    pieces = [indices[start::threads] for start in range(min(threads, max(len(indices), 1)))]

    def work(piece: NDArray[np.int64]) -> Sums:
        sums = Sums.empty(task)
        for index in piece:
            step = ParticleStep(task, int(index))
            accumulate(step, step.search(), sums)
            advance()
        return sums

    with ThreadPoolExecutor(len(pieces)) as pool:
        first, *others = pool.map(work, pieces)
    for sums in others:
        first.add(sums)
    return first


def accumulate(step: ParticleStep, poses: Poses, sums: Sums) -> None:
    """Add a particle's most probable poses to the sums, each by its probability."""
    task, data = step.task, step.task.data
    probability = probabilities(poses.scores)
    best = np.unravel_index(np.argmax(poses.scores), poses.scores.shape)
    if task.cross_correlation:
        probability = np.zeros_like(probability)
        probability[best] = 1
    kept = np.where(keep_fraction(probability, task.adaptive_fraction), probability, 0)
    kept /= kept.sum()
    sums.outcomes[step.index] = Outcome(
        poses.rotations[best[1]],
        step.origin + poses.offsets[best[2]],
        int(step.classes[best[0]]),
        float(probability[best]),
        step.log_likelihood(poses.scores),
        poses.n_significant,
    )
    total = step.origin + poses.offsets
    sums.offset2 += float(kept.sum((0, 1)) @ (total**2).sum(1))
    for i, k in enumerate(step.classes):
        rows, columns = np.flatnonzero(kept[i].any(1)), np.flatnonzero(kept[i].any(0))
        if len(rows):
            weights = kept[i][rows][:, columns].astype(np.float32)
            _add_poses(step, k, poses.rotations[rows], poses.offsets[columns], weights, sums)
            sums.classes[k] += weights.sum()
            np.add.at(sums.directions[k], poses.directions[rows], weights.sum(1))
    components, o = data.components, step.particle.optics
    for m in range(step.particle.n_tilts):
        sums.noise[o] += components.shell_sum(np.abs(step.masked[m]) ** 2)
        sums.ctf2[o] += components.shell_sum(step.ctf2[m])


def _add_poses(
    step: ParticleStep,
    class_index: int | np.integer,
    rotations: NDArray[Any],
    offsets: NDArray[Any],
    weights: NDArray[np.float32],
    sums: Sums,
) -> None:
    """Back-project the particle at poses with weights (n, t), and compare it there with the reference."""
    task, c = step.task, step.task.data.components
    used = task.n_components
    kx, ky, shell = c.kx[:used], c.ky[:used], c.shell[:used]
    masked, unmasked = np.ascontiguousarray(step.masked[:, :used]), step.unmasked[:, :used] * step.scale
    unmasked = (unmasked * step.inverse_noise[:used]).astype(np.complex64)
    ctf2 = np.ascontiguousarray(step.ctf2[:, :used])
    weight = ctf2 * step.inverse_noise[:used] * step.scale**2
    tilts = len(masked)
    shifts, matrices = task.data.shifts(step.particle, offsets), step.tilt_matrices(rotations)
    chunk = max(1, int(CHUNK_BYTES / (8 * tilts * used)))
    for n in range(0, len(rotations), chunk):
        rows = slice(n, n + chunk)
        shape = (len(matrices[rows]), 2, tilts, used)
        mixed = {name: np.zeros(shape, np.float32) for name in ("masked", "unmasked")}
        for t in range(0, len(offsets), chunk):
            columns = slice(t, t + chunk)
            table = np.empty((len(shifts[columns]), *shape[1:]), np.float32)
            part = np.empty(shape, np.float32)
            for name, images in (("masked", masked), ("unmasked", unmasked)):
                kernels.shift_table(images, shifts[columns], kx, ky, c.box, table)
                kernels.mix(weights[rows, columns], table.reshape(len(table), -1), part.reshape(shape[0], -1))
                mixed[name] += part
        slices = np.empty(shape, np.float32)
        project(task.transforms[class_index], task.padding, matrices[rows], kx, ky, slices)
        row_weight = weights[rows].sum(1)
        kernels.residuals(
            slices,
            mixed["masked"],
            row_weight,
            ctf2,
            step.scale,
            shell,
            step.fit_weight[:used],
            sums.noise[step.particle.optics],
            sums.fit[step.particle.group],
        )
        backproject(
            mixed["unmasked"],
            row_weight[:, None, None] * weight,
            task.padding,
            matrices[rows],
            kx,
            ky,
            sums.data[class_index],
            sums.weight[class_index],
        )
