"""The expectation step: how probable each pose and class of a particle is, and the sums that the next model is made of.

Images are multiplied by their CTF beforehand, X' = CTF·X. With noise of variance σ² (per real component of X) the
likelihood of a slice P scaled by s needs only X' and CTF²:
    log L = (s Σ Re(P* X') - ½ s² Σ CTF² |P|²) / σ²  + const.
Scheres, J. Mol. Biol. 415 (2012) 406 and J. Struct. Biol. 180 (2012) 519; for tilt series Zivanov et al., eLife 11
(2022) e83724.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from staengine.numerics.projector import backproject, project
from staengine.refinement import expectation_kernels as kernels
from staengine.refinement.particle_data import RefineData
from staengine.refinement.sampling import OrientationGrid, Orientations
from staengine.tilt_series.tomo import euler_matrix

ADAPTIVE_FRACTION = 0.999
CHUNK_BYTES = 16e6  # of slices or shifted images held at a time


@dataclass
class Task:
    """What one expectation step is about; the same for all particles of a half set."""

    data: RefineData
    transforms: list[NDArray[np.complex64]]  # padded transform of each class's reference
    padding: int
    n_components: int  # of data.components that are used for noise and reconstruction
    n_fit: int  # that are compared in the fine pass
    n_coarse: int  # and in the coarse pass
    noise: NDArray[np.float64]  # (optics groups, shells) σ²
    scales: NDArray[np.float64]  # (groups,)
    grid: OrientationGrid
    class_priors: NDArray[np.float64]  # (K,)
    sigma_angle: float  # degrees; 0: global search
    sigma_offset: float  # Å
    cross_correlation: bool = False  # only the best pose, whatever the scale of the references
    skip_align: bool = False
    seed_classes: NDArray[np.int64] | None = None  # (n,) the one class of each particle, or None: all classes
    adaptive_fraction: float = ADAPTIVE_FRACTION
    noise_outside_mask: bool = False
    iteration: int = 0


@dataclass
class Outcome:
    """What the expectation step found for one particle."""

    rotation: NDArray[np.float64]
    origin: NDArray[np.float64]
    klass: int  # from 0
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

    def add(self, other: Sums) -> None:
        for name in ("data", "weight", "noise", "ctf2", "fit", "classes", "directions"):
            getattr(self, name).__iadd__(getattr(other, name))
        self.offset2 += other.offset2
        self.outcomes |= other.outcomes


def run(task: Task, indices: NDArray[np.int64], threads: int, tick=lambda: None) -> Sums:
    """Sums over the given particles; `tick` is called after each. Poses in task.data are not changed."""
    pieces = [indices[start::threads] for start in range(min(threads, max(len(indices), 1)))]

    def work(piece: NDArray[np.int64]) -> Sums:
        sums = Sums.empty(task)
        for index in piece:
            ParticleStep(task, int(index)).add_to(sums)
            tick()
        return sums

    with ThreadPoolExecutor(len(pieces)) as pool:
        first, *others = pool.map(work, pieces)
    for sums in others:
        first.add(sums)
    return first


class ParticleStep:
    """One particle's share of an expectation step."""

    def __init__(self, task: Task, index: int) -> None:
        self.task, self.index = task, index
        data = task.data
        self.particle = data.particles[index]
        sigma2 = task.noise[self.particle.optics][data.components.shell]  # (K,)
        with np.errstate(divide="ignore"):
            inverse = np.where(sigma2 > 0, 1 / sigma2, 0).astype(np.float32)
        self.inverse_noise = inverse
        self.fit_weight = inverse.copy()
        self.fit_weight[data.components.shell == 0] = 0
        self.fit_weight[task.n_fit :] = 0
        self.scale = np.float32(task.scales[self.particle.group])
        self.ctf2 = self.particle.ctf**2
        self.origin = data.origins[index]
        if task.seed_classes is None:
            self.classes = np.arange(len(task.transforms))
        else:
            self.classes = task.seed_classes[index : index + 1]

    # ---------------------------------------------------------------- searching

    def add_to(self, sums: Sums) -> None:
        task, data = self.task, self.task.data
        sigma2 = task.noise[self.particle.optics][data.components.shell]
        outside = np.sqrt(sigma2) if task.noise_outside_mask else None
        self.masked, self.unmasked = data.centred(self.index, outside, task.iteration, keep=task.skip_align)
        poses = self._single_pose() if self.task.skip_align else self._search()
        self._accumulate(poses, sums)

    def _single_pose(self) -> Poses:
        """Every class at the particle's present pose."""
        rotation = euler_matrix(*self.task.data.angles[self.index])  # (1, 3, 3)
        offsets = np.zeros((1, 3))
        scores = np.stack([self._scores(k, rotation, offsets, self.task.n_fit) for k in self.classes])
        unit = self.task.grid.around(self.task.data.angles[self.index], 1e-3)
        scores = self._with_priors(scores, np.zeros(1), offsets)
        return Poses(rotation, offsets, scores, unit.direction[:1], len(self.classes))

    def _search(self) -> Poses:
        task, sampling = self.task, self.task.grid.sampling
        if task.sigma_angle > 0:
            found = task.grid.around(task.data.angles[self.index], task.sigma_angle)
        else:
            found = task.grid.everywhere()
        offsets = sampling.offsets()
        rotations = task.grid.rotations(found)
        scores = np.stack([self._scores(k, rotations, offsets, task.n_coarse) for k in self.classes])
        scores = self._with_priors(scores, found.log_prior, offsets)
        poses = Poses(rotations, offsets, scores, found.direction, 1)
        if sampling.oversampling == 0:
            poses.n_significant = int(self._significant(scores).sum())
            return poses
        return self._finer(poses, found)

    def _finer(self, coarse: Poses, found: Orientations) -> Poses:
        """Split the significant coarse poses; all combinations of their orientations and offsets are evaluated."""
        task, sampling = self.task, self.task.grid.sampling
        chosen = self._significant(coarse.scores)  # (K, n, t)
        rows, columns = np.flatnonzero(chosen.any((0, 2))), np.flatnonzero(chosen.any((0, 1)))
        rotations = task.grid.split_rotations(found, rows)  # (n', 8^o, 3, 3)
        offsets = sampling.split_offsets(coarse.offsets[columns])  # (t', 8^o, 3)
        per_rotation, per_offset = rotations.shape[1], offsets.shape[1]
        rotations, offsets = rotations.reshape(-1, 3, 3), offsets.reshape(-1, 3)
        mask = chosen[:, rows][:, :, columns].repeat(per_rotation, 1).repeat(per_offset, 2)
        prior = found.log_prior[rows].repeat(per_rotation)
        scores = np.full(mask.shape, -np.inf, np.float32)
        for i, k in enumerate(self.classes):
            if mask[i].any():
                scores[i] = np.where(mask[i], self._scores(k, rotations, offsets, task.n_fit), -np.inf)
        scores = self._with_priors(scores, prior, offsets)
        return Poses(
            rotations, offsets, scores, found.direction[rows].repeat(per_rotation), int(chosen.sum())
        )

    def _scores(
        self, klass: int | np.integer, rotations: NDArray, offsets: NDArray, n_components: int
    ) -> NDArray[np.float32]:
        """Log-likelihood (n, t) of rotations (n, 3, 3) and offsets (t, 3).

        For a reference of unknown scale, that at its best scale: the square of the normalised cross-correlation.
        """
        task, c = self.task, self.task.data.components
        kx, ky = c.kx[:n_components], c.ky[:n_components]
        out, power = (
            np.empty((len(rotations), len(offsets)), np.float32),
            np.empty(len(rotations), np.float32),
        )
        kernels.score(
            task.transforms[klass],
            task.padding,
            self.tilt_matrices(rotations),
            self.masked,
            task.data.shifts(self.particle, offsets),
            kx,
            ky,
            c.box,
            self.ctf2,
            self.fit_weight,
            self.scale,
            out,
            power,
        )
        if task.cross_correlation:
            return np.maximum(out, 0) ** 2 / (4 * np.maximum(power, 1e-30))[:, None]
        return out - power[:, None]

    def tilt_matrices(self, rotations: NDArray) -> NDArray[np.float32]:
        """(n, m, 3, 3): R_tilt · A for each orientation and tilt."""
        return np.einsum("mij,njk->nmik", self.particle.rotations, rotations).astype(np.float32)

    def _with_priors(
        self, scores: NDArray, log_orientation: NDArray, offsets: NDArray
    ) -> NDArray[np.float32]:
        """Add log priors of class, orientation and offset."""
        task = self.task
        with np.errstate(divide="ignore"):
            log_class = np.log(task.class_priors[self.classes])
        if task.seed_classes is not None:
            log_class = np.zeros(len(self.classes))
        total = offsets + self.origin
        log_offset = -0.5 * (total**2).sum(1) / task.sigma_offset**2
        return scores + (log_class[:, None, None] + log_orientation[:, None] + log_offset).astype(np.float32)

    def _significant(self, scores: NDArray) -> NDArray[np.bool_]:
        """The most probable poses that together hold adaptive_fraction of the probability."""
        return keep_fraction(probabilities(scores), self.task.adaptive_fraction)

    # ---------------------------------------------------------------- sums

    def _accumulate(self, poses: Poses, sums: Sums) -> None:
        task, data = self.task, self.task.data
        probability = probabilities(poses.scores)
        best = np.unravel_index(np.argmax(poses.scores), poses.scores.shape)
        if task.cross_correlation:
            probability = np.zeros_like(probability)
            probability[best] = 1
        kept = np.where(keep_fraction(probability, task.adaptive_fraction), probability, 0)
        kept /= kept.sum()
        sums.outcomes[self.index] = Outcome(
            poses.rotations[best[1]],
            self.origin + poses.offsets[best[2]],
            int(self.classes[best[0]]),
            float(probability[best]),
            self._log_likelihood(poses.scores),
            poses.n_significant,
        )
        total = self.origin + poses.offsets
        sums.offset2 += float(kept.sum((0, 1)) @ (total**2).sum(1))
        for i, k in enumerate(self.classes):
            rows, columns = np.flatnonzero(kept[i].any(1)), np.flatnonzero(kept[i].any(0))
            if len(rows):
                weights = kept[i][rows][:, columns].astype(np.float32)
                self._add_poses(k, poses.rotations[rows], poses.offsets[columns], weights, sums)
                sums.classes[k] += weights.sum()
                np.add.at(sums.directions[k], poses.directions[rows], weights.sum(1))
        shell, o = data.components.shell, self.particle.optics
        for m in range(self.particle.n_tilts):
            sums.noise[o] += np.bincount(shell, np.abs(self.masked[m]) ** 2, minlength=sums.noise.shape[1])
            sums.ctf2[o] += np.bincount(shell, self.ctf2[m], minlength=sums.noise.shape[1])

    def _add_poses(
        self,
        klass: int | np.integer,
        rotations: NDArray,
        offsets: NDArray,
        weights: NDArray[np.float32],
        sums: Sums,
    ) -> None:
        """Back-project the particle at poses with weights (n, t), and compare it there with the reference."""
        task, c = self.task, self.task.data.components
        used = task.n_components
        kx, ky, shell = c.kx[:used], c.ky[:used], c.shell[:used]
        masked, unmasked = np.ascontiguousarray(self.masked[:, :used]), self.unmasked[:, :used] * self.scale
        unmasked = (unmasked * self.inverse_noise[:used]).astype(np.complex64)
        ctf2 = np.ascontiguousarray(self.ctf2[:, :used])
        weight = ctf2 * self.inverse_noise[:used] * self.scale**2
        tilts = len(masked)
        shifts, matrices = task.data.shifts(self.particle, offsets), self.tilt_matrices(rotations)
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
                    kernels.mix(
                        weights[rows, columns], table.reshape(len(table), -1), part.reshape(shape[0], -1)
                    )
                    mixed[name] += part
            slices = np.empty(shape, np.float32)
            project(task.transforms[klass], task.padding, matrices[rows], kx, ky, slices)
            row_weight = weights[rows].sum(1)
            kernels.residuals(
                slices,
                mixed["masked"],
                row_weight,
                ctf2,
                self.scale,
                shell,
                self.fit_weight[:used],
                sums.noise[self.particle.optics],
                sums.fit[self.particle.group],
            )
            backproject(
                mixed["unmasked"],
                row_weight[:, None, None] * weight,
                task.padding,
                matrices[rows],
                kx,
                ky,
                sums.data[klass],
                sums.weight[klass],
            )

    def _log_likelihood(self, scores: NDArray) -> float:
        """Log-likelihood of the particle: that of pure noise of the model's spectrum, plus what the poses explain."""
        used = slice(1, self.task.n_fit)
        sigma2 = self.task.noise[self.particle.optics][self.task.data.components.shell[used]]
        tilts = self.particle.n_tilts
        noise_only = -tilts * float((np.log(2 * np.pi * np.maximum(sigma2, 1e-30)) + 1).sum())
        top = float(scores.max())
        return noise_only + (
            0.0 if self.task.cross_correlation else top + float(np.log(np.exp(scores - top).sum()))
        )


@dataclass
class Poses:
    """Scores (K, n, t) of classes, rotations (n, 3, 3) and offsets (t, 3) in Å; directions (n,) on the coarse grid."""

    rotations: NDArray[np.float64]
    offsets: NDArray[np.float64]
    scores: NDArray[np.float32]
    directions: NDArray[np.int64]
    n_significant: int


def probabilities(scores: NDArray) -> NDArray[np.float64]:
    """Posterior probabilities of log scores; they sum to one."""
    weights = np.exp((scores - scores.max()).astype(np.float64))
    return weights / weights.sum()


def keep_fraction(probability: NDArray, fraction: float) -> NDArray[np.bool_]:
    """Mark the fewest largest values that together reach `fraction` of the sum."""
    flat = np.sort(probability, axis=None)[::-1]
    last = int(np.searchsorted(np.cumsum(flat), fraction * flat.sum()))
    return probability >= max(flat[min(last, len(flat) - 1)], np.finfo(float).tiny)
