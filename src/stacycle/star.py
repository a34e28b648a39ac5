"""STAR files as RELION 5 writes them: tables in, tables out, every name still text."""

from __future__ import annotations

import linecache
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stacycle.errors import UserError
from stacycle.whole import write_text

if (
    TYPE_CHECKING
):  # pandas and starfile take most of a second to import: whoever only needs `columns` does not wait
    import pandas as pd

Tables = dict[str, "pd.DataFrame"]

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
    import pandas as pd
    import starfile

    path = Path(path)
    text = _text(path)
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


def columns(path: str | Path, name: str, labels: Collection[str] = ()) -> dict[str, list[str]]:
    """The columns of one table as text, by label: `labels`, which it must have, and all others.

    For 50,000 particles in a quarter of a second, without pandas. A simple block has columns of one value.
    UserError if file or table is missing or damaged: rows that are too short or too long, labels or tables that stand
    there twice, a blank line between rows, after which RELION reads no further, without a word, and Windows' line ends.
    """
    tables = blocks(path)
    found = [block for title, block in tables if title == name]
    if len(found) != 1:
        names = ", ".join(f"data_{title}" for title, _ in tables[:5]) or "none"
        fault = f"has the table data_{name} twice" if found else f"has no table data_{name} (found: {names})"
        raise UserError(f"{path}: {fault}; was it cut short, or is it another file?")
    head, rows = _rows(found[0])
    where = f"{path}: table data_{name}"
    if not head or not all(label.startswith("_") for label in head):
        raise UserError(f"{where} has lines that are neither labels nor values; was it written completely?")
    head = [label[1:] for label in head]
    if len(set(head)) < len(head):
        raise UserError(f"{where} has a column twice; was it written completely?")
    if missing := [label for label in labels if label not in head]:
        raise UserError(f"{where} has no column {', '.join(missing)}; add it.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            what = (
                f"has {len(row)} values for {len(head)} columns"
                if row
                else "is blank: RELION reads no further"
            )
            raise UserError(f"{where}: row {number} {what}; was it cut short?")
    return dict(zip(head, map(list, zip(*rows, strict=True)), strict=True)) if rows else {h: [] for h in head}


def column(path: str | Path, label: str) -> list[str]:
    """The values of one column as text, in the first table that has it, whatever is wrong with the file.

    No values if there is no such file or column.
    """
    try:
        tables = blocks(path)
    except UserError:
        return []
    for _, block in tables:
        head, rows = _rows(block) if f"_{label}" in block else ([], [])
        if f"_{label}" in head:
            at = head.index(f"_{label}")
            return [row[at] for row in rows if len(row) > at]
    return []


def blocks(path: str | Path) -> list[tuple[str, str]]:
    """The tables of a file, unparsed: name and text of each. UserError if it cannot be read, or RELION would not."""
    text = _text(path)
    if "\r" in text:
        raise UserError(
            f"{path}: has the line ends of Windows, which RELION does not read; run dos2unix on it."
        )
    tables = [table.partition("\n") for table in f"\n{text}".split("\ndata_")[1:]]
    return [(title.strip(), block) for title, _, block in tables]


def value(path: str | Path, table_name: str, key: str) -> str | int | float:
    """One value of a simple block, such as `rlnCurrentResolution` of `model_general`."""
    return table(path, read(path), table_name, [key])[key].iloc[0]


def simple(**values: object) -> pd.DataFrame:
    """A one-row table that `write` gives as a simple block."""
    import pandas as pd

    frame = pd.DataFrame([values])
    frame.attrs["simple"] = True
    return frame


def write(path: str | Path, tables: Tables) -> None:
    """Write the tables as RELION 5 does: whole or not at all (by renaming), and the same bytes each time."""
    import starfile

    blocks = {
        name: frame.to_dict("records")[0] if frame.attrs.get("simple") and len(frame) == 1 else frame
        for name, frame in tables.items()
    }
    text = starfile.to_string(blocks, float_format="%.9g", na_rep="nan")
    body = text.split("\n", 1)[1]  # starfile's first line holds the time of day
    write_text(path, re.sub(r"^data_", "# version 50001\n\ndata_", body, flags=re.MULTILINE))


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
KINDS = tuple(_SET_LABELS)  # of files in an optimisation set


def read_optimisation_set(path: str | Path) -> OptimisationSet:
    """The files that an optimisation set names, relative to the project folder."""
    row = columns(path, "", list(_SET_LABELS.values())[:2])
    particles, tomograms, trajectories = (next(iter(row.get(x, [])), "") for x in _SET_LABELS.values())
    if not particles or not tomograms:
        raise UserError(f"{path}: names no particles or no tomograms; was it written completely?")
    return OptimisationSet(particles, tomograms, trajectories or None)


def write_optimisation_set(path: str | Path, state: OptimisationSet) -> None:
    """Write an optimisation set as RELION reads it."""
    write(path, {"": simple(**{label: getattr(state, field) or "" for field, label in _SET_LABELS.items()})})


def _text(path: str | Path) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as a STAR file ({_reason(error)}); check the path."
        ) from None


def _rows(block: str) -> tuple[list[str], list[list[str]]]:
    """Labels and rows of a table; a row is empty where a blank line stands between rows."""
    lines = [line.strip() for line in block.strip().split("\n") if not line.startswith("#")]
    while lines and not lines[-1]:
        lines.pop()
    if lines and lines[0] == "loop_":
        first = next((i for i, line in enumerate(lines) if i and line and line[0] != "_"), len(lines))
        return [line.split()[0] for line in lines[1:first] if line], [_words(line) for line in lines[first:]]
    pairs = [_words(line.partition(" #")[0]) for line in lines if line]
    return [pair[0] if len(pair) == 2 else "" for pair in pairs], [[pair[-1] for pair in pairs]]


def _words(line: str) -> list[str]:
    """The values of a line; one with blanks in it stands in quotes."""
    if '"' not in line and "'" not in line:
        return line.split()
    return ["".join(word) for word in re.findall(r"""(?<!\S)(?:"([^"]*)"|'([^']*)'|(\S+))""", line)]


def _make_minus_nan_a_number(tables: Tables) -> None:
    """`-nan`, as C++ prints it, makes its column text for the parser."""
    import pandas as pd

    for frame in tables.values():
        for label in frame.columns:
            minus = frame[label].isin(["-nan"])
            if minus.any() and not _TEXT_LABEL.search(label):
                frame[label] = pd.to_numeric(frame[label].mask(minus))


def _refuse_short_rows(path: Path, text: str, tables: Tables) -> None:
    """A row with too few values is padded by the parser; tell it from a `nan` or `""` that was written."""
    written = len(re.findall(r"""(?im)(nan|<NA>|""|'')["' \t]*$""", text))
    for name, frame in tables.items():
        if not len(frame.columns):
            raise UserError(f"{path}: table data_{name} has no columns; was it written completely?")
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
