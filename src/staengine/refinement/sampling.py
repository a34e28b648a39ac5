"""The search grid of a refinement: orientations on a HEALPix grid with in-plane angles, and 3D offsets on a cubic grid.

The coarse grid is split `oversampling` times: each direction into 4, each in-plane angle and each offset axis into 2.
Each iteration turns and moves the whole grid by a random fraction of its step, so that poses do not stick to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import healpix
import numpy as np
from numpy.typing import NDArray

from staengine.numerics.euler import euler_matrix

PRIOR_CUTOFF = 3.0  # in standard deviations: poses further from the prior are not searched
PERTURBATION_FACTOR = 0.5  # of the coarse step


@dataclass(frozen=True)
class Sampling:
    """A coarse grid; angles in degrees, offsets in Å. `instance` in [-0.5, 0.5] is the current perturbation."""

    healpix_order: int
    offset_range: float
    offset_step: float
    oversampling: int = 1
    symmetry: str = "C1"
    instance: float = 0.0
    original: dict[str, float] = field(default_factory=dict)  # what the command line asked for

    @property
    def psi_step(self) -> float:
        """In-plane step: as wide as the distance between HEALPix directions."""
        return 60.0 / 2**self.healpix_order

    @property
    def fine_angle(self) -> float:
        return self.psi_step / 2**self.oversampling

    @property
    def fine_offset(self) -> float:
        return self.offset_step / 2**self.oversampling

    def perturbed(self, rng: np.random.Generator) -> Sampling:
        """The same grid with the next perturbation: half a factor to a whole one more, wrapped to ±0.5."""
        step = rng.uniform(PERTURBATION_FACTOR / 2, PERTURBATION_FACTOR)
        return replace(self, instance=(self.instance + step + 0.5) % 1.0 - 0.5)

    def directions(self, finer: int = 0) -> NDArray[np.float64]:
        """Rot and tilt (n, 2) of the grid directions in nested order; `finer` splits each into 4 ** finer."""
        nside = 2 ** (self.healpix_order + finer)
        theta, phi = healpix.pix2ang(nside, np.arange(12 * nside**2), nest=True)
        rot = np.rad2deg(phi)
        return np.stack([np.where(rot > 180, rot - 360, rot), np.rad2deg(theta)], axis=-1)

    def psis(self, finer: int = 0) -> NDArray[np.float64]:
        """In-plane angles (n,); `finer` gives the children of each, 2 ** finer a parent."""
        return _split(np.arange(0, 360, self.psi_step), self.psi_step, 2**finer)

    def offsets(self) -> NDArray[np.float64]:
        """Coarse offsets (n, 3) in Å: of the moved grid, as many points as lie within offset_range of the grid at rest.

        They are the ones nearest to the centre, so that a large perturbation leaves no side of the sphere unsearched.
        """
        reach = int(self.offset_range / self.offset_step + 1e-6) + 1
        axis = np.arange(-reach, reach + 1) * self.offset_step
        grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        n = int(((grid**2).sum(1) <= self.offset_range**2 * (1 + 1e-6)).sum())
        grid = grid + self.instance * self.offset_step
        return grid[np.argsort((grid**2).sum(1), kind="stable")[:n]]

    def split_offsets(self, coarse: NDArray[Any]) -> NDArray[np.float64]:
        """Children (n, 8 ** oversampling, 3) of coarse offsets (n, 3)."""
        axis = _split(np.zeros(1), self.offset_step, 2**self.oversampling)
        children = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        return coarse[:, None, :] + children

    def rotations(self, directions: NDArray[Any], psis: NDArray[Any]) -> NDArray[np.float64]:
        """Perturbed Euler matrices (n, 3, 3) of directions (n, 2) and in-plane angles (n,)."""
        matrices = euler_matrix(directions[:, 0], directions[:, 1], psis)
        turn = self.instance * self.psi_step
        return matrices @ euler_matrix(turn, turn, turn)[0]


def _split(centres: NDArray[Any], step: float, parts: int) -> NDArray[np.float64]:
    inner = ((np.arange(parts) + 0.5) / parts - 0.5) * step
    return (np.asarray(centres)[:, None] + inner).ravel()


@dataclass(frozen=True)
class Orientations:
    """Coarse orientations to search: index of direction and in-plane angle (n,), and the log of their prior (n,)."""

    direction: NDArray[np.int64]
    psi: NDArray[np.int64]
    log_prior: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.direction)


class OrientationGrid:
    """The orientations of a Sampling, coarse and split; made once per iteration and shared by all particles."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.directions = sampling.directions()
        self.psis = sampling.psis()
        turn = sampling.instance * sampling.psi_step
        self._turned = euler_matrix(turn, turn, turn)[0]
        self._unit = euler_matrix(self.directions[:, 0], self.directions[:, 1], 0.0)[:, 2, :]
        self._finer = sampling.directions(sampling.oversampling)
        self._finer_psis = sampling.psis(sampling.oversampling)

    def everywhere(self) -> Orientations:
        """All orientations with a flat prior."""
        direction, psi = np.divmod(np.arange(len(self.directions) * len(self.psis)), len(self.psis))
        return Orientations(direction, psi, np.zeros(len(direction)))

    def around(self, angles: NDArray[Any], sigma: float) -> Orientations:
        """Orientations within 3 sigma (degrees) of rot, tilt, psi; at least the nearest direction and in-plane angle.

        The Gaussian priors on direction and in-plane angle are independent and each sums to one.
        """
        centre = euler_matrix(*angles)[0] @ self._turned.T  # what the unperturbed grid must be compared with
        apart = np.rad2deg(np.arccos(np.clip(self._unit @ centre[2], -1, 1)))
        direction, log_direction = _gaussian_choice(apart, sigma)
        psi_centre = np.rad2deg(np.arctan2(centre[1, 2], -centre[0, 2]))
        if centre[2, 2] ** 2 > 1 - 1e-12:
            psi_centre = np.rad2deg(np.arctan2(-centre[1, 0], centre[0, 0]))
        psi, log_psi = _gaussian_choice((self.psis - psi_centre + 180) % 360 - 180, sigma)
        return Orientations(
            np.repeat(direction, len(psi)),
            np.tile(psi, len(direction)),
            (log_direction[:, None] + log_psi[None, :]).ravel(),
        )

    def near_tilt(self, tilt: float, sigma: float) -> Orientations:
        """All orientations whose tilt is within 3 sigma (degrees) of one, of a Gaussian prior; at least the nearest."""
        tilts = np.rad2deg(np.arccos(np.clip(self._unit @ self._turned[:, 2], -1, 1)))
        direction, log_direction = _gaussian_choice(tilts - tilt, sigma)
        n = len(self.psis)
        return Orientations(
            np.repeat(direction, n), np.tile(np.arange(n), len(direction)), np.repeat(log_direction, n)
        )

    def rotations(self, orientations: Orientations) -> NDArray[np.float64]:
        """Matrices (n, 3, 3) of coarse orientations."""
        return self.sampling.rotations(self.directions[orientations.direction], self.psis[orientations.psi])

    def split_rotations(self, orientations: Orientations, chosen: NDArray[Any]) -> NDArray[np.float64]:
        """Matrices (len(chosen), 8 ** oversampling, 3, 3) of the children of some coarse orientations."""
        o = self.sampling.oversampling
        direction, psi = orientations.direction[chosen], orientations.psi[chosen]
        children = (direction[:, None] * 4**o + np.arange(4**o)).repeat(2**o, axis=1)
        child_psis = np.tile(psi[:, None] * 2**o + np.arange(2**o), (1, 4**o))
        matrices = self.sampling.rotations(
            self._finer[children.ravel()], self._finer_psis[child_psis.ravel()]
        )
        return matrices.reshape(len(chosen), 8**o, 3, 3)


def _gaussian_choice(distance: NDArray[Any], sigma: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Indices within the cut-off (or the nearest one) and the log of their normalised Gaussian weights."""
    chosen = np.flatnonzero(np.abs(distance) < PRIOR_CUTOFF * sigma)
    if not len(chosen):
        chosen = np.array([np.argmin(np.abs(distance))])
    exponent = -0.5 * (distance[chosen] / sigma) ** 2
    exponent -= exponent.max()
    return chosen, exponent - np.log(np.exp(exponent).sum())
