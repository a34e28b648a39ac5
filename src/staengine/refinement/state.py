"""The state of a refinement between its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.ranks import ALONE, Ranks
from staengine.refinement.model import Model, Progress
from staengine.refinement.particle_data import RefineData
from staengine.refinement.sampling import Sampling
from staengine.refinement.schedule import Schedule, Stage
from staengine.tilt_series.optimisation_set import OptimisationSet

FIRST_RESOLUTION = 0.07  # 1/px, of a reference that is not filtered


@dataclass
class Refinement:
    """One run of the program: its options, particles, models and progress."""

    options: SimpleNamespace
    command: list[str]  # the arguments that optimiser.star records
    inputs: OptimisationSet
    data: RefineData
    threads: int
    rng: np.random.Generator
    operators: NDArray[np.float64]  # (s, 3, 3) of the point group
    halves: list[NDArray[np.int64]]  # row numbers of each half set; one of all particles without half sets
    mask: NDArray[np.float32] | None  # (box, box, box) that flattens the solvent
    mask2: NDArray[np.float32] | None  # (box, box, box) of a part to be made even
    sampling: Sampling
    progress: Progress
    models: list[Model] = field(default_factory=list)  # one for each half set
    statistics: dict[str, NDArray[Any]] = field(default_factory=dict)  # further columns of data.star
    plan: Schedule | None = None  # of a gradient refinement
    stage: Stage | None = None  # what of it the present iteration does
    ranks: Ranks = ALONE  # that share the expectation step

    @property
    def schedule(self) -> Schedule:
        """The plan of a gradient refinement."""
        assert self.plan is not None
        return self.plan

    @property
    def n_shells(self) -> int:
        return self.data.box // 2 + 1

    @property
    def n_iterations(self) -> int:
        return int(self.options.auto_iter_max if self.options.auto_refine else self.options.iter)

    @property
    def initial_shell(self) -> int:
        """Resolution of the first reference, as a shell."""
        if self.options.ini_high > 0:
            return max(1, min(round(self.data.box_length / self.options.ini_high), self.n_shells - 1))
        return max(1, round(FIRST_RESOLUTION * self.data.box))

    @property
    def by_correlation(self) -> bool:
        """Whether this iteration only looks for the best pose, whatever the scale of the reference."""
        return bool(self.options.firstiter_cc and self.progress.iteration == 1)

    def resolution(self) -> float:
        """Resolution in Å of the first half set's model."""
        return self.data.box_length / self.models[0].resolution

    def reference_radius(self, model: Model) -> int:
        """Last shell in which the reference may hold signal: some beyond the resolution."""
        increment, nyquist = self.options.incr_size, self.data.box // 2
        large = max(increment, nyquist // 4)
        return min(nyquist, model.resolution + (large if self.progress.high_fsc_at_limit else increment))

    def image_radius(self, model: Model) -> int:
        """Last shell of the images that is used; in the last iteration, Nyquist."""
        return self.data.box // 2 if self.progress.converged else self.reference_radius(model)

    def flattened(self, volume: NDArray[Any]) -> NDArray[np.float32]:
        """A map (box, box, box) masked, and made even where the second mask is, as far as there are masks."""
        if self.mask is not None:
            volume = volume * self.mask
        if self.mask2 is not None:
            mean = (volume * self.mask2).sum(dtype=float) / self.mask2.sum(dtype=float)
            volume = volume + self.mask2 * (mean - volume)
        return volume.astype(np.float32, copy=False)
