"""STAR files as RELION 5 reads and writes them: tables in, tables out, every name still text.

One parser for all: what it takes, RELION reads the same way. RELION 5.0.1 skips blank lines and comments above a
table's first row; between rows it ends the table at a blank line, silently, and fails at a comment. It refuses the
line ends of Windows, and does not mind a byte-order mark. Whoever rewrites a file may ask for its `oddities` instead.
"""

from __future__ import annotations

import codecs
import gc
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stacycle.errors import UserError, rows_of, unreadable
from stacycle.files.atomic import write_text

if TYPE_CHECKING:  # pandas takes most of a second to import: whoever only needs `columns` does not wait
    import numpy as np
    import pandas as pd

Tables = dict[str, "pd.DataFrame"]
Columns = dict[str, list[str]]  # of one table, as text, by label

# Labels whose values are text even where they look like numbers (tomogram `001`, optics group `1`).
_TEXT_LABEL = re.compile(
    r"Name(Even|Odd|NoDW)?$|File2?$|(Reference|Ctf|Original)Image$|Tomogram(Half[12])?$|SymmetryGroup$"
)
# A value with blanks in it stands in quotes, which end where a blank follows; a # that begins a value ends the line.
_WORD = re.compile(r"""(?<!\S)(?:"((?:[^"]|"(?=\S))*)"(?!\S)|'((?:[^']|'(?=\S))*)'(?!\S)|(#.*)|(\S+))""")
_BLANK, _COMMENT = "blank", "a comment"
_INCOMPLETE, _CUT_SHORT = "was it written completely?", "was it cut short?"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass
class Table:
    """A table as text: its labels without their underscores, and a list of values per row.

    A `simple` block (label and value per line) has one row. `fault` says what RELION would not read. It is raised
    when the table is asked for: a table that nobody needs may be wrong.
    """

    labels: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    simple: bool = False
    fault: tuple[str, str] | None = None

    @property
    def columns(self) -> Columns:
        """The values by label."""
        values = map(list, zip(*self.rows, strict=True)) if self.rows else ([] for _ in self.labels)
        return dict(zip(self.labels, values, strict=True))


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Python looks for garbage after every few hundred new lists: half of the time for a million texts."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@without_garbage_collection()
def read(
    path: str | Path, required: dict[str, list[str]] | None = None, oddities: list[str] | None = None
) -> Tables:
    """All tables of a STAR file by name (`data_particles` -> `particles`; a nameless one -> ``).

    A simple block (label and value per line) is a one-row frame with `attrs["simple"]`; `write` keeps it one.
    Names, paths and lists such as `[1,0,1]` stay strings; everything else becomes a number where it can.
    `required` lists columns that tables must have. UserError if the file is missing, empty or damaged. If `oddities`
    are asked for, what RELION would not read but a person would is read, and noted there: "row 5 is a comment".
    """
    found = {
        name: _frame(path, name, _strictly(block) if oddities is None else _parse(block, oddities))
        for name, block in _split(_text(path, oddities))
    }
    if not found:
        raise UserError(f"{path}: holds no STAR table", "it is empty or not a STAR file")
    for name, wanted in (required or {}).items():
        table(path, found, name, wanted)
    return found


def table(path: str | Path, tables: Tables, name: str, columns: list[str] | None = None) -> pd.DataFrame:
    """The table of that name, with at least these columns; UserError naming file and table if not."""
    if name not in tables:
        found = ", ".join(f"data_{x}" for x in tables)
        raise UserError(f"{path}: has no table data_{name} (found: {found})", "is it the right file?")
    missing = [column for column in columns or [] if column not in tables[name]]
    if missing:
        raise UserError(f"{path}: table data_{name} has no column {', '.join(missing)}")
    return tables[name]


@without_garbage_collection()
def columns(path: str | Path, name: str, labels: Collection[str] = ()) -> Columns:
    """The columns of one table as text, by label: `labels`, which it must have, and all others.

    For 100,000 particles in half a second, without pandas. A simple block has columns of one value.
    UserError if file or table is missing or damaged, or RELION would not read all of it.
    """
    tables = _split(_text(path))
    wanted = [block for title, block in tables if title == name]
    if len(wanted) != 1:
        names = ", ".join(f"data_{title}" for title, _ in tables[:5]) or "none"
        fault = f"has the table data_{name} twice" if wanted else f"has no table data_{name} (found: {names})"
        raise UserError(f"{path}: {fault}", "was it cut short, or is it another file?")
    found = _strictly(wanted[0])
    _refuse(path, name, found)
    if missing := [label for label in labels if label not in found.labels]:
        raise UserError(f"{path}: table data_{name} has no column {', '.join(missing)}", "add it")
    return found.columns


@without_garbage_collection()
def column(path: str | Path, label: str) -> list[str]:
    """The values of one column as text, in the first table that has it; none without such a file or column."""
    try:
        tables = blocks(path)
    except UserError:
        return []
    for _, block in tables:
        if f"_{label}" in block:
            found = _parse(block, [])
            if label in found.labels:
                at = found.labels.index(label)
                return [row[at] for row in found.rows if len(row) > at]
    return []


def blocks(path: str | Path) -> list[tuple[str, str]]:
    """The tables of a file, unparsed: name and text of each. UserError if it cannot be read, or RELION would not."""
    return _split(_text(path))


def count(path: str | Path, name: str) -> int:
    """How many rows the table of that name has. UserError as `columns`."""
    return len(next(iter(columns(path, name).values())))


def simple(**values: object) -> pd.DataFrame:
    """A one-row table that `write` gives as a simple block."""
    import pandas as pd

    frame = pd.DataFrame([values])
    frame.attrs["simple"] = True
    return frame


def write(path: str | Path, tables: Tables) -> None:
    """Write the tables as RELION 5 does, complete or not at all (by renaming), and with the same bytes each time."""
    write_text(path, to_text(tables))


def to_text(tables: Tables) -> str:
    """What `write` writes."""
    import starfile

    blocks = {
        name: frame.to_dict("records")[0] if frame.attrs.get("simple") and len(frame) == 1 else frame
        for name, frame in tables.items()
    }
    text = starfile.to_string(blocks, float_format="%.9g", na_rep="nan")
    body = text.split("\n", 1)[1]  # starfile's first line holds the time of day
    return re.sub(r"^data_", "# version 50001\n\ndata_", body, flags=re.MULTILINE)


def _text(path: str | Path, oddities: list[str] | None = None) -> str:
    """The text of a file. UserError if it cannot be read, or if RELION would not read it and `oddities` is None."""
    try:
        raw = Path(path).read_bytes()
        utf_16 = raw.startswith(_UTF_16)
        text = raw.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line} is not UTF-8 text", _INCOMPLETE) from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error, "a STAR file") from None
    windows = ("\r" in text, "has the line ends of Windows", "run dos2unix on it")
    for odd, fault, cure in ((utf_16, "is UTF-16 text", "save it as UTF-8"), windows):
        if odd and oddities is None:
            raise UserError(f"{path}: {fault}, which RELION does not read", cure)
        if odd and oddities is not None:
            oddities.append(fault)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _strictly(block: str) -> Table:
    """A table whose `fault` also says where RELION would stop reading it, though a person would not."""
    odd: list[str] = []
    found = _parse(block, odd)
    if odd:
        found.fault = found.fault or (f"{odd[0]}: RELION reads no further", "remove that line")
    return found


def _split(text: str) -> list[tuple[str, str]]:
    """The tables of a text: name and text of each. There may be one for each particle."""
    heads, at = [], text.find("data_")
    while at >= 0:
        begin, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
        end = len(text) if end < 0 else end
        if re.fullmatch(r"\s*data_\S*\s*", line := text[begin:end]):
            heads.append((line.strip().removeprefix("data_"), begin, end + 1))
        at = text.find("data_", end)
    ends = [begin - 1 for _, begin, _ in heads[1:]]
    return [(name, text[start:end]) for (name, _, start), end in zip(heads, [*ends, len(text)], strict=False)]


def _parse(block: str, odd: list[str]) -> Table:
    """A table's text, taken apart. What RELION would stumble over, and a person would not, is added to `odd`."""
    lines = block.split("\n")
    begin = next((i for i, line in enumerate(lines) if _kind(line) not in (_BLANK, _COMMENT)), None)
    if begin is None:
        return Table(fault=("has no columns", _INCOMPLETE))
    if lines[begin].split()[0] != "loop_":
        return _parse_simple(lines[begin:])
    first = next((i for i in range(begin + 1, len(lines)) if _kind(lines[i]) == "row"), len(lines))
    labels = [line.split()[0][1:] for line in lines[begin + 1 : first] if _kind(line) == "label"]
    ends = (i for i in range(len(lines) - 1, first - 1, -1) if _kind(lines[i]) in ("row", "label"))
    last = next(ends, first - 1)
    found, breaks = Table(labels), dict[str, list[int]]()
    for line in lines[first : last + 1]:
        try:
            words = _words(line)
        except ValueError:
            found.fault = (f"row {len(found.rows) + 1} has a quote that is not closed", _CUT_SHORT)
            return found
        if words:
            found.rows.append(words)
        else:
            breaks.setdefault(_kind(line), []).append(len(found.rows) + 1)
    odd += [f"{rows_of(at)} {'is' if len(at) == 1 else 'are'} {kind}" for kind, at in breaks.items()]
    if found.rows and last + 1 < len(lines) and _kind(lines[last + 1]) == _COMMENT:
        odd.append("a comment stands right under the last row")
    found.fault = _fault_of(labels)
    short = next((number for number, row in enumerate(found.rows, 1) if len(row) != len(labels)), None)
    if short and not found.fault:
        count = len(found.rows[short - 1])
        found.fault = (f"row {short} has {count} values for {len(labels)} columns", _CUT_SHORT)
    return found


def _parse_simple(lines: Sequence[str]) -> Table:
    pairs: list[list[str]] = []
    with suppress(ValueError):
        pairs = [_words(line) for line in lines if _kind(line) not in (_BLANK, _COMMENT)]
    if not pairs or any(len(pair) != 2 or not pair[0].startswith("_") for pair in pairs):
        return Table(fault=("has lines that are neither labels nor values", _INCOMPLETE))
    labels, values = map(list, zip(*pairs, strict=True))
    labels = [label[1:] for label in labels]
    return Table(labels, [values], simple=True, fault=_fault_of(labels))


def _fault_of(labels: Sequence[str]) -> tuple[str, str] | None:
    if not labels or not all(labels):
        return "has no columns", _INCOMPLETE
    return ("has a column twice", _INCOMPLETE) if len(set(labels)) < len(labels) else None


def _kind(line: str) -> str:
    """What a line of a table is, by how it begins."""
    first = line.lstrip()[:1]
    return {"": _BLANK, "#": _COMMENT, ";": _COMMENT, "_": "label"}.get(first, "row")


def _words(line: str) -> list[str]:
    """The values of a line. ValueError if a quote is not closed."""
    if '"' not in line and "'" not in line and "#" not in line:
        return line.split()
    words = []
    for found in _WORD.finditer(line):
        if found[3]:  # a comment
            break
        if found[4] and found[4][0] in "\"'":
            raise ValueError(line)
        words.append(next(word for word in (found[1], found[2], found[4]) if word is not None))
    return words


def _refuse(path: str | Path, name: str, found: Table) -> None:
    if found.fault:
        what, cure = found.fault
        raise UserError(f"{path}: table data_{name}{':' * (not what.startswith('has '))} {what}", cure)


def _frame(path: str | Path, name: str, found: Table) -> pd.DataFrame:
    """A table whose columns are numbers where all their values are. UserError if it is damaged."""
    import pandas as pd

    _refuse(path, name, found)
    frame = pd.DataFrame({label: _typed(label, values) for label, values in found.columns.items()})
    if found.simple:
        frame.attrs["simple"] = True
    return frame


def _typed(label: str, values: list[str]) -> np.ndarray | list[str]:
    """Whole numbers, or numbers, if all values are; else the values as they are."""
    import numpy as np

    if values and not _TEXT_LABEL.search(label) and "_" not in "".join(values):
        for kind in (np.int64, np.float64):  # nan, -nan and inf, as C++ prints them, are numbers
            with suppress(ValueError, OverflowError):
                return np.array(values, kind)
    return values
