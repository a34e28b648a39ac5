"""The plan of a gradient refinement: what each iteration looks at, how sharply it judges, and how far it steps.

Three phases. At first only the coarsest detail is compared, and likelihoods are tempered, as in deterministic
annealing (Ueda & Nakano, Neural Networks 11 (1998) 271): orientations stay undecided until the references tell them
apart. In between, resolution grows and the temperature falls. At the end both stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

FIRST_DETAIL, FINAL_DETAIL = 3 / 5, 1 / 6  # resolutions as parts of the particle's diameter
STEP_SIZES = 0.9, 0.5
SUBSETS = 200, 1000  # particles at least, and ..
SUBSET_SHARES = 0.005, 0.1  # .. of all, in the first and in the final phase
LONG_RUN = 200  # iterations that --mu is meant for
TILTS_AT_FIRST = 2.0  # images' worth of evidence that a whole tilt series counts for in the first iteration


@dataclass(frozen=True)
class Stage:
    """One iteration of the plan."""

    step_size: float
    momentum: float  # part of the moments that is kept
    temperature: float  # of the likelihood, at least 1
    shell: int  # last one that is compared
    tau2_fudge: float
    oversampled: bool  # whether the coarse grid is split
    final: bool
    batch: int  # number of particles


@dataclass(frozen=True)
class Schedule:
    """The plan of all iterations."""

    iterations: int
    fractions: tuple[float, float]  # of the first and the final phase
    step_sizes: tuple[float, float]
    momentum: float
    temperature: float  # at first
    shells: tuple[int, int]
    tau2_fudge: float  # at the end; 1 at first
    batches: tuple[int, int]
    particles: int

    def _batch(self, risen: float) -> int:
        """Particles of an iteration; never more than half of all before the final phase."""
        size = round(_between(self.batches, risen))
        return size if risen >= 1 else min(size, max(self.batches[0], self.particles // 2))

    @classmethod
    def of(cls, options: SimpleNamespace, n: int, tilts: float, box_length: float, box: int) -> Schedule:
        """From the command line, for n particles with so many tilts each; box_length in Å."""
        details = [FIRST_DETAIL * options.particle_diameter, FINAL_DETAIL * options.particle_diameter]
        for i, wanted in enumerate((options.grad_ini_resol, options.grad_fin_resol)):
            details[i] = wanted if wanted > 0 else details[i]
        if options.strict_highres_exp > 0:
            details = [max(detail, options.strict_highres_exp) for detail in details]
        first, last = (min(max(1, round(box_length / detail)), box // 2 - 1) for detail in details)
        fixed = options.grad_stepsize
        return cls(
            options.iter,
            (options.grad_ini_frac, options.grad_fin_frac),
            (fixed, fixed) if fixed > 0 else STEP_SIZES,
            options.mu ** (LONG_RUN / min(options.iter, LONG_RUN)),
            max(1.0, tilts / TILTS_AT_FIRST),
            (first, max(first, last)),
            options.tau2_fudge,
            subset_sizes(options, n),
            n,
        )

    def at(self, iteration: int) -> Stage:
        """The stage of an iteration, from 1. The last one uses all particles, so that each has a pose."""
        first, final = (fraction * self.iterations for fraction in self.fractions)
        middle = max(self.iterations - first - final, 1e-9)
        risen = min(max((iteration - first) / middle, 0.0), 1.0)
        cooled = min(iteration / max(first + middle, 1e-9), 1.0)
        return Stage(
            _between(self.step_sizes, risen),
            self.momentum,
            self.temperature ** (1 - cooled),
            round(_between(self.shells, risen)),
            _between((1.0, self.tau2_fudge), risen),
            oversampled=risen > 0,
            final=risen >= 1,
            batch=self._batch(risen) if iteration < self.iterations else self.particles,
        )


def subset_sizes(options: SimpleNamespace, n: int) -> tuple[int, int]:
    """Particles of an iteration of the first and of the final phase; at most all n, at first at most half of them.

    RELION takes all of fewer than 200 particles. Each of them then sees its own noise in the reference, at its present
    pose, and stays there: maps keep a symmetry that the particle has not.
    """
    given = options.grad_ini_subset, options.grad_fin_subset
    sizes = [
        wanted if wanted > 0 else max(least, round(share * n))
        for wanted, least, share in zip(given, SUBSETS, SUBSET_SHARES, strict=True)
    ]
    return min(sizes[0], max(n // 2, 1)), min(sizes[1], n)


def _between(ends: tuple[float, float], part: float) -> float:
    return ends[0] + part * (ends[1] - ends[0])
