"""Which iteration to go on from: the first of the plateau in resolution (align) or in changing classes (class3d)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite, nan
from typing import Literal

import numpy as np
import pandas as pd

from stacycle.decisions.decision import Decision, check_override
from stacycle.errors import UserError
from stacycle.runs import Iteration

HELD = 3  # iterations in a row that a resolution must hold; one good iteration may be chance
LEVEL = 5  # iterations whose median is a level of changing classes
TOLERANCE = 0.05  # relative, above the lowest level

Choice = int | Literal["auto"]


def align_iteration(run: Sequence[Iteration], choice: Choice = "auto", key: str = "align.iteration") -> Decision:
    """The first iteration of the finest resolution that was held for three iterations (or to the end, for two).

    Iterations 0 and 1 count only if there is nothing else: the one has no resolution, the other's comes from
    cross-correlation with the starting map. UserError if the run left no complete iteration or lacks `choice`.
    """
    run = _complete(run, key)
    if choice != "auto":
        return _by_config(run, choice, key, "resolution")
    candidates = _past_first(run)
    frequency = np.array([1 / it.resolution for it in candidates])  # of an inf: 0
    held = [
        frequency[i : i + HELD].min() for i in range(len(candidates)) if i + 2 <= len(candidates) or i == 0
    ]
    first = int(np.argmax(held))
    chosen = candidates[first]
    if frequency.max() == 0:
        chosen = candidates[-1]
        reason = "No iteration reached any resolution, so the last was taken."
        warnings = [
            f"The alignment reached no resolution in {run[-1].number} iterations: check that the contrast and the "
            "angles of the picks are right, and try a larger T."
        ]
        return _decision(run, chosen, "rule", reason, warnings, "resolution")
    reason = (
        f"Iteration {chosen.number} is the first of {_span(candidates, frequency, first)} at {chosen.resolution:.2f} Å, "
        "the finest resolution that was held."
    )
    warnings = []
    if len(candidates) > HELD and (first >= len(candidates) - 2 or frequency[-1] > frequency[first]):
        warnings.append("The resolution was still improving when the run ended: more iterations may help.")
    if frequency[-1] < frequency[first]:
        warnings.append(
            f"The resolution got worse after iteration {chosen.number} (last: {candidates[-1].resolution:.2f} Å)."
        )
    return _decision(run, chosen, "rule", reason, warnings, "resolution")


def class3d_iteration(run: Sequence[Iteration], choice: Choice = "auto", key: str = "class3d.iteration") -> Decision:
    """The first iteration whose changing classes are as few as in the quietest stretch of the run.

    The level of a stretch is the median of five iterations in a row. Iterations 0 and 1 have no changes to go by.
    UserError if the run left no complete iteration or lacks `choice`.
    """
    run = _complete(run, key)
    if choice != "auto":
        return _by_config(run, choice, key, "changed_classes")
    candidates = [it for it in run if isfinite(it.changed_classes)]
    if not candidates:
        reason = "The run says nothing of changing classes, so its last iteration was taken."
        return _decision(run, run[-1], "rule", reason, [], "changed_classes")
    changes = np.array([it.changed_classes for it in candidates])
    width = min(LEVEL, len(changes))
    levels = np.median(np.lib.stride_tricks.sliding_window_view(changes, width), axis=1)
    first = int(np.argmax(changes <= levels.min() * (1 + TOLERANCE)))
    chosen = candidates[first]
    reason = (
        f"Iteration {chosen.number} is the first where the changes of class have come down to their lowest level "
        f"({chosen.changed_classes:.2%} of the particles change; level {levels.min():.2%})."
    )
    warnings = []
    if levels.min() > 0.05:
        warnings.append(
            f"The classes did not settle: {levels.min():.0%} of the particles still change class in each iteration; "
            "more iterations, fewer classes or a lower T may help."
        )
    elif first >= len(changes) - 2 and len(changes) > 2:
        warnings.append("The changes of class were still falling when the run ended: more iterations may help.")
    if np.median(changes[-width:]) > 2 * levels.min() + TOLERANCE / 10:
        warnings.append(f"More particles change class again after iteration {chosen.number}.")
    return _decision(run, chosen, "rule", reason, warnings, "changed_classes")


def _complete(run: Sequence[Iteration], key: str) -> list[Iteration]:
    if not run:
        raise UserError(f"{key}: the run left no complete iteration; look at the log of its step.")
    return list(run)


def _past_first(run: list[Iteration]) -> list[Iteration]:
    return [it for it in run if it.number > 1] or run[-1:]


def _by_config(run: list[Iteration], wanted: int, key: str, judged_by: str) -> Decision:
    check_override(key, wanted, [it.number for it in run], "iteration")
    chosen = next(it for it in run if it.number == wanted)
    return _decision(run, chosen, "config", f"The config asks for iteration {wanted} ({key}).", [], judged_by)


def _span(candidates: list[Iteration], frequency: np.ndarray, first: int) -> str:
    length = int(np.argmax(np.append(frequency[first:] < frequency[first], True)))
    return f"{length} in a row" if length > 1 else "the run"


def _decision(
    run: list[Iteration],
    chosen: Iteration,
    by: Literal["rule", "config"],
    reason: str,
    warnings: list[str],
    judged_by: str,
) -> Decision:
    columns = ["number", judged_by, "accuracy_rotations", "accuracy_translations", "pmax"]
    table = pd.DataFrame([asdict(it) for it in run])[columns].rename(columns={"number": "iteration"})
    table["chosen"] = table["iteration"] == chosen.number
    return Decision(
        question="Iteration",
        choice={"iteration": chosen.number},
        by=by,
        reason=reason,
        candidates=table,
        warnings=warnings,
        numbers={"resolution": chosen.resolution if isfinite(chosen.resolution) else nan},
    )
