"""Doubts about the numbers of tilt series and tomograms; each kind has one sentence, however many have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stacycle.errors import UserError, rows_of, some

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = "Mapping[str, Any] | pd.DataFrame"  # a column of numbers (or of their text) by its label
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Doubt:
    """One fault of one table: `fault` says what and where, `cure` what to do. Doubts of a `kind` share a sentence."""

    refused: bool
    kind: str
    file: str
    name: str  # of the tilt series; empty for a fault of the whole file
    fault: str
    cure: str


def messages(doubts: Iterable[Doubt]) -> tuple[list[UserError], list[UserError]]:
    """Problems and warnings, a sentence for each kind of fault: the first, and which other tilt series have it."""
    kinds: dict[tuple[bool, str], list[Doubt]] = {}
    for doubt in doubts:
        kinds.setdefault((doubt.refused, doubt.kind), []).append(doubt)
    found: tuple[list[UserError], list[UserError]] = ([], [])
    for (refused, _), alike in kinds.items():
        first = alike[0]
        others = dict.fromkeys(doubt.name or doubt.file for doubt in alike if doubt.name != first.name)
        where = f"{first.file}: " if first.file else ""
        more = f" (and so in {len(others)} more: {some(others)})" if others else ""
        found[not refused].append(UserError(f"{where}{first.fault}{more}", first.cure))
    return found


def numbers(table: Table, label: str) -> Numbers | None:
    """The values of a column; None if the table lacks it, or other checks refuse it."""
    if label not in table:
        return None
    try:
        values = np.asarray(table[label], float)
    except (TypeError, ValueError):
        return None
    return values if len(values) and np.isfinite(values).all() else None


def rows(which: Mask) -> str:
    """The rows that a mask selects, counted from 1 as in the file."""
    return rows_of((np.flatnonzero(which) + 1).tolist())


def listed(values: Numbers) -> str:
    """The first few values, or the one that all are."""
    return some(dict.fromkeys(map(shown, values))) if len(set(values)) == 1 else some(map(shown, values))


def shown(value: float) -> str:
    """A number to be read: an integer if it is large, with four digits if it is small."""
    value = float(value)
    if abs(value) >= 1e7 or 0 < abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{round(value, 4) + 0.0:.4g}"


def shown_median(value: float) -> str:
    """A median to be read: with three digits."""
    return shown(float(f"{value:.3g}"))
