"""Two pairs of half maps of the same images, as of two hands or of poses before and after a step: which is better."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from stacycle.decisions.agreement import shell_sizes, spectra
from stacycle.decisions.mask import distance, raised_cosine
from stacycle.files import mrc
from stacycle.files.job_folder import HALF_MAPS

THRESHOLD = 0.143
BEYOND = (
    1.25  # x the finest resolution is compared to: signal goes on below the threshold, farther out is noise
)
RANDOM = 0.8  # relion_postprocess makes phases random from where the FSC falls below it (--randomize_at_fsc)
FROM_NYQUIST = 0.75  # of the way there phases are random from, where it never does
_WIDE = 1.2  # x the particle's diameter is the sphere that is compared
_EDGE = 0.1  # of that sphere's radius is its soft edge

Array = NDArray[np.floating]
HalfMaps = tuple[Array, Array]  # (n, n, n) each
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Comparison(Generic[Key]):
    """How two pairs of half maps agree: `fsc` (shells) of each by its name, in a box of `extent` Å, and the `error`
    (shells), one standard error of their difference."""

    fsc: Mapping[Key, Array]
    error: Array
    extent: float

    def reached(self, name: Key) -> int:
        """The last shell before the FSC falls below the threshold for the first time; 0 if there is none."""
        below = np.flatnonzero(self.fsc[name][1:] < THRESHOLD)
        return int(below[0]) if len(below) else len(self.fsc[name]) - 1

    def resolution(self, name: Key) -> float:
        """Where that is, in Å; inf if there is none."""
        return self.extent / shell if (shell := self.reached(name)) else inf

    @property
    def shells(self) -> int:
        """How many shells, from 1 on, are compared."""
        farthest = max(1, *(round(BEYOND * self.reached(name)) for name in self.fsc))
        return min(farthest, len(self.error) - 1)

    def area(self, name: Key) -> float:
        """Integral of the FSC over these shells, in shells."""
        return float(self.fsc[name][1 : self.shells + 1].sum())

    def errors(self, gain: float) -> float:
        """A difference of two areas in standard errors."""
        return gain / max(sqrt(float((self.error[1 : self.shells + 1] ** 2).sum())), 1e-12)


def read(folders: Mapping[Key, str | Path]) -> tuple[dict[Key, HalfMaps], float]:
    """The half maps of averages in these folders, and their pixel size in Å."""
    paths = {name: [Path(folder) / half for half in HALF_MAPS] for name, folder in folders.items()}
    halves = {name: (mrc.voxels(first), mrc.voxels(second)) for name, (first, second) in paths.items()}
    return halves, mrc.header(next(iter(paths.values()))[0]).pixel


def compare(halves: Mapping[Key, HalfMaps], pixel: float, mask: Array) -> Comparison[Key]:
    """Compare two pairs of half maps (n, n, n) of `pixel` Å within a soft mask (n, n, n).

    The noise of the two is nearly the same, as they are made of the same images; by how much is seen in the differences
    of the half maps, and the error is that of the rest.
    """

    def within(density: Array) -> Array:
        return np.asarray(density * mask, np.float32)

    fsc = {name: correlation(within(first), within(second)) for name, (first, second) in halves.items()}
    noise = correlation(*(within(first - second) for first, second in halves.values()))
    values = np.maximum(shell_sizes(len(mask)) * (mask**2).mean(), 1)
    mean = np.clip(sum(fsc.values()) / len(fsc), 0, 1)
    # Of noise in two half maps of one signal, to second order: terms of one noise are alike by `noise`, products by its
    # square.
    products, single = (1 + mean**2) * (1 - noise**2), 2 * mean * (1 - mean) * (1 - noise)
    variance = 2 * (1 - mean) ** 2 * (products + single) / values
    return Comparison(fsc, np.sqrt(np.maximum(variance, 0)), len(mask) * pixel)


def sphere(n: int, pixel: float, diameter: float) -> Array:
    """A soft sphere (n, n, n) around a particle of `diameter` Å."""
    radius = min(_WIDE * diameter / 2 / pixel, n / 2 - 1)
    edge = distance(n)  # in place from here on: a map of 336 px takes 0.3 GB
    edge /= radius
    edge -= 1
    edge /= _EDGE
    edge += 1
    return raised_cosine(edge)


def correlation(a: Array, b: Array) -> Array:
    """The FSC of two maps (n, n, n), shells 0 .. n // 2."""
    cross, of_a, of_b = spectra(a, b)
    return cross / np.sqrt(np.maximum(of_a * of_b, 1e-30))


def random_from(paths: Sequence[str | Path]) -> float | None:
    """The resolution in Å from which on phases are to be random in two half maps (files) so good that their FSC stays
    above RANDOM up to the last shells, as at a coarse binning: there relion_postprocess finds none, and fails. None for
    other half maps."""
    first, second = map(mrc.voxels, paths)
    fsc = correlation(first, second)
    if (fsc[1:-1] < RANDOM).any():
        return None
    return len(first) * mrc.header(paths[0]).pixel / round(FROM_NYQUIST * (len(fsc) - 1))
