"""The runs of a sweep over T and K: one per value and repeat, named in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The settings that tell them.
SWEPT = ("T", "classes", "repeats")


def variant(tau: float, classes: int | None = None, repeat: int = 1) -> str:
    """Folder name of one variant of a sweep: `T0.5_K6`, `T0.5_K6_run2`, or `T1` for an alignment to one reference."""
    named = f"T{tau:g}" + (f"_K{classes}" if classes is not None else "")
    return named + (f"_run{repeat}" if repeat > 1 else "")


def variants(settings: Mapping[str, Any]) -> dict[str, list[float]]:
    """Folder name -> [T, number of classes] of a class3d or align sweep, in the order of the config, from the second
    repeat on with its number. `T` and `classes` are each one number or a list; without `classes` the sweep is an
    alignment, K = 1."""
    taus, counts = _listed(settings["T"]), _listed(settings.get("classes"))
    repeats = range(1, settings.get("repeats", 1) + 1)
    return {
        variant(T, K, repeat): [T, K or 1, repeat][: 2 if repeat == 1 else 3]
        for T in taus
        for K in counts
        for repeat in repeats
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# A map of one's own is aligned to with so many iterations, filtered to so many Å.
GIVEN_ITERATIONS = 4
GIVEN_LOWPASS = 50
HANDS = ("given", "mirrored")


def models(settings: Mapping[str, Any]) -> dict[str, int]:
    """Folder name -> random seed of the models of an initial_model; of a map of one's own, of each of its hands."""
    first = settings["seed"]
    if settings.get("reference"):
        return dict.fromkeys(HANDS, first)
    return {f"seed{number}": number for number in range(first, first + settings["seeds"])}


def model_iterations(settings: Mapping[str, Any]) -> int:
    """The number of iterations of each of these."""
    return GIVEN_ITERATIONS if settings.get("reference") else int(settings["iterations"])
