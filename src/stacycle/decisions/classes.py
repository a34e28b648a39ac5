"""Which classes to keep, and which of them is the best reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from stacycle.decisions.decision import By, Decision, check_override
from stacycle.errors import UserError
from stacycle.recipe.limits import FEWEST_PER_CLASS

KEEP = 0.35  # quality, of 1
SMALL = 0.2  # of an even share of the particles; a class as small must be better than KEEP_SMALL
KEEP_SMALL = 0.75
LIKE_CONSENSUS = 0.5  # correlation that at least one class must reach
MANY_REJECTED = 0.5  # of the particles: more are worth a look


def choose_classes(
    classes: pd.DataFrame, choice: Sequence[int] | Literal["auto"] = "auto", key: str = "select.classes"
) -> Decision:
    """Keep the classes whose `quality` is not far below that of the best.

    `classes` is `relion_output.classes`, better `agreement.with_agreement` of it. UserError if no class passes, or if
    the config names a class that does not exist.
    """
    table = with_quality(classes)
    numbers = [int(k) for k in table["class"]]
    by: By = "rule" if choice == "auto" else "config"
    if choice == "auto":
        kept = [int(k) for k in table.loc[passes(table), "class"]]
        if not kept:
            largest = table["class"].iloc[int(np.argmax(table["n"]))]
            raise UserError(
                f"{key}: none of the {len(table)} classes looks like the consensus of all particles",
                f"look at classes.png and name the classes to keep, e.g. {key}: [{largest}]",
            )
        reason = _reason(table, kept)
    else:
        for wanted in choice:
            check_override(key, wanted, numbers, "class")
        if not choice:
            raise UserError(f"{key}: names no class", f"there are {', '.join(map(str, numbers))}")
        kept = sorted(set(choice))
        reason = f"The config asks for {_names(kept)} ({key})."
    table["kept"] = table["class"].isin(kept)
    if not table.loc[table["kept"], "n"].sum():
        raise UserError(f"{key}: {_names(kept)} hold no particle at all", "look at classes.png")
    reference = _best_reference(table)
    resolution = float(table.loc[table["class"] == reference, "resolution"].iloc[0])
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
            "resolution": resolution if np.isfinite(resolution) else np.nan,
        },
    )


def with_quality(classes: pd.DataFrame) -> pd.DataFrame:
    """The table with `quality`, 0..1: agreement x accuracy x resolution, each against the best class.

    Agreement is `likeness` (`with_agreement`). Accuracy is the worse of the two of RELION (rotations,
    shifts). A resolution counts only if it is finite and more than twice as coarse as the best: at low T the
    largest and best class can have none.
    """
    table = classes.copy()
    members = table["n"] > 0
    quality = members.astype(float)
    if "likeness" in table:
        quality *= table["likeness"].clip(0, 1)
    rotations, shifts = table["accuracy_rotations"], table["accuracy_translations"]
    quality *= np.minimum(_against_best(rotations, members), _against_best(shifts, members))
    quality *= (2 * _against_best(table["resolution"].replace(np.inf, np.nan), members)).clip(upper=1)
    table["quality"] = quality
    return table


def passes(table: pd.DataFrame) -> pd.Series:
    """Which rows of a table with `quality` are classes to keep; none, if none looks like the consensus."""
    if "correlation" in table and table.loc[table["n"] > 0, "correlation"].max() < LIKE_CONSENSUS:
        return pd.Series(False, index=table.index)
    small = table["n"] < SMALL * table["n"].sum() / len(table)
    return (table["n"] > 0) & (table["quality"] >= np.where(small, KEEP_SMALL, KEEP))


def _against_best(values: pd.Series, members: pd.Series) -> pd.Series:
    """Smallest value of the classes with particles / value; 1 where there is none."""
    return (values[members].min() / values).clip(upper=1).fillna(1.0)


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
        like = f"{_range(worst['correlation'])} against {_range(best['correlation'])}"
        said.insert(0, f"correlation with the consensus {like}")
    return (
        f"{_names(rejected).capitalize()} ({worst['n'].sum()} of {table['n'].sum()} particles) "
        f"{'is' if len(rejected) == 1 else 'are'} rejected: {'; '.join(said) or 'too few particles'}."
    )


def _warnings(table: pd.DataFrame) -> list[str]:
    warnings = []
    if len(table) > 1 and table["kept"].all():
        warnings.append(
            "No class is bad, so the classification removed nothing; if there is junk, a smaller T or "
            "better poses may separate it."
        )
    if len(few := table[table["kept"] & (table["n"] < FEWEST_PER_CLASS)]):
        held = ", ".join(f"class {int(k)} ({int(n)})" for k, n in zip(few["class"], few["n"], strict=True))
        warnings.append(
            f"Fewer than {FEWEST_PER_CLASS} particles make no map that tells a class, but {held} "
            f"{'is' if len(few) == 1 else 'are'} kept: look at classes.png, or ask for fewer classes."
        )
    rejected = table.loc[~table["kept"], "n"].sum() / max(1, table["n"].sum())
    if rejected > MANY_REJECTED:
        warnings.append(f"{rejected:.0%} of the particles are rejected: look at classes.png before going on.")
    return warnings


def _names(numbers: list[int]) -> str:
    return ("class " if len(numbers) == 1 else "classes ") + ", ".join(map(str, numbers))


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
