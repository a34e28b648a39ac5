"""Which hand its tilt series (rlnTomoHand) have: with the wrong sign of the defocus gradient, the CTFs of particles far
from the tilt axis or high in the tomogram are wrong, and half maps agree less at high resolution.
"""

from __future__ import annotations

import pandas as pd

from stacycle.decisions.decision import Decision
from stacycle.decisions.half_maps import Comparison

SURE = 3.0  # standard errors by which one hand has to be better (docs/decisions-evidence.md)
MIRRORED = (
    "No FSC tells whether the map is the particle or its mirror image: from about 8 Å on look for alpha helices, which "
    "are right-handed. If they are left-handed, turn the tilt axis by 180 degrees where the tilt series were aligned, "
    "and change the hand."
)


def hand_of_set(
    name: str, found: Comparison[int], before: int, choice: int | str = "auto", key: str = "hand.choose"
) -> Decision:
    """The hand of a set; `before` is the one so far, which it keeps where neither is better for sure."""
    better = max(found.fsc, key=found.area)
    gain = found.area(better) - found.area(-better)
    errors = found.errors(gain)
    is_sure = errors > SURE
    numbers = (
        f"the integral of its FSC is {gain:.2f} of {found.shells} shells more, {errors:.1f} standard errors"
    )
    rule = f"{name}: {better:+d} is better: {numbers}."
    kept, warnings = (better if is_sure else before), []
    resolutions = {hand: found.resolution(hand) for hand in found.fsc}
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
