"""How well a point group is told from those that a map has not: maps of known symmetry, noise and wrong axes.

    python benchmarks/symmetry.py [SEEDS]

Each map is made of Gaussian blobs, turned at random, given noise, and turned back as relion_align_symmetry does for the
group that is asked for, with the error that its steps of 2 degrees leave. A row tells the lowest and the highest
agreement over the seeds, and how many are taken for the group.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stacycle.decisions.agreement import spectra
from stacycle.decisions.likeness import Likeness
from stacycle.decisions.point_groups import about
from stacycle.decisions.symmetry import LEAST, has_symmetry
from staengine.numerics import rotation, symmetry
from staengine.numerics.symmetry_search import find_axes

BOX, PIXEL, DIAMETER = 48, 10.0, 220.0  # px, Å, Å
STEP = 1.5  # degrees by which the axes found are off
AT_LIMIT = 0.25  # share of signal in the power of an average where its half maps' FSC is 0.143

Array = NDArray[np.floating]


class Case(NamedTuple):
    """A particle of a group, what is asked, and what is made difficult. `claimed` is the resolution that the test is
    told over the true one of `resolution` Å; `off` turns the map away from the axes found (degrees); `lost` scales one
    of the subunits; `long` stretches the particle along an axis."""

    true: str
    asked: str
    resolution: float = 40
    claimed: float = 1.0
    off: float = STEP
    lost: float = 1.0
    long: float = 1.0


CASES = [
    *(Case(group, group) for group in ("C2", "C3", "C6", "D2", "D6", "T", "O")),
    Case("C6", "C6", resolution=25),
    *(Case("C13", "C13", resolution=one) for one in (25, 40)),
    Case("C6", "C6", resolution=60),
    Case("C6", "C6", claimed=0.7),
    Case("C6", "C6", claimed=0.5),
    Case("C6", "C6", off=4),
    Case("D2", "D2", long=2),
    Case("C6", "C6", lost=0.5),
    Case("C6", "C6", lost=0),
    Case("C6", "C3"),
    *(Case("C6", group) for group in ("C5", "C7", "C12", "D6", "D3")),
    *(Case("C7", group) for group in ("C6", "C8")),
    Case("D2", "T"),
    Case("C3", "C6"),
    Case("C6", "C6", off=10),
    Case("C6", "C6", off=90),
    *(Case("C1", group) for group in ("C2", "C3", "C6", "D2", "T")),
    *(Case("C1", group, long=2) for group in ("C2", "D2")),
    *(Case("C1", group, resolution=80) for group in ("C2", "D2", "C6")),
]


def main(seeds: int = 5) -> None:
    """Print the table."""
    print("| particle | asked | difficult | agreement | taken |\n|---|---|---|---|---|")
    for case in CASES:
        found = [agreement(case, seed) for seed in range(seeds)]
        taken = sum(one >= LEAST for one in found)
        span = f"{min(found):.2f} to {max(found):.2f}"
        print(
            f"| {case.true} | {case.asked} | {', '.join(_words(case))} | {span} | {taken} of {seeds} |",
            flush=True,
        )


def agreement(case: Case, seed: int) -> float:
    """The lowest agreement of the axes of the group that is asked for."""
    rng = np.random.default_rng(seed)
    density = with_noise(turned_at_random(particle(case, rng), rng), case.resolution, rng)
    _, matrix, _ = find_axes(density, symmetry.rotations(case.asked))
    aligned = rotation.turned(density, about(_across(rng, case.off), case.off) @ matrix)
    likeness = Likeness(aligned, PIXEL, DIAMETER, case.resolution * case.claimed)
    return has_symmetry(likeness, case.asked, least=-np.inf).numbers["agreement"]


def particle(case: Case, rng: np.random.Generator) -> Array:
    """A map (n, n, n) of the group, made of ten blobs and their copies."""
    part = blobs(rng, case.long)
    copies = [rotation.turned(part, turn) for turn in symmetry.rotations(case.true)]
    copies[0] = case.lost * copies[0]
    return np.sum(copies, axis=0)


def blobs(rng: np.random.Generator, long: float, number: int = 10) -> Array:
    """Ten Gaussian blobs (n, n, n) within 106 Å of the middle; in a particle that is `long`, along z."""
    places = np.indices((BOX,) * 3)[::-1] - BOX // 2
    density = np.zeros((BOX,) * 3)
    for _ in range(number):
        direction = rng.normal(size=3)
        at = direction / np.linalg.norm(direction) * np.cbrt(rng.random()) * 0.22 * BOX
        at[:2] /= long
        width, weight = rng.uniform(1.2, 2.5), rng.uniform(0.5, 1.5)
        density += weight * np.exp(-np.square(places - at[:, None, None, None]).sum(0) / (2 * width**2))
    return density


def turned_at_random(density: Array, rng: np.random.Generator) -> Array:
    """The map turned by any rotation."""
    return rotation.turned(density, Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix())


def with_noise(density: Array, resolution: float, rng: np.random.Generator) -> Array:
    """The map with white noise, of which half maps would agree up to `resolution` Å."""
    noise = rng.normal(size=density.shape)
    shell = int(BOX * PIXEL / resolution)
    power, of_noise = (spectra(one, one)[1][shell - 1 : shell + 2].mean() for one in (density, noise))
    return density + noise * np.sqrt(power * (1 - AT_LIMIT) / AT_LIMIT / of_noise)


def _across(rng: np.random.Generator, off: float) -> Array:
    """An axis to turn the map away by; across z where that is far."""
    axis = rng.normal(size=3)
    return axis if off == STEP else np.array([axis[0], axis[1], 0])


def _words(case: Case) -> Iterator[str]:
    if case.resolution != 40:
        yield f"{case.resolution:g} Å"
    if case.claimed != 1:
        yield f"claimed to be {case.resolution * case.claimed:g} Å"
    if case.off != STEP:
        yield f"axis {case.off:g}° off"
    if case.lost != 1:
        yield "one subunit missing" if not case.lost else "one subunit half there"
    if case.long != 1:
        yield "long"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
