"""Tables of the report: which columns are shown, how they are headed and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

_HEADINGS = {
    "pixel_size": "pixel size (Å)",
    "resolution": "resolution (Å)",
    "nyquist": "Nyquist (Å)",
    "at_nyquist": "Nyquist reached",
    "particles_in": "particles in",
    "area": "FSC area (shells)",
    "errors": "standard errors better",
    "gain": "gain (shells)",
    "angle_largest": "angle largest (°)",
    "accuracy_rotations": "accuracy of rotations (°)",
    "accuracy_translations": "accuracy of shifts (Å)",
    "changed_classes": "change class",
    "finest resolution": "finest resolution (Å)",
    "volume": "volume (Å³)",
} | {
    f"{what}_{how}": f"{what} {how} (Å)"
    for what in ("defocus", "astigmatism", "shift", "particle", "motion")
    for how in ("mean", "rms", "largest")
}
_PERCENT = {"fraction", "changed_classes", "moved", "likeness", "of sphere", "dust"}
_HIDDEN = {"map", "loglik", "pmax", "completeness", "failed", "ended"}
_WITHOUT_NUMBERS = {
    "failed": "failed",
    "ended": "ended early",
}  # columns that say why, and how that is headed
_RESOLUTIONS = {"resolution", "nyquist"}


@dataclass(frozen=True)
class Column:
    """A column's heading, and whether it holds words (numbers stand at the right)."""

    heading: str
    words: bool


@dataclass(frozen=True)
class Row:
    """The cells of a row; `failed` is why it has no numbers, `chosen` marks it, `file` is what it is read from."""

    cells: list[str]
    chosen: bool
    failed: str
    file: str = ""


@dataclass(frozen=True)
class Table:
    """A table as it is shown."""

    columns: list[Column]
    rows: list[Row]


def shown(table: pd.DataFrame, files: Sequence[str] = ()) -> Table:
    """A table without empty and hidden columns, the column that marks rows (`chosen` or `kept`) second; `files` are
    what its rows are read from."""
    filled = [str(name) for name in table if not table[name].isin(["", None, math.nan]).all()]
    first, *names = [name for name in filled if name not in _HIDDEN]
    mark = next((name for name in ("chosen", "kept") if name in names), "")
    names = [first, *sorted(names, key=lambda name: name != mark or table[name].dtype != bool)]
    columns, rows = [], []
    for name in names:
        words = any(isinstance(value, str) for value in table[name])
        columns.append(Column(_HEADINGS.get(name, name.replace("_", " ")), words))
    records = table.to_dict("records")
    for record, file in zip(records, files or [""] * len(records), strict=True):
        cells = [cell(name, record[name]) for name in names]
        chosen = bool(mark) and record[mark] is True
        why = [f"{word}: {record[key]}" for key, word in _WITHOUT_NUMBERS.items() if record.get(key)]
        rows.append(Row(cells, chosen, failed="".join(why), file=file))
    return Table(columns, rows)


def cell(name: str, value: Any) -> str:
    """A value of the column `name` as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float | int):
        return str(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    if name in _RESOLUTIONS:
        return f"{value:.2f}"
    if name in _PERCENT:
        return f"{value:.1%}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"
