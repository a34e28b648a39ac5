"""The search for poses: how probable each class, orientation and offset of a particle is.

Images are multiplied by their CTF beforehand, X' = CTF·X. With noise of variance σ² (per real component of X) the
likelihood of a slice P scaled by s needs only X' and CTF²:
    log L = (s Σ Re(P* X') - ½ s² Σ CTF² |P|²) / σ²  + const.
Scheres, J. Mol. Biol. 415 (2012) 406 and J. Struct. Biol. 180 (2012) 519; for tilt series Zivanov et al., eLife 11
(2022) e83724.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.numerics.euler import euler_matrix
from staengine.refinement import expectation_kernels as kernels
from staengine.refinement.particle_data import RefineData
from staengine.refinement.sampling import OrientationGrid, Orientations

ADAPTIVE_FRACTION = 0.999
# Orientations are compared at first by the coarsest of the components, then by more. One whose log-likelihood is so far
# below the best is not compared further: in the rest, noise would have to make up for that with 7 standard deviations.
STAGES = (1 / 8, 3 / 8, 1)
HOPELESS = 30.0


@dataclass
class Task:
    """The settings and the model of one expectation step, the same for all particles of a half set."""

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
    temperature: float = 1.0  # that the log-likelihood is divided by
    max_significant: int = 0  # poses of a class that are searched finely at most; 0: no limit
    sigma_tilt: float = 0.0  # degrees; 0: no prior on tilt angles alone
    iteration: int = 0


@dataclass
class Poses:
    """Scores (K, n, t) of classes, rotations (n, 3, 3) and offsets (t, 3) in Å; directions (n,) on the coarse grid."""

    rotations: NDArray[np.float64]
    offsets: NDArray[np.float64]
    scores: NDArray[np.float32]
    directions: NDArray[np.int64]
    n_significant: int


class ParticleStep:
    """One particle in an expectation step: its data, and how probable its poses are."""

    def __init__(self, task: Task, index: int) -> None:
        self.task, self.index = task, index
        data = task.data
        self.particle = data.particles[index]
        sigma2 = task.noise[self.particle.optics][data.components.shell]  # (K,)
        with np.errstate(divide="ignore"):
            inverse = np.where(sigma2 > 0, 1 / sigma2, 0).astype(np.float32)
        self.inverse_noise = inverse
        self.fit_weight = inverse / np.float32(task.temperature)
        self.fit_weight[data.components.shell == 0] = 0
        self.fit_weight[task.n_fit :] = 0
        self.scale = np.float32(task.scales[self.particle.group])
        self.ctf2 = self.particle.ctf**2
        self.origin = data.origins[index]
        if task.seed_classes is None:
            self.classes = np.arange(len(task.transforms))
        else:
            self.classes = task.seed_classes[index : index + 1]

    def search(self) -> Poses:
        """Load the particle's images and score the poses that the task asks for."""
        task, data = self.task, self.task.data
        sigma2 = task.noise[self.particle.optics][data.components.shell]
        outside = np.sqrt(sigma2) if task.noise_outside_mask else None
        self.masked, self.unmasked = data.centred(self.index, outside, task.iteration, keep=task.skip_align)
        return self._single_pose() if task.skip_align else self._coarse_to_fine()

    def _single_pose(self) -> Poses:
        """Every class at the particle's present pose."""
        rotation = euler_matrix(*self.task.data.angles[self.index])  # (1, 3, 3)
        offsets = np.zeros((1, 3))
        scores = np.stack([self._scores(k, rotation, offsets, self.task.n_fit) for k in self.classes])
        unit = self.task.grid.around(self.task.data.angles[self.index], 1e-3)
        scores = self._with_priors(scores, np.zeros(1), offsets)
        return Poses(rotation, offsets, scores, unit.direction[:1], len(self.classes))

    def _coarse_to_fine(self) -> Poses:
        task, sampling = self.task, self.task.grid.sampling
        if task.sigma_angle > 0:
            orientations = task.grid.around(task.data.angles[self.index], task.sigma_angle)
        elif task.sigma_tilt > 0:
            orientations = task.grid.near_tilt(task.data.tilt_priors[self.index], task.sigma_tilt)
        else:
            orientations = task.grid.everywhere()
        offsets = sampling.offsets()
        rotations = task.grid.rotations(orientations)
        scores = np.stack([self._scores(k, rotations, offsets, task.n_coarse) for k in self.classes])
        scores = self._with_priors(scores, orientations.log_prior, offsets)
        poses = Poses(rotations, offsets, scores, orientations.direction, 1)
        if sampling.oversampling == 0:
            poses.n_significant = int(self._significant(scores).sum())
            return poses
        return self._finer(poses, orientations)

    def _finer(self, coarse: Poses, orientations: Orientations) -> Poses:
        """Split the significant coarse poses; all combinations of their orientations and offsets are evaluated."""
        task, sampling = self.task, self.task.grid.sampling
        chosen = self._significant(coarse.scores)  # (K, n, t)
        rows, columns = np.flatnonzero(chosen.any((0, 2))), np.flatnonzero(chosen.any((0, 1)))
        rotations = task.grid.split_rotations(orientations, rows)  # (n', 8^o, 3, 3)
        offsets = sampling.split_offsets(coarse.offsets[columns])  # (t', 8^o, 3)
        per_rotation, per_offset = rotations.shape[1], offsets.shape[1]
        rotations, offsets = rotations.reshape(-1, 3, 3), offsets.reshape(-1, 3)
        mask = chosen[:, rows][:, :, columns].repeat(per_rotation, 1).repeat(per_offset, 2)
        prior = orientations.log_prior[rows].repeat(per_rotation)
        scores = np.full(mask.shape, -np.inf, np.float32)
        for i, k in enumerate(self.classes):
            if mask[i].any():
                scores[i] = np.where(mask[i], self._scores(k, rotations, offsets, task.n_fit), -np.inf)
        scores = self._with_priors(scores, prior, offsets)
        return Poses(
            rotations, offsets, scores, orientations.direction[rows].repeat(per_rotation), int(chosen.sum())
        )

    def _scores(
        self, class_index: int | np.integer, rotations: NDArray[Any], offsets: NDArray[Any], n_components: int
    ) -> NDArray[np.float32]:
        """Log-likelihood (n, t) of rotations (n, 3, 3) and offsets (t, 3); -inf for hopeless rotations.

        For a reference of unknown scale, the value at its best scale: the squared normalised cross-correlation.
        """
        matrices, shifts = self.tilt_matrices(rotations), self.task.data.shifts(self.particle, offsets)
        if self.task.cross_correlation:
            out, power = self._compared(class_index, matrices, shifts, slice(n_components))
            return np.maximum(out, 0) ** 2 / (4 * np.maximum(power, 1e-30))[:, None]
        scores = np.zeros((len(rotations), len(offsets)), np.float32)
        rows, start = np.arange(len(rotations)), 0
        for share in STAGES if len(rotations) > 1 else (1,):
            stop = round(share * n_components)
            out, power = self._compared(class_index, matrices[rows], shifts, slice(start, stop))
            scores[rows] += out - power[:, None]
            best, start = scores[rows].max(1), stop
            hopeless = best < best.max() - HOPELESS
            scores[rows[hopeless]] = -np.inf
            rows = rows[~hopeless]
        return scores

    def _compared(
        self,
        class_index: int | np.integer,
        matrices: NDArray[np.float32],
        shifts: NDArray[np.float32],
        part: slice,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Correlation (n, t) and power (n,) (see `kernels.score`) of a part of the components."""
        task, c = self.task, self.task.data.components
        out = np.empty((len(matrices), len(shifts)), np.float32)
        power = np.empty(len(matrices), np.float32)
        kernels.score(
            task.transforms[class_index],
            task.padding,
            matrices,
            np.ascontiguousarray(self.masked[:, part]),
            shifts,
            c.kx[part],
            c.ky[part],
            c.box,
            np.ascontiguousarray(self.ctf2[:, part]),
            self.fit_weight[part],
            self.scale,
            out,
            power,
        )
        return out, power

    def tilt_matrices(self, rotations: NDArray[Any]) -> NDArray[np.float32]:
        """(n, m, 3, 3): R_tilt · A for each orientation and tilt."""
        return np.einsum("mij,njk->nmik", self.particle.rotations, rotations).astype(np.float32)

    def _with_priors(
        self, scores: NDArray[Any], log_orientation: NDArray[Any], offsets: NDArray[Any]
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

    def _significant(self, scores: NDArray[Any]) -> NDArray[np.bool_]:
        """The most probable poses that together hold adaptive_fraction of the probability, if they are not too many."""
        probability, most = probabilities(scores), self.task.max_significant * len(self.classes)
        kept = keep_fraction(probability, self.task.adaptive_fraction)
        if most and kept.sum() > most:
            kept &= probability >= np.partition(probability, -most, axis=None)[-most]
        return kept

    def log_likelihood(self, scores: NDArray[Any]) -> float:
        """Log-likelihood of the particle: that of pure noise of the model's spectrum, plus what the poses explain."""
        used = slice(1, self.task.n_fit)
        sigma2 = self.task.noise[self.particle.optics][self.task.data.components.shell[used]]
        tilts = self.particle.n_tilts
        noise_only = -tilts * float((np.log(2 * np.pi * np.maximum(sigma2, 1e-30)) + 1).sum())
        top = float(scores.max())
        return noise_only + (
            0.0 if self.task.cross_correlation else top + float(np.log(np.exp(scores - top).sum()))
        )


def probabilities(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Posterior probabilities of log scores; they sum to one."""
    weights = np.exp((scores - scores.max()).astype(np.float64))
    return weights / weights.sum()


def keep_fraction(probability: NDArray[Any], fraction: float) -> NDArray[np.bool_]:
    """Mark the smallest set of largest values that reaches `fraction` of the sum."""
    flat = np.sort(probability, axis=None)[::-1]
    last = int(np.searchsorted(np.cumsum(flat), fraction * flat.sum()))
    return probability >= max(flat[min(last, len(flat) - 1)], np.finfo(float).tiny)
