"""How well each particle's images agree with the map of the other half set, which they had no part in."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stacycle.decisions.agreement import spectra
from stacycle.decisions.half_maps import THRESHOLD
from stacycle.decisions.mask import distance
from stacycle.errors import UserError
from stacycle.files import mrc, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import ANGLES, CENTRED, ORIGINS, PARTICLE_NAME, SUBSET, TURNS
from stacycle.scoring.slices import Components, Density
from stacycle.scoring.tilt_series import TiltSeries

SCORE, Z, GAIN = "score", "z", "gain"  # columns of the table of scores
_NEEDED = [PARTICLE_NAME, "rlnTomoName", "rlnImageName", "rlnTomoVisibleFrames", SUBSET, *CENTRED, *ANGLES]
_WIDE = 1.1  # x the particle's diameter is the sphere of a half map that is compared
_EDGE = 2.0  # px is its soft edge

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Signal:
    """The map of each half set, the components that are compared, and their weights (K,): what of a half map is not
    noise, its FSC with the other."""

    maps: tuple[Density, Density]
    components: Components
    weights: Array
    pixel: float

    @classmethod
    def of(cls, half_maps: Sequence[str | Path], diameter: float) -> Signal:
        """Of two unfiltered half maps, within a sphere around a particle of `diameter` Å. UserError if they agree at no
        resolution."""
        pixel = mrc.header(half_maps[0]).pixel
        halves = [np.asarray(mrc.voxels(path), np.float32) for path in half_maps]
        box = len(halves[0])
        radius = min(_WIDE * diameter / 2 / pixel, box / 2 - _EDGE)
        sphere = np.clip((radius + _EDGE - distance(box)) / _EDGE, 0, 1)
        first, second = (half * sphere for half in halves)
        cross, of_first, of_second = spectra(first, second)
        fsc = cross / np.sqrt(np.maximum(of_first * of_second, 1e-30))
        worse = np.flatnonzero(fsc[1:] < THRESHOLD)
        components = Components.within(box, int(worse[0]) if len(worse) else box // 2)
        if not len(components.kx):
            problem = f"{half_maps[0]} and {half_maps[1]}: agree at no resolution"
            raise UserError(problem, "take the step score out of the round")
        return cls(
            (Density.of(first), Density.of(second)), components, fsc[components.shell].clip(0, 1), pixel
        )

    @property
    def frequencies(self) -> tuple[Array, Array]:
        """kx and ky (K,) of the components in 1/Å."""
        extent = self.components.box * self.pixel
        return self.components.kx / extent, self.components.ky / extent


def score_particles(
    state: str | Path, half_maps: Sequence[str | Path], diameter: float, threads: int = 1
) -> pd.DataFrame:
    """A row for each particle of a state, in its order, by name: how much of the other half's map its images show.

    `score` is the amplitude of the map in the images: about 1 for a particle, 0 for none; `z` is the same in standard
    errors, by noise alone; `gain` is the gain in log-likelihood of a particle against none.
    UserError if the files do not have what RELION's refinement of 2D stacks leaves.
    """
    files = OptimisationSet.read(state)
    particles = star.table(files.particles, star.read(files.particles), "particles", _NEEDED)
    signal, series = Signal.of(half_maps, diameter), TiltSeries.read_all(files.tomograms)
    turns = _matrices(particles, TURNS)
    poses, rows = turns @ _matrices(particles, ANGLES), particles.to_dict("records")

    def compared(row: dict[Any, Any], turn: Array, pose: Array) -> tuple[float, float]:
        return _compare(row, turn, pose, signal, series[str(row["rlnTomoName"])])

    with ThreadPoolExecutor(threads) as pool:
        agreement, expected = np.array(list(pool.map(compared, rows, turns, poses))).reshape(-1, 2).T
    expected = np.maximum(expected, 1e-30)  # an image without any signal shows nothing
    scores = {SCORE: agreement / expected, Z: agreement / np.sqrt(expected), GAIN: agreement - expected / 2}
    return pd.DataFrame({PARTICLE_NAME: particles[PARTICLE_NAME]} | scores)


def _compare(
    row: dict[Any, Any], turn: Array, pose: Array, signal: Signal, series: TiltSeries
) -> tuple[float, float]:
    """The product of a particle's images with what the other half's map would show in them, and that which a particle
    like the map would give, both over the noise: its square root is the first one's standard error."""
    visible = np.array([flag == "1" for flag in str(row["rlnTomoVisibleFrames"]).strip("[]").split(",")])
    components, tilts = signal.components, series.rotations[visible]
    position, origin = (np.array([row.get(label, 0.0) for label in labels]) for labels in (CENTRED, ORIGINS))
    transfer = series.transfer(position, visible, *signal.frequencies)
    images = components.of_images(_stack(str(row["rlnImageName"]), len(tilts), components.box))
    images *= components.moved((tilts @ turn @ origin)[:, :2] / signal.pixel)
    shown = signal.maps[2 - int(row[SUBSET])].slices(tilts @ pose, components) * signal.weights
    noise = _noise(images, transfer, components.shell)
    agreement = ((shown.conj() * images).real / noise).sum()
    return float(agreement), float((np.abs(shown * transfer) ** 2 / noise).sum())


def _noise(images: NDArray[Any], transfer: Array, shell: NDArray[Any]) -> Array:
    """The variance (K,) of the images' noise before they were multiplied by `transfer`, of a shell: their power, of
    which hardly any is the particle's."""
    power = np.bincount(shell, (np.abs(images) ** 2).sum(0))
    noise = power / np.maximum(np.bincount(shell, (transfer**2).sum(0)), 1e-30)
    return np.where(noise > 0, noise, np.inf)[shell]  # empty images say nothing


def _stack(path: str, images: int, box: int) -> NDArray[Any]:
    """The images (m, box, box) of a particle. UserError if they are others."""
    found = mrc.voxels(path)
    if found.shape != (images, box, box):
        problem = f"{path}: has {found.shape[0]} images of {found.shape[2]} px, not {images} of {box} px"
        raise UserError(problem, "score particles with the half maps of their own round")
    return found


def _matrices(particles: pd.DataFrame, labels: Sequence[str]) -> Array:
    """RELION's matrices (n, 3, 3) of Euler angles in degrees; the identity where there are none."""
    if labels[0] not in particles:
        return np.tile(np.eye(3), (len(particles), 1, 1))
    angles = particles[list(labels)].to_numpy(float)
    return Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
