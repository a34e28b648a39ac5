"""The state of a refinement between iterations: what RELION writes to model.star."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.refinement.moments import Moments


@dataclass
class ClassModel:
    """One class: its map and spectra per Fourier shell 0 .. box // 2."""

    reference: NDArray[np.float32]  # (box, box, box), what images are compared with
    tau2: NDArray[np.float64]  # signal power
    sigma2: NDArray[np.float64]  # noise power of the reconstruction
    ssnr: NDArray[np.float64]
    fsc: NDArray[np.float64]
    completeness: NDArray[np.float64]
    share: float = 1.0  # class distribution
    resolution: int = 0  # shell; 0: unknown
    accuracy_rotations: float = 0.0  # degrees
    accuracy_offsets: float = 0.0  # Å
    orientability: NDArray[np.float64] | None = None
    directions: NDArray[np.float64] = field(default_factory=lambda: np.ones(1))  # their distribution
    moments: Moments | None = None  # of a gradient refinement

    @classmethod
    def start(cls, reference: NDArray[Any], share: float, n_directions: int) -> ClassModel:
        n = reference.shape[0] // 2 + 1
        zero = np.zeros(n)
        flat = np.full(n_directions, 1 / n_directions)
        return cls(reference, zero, zero, zero, zero, zero, share, directions=flat)

    def overall_completeness(self) -> float:
        """Mean completeness of the resolved shells weighted by their size; nan if nothing is resolved."""
        size = np.arange(len(self.completeness))[: self.resolution + 1] ** 2.0
        if not self.resolution:
            return float("nan")
        return float((self.completeness[: self.resolution + 1] * size).sum() / size.sum())


@dataclass
class Model:
    """The model of one half set, or of all particles."""

    classes: list[ClassModel]
    noise: NDArray[np.float64]  # (optics groups, shells)
    scales: NDArray[np.float64]  # (groups,), mean 1
    sigma_offset: float  # Å
    sigma_angle: float  # degrees; 0: global searches
    resolution: int = 0  # shell; 0 before the first iteration
    image_size: int = 0
    log_likelihood: float = 0.0
    average_pmax: float = 0.0


@dataclass
class Progress:
    """The history that decides when to sample finer and when to stop."""

    iteration: int = 0
    best_resolution: int = 0  # shell
    without_gain: int = 0
    settled: int = 0  # iterations in which poses changed no more than before
    changes_angles: float = 999.0
    changes_offsets: float = 999.0
    changes_classes: float = 9999999.0
    smallest_angles: float = 999.0
    smallest_offsets: float = 999.0
    smallest_classes: float = 9999999.0
    accuracy_rotations: float = 999.0
    accuracy_offsets: float = 999.0
    fine_enough: bool = False
    converged: bool = False
    high_fsc_at_limit: bool = False
