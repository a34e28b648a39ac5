"""RELION's STAR files: reading, writing, and what their tables must hold."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile
from numpy.typing import NDArray

from staengine.errors import EngineError
from staengine.files import written_atomically

STRINGS = [  # columns that stay text even if they look like numbers
    "rlnTomoName",
    "rlnOpticsGroupName",
    "rlnTomoParticleName",
    "rlnImageName",
    "rlnMicrographName",
    "rlnTomoVisibleFrames",
    "rlnTomoTiltSeriesStarFile",
    "rlnGroupName",
]
COORDINATES = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
ORIGINS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
SUBTOMOGRAM_ANGLES = ["rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi"]


BLOCK = "\n# version 50001\n\ndata_{}\n\n"
Table = dict[str, Any] | pd.DataFrame  # a list, or a loop


# Comments and blank lines before a label, which RELION skips and the parser does not.
_AMONG_LABELS = re.compile(r"^([ \t]*(?:loop_|_).*\n)(?:[ \t]*(?:#.*)?\n)+(?=[ \t]*_)", re.MULTILINE)


def read_star(path: str | Path) -> dict[str, Table]:
    """All tables of a STAR file by name, loops as DataFrame and lists as dict. Raises EngineError."""
    if not Path(path).is_file():
        raise EngineError(f"{path} does not exist.")
    try:
        text = Path(path).read_text(encoding="utf-8")
        plain = _AMONG_LABELS.sub(r"\1", text.removeprefix("\ufeff"))
        if plain == text:
            return starfile.read(path, always_dict=True, parse_as_string=STRINGS)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".star") as copy:
            copy.write(plain)
            copy.flush()
            return starfile.read(copy.name, always_dict=True, parse_as_string=STRINGS)
    except Exception as error:  # the parser's own errors are many and wordless
        raise EngineError(f"{path} cannot be read as a STAR file: {error}") from None


def nine_digits(value: Any) -> str:
    """A value with 9 significant figures: as exact as single precision."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.9g}"
    text = str(int(value)) if isinstance(value, (bool, np.bool_)) else str(value)
    return f'"{text}"' if not text or " " in text else text


def six_decimals(value: Any) -> str:
    """A value as RELION's refinement writes it: six decimals, an exponent if it is very large or small."""
    if not isinstance(value, (float, np.floating)):
        return nine_digits(value)
    value = float(value)
    if math.isnan(value):
        return "-nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    plain = value == 0 or 1e-3 <= abs(value) < 1e6
    return f"{value:.6f}" if plain else f"{value:.6e}"


def write_star(
    tables: Mapping[str, Table],
    path: str | Path,
    number: Callable[[Any], str] = nine_digits,
    comment: str = "",
) -> None:
    """Write tables atomically, laid out as RELION does, the same bytes each time; `number` formats values."""
    parts = [comment]
    for name, table in tables.items():
        parts.append(BLOCK.format(name))
        if isinstance(table, pd.DataFrame):
            columns = [[number(value) for value in table[label]] for label in table]
            parts.append("loop_ \n" + "".join(f"_{label} #{i} \n" for i, label in enumerate(table, 1)))
            parts += ["".join(f"{cell:>12} " for cell in row) + "\n" for row in zip(*columns, strict=True)]
        else:
            parts += [f"_{label:<40} {number(value):>24}\n" for label, value in table.items()]
        parts.append(" \n")
    with written_atomically(path) as partial:
        partial.write_text("".join(parts))


def as_loop(table: Table) -> pd.DataFrame:
    """A table with a row for each entry, whether the file holds it as a loop or, of one row, as a list."""
    return table if isinstance(table, pd.DataFrame) else pd.DataFrame([table])


def as_list(table: Table) -> dict[str, Any]:
    """A table of one row as values by label."""
    return dict(table.iloc[0]) if isinstance(table, pd.DataFrame) else table


def loop_of(tables: Mapping[str, Table], name: str, path: str | Path) -> pd.DataFrame:
    """The loop data_NAME of a file's tables. Raises EngineError if it has none."""
    if name not in tables:
        raise EngineError(f"{path} has no table data_{name}.")
    return as_loop(tables[name])


def require_columns(loop: pd.DataFrame, labels: Iterable[str], path: str | Path, name: str) -> None:
    """Raise EngineError unless the loop data_NAME of a file has all these columns."""
    missing = [label for label in labels if label not in loop.columns]
    if missing:
        raise EngineError(f"{path}: table data_{name} has no column {', '.join(missing)}.")


def require_numbers(loop: pd.DataFrame, labels: Iterable[str], path: str | Path, name: str) -> None:
    """Raise EngineError unless those of these columns that are there hold finite numbers only."""
    for label in labels:
        if label in loop.columns:
            values = pd.to_numeric(loop[label], errors="coerce").to_numpy(float)
            if not np.isfinite(values).all():
                row = int(np.flatnonzero(~np.isfinite(values))[0])
                raise EngineError(
                    f"{path}: table data_{name}, row {row + 1}: {label} is '{loop[label].iloc[row]}', not a number."
                )


def numbers(loop: pd.DataFrame, label: str, default: float = 0.0) -> NDArray[np.float64]:
    """A column (n,), or `default` in each row if it is not there."""
    return loop[label].to_numpy(float) if label in loop.columns else np.full(len(loop), default)
