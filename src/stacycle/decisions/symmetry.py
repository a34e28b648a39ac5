"""Whether a map has the point group that the config asks for, about the axes on which RELION has it.

A group that the particle has not is applied without a word: the map only gets smoother, and the claimed resolution
stays. So the map without symmetry is compared with itself turned, before the group is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd

from stacycle.decisions.decision import Decision
from stacycle.decisions.likeness import Likeness
from stacycle.decisions.point_groups import Array, about, axes
from stacycle.errors import UserError

LEAST = 0.5  # agreement from which a symmetry is there (docs/decisions-evidence.md)
_Z, _X = np.array([0.0, 0, 1]), np.array([1.0, 0, 0])
_ACROSS = 10  # directions across the main axis, over the angle between two twofold ones, that are looked at

Least = float | Literal["auto"]
Row = dict[str, Any]


def has_symmetry(
    likeness: Likeness, group: str, least: Least = "auto", key: str = "align_symmetry.least"
) -> Decision:
    """Whether a map on RELION's axes has this group: each of its axes must agree at least so much as the config's `key`
    says. UserError, with a table of this group and others like it, if one does not."""
    limit = LEAST if least == "auto" else float(least)
    own = [_row(likeness, group, found.order, found.directions) for found in axes(group)]
    others = [*_others(likeness, group)]
    table = pd.DataFrame(own + others)
    table["chosen"] = [row["group"] == group for row in own + others]
    agreed = min(row["agreement"] for row in own)
    numbers = {"agreement": agreed, "resolution": likeness.resolution}
    if agreed < limit:
        raise UserError(_refusal(own, others, group, limit, likeness.resolution, key))
    reason = (
        f"Turned by {group} the map agrees with itself by {agreed:.2f}, where {limit:g} is enough "
        f"(1: as symmetric as its noise allows; 0: no more than turned by any angle about the same axes)."
    )
    by: Any = "rule" if least == "auto" else "config"
    return Decision("Symmetry", {"symmetry": group}, by, reason, table, _higher(others, group), numbers)


def _others(likeness: Likeness, group: str) -> Iterator[Row]:
    """Groups that could be mistaken for this one: parts of it, its neighbours, and what contains it."""
    if cyclic := re.fullmatch(r"([CD])(\d+)", group):
        order = int(cyclic[2])
        near = {order // prime for prime in (2, 3, 5, 7) if order % prime == 0} | {order - 1, order + 1}
        for other in sorted(near | {2 * order, 3 * order} | ({order} if cyclic[1] == "D" else set())):
            if other > 1:
                yield _row(likeness, f"C{other}", other, _Z[None])
        if cyclic[1] == "C":
            yield _dihedral(likeness, order)
    elif group == "T":
        yield _row(likeness, "O", 4, axes(group)[1].directions)


def _dihedral(likeness: Likeness, order: int) -> Row:
    """Twofold axes across the main one, in the direction in which they agree best: Cn leaves it free."""

    def across(angle: float) -> Array:
        return np.array([about(_Z, angle + k * 180 / order) @ _X for k in range(order)])

    def like(angle: float) -> float:
        return float(np.mean([likeness(about(axis, 180)) for axis in across(angle)]))

    angles = np.arange(_ACROSS) * 180 / order / _ACROSS
    return _row(likeness, f"D{order}", 2, across(max(angles, key=like)))


def _row(likeness: Likeness, group: str, order: int, directions: Array) -> Row:
    """The axis of these, all alike, that agrees least."""
    common = likeness.about(directions[0])
    like = min(likeness.of_order(axis, order) for axis in directions)
    return {
        "group": group,
        "axis": f"{order}-fold",
        "turned": like,
        "turned by any angle": common,
        "agreement": (like - common) / max(1 - common, 1e-6),
    }


def _higher(others: list[Row], group: str) -> list[str]:
    """A warning for a group that contains this one and is there as well."""
    fit = [row["group"] for row in others if row["agreement"] >= LEAST]
    found = [whole for part in fit if (whole := _with(part, group)) != group]
    if not found:
        return []
    return [
        f"{' and '.join(found)} fits as well as {group} does: look whether the particle has more symmetry than that."
    ]


def _with(other: str, group: str) -> str:
    """The group that has the turns of this group and of another; this one if they are among its own."""
    if other == "O":
        return other
    orders = int(other[1:]), int(group[1:])
    kind = max(other[0], group[0])
    return f"{kind}{orders[0]}" if orders[0] % orders[1] == 0 else group


def _refusal(own: list[Row], others: list[Row], group: str, limit: float, resolution: float, key: str) -> str:
    """One sentence, and the table."""
    worst = min(own, key=lambda row: row["agreement"])
    fits = [row for row in others if row["agreement"] >= limit]
    best = max(fits, key=lambda row: row["agreement"])["group"] if fits else ""
    hint = f"set symmetry: {best}, which fits" if best else "leave the symmetry at C1"
    sentence = (
        f"the map has no {group} symmetry at {resolution:.0f} Å: about its {worst['axis']} axis it agrees with itself "
        f"by {worst['agreement']:.2f}, and {limit:g} is needed; {hint}, or, if the particle is only nearly symmetric, "
        f"lower {key}"
    )
    table = pd.DataFrame(own + others).round(2).to_string(index=False)
    return f"{sentence}.\n{table}"
