"""STAR files as RELION 5 writes them: tables in, tables out, every name still text."""

from __future__ import annotations

import linecache
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import starfile

from stacycle.errors import UserError

Tables = dict[str, pd.DataFrame]

# Labels whose values are text even where they look like numbers (tomogram `001`, optics group `1`).
_TEXT_LABEL = re.compile(
    r"Name(Even|Odd|NoDW)?$|File2?$|(Reference|Ctf|Original)Image$|Tomogram(Half[12])?$|SymmetryGroup$"
)


def read(path: str | Path, required: dict[str, list[str]] | None = None) -> Tables:
    """All tables of a STAR file by name (`data_particles` -> `particles`; a nameless one -> ``).

    A simple block (label and value per line) is a one-row frame with `attrs["simple"]`; `write` keeps it one.
    Names, paths and lists such as `[1,0,1]` stay strings; everything else becomes a number where it can.
    `required` lists columns that tables must have. UserError if the file is missing, empty or damaged.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read as a STAR file ({_reason(error)}); check the path."
        ) from None
    labels = set(re.findall(r"^\s*_(\S+)", text, re.MULTILINE))
    linecache.checkcache(str(path))  # starfile reads through it; a stale entry would hide a rewritten file
    try:
        blocks = starfile.read(
            path, always_dict=True, parse_as_string=[x for x in labels if _TEXT_LABEL.search(x)]
        )
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path}: is not a valid STAR file ({_reason(error)}); was it cut short?") from None
    tables = {
        name: block if isinstance(block, pd.DataFrame) else simple(**block) for name, block in blocks.items()
    }
    if not tables:
        raise UserError(f"{path}: holds no STAR table; it is empty or not a STAR file.")
    if "-nan" in text:
        _make_minus_nan_a_number(tables)
    _refuse_short_rows(path, text, tables)
    for name, columns in (required or {}).items():
        table(path, tables, name, columns)
    return tables


def table(path: str | Path, tables: Tables, name: str, columns: list[str] | None = None) -> pd.DataFrame:
    """The table of that name, with at least these columns; UserError naming file and table if not."""
    if name not in tables:
        found = ", ".join(f"data_{x}" for x in tables)
        raise UserError(f"{path}: has no table data_{name} (found: {found}); is it the right file?")
    missing = [column for column in columns or [] if column not in tables[name]]
    if missing:
        raise UserError(f"{path}: table data_{name} has no column {', '.join(missing)}.")
    return tables[name]


def value(path: str | Path, table_name: str, key: str) -> str | int | float:
    """One value of a simple block, such as `rlnCurrentResolution` of `model_general`."""
    return table(path, read(path), table_name, [key])[key].iloc[0]


def simple(**values: object) -> pd.DataFrame:
    """A one-row table that `write` gives as a simple block."""
    frame = pd.DataFrame([values])
    frame.attrs["simple"] = True
    return frame


def write(path: str | Path, tables: Tables) -> None:
    """Write the tables as RELION 5 does: whole or not at all (by renaming), and the same bytes each time."""
    path = Path(path)
    blocks = {
        name: frame.to_dict("records")[0] if frame.attrs.get("simple") and len(frame) == 1 else frame
        for name, frame in tables.items()
    }
    text = starfile.to_string(blocks, float_format="%.9g", na_rep="nan")
    body = text.split("\n", 1)[1]  # starfile's first line holds the time of day
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(re.sub(r"^data_", "# version 50001\n\ndata_", body, flags=re.MULTILINE))
    temporary.replace(path)


@dataclass(frozen=True)
class OptimisationSet:
    """RELION's state: which particles, tomograms and (after polishing) trajectories belong together."""

    particles: str
    tomograms: str
    trajectories: str | None = None


_SET_LABELS = {
    "particles": "rlnTomoParticlesFile",
    "tomograms": "rlnTomoTomogramsFile",
    "trajectories": "rlnTomoTrajectoriesFile",
}


def read_optimisation_set(path: str | Path) -> OptimisationSet:
    """The files that an optimisation set names, relative to the project folder."""
    row = table(path, read(path), "", ["rlnTomoParticlesFile", "rlnTomoTomogramsFile"]).iloc[0]
    return OptimisationSet(*(row.get(label) or None for label in _SET_LABELS.values()))  # type: ignore[arg-type]


def write_optimisation_set(path: str | Path, state: OptimisationSet) -> None:
    """Write an optimisation set as RELION reads it."""
    write(path, {"": simple(**{label: getattr(state, field) or "" for field, label in _SET_LABELS.items()})})


def _make_minus_nan_a_number(tables: Tables) -> None:
    """`-nan`, as C++ prints it, makes its column text for the parser."""
    for frame in tables.values():
        for label in frame.columns:
            minus = frame[label].isin(["-nan"])
            if minus.any() and not _TEXT_LABEL.search(label):
                frame[label] = pd.to_numeric(frame[label].mask(minus))


def _refuse_short_rows(path: Path, text: str, tables: Tables) -> None:
    """A row with too few values is padded by the parser; tell it from a `nan` or `""` that was written."""
    written = len(re.findall(r"""(?im)(nan|<NA>|""|'')["' \t]*$""", text))
    for name, frame in tables.items():
        empty = frame.iloc[:, -1].isna() | (frame.iloc[:, -1].astype(str) == "")
        if empty.sum() > written:
            row = int(empty.to_numpy().argmax()) + 1
            raise UserError(
                f"{path}: table data_{name} has too few values, first in row {row}; was it cut short?"
            )


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]) or type(
        error
    ).__name__
