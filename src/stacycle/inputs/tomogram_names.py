"""Which tomogram of a set is meant by a name that another program gave it, in a file of picks or of their list.

Programs add to names: folders, extensions, `rec_`, `_Vol`, `_bin4`, `_10.00Apx`. What is known of this is stripped, and
the names must then be the same. Failing that, the longest name of the set that stands in the other one, as whole words,
is meant, if there is one such. What could mean two tomograms, as Position_1 in Position_1_3, is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from stacycle.errors import some
from stacycle.inputs.findings import Findings

_EXTENSION = re.compile(
    r"\.(mrcs?|rec|st|tomostar|map|em|ali|preali|hdf|zarr|json|mod|point|txt|coords|csv|xyz|star|tbl)$",
    re.IGNORECASE,
)
_PIXEL = re.compile(r"_\d+(\.\d+)?Apx(?![A-Za-z0-9])")
_SUFFIX = re.compile(r"_(Vol|full_rec|rec|bin\d+|half[12]|EVN|ODD|corrected)$")
_PREFIX = "rec_"


def stem(name: str) -> str:
    """A name without what programs add to those of tomograms: `out/rec_TS_01_bin4.mrc` is `TS_01`."""
    text = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    while True:
        short = _PIXEL.sub("", _SUFFIX.sub("", _EXTENSION.sub("", text))).removeprefix(_PREFIX)
        if short in ("", text):
            return text
        text = short


def match_names(names: Iterable[str], known: Sequence[str], where: str, findings: Findings) -> dict[str, str]:
    """The tomogram of `known` that each name means. A problem for each that means none or may mean several, which the
    result lacks. `where`: the file and the column, for messages."""
    found: dict[str, str] = {}
    in_front: dict[str, dict[str, list[str]]] = {}  # tomogram -> what stands in front of it -> names
    for name in dict.fromkeys(names):
        meant = _meant(name, known)
        if len(meant) == 1:
            found[name] = meant[0]
            text, inner = stem(name), stem(meant[0])
            if (at := text.find(inner)) > 0 and name != meant[0]:
                in_front.setdefault(meant[0], {}).setdefault(text[:at], []).append(name)
            elif at == 0:
                in_front.setdefault(meant[0], {}).setdefault("", []).append(name)
        elif meant:
            problem = f"{where}: the tomogram {name!r} could be {' or '.join(meant[:4])}"
            findings.refuse(problem, "write its name in full, or rename one")
        else:
            close = difflib.get_close_matches(stem(name), known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"it has {some(known)}."
            findings.refuse(f"{where}: the tomogram {name!r} is not in the set", hint)
    for tomogram, fronts in in_front.items():
        if len(fronts) > 1:
            several = [name for same in fronts.values() for name in same]
            problem = f"{where}: {some(map(repr, several))} would all be the tomogram {tomogram}"
            findings.refuse(problem, "write its name as the set has it, or give each set its own picks")
            found = {name: one for name, one in found.items() if one != tomogram}
    return found


def _meant(name: str, known: Sequence[str]) -> list[str]:
    """The tomograms that a name may mean: one if it is plain which, none if nothing fits."""
    if name in known:
        return [name]
    text = stem(name)
    if same := [one for one in known if stem(one) == text]:
        return same
    inside = [(len(stem(one)), one, after) for one in known if (after := _after(stem(one), text)) is not None]
    if not inside:
        return []
    longest = max(length for length, _, _ in inside)
    best = [(one, after) for length, one, after in inside if length == longest]
    if any(re.match(r"[^A-Za-z0-9]+\d", after) for _, after in best):
        return []  # Position_1_3 is another one than Position_1
    return [one for one, _ in best]


def _after(inner: str, text: str) -> str | None:
    """What stands behind a name inside a longer one, as whole words; None if it is not inside, or only a number."""
    if not re.search(r"[A-Za-z]", inner):
        return None
    found = re.search(rf"(?<![A-Za-z0-9]){re.escape(inner)}(?![A-Za-z0-9])", text)
    return text[found.end() :] if found else None
