"""Which classes to keep, and which of them is the best reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from stacycle.decisions.decision import Decision, check_override
from stacycle.errors import UserError

KEEP = 0.5  # quality, of 1
SMALL = 0.2  # of an even share of the particles; a class as small must be better than KEEP_SMALL
KEEP_SMALL = 0.75
LIKE_CONSENSUS = 0.5  # correlation that at least one class must reach
ALIKE = 0.15  # weighted spread of quality below which the classes do not differ


def choose_classes(
    classes: pd.DataFrame, choice: Sequence[int] | Literal["auto"] = "auto", key: str = "select.classes"
) -> Decision:
    """Keep the classes whose `quality` is at least half of the best.

    `classes` is `runs.classes`, better `decisions.with_agreement` of it. UserError if no class passes, or if the
    config names a class that does not exist.
    """
    table = with_quality(classes)
    numbers = [int(k) for k in table["class"]]
    if choice == "auto":
        kept = [int(k) for k in table.loc[_passes(table), "class"]]
        by: Literal["rule", "config"] = "rule"
        if not kept:
            raise UserError(
                f"{key}: none of the {len(table)} classes looks like the consensus of all particles; look at "
                f"classes.png and name the classes to keep, e.g. {key}: [{_largest(table)}]."
            )
        reason = _reason(table, kept)
    else:
        for wanted in choice:
            check_override(key, wanted, numbers, "class")
        if not choice:
            raise UserError(f"{key}: names no class; there {'are' if numbers else 'is'} {numbers}.")
        kept, by = sorted(set(choice)), "config"
        reason = f"The config asks for {_names(kept)} ({key})."
    table["kept"] = table["class"].isin(kept)
    if not table.loc[table["kept"], "n"].sum():
        raise UserError(f"{key}: {_names(kept)} hold no particle at all; look at classes.png.")
    reference = _best_reference(table)
    best = table.set_index("class").loc[reference]
    return Decision(
        question="Classes",
        choice={"classes": kept, "reference_class": reference},
        by=by,
        reason=f"{reason} Class {reference} is the best reference.",
        candidates=table,
        warnings=_warnings(table),
        numbers={
            "particles": int(table.loc[table["kept"], "n"].sum()),
            "rejected": int(table.loc[~table["kept"], "n"].sum()),
            "resolution": float(best["resolution"]) if np.isfinite(best["resolution"]) else np.nan,
        },
    )


def with_quality(classes: pd.DataFrame) -> pd.DataFrame:
    """The table with `quality`, 0..1: agreement with the consensus x accuracy x resolution, each against the best.

    Agreement is correlation x relative amplitude. Accuracy is the worse of the two of RELION (rotations, shifts).
    A resolution counts only if it is finite and more than twice as coarse as the best: at low T the largest and
    best class can have none.
    """
    table = classes.copy()
    members = table["n"] > 0
    quality = members.astype(float)
    if "correlation" in table:
        strongest = max(float(table.loc[members, "amplitude"].max()), 1e-12)
        quality *= table["correlation"].clip(0, 1) * (table["amplitude"] / strongest).clip(0, 1)
    accuracies = [_against_best(table[name], members) for name in ("accuracy_rotations", "accuracy_translations")]
    quality *= pd.concat(accuracies, axis=1).min(axis=1)
    quality *= (2 * _against_best(table["resolution"].replace(np.inf, np.nan), members)).clip(upper=1)
    table["quality"] = quality
    return table


def spread(table: pd.DataFrame) -> float:
    """Standard deviation of quality over the particles: 0 if all classes are alike, near 0.5 if half are junk."""
    weight = table["n"] / max(1, table["n"].sum())
    mean = (weight * table["quality"]).sum()
    return float(np.sqrt((weight * (table["quality"] - mean) ** 2).sum()))


def _against_best(values: pd.Series, members: pd.Series) -> pd.Series:
    """Smallest value of the classes with particles / value; 1 where there is none."""
    return (values[members].min() / values).clip(upper=1).fillna(1.0)


def _passes(table: pd.DataFrame) -> pd.Series:
    if "correlation" in table and table.loc[table["n"] > 0, "correlation"].max() < LIKE_CONSENSUS:
        return pd.Series(False, index=table.index)
    small = table["n"] < SMALL * table["n"].sum() / len(table)
    return (table["n"] > 0) & (table["quality"] >= np.where(small, KEEP_SMALL, KEEP))


def _best_reference(table: pd.DataFrame) -> int:
    """Of the kept classes, the one of highest quality with many particles."""
    kept = table[table["kept"]]
    return int(kept["class"].iloc[int(np.argmax(kept["quality"] * np.sqrt(kept["n"])))])


def _reason(table: pd.DataFrame, kept: list[int]) -> str:
    rejected = [int(k) for k in table["class"] if k not in kept]
    if not rejected:
        return "All classes are kept: none is clearly worse than the others."
    worst = table[table["class"].isin(rejected) & (table["n"] > 0)]
    if worst.empty:
        return f"All particles are kept: {_names(rejected)} hold none."
    best = table[table["class"].isin(kept)]
    said = [
        f"accuracy of {what} {_range(worst[name])} {unit} against {_range(best[name])}"
        for what, name, unit in (
            ("rotations", "accuracy_rotations", "degrees"),
            ("shifts", "accuracy_translations", "Å"),
        )
        if worst[name].notna().any() and worst[name].mean() > best[name].mean()
    ]
    if "correlation" in table:
        said.insert(0, f"correlation with the consensus {_range(worst['correlation'])} against {_range(best['correlation'])}")
    return (
        f"{_names(rejected).capitalize()} ({worst['n'].sum()} of {table['n'].sum()} particles) "
        f"{'is' if len(rejected) == 1 else 'are'} rejected: {'; '.join(said) or 'too few particles'}."
    )


def _warnings(table: pd.DataFrame) -> list[str]:
    warnings = []
    if len(table) > 1 and table["kept"].all() and spread(table) < ALIKE:
        warnings.append(
            "The classes do not differ, so the classification removed nothing; a smaller T, fewer classes or better "
            "poses may separate junk, if there is any."
        )
    rejected = table.loc[~table["kept"], "n"].sum() / max(1, table["n"].sum())
    if rejected > 0.5:
        warnings.append(f"{rejected:.0%} of the particles are rejected: look at classes.png before going on.")
    return warnings


def _names(numbers: list[int]) -> str:
    return ("class " if len(numbers) == 1 else "classes ") + ", ".join(map(str, numbers))


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def _largest(table: pd.DataFrame) -> int:
    return int(table["class"].iloc[int(np.argmax(table["n"]))])
