"""The first search of a round for poses, for picks without angles: what it begins with, and how far it goes."""

from __future__ import annotations

from collections.abc import Sequence

INITIAL_MODEL = "initial_model"
NEARBY = 4  # degrees, the tutorial's: template matching gives good angles


def begun_with_model(steps: Sequence[str]) -> list[str]:
    """The steps of a round with `initial_model` before `align`, in the place of a `reconstruct` that stands there: an
    average of picks without angles shows nothing. Without `align`, after `extract`."""
    found = list(steps)
    if INITIAL_MODEL in found or "extract" not in found:
        return found
    place = found.index("align") if "align" in found else found.index("extract") + 1
    if "reconstruct" in found[:place]:
        found[found.index("reconstruct")] = INITIAL_MODEL
    else:
        found.insert(place, INITIAL_MODEL)
    return found


def local_range(steps: Sequence[str]) -> float | None:
    """What `auto` means for the range in degrees of a round's `align`; None searches everywhere."""
    return None if INITIAL_MODEL in steps[: steps.index("align")] else NEARBY
