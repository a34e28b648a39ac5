"""Which variant of a sweep over T to continue from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite, nan

import numpy as np
import pandas as pd

from stacycle.decisions.classes import passes, with_quality
from stacycle.decisions.decision import By, Decision, check_override
from stacycle.errors import UserError

SEPARATES = 0.01  # of the particles: less is nothing
TUTORIAL_T = 1.0
LOCKED = 0.15  # of the particles: fewer than this changing class since the random start is no classification


@dataclass(frozen=True)
class Variant:
    """One run of a sweep: its folder's name, T, and classes (`with_agreement`) at its chosen iteration.
    `moved` is the fraction of particles that have changed class since the random start (`relion_output.moved`)."""

    name: str
    T: float
    classes: pd.DataFrame
    moved: float = nan


@dataclass(frozen=True)
class Alignment:
    """One run of a K=1 sweep: its folder's name, T, and what was reached at its chosen iteration.
    `resolution` (Å) is that of SSNR / T = 1 (`relion_output.resolution_at_unit_T`)."""

    name: str
    T: float
    resolution: float
    accuracy_rotations: float = nan


def separation(classes: pd.DataFrame) -> float:
    """Junk removed less good particles lost, as a fraction of all particles, as far as the maps can tell.

    The sum of n / N x (1 - 2 likeness) over the classes that `choose_classes` would reject: a class of
    nothing but junk (likeness 0) counts for its size, one that is half good for nothing. 0 if no class is
    rejected: a finer resolution or a spread among good classes does not raise it.
    """
    table = with_quality(classes)
    like = table["likeness"] if "likeness" in table else table["quality"]
    share = table["n"] / max(1, table["n"].sum())
    return float((share * (1 - 2 * like))[~passes(table)].sum())


def class3d_variant(
    variants: Sequence[Variant], choice: str = "auto", key: str = "class3d.variant"
) -> Decision:
    """The variant that separates best. If none separates, the one whose T is nearest to the tutorial's 1.

    Never by resolution: the finest of a sweep belongs to the overfitted run of highest T. Never a run that left
    the particles in their random classes, if another has not. UserError if there is no variant, or if the config names
    one that does not exist.
    """
    table = pd.DataFrame([_row(variant) for variant in variants])
    by_config = _pick(table, choice, key)
    locked = table["moved"] < LOCKED
    free = table if locked.all() else table[~locked]
    by: By = "config" if by_config else "rule"
    warnings = []
    if by_config:
        chosen, reason = by_config, f"The config asks for {by_config} ({key})."
    elif free["separation"].max() >= SEPARATES:
        best = free.iloc[int(np.argmax(free["separation"]))]
        chosen = best["variant"]
        unlike = f"{best['rejected']} particles are in classes unlike the consensus"
        reason = f"{chosen} separates best: {unlike} (separation {best['separation']:.2f})."
    else:
        chosen = _nearest_to_tutorial(free)
        reason = f"No variant separates good classes from bad; {chosen} has the T nearest to the tutorial's."
        warnings.append(
            "No variant separated anything: if there is junk, add a smaller T to the sweep, or fewer classes."
        )
    if locked.all() or locked[table["variant"] == chosen].any():
        moved = table.loc[table["variant"] == chosen, "moved"].iloc[0]
        warnings.append(
            f"In {chosen} only {moved:.0%} of the particles left the class that chance gave them at the start"
            f"{', as in all runs' if len(table) > 1 and locked.all() else ''}: T is too large for so few particles, or "
            "the random classes were unlucky (repeats)."
        )
    return Decision(
        question="Variant",
        choice={"variant": chosen},
        by=by,
        reason=reason,
        candidates=table.assign(chosen=table["variant"] == chosen),
        warnings=warnings,
    )


def align_variant(runs: Sequence[Alignment], choice: str = "auto", key: str = "align.variant") -> Decision:
    """The alignment whose T is nearest to the tutorial's 1; of two as near, the lower.

    Nothing that RELION writes tells which T gave the better poses: resolution, accuracies, Pmax and likelihood
    grow with T while the poses do not (docs/decisions-evidence.md). UserError if there is no run, or if the config
    names one that does not exist.
    """
    table = pd.DataFrame([asdict(run) for run in runs]).rename(columns={"name": "variant"})
    by_config = _pick(table, choice, key)
    chosen = by_config or _nearest_to_tutorial(table)
    if by_config:
        reason = f"The config asks for {chosen} ({key})."
    elif len(table) == 1:
        reason = f"{chosen} is the only variant."
    else:
        reason = f"{chosen} has the T nearest to the tutorial's; a larger T only looks better (resolution, accuracy)."
    return Decision(
        question="Variant",
        choice={"variant": chosen},
        by="config" if by_config else "rule",
        reason=reason,
        candidates=table.assign(chosen=table["variant"] == chosen),
    )


def _nearest_to_tutorial(table: pd.DataFrame) -> str:
    ordered = table.sort_values("T")
    return ordered["variant"].iloc[int(np.argmin(np.abs(np.log(ordered["T"] / TUTORIAL_T)).round(6)))]


def _pick(table: pd.DataFrame, choice: str, key: str) -> str | None:
    """The config's variant, checked; None if the rule is to choose."""
    if table.empty:
        raise UserError(f"{key}: there is no run to choose from", "name at least one T")
    if choice == "auto":
        return None
    check_override(key, choice, list(table["variant"]), "variant")
    return choice


def _row(variant: Variant) -> dict[str, object]:
    kept = passes(with_quality(variant.classes))
    n = variant.classes["n"]
    finite = [r for r in variant.classes["resolution"] if isfinite(r)]
    return {
        "variant": variant.name,
        "T": variant.T,
        "separation": separation(variant.classes),
        "kept": int(n[kept].sum()),
        "rejected": int(n[~kept].sum()),
        "moved": variant.moved,
        "finest resolution": min(finite, default=nan),
    }
