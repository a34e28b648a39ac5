"""Which hand its tilt series (rlnTomoHand) have: with the wrong sign of the defocus gradient, the CTFs of particles far
from the tilt axis or high in the tomogram are wrong, and half maps agree less at high resolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.decisions.agreement import shell_sizes, spectra
from stacycle.decisions.decision import Decision
from stacycle.decisions.mask import distance

THRESHOLD = 0.143
BEYOND = (
    1.25  # x the finest resolution is compared to: signal goes on below the threshold, farther out is noise
)
SURE = 3.0  # standard errors by which one hand has to be better (docs/decisions-evidence.md)
_WIDE = 1.2  # x the particle's diameter is the sphere that is compared
_EDGE = 0.1  # of that sphere's radius is its soft edge
MIRRORED = (
    "No FSC tells whether the map is the particle or its mirror image: from about 8 Å on look for alpha helices, which "
    "are right-handed. If they are left-handed, turn the tilt axis by 180 degrees where the tilt series were aligned, "
    "and change the hand."
)

Array = NDArray[np.floating]
HalfMaps = tuple[Array, Array]  # (n, n, n) each


@dataclass(frozen=True)
class Comparison:
    """How the half maps of two hands agree within a sphere: `fsc` (shells) of each hand, in a box of `extent` Å, and
    the `error` (shells), one standard error of their difference."""

    fsc: Mapping[int, Array]
    error: Array
    extent: float

    def reached(self, hand: int) -> int:
        """The last shell before the FSC falls below the threshold for the first time; 0 if there is none."""
        below = np.flatnonzero(self.fsc[hand][1:] < THRESHOLD)
        return int(below[0]) if len(below) else len(self.fsc[hand]) - 1

    @property
    def shells(self) -> int:
        """How many shells, from 1 on, are compared."""
        farthest = max(1, *(round(BEYOND * self.reached(hand)) for hand in self.fsc))
        return min(farthest, len(self.error) - 1)

    def area(self, hand: int) -> float:
        """Integral of the FSC over these shells, in shells."""
        return float(self.fsc[hand][1 : self.shells + 1].sum())


def compare(halves: Mapping[int, HalfMaps], pixel: float, diameter: float) -> Comparison:
    """Compare the half maps (n, n, n) of `pixel` Å of two hands, within a soft sphere around a particle (Å).

    The noise of the two is nearly the same, as they are made of the same images; by how much is seen in the differences
    of the half maps, and the error is that of the rest.
    """
    mask = _sphere(len(next(iter(halves.values()))[0]), pixel, diameter)
    fsc = {hand: _correlation(first * mask, second * mask) for hand, (first, second) in halves.items()}
    noise = _correlation(*((first - second) * mask for first, second in halves.values()))
    values = np.maximum(shell_sizes(len(mask)) * (mask**2).mean(), 1)
    mean = np.clip(sum(fsc.values()) / len(fsc), 0, 1)
    # Of noise in two half maps of one signal, to second order: terms of one noise are alike by `noise`, products by its
    # square.
    products, single = (1 + mean**2) * (1 - noise**2), 2 * mean * (1 - mean) * (1 - noise)
    variance = 2 * (1 - mean) ** 2 * (products + single) / values
    return Comparison(fsc, np.sqrt(np.maximum(variance, 0)), len(mask) * pixel)


def hand_of_set(
    name: str, found: Comparison, before: int, choice: int | str = "auto", key: str = "hand.choose"
) -> Decision:
    """The hand of a set; `before` is the one so far, which it keeps where neither is better for sure."""
    better = max(found.fsc, key=found.area)
    gain = found.area(better) - found.area(-better)
    errors = gain / max(sqrt(float((found.error[1 : found.shells + 1] ** 2).sum())), 1e-12)
    is_sure = errors > SURE
    numbers = (
        f"the integral of its FSC is {gain:.2f} of {found.shells} shells more, {errors:.1f} standard errors"
    )
    rule = f"{name}: {better:+d} is better: {numbers}."
    kept, warnings = (better if is_sure else before), []
    resolutions = {hand: found.extent / n if (n := found.reached(hand)) else inf for hand in found.fsc}
    if not is_sure:
        rule = f"{name}: stays {before:+d}, as neither is better for sure ({better:+d}: {numbers})."
        warnings = [
            f"{name}: at {resolutions[better]:.3g} Å its data do not tell the hand, which stays {before:+d} "
            f"({SURE:g} standard errors would do): a later round may tell it, or set it."
        ]
    if choice != "auto":
        kept, rule = int(choice), f"The config asks for {choice:+d} ({key}); the rule: {rule}"
    table = pd.DataFrame(
        {
            "set": name,
            "hand": hand,
            "resolution": resolutions[hand],
            "area": found.area(hand),
            "errors": errors if hand == better else -errors,
            "kept": hand == kept,
        }
        for hand in found.fsc
    )
    by_rule = choice == "auto"
    return Decision(
        "Hand", {name: kept}, "rule" if by_rule else "config", rule, table, warnings if by_rule else []
    )


def _sphere(n: int, pixel: float, diameter: float) -> Array:
    """A soft sphere (n, n, n) around a particle of `diameter` Å."""
    radius = min(_WIDE * diameter / 2 / pixel, n / 2 - 1)
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((distance(n) / radius - 1) / _EDGE + 1, 0, 1))


def _correlation(a: Array, b: Array) -> Array:
    """The FSC of two maps (n, n, n), shells 0 .. n // 2."""
    cross, of_a, of_b = spectra(a, b)
    return cross / np.sqrt(np.maximum(of_a * of_b, 1e-30))
