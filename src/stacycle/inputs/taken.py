"""What was taken from a source's files, summed up: many tilt series in one sentence, with ranges and one file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from stacycle.inputs.sources.source import ImportedSeries

# A number by itself: 84.92 and -3.5, but neither the 3 of AreTomo3 nor the 01 of TS_01.aln.
_NUMBER = re.compile(r"(?<![\w./@-])[-+−]?\d+(?:\.\d+)?(?![A-Za-z0-9_/@]|\.\w)")
_MOST = 3  # ways of saying it


def summed_up(series: Sequence[ImportedSeries]) -> Iterator[tuple[str, str]]:
    """Each kind of thing taken, and what and where from."""
    for kind in dict.fromkeys(kind for one in series for kind in one.taken):
        yield kind, _of_all({one.name: one.taken[kind] for one in series if kind in one.taken})


def _of_all(said: Mapping[str, str]) -> str:
    """One sentence of those of all tilt series, by name."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for name, text in said.items():
        alike.setdefault(_NUMBER.sub("\1", _without_name(text, name)), []).append((name, text))
    parts = [_of_alike(one) for one in alike.values()]
    return "; ".join([*parts[:_MOST], *([f"and {len(parts) - _MOST} more"] if parts[_MOST:] else [])])


def _of_alike(said: Sequence[tuple[str, str]]) -> str:
    """One sentence of several that differ in numbers and in the name of the tilt series only."""
    name, first = said[0]
    if len(said) == 1:
        return first
    marked = [re.split(f"({_NUMBER.pattern})", _without_name(text, own)) for own, text in said]
    parts = [_span(values) if at % 2 else values[0] for at, values in enumerate(zip(*marked, strict=True))]
    names_a_file = any("\0" in part for part in parts)
    more = f" (and of {len(said) - 1} more)" if names_a_file else f" ({len(said)} tilt series)"
    return "".join(parts).replace("\0", name) + more


def _without_name(text: str, name: str) -> str:
    """A text with a mark in the place of a tilt series' name; of a name that is a number, where it is a file's."""
    after = r"(?=[^\s,;]*\.[A-Za-z])" if name.isdecimal() else "(?![A-Za-z0-9])"
    return re.sub(f"(?<![A-Za-z0-9.]){re.escape(name)}{after}", "\0", text)


def _span(values: Sequence[str]) -> str:
    """The least and the greatest of numbers, as they are written."""
    ordered = sorted(dict.fromkeys(values), key=lambda value: float(value.replace("−", "-")))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"
