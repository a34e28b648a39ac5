"""Which iteration to continue from: the first of the plateau in resolution (align) or in changing classes (class3d)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite, nan
from typing import Literal

import numpy as np
import pandas as pd

from stacycle.decisions.decision import By, Decision, check_override
from stacycle.errors import UserError
from stacycle.files.relion_output import Iteration

HELD = 3  # iterations in a row that a resolution must hold; one good iteration may be chance
LEVEL = 5  # iterations in a row whose upper quartile is a level of changing classes
TOLERANCE = 0.05  # relative, above the level of the quietest stretch
NONE = 0.005  # of the particles: a level at which so few change class is as good as one without changes
DRIFT = 0.05  # of the particles may have another class than in the last iteration
UNSETTLED = 0.05  # of the particles: classes at whose level more change in each iteration have not settled
AGAIN = 0.005  # of the particles, above twice the level: changes that come back after it

Choice = int | Literal["auto"]


def align_iteration(
    run: Sequence[Iteration], choice: Choice = "auto", key: str = "align.iteration"
) -> Decision:
    """The first iteration of the finest resolution that was held for three iterations (or to the end, for two).

    Iterations 0 and 1 count only if there is nothing else: the one has no resolution, that of the other comes from
    cross-correlation with the starting map. UserError if the run left no complete iteration or lacks `choice`.
    """
    run = _complete(run, key)
    if choice != "auto":
        return _by_config(run, choice, key, "resolution")
    candidates = [it for it in run if it.number > 1] or run[-1:]
    frequency = np.array([1 / it.resolution for it in candidates])  # of an inf: 0
    if frequency.max() == 0:
        warning = (
            f"The alignment reached no resolution in {run[-1].number} iterations: check that the "
            "contrast and the angles of the picks are right, and try a larger T."
        )
        reason = "No iteration reached any resolution, so the last was taken."
        return _decision(run, candidates[-1], reason, [warning], "resolution")
    starts = range(max(1, len(candidates) - 1))  # the last alone holds nothing
    first = int(np.argmax([frequency[i : i + HELD].min() for i in starts]))
    chosen, last = candidates[first], candidates[-1]
    finest = f"{chosen.resolution:.2f} Å, the finest resolution that was held"
    reason = f"Iteration {chosen.number} is the first at {finest}."
    warnings = []
    if len(candidates) > HELD and (first == len(candidates) - 2 or frequency[-1] > frequency[first]):
        warnings.append("The resolution was still improving when the run ended: more iterations may help.")
    if frequency[-1] < frequency[first]:
        worse = f"{last.resolution:.2f} Å at the end"
        warnings.append(f"The resolution got worse after iteration {chosen.number}: {worse}.")
    return _decision(run, chosen, reason, warnings, "resolution")


def class3d_iteration(
    run: Sequence[Iteration],
    choice: Choice = "auto",
    key: str = "class3d.iteration",
    unlike_last: Mapping[int, float] | None = None,
) -> Decision:
    """The first iteration whose changing classes are as few as in the quietest stretch of the run.

    The level of a stretch is the upper quartile of five iterations in a row; below `NONE` there are no differences.
    Iterations 0 and 1 have no changes to go by. `unlike_last` (`relion_output.unlike_last`) separates flicker from
    drift: few changes in each iteration can still add up, so the iteration must also have nearly the classes of the
    last. UserError if the run left no complete iteration or lacks `choice`.
    """
    run = _complete(run, key)
    if choice != "auto":
        return _by_config(run, choice, key, "changed_classes")
    candidates = [it for it in run if isfinite(it.changed_classes)]
    if not candidates:
        reason = "The run says nothing of changing classes, so its last iteration was taken."
        return _decision(run, run[-1], reason, [], "changed_classes")
    changes = np.array([it.changed_classes for it in candidates])
    levels = _levels(changes)
    level = float(levels.min())
    quiet = np.flatnonzero(_are_few(changes, level))
    drift, drifts = unlike_last or {}, max(DRIFT, 2 * level)
    in_order = (
        *quiet,
        *range(len(candidates)),
    )  # looked at one by one: each takes the reading of its classes
    first = next((i for i in in_order if drift.get(candidates[i].number, 0.0) <= drifts), 0)
    chosen = candidates[first]
    reason = (
        f"Iteration {chosen.number} is the first where the changes of class have come down to their level "
        f"({chosen.changed_classes:.2%} of the particles; quietest stretch: {level:.2%})."
    )
    warnings = []
    if level > UNSETTLED:
        warnings.append(
            f"The classes did not settle: {level:.0%} of the particles change class in each iteration; more "
            "iterations, fewer classes or a lower T may help."
        )
    elif len(changes) > 2 and first >= len(changes) - 2:
        warnings.append("The classes were still changing when the run ended: more iterations may help.")
    if levels[-1] > 2 * level + AGAIN:
        warnings.append(f"More particles change class again after iteration {chosen.number}.")
    return _decision(run, chosen, reason, warnings, "changed_classes")


def is_quiet(run: Sequence[Iteration]) -> bool:
    """Whether the classes of a run's particles have settled: next to none change in its last five iterations."""
    changes = np.array([it.changed_classes for it in run if isfinite(it.changed_classes)])
    return len(changes) >= LEVEL and bool(_levels(changes)[-1] <= NONE)


def class3d_leeway(run: Sequence[Iteration], unlike_last: Mapping[int, float]) -> float:
    """The fraction of a quiet run's particles that can be in other classes after more iterations than they are now
    without that `class3d_iteration` chooses another one.

    Its level is at most `NONE`, so a lower one would make no difference: which iterations have few enough changes does
    not change any more, and the first of them that has nearly the classes of the last is chosen. So it would take that
    the chosen one is as far from a later one as `DRIFT`, or one before it as near.
    """
    few = [it.number for it in run if _are_few(np.array(it.changed_classes), NONE)]  # nan: not
    least = 1.0
    for number in few:
        if (drift := unlike_last[number]) <= DRIFT:
            return min(least, DRIFT - drift)
        least = min(least, drift - DRIFT)
    return 0.0


def _levels(changes: np.ndarray) -> np.ndarray:
    """The level of each stretch of changes, in order."""
    stretches = np.lib.stride_tricks.sliding_window_view(changes, min(LEVEL, len(changes)))
    return np.percentile(stretches, 75, axis=1)


def _are_few(changes: np.ndarray, level: float) -> np.ndarray:
    """Which changes are as few as at this level."""
    return np.asarray(changes <= max(level, NONE) * (1 + TOLERANCE))


def _complete(run: Sequence[Iteration], key: str) -> list[Iteration]:
    if not run:
        raise UserError(f"{key}: the run left no complete iteration", "look at the log of its step")
    return list(run)


def _by_config(run: list[Iteration], wanted: int, key: str, judged_by: str) -> Decision:
    check_override(key, wanted, [it.number for it in run], "iteration")
    chosen = next(it for it in run if it.number == wanted)
    reason = f"The config asks for iteration {wanted} ({key})."
    return _decision(run, chosen, reason, [], judged_by, "config")


def _decision(
    run: list[Iteration], chosen: Iteration, reason: str, warnings: list[str], judged_by: str, by: By = "rule"
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
