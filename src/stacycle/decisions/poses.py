"""Whether a step made the poses better: half maps of the same particles with the poses before and after it."""

from __future__ import annotations

import pandas as pd

from stacycle.decisions.decision import BEFORE, Decision
from stacycle.decisions.half_maps import Comparison

AFTER = "after"
SURE = 2.0  # standard errors by which the poses before have to be better (docs/decisions-evidence.md)


def kept_poses(found: Comparison[str], choice: str = "auto", key: str = "refine3d.poses") -> Decision:
    """The poses to go on with: those after the step, unless those before it are better for sure."""
    gain = found.area(AFTER) - found.area(BEFORE)
    errors = found.errors(gain)
    kept = BEFORE if errors < -SURE else AFTER
    numbers = (
        f"from {found.resolution(BEFORE):.4g} to {found.resolution(AFTER):.4g} Å, the integral of the FSC by "
        f"{gain:+.2f} of {found.shells} shells, {errors:+.1f} standard errors"
    )
    said = "Rolled back: the poses before were better" if kept == BEFORE else "The poses after are kept"
    rule = f"{said}: {numbers}."
    warnings = [rule] if kept == BEFORE else []
    if choice != "auto":
        kept, rule, warnings = choice, f"The config asks for those {choice} ({key}); the rule: {rule}", []
    table = pd.DataFrame(
        {
            "poses": name,
            "resolution": found.resolution(name),
            "area": found.area(name),
            "errors": errors if name == AFTER else -errors,
            "kept": name == kept,
        }
        for name in (BEFORE, AFTER)
    )
    by_rule = choice == "auto"
    numbers_of_kept = {"resolution": found.resolution(kept)}
    return Decision(
        "Poses", {"poses": kept}, "rule" if by_rule else "config", rule, table, warnings, numbers_of_kept
    )
