"""Which particles have come to lie on one place, and which of them stays: the one of the best quality.

Particles of oversampled picks move to the same density when they are aligned. Two of one place count twice in the
average; one in each half set, they make the FSC look better than it is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.decisions.decision import Decision
from stacycle.files.star_labels import CENTRED, ORIGINS, PARTICLE_NAME, SUBSET, TURNS
from stacycle.provenance.particles import best_first, near_pairs, one_of_each, quality

SCORE = "score"  # the column that `score` of a round tells; then RELION's own, of the last alignment
QUALITIES = (SCORE, "rlnMaxValueProbDistribution", "rlnLogLikeliContribution")
_LEAST, _MOST = (
    0.1,
    0.5,
)  # x the diameter is auto: nearer, two are one in any lattice; farther, they need not overlap
_WIDE = 1.25  # from 1/1.25 to 1.25 of a distance are the pairs that lie at it
_BINS = 25  # of the histogram of distances
MANY = 0.7  # of the particles: more are not left out without a warning
_UNEVEN = 0.8  # x the larger half set is the smaller one, at least

Distance = float | Literal["auto"]


@dataclass(frozen=True)
class Removal:
    """What a decision does: `removed` has a row for each particle that is left out, with the one that stays for it;
    `stays` (n, bool) is of all particles."""

    decision: Decision
    removed: pd.DataFrame
    stays: NDArray[np.bool_]


def remove_duplicates(
    particles: pd.DataFrame, *, diameter: float, least: float, wanted: Distance, key: str
) -> Removal:
    """Of particles of one tomogram that are nearer than a distance, measured between coordinates less origins, keep the
    best by the first of `QUALITIES` that all have, else the first.

    `wanted` is the config's `key`: a distance in Å, or "auto", which is at least `least` Å and a tenth of the
    `diameter` (Å), and at most half of it.
    """
    largest = _MOST * diameter
    least = min(max(least, _LEAST * diameter), largest)
    reach = _WIDE * max(largest, least, 0 if wanted == "auto" else wanted)
    labels = [label for label in ("rlnTomoName", *CENTRED, *ORIGINS, *TURNS) if label in particles]
    pairs, apart = near_pairs({label: particles[label].to_list() for label in labels}, reach)
    distance = emptiest(apart, least, largest) if wanted == "auto" else float(wanted)
    told = quality({label: particles[label] for label in QUALITIES if label in particles}, QUALITIES)
    near = pairs[apart < distance]
    order = best_first(told[1]) if told else range(len(particles))
    stays_for = one_of_each(near, order)
    stays = stays_for == np.arange(len(particles))
    removed = _removed(particles, stays_for, pairs, apart, told)
    counts = {"distance": round(distance, 2), "removed": int((~stays).sum()), "kept": int(stays.sum())}
    decision = Decision(
        question="Duplicates",
        choice=counts,
        by="rule" if wanted == "auto" else "config",
        reason=_reason(counts, wanted, largest, told[0] if told else "", key),
        candidates=_histogram(particles, pairs, apart, reach),
        warnings=_warnings(particles, stays, counts, key),
        numbers=_numbers(particles, stays, removed),
    )
    return Removal(decision, removed, stays)


def emptiest(apart: NDArray[np.floating], least: float, largest: float) -> float:
    """The distance from `least` to `largest` (Å) at which the fewest of the pairs lie that are `apart` (Å), per area as
    on a membrane; of several with none the largest.

    Particles that came to one place are as near as positions are accurate, neighbours as far as they fit; between the
    two lie few.
    """
    distances = np.geomspace(least, largest, 1 + max(1, round(np.log(max(largest / least, 1.01)) / 0.05)))
    ordered = np.sort(apart)
    below = np.searchsorted(ordered, distances / _WIDE)
    density = (np.searchsorted(ordered, distances * _WIDE) - below) / distances**2
    return float(distances[np.flatnonzero(density == density.min())[-1]])


def _removed(
    particles: pd.DataFrame,
    stays_for: NDArray[np.int_],
    pairs: NDArray[np.int_],
    apart: NDArray[np.floating],
    told: tuple[str, NDArray[np.floating]] | None,
) -> pd.DataFrame:
    """A row for each particle that is left out: name, tomogram, the one that stays for it, how far apart they are (Å),
    their half sets and qualities."""
    gone = np.flatnonzero(stays_for != np.arange(len(particles)))
    kept = stays_for[gone]
    keys = pairs[:, 0] * len(particles) + pairs[:, 1]  # ascending by the later, then the earlier: sorted here
    order = np.argsort(keys)
    wanted = np.minimum(gone, kept) * len(particles) + np.maximum(gone, kept)
    table = pd.DataFrame({"tomogram": particles["rlnTomoName"].to_numpy()[gone]})
    table["distance"] = apart[order][np.searchsorted(keys[order], wanted)].round(3)
    for which, rows in (("removed", gone), ("kept", kept)):
        names = particles[PARTICLE_NAME].to_numpy()[rows] if PARTICLE_NAME in particles else rows + 1
        table[f"{which}_particle"] = names
        if SUBSET in particles:
            table[f"{which}_half"] = particles[SUBSET].to_numpy(int)[rows]
        if told:
            table[f"{which}_{told[0]}"] = told[1][rows]
    return table


def _histogram(
    particles: pd.DataFrame, pairs: NDArray[np.int_], apart: NDArray[np.floating], reach: float
) -> pd.DataFrame:
    """How many pairs lie how far apart (Å), and how many of these are in both half sets."""
    edges = np.linspace(0, reach, _BINS + 1)
    table = pd.DataFrame({"from": edges[:-1].round(2), "to": edges[1:].round(2)})
    table["pairs"] = np.histogram(apart, edges)[0]
    if SUBSET in particles:
        half = particles[SUBSET].to_numpy(int)
        table["in both halves"] = np.histogram(apart[half[pairs[:, 0]] != half[pairs[:, 1]]], edges)[0]
    return table


def _numbers(particles: pd.DataFrame, stays: NDArray[np.bool_], removed: pd.DataFrame) -> dict[str, float]:
    numbers: dict[str, float] = {"particles": int(stays.sum()), "rejected": int((~stays).sum())}
    if SUBSET in particles:
        numbers["in_both"] = int((removed["removed_half"] != removed["kept_half"]).sum())
        numbers |= {f"half{half}": number for half, number in _halves(particles[stays]).items()}
    return numbers


def _halves(particles: pd.DataFrame) -> dict[int, int]:
    found = Counter(particles[SUBSET].astype(int))
    return {half: found[half] for half in (1, 2)}


def _reason(counts: dict[str, float], wanted: Distance, largest: float, label: str, key: str) -> str:
    """Why so many are left out."""
    distance = counts["distance"]
    if wanted != "auto":
        said = f"The config asks for it ({key})"
    elif distance > 0.99 * largest:
        said = "Half of the diameter, as no neighbours are nearer"
    else:
        said = f"Up to half of the diameter ({largest:g} Å), fewest pairs are so far apart"
    if not counts["removed"]:
        return f"{said}: no particle lies nearer than {distance:.3g} Å to another, and none is left out."
    by = f"the one with the higher {label}" if label else "the first, as nothing tells which is better,"
    all_ = counts["removed"] + counts["kept"]
    return (
        f"{said}: {counts['removed']} of {all_} particles lie nearer than {distance:.3g} Å to one that stays; of those "
        f"on one place {by} is kept."
    )


def _warnings(
    particles: pd.DataFrame, stays: NDArray[np.bool_], counts: dict[str, float], key: str
) -> list[str]:
    found = []
    if (share := 1 - stays.mean()) > MANY:
        found.append(
            f"{share:.0%} of the particles are left out as duplicates: look at the histogram of distances, and set "
            f"{key} if neighbours are nearer than {counts['distance']:.3g} Å."
        )
    if SUBSET in particles:
        before, after = _halves(particles), _halves(particles[stays])
        if _evenness(after) < _UNEVEN <= _evenness(before):
            sizes = " and ".join(str(number) for number in after.values())
            found.append(
                f"The half sets have {sizes} particles without duplicates: no longer about the same."
            )
    return found


def _evenness(halves: dict[int, int]) -> float:
    return min(halves.values()) / max(1, *halves.values())
