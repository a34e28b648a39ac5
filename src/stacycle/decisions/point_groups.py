"""Point groups by RELION's names, with its axes: Cn, Dn, T, O and I (= I2), I1, I3, I4."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.floating]

_GOLDEN = (1 + 5**0.5) / 2
# Two axes, (order, direction), whose turns make the group.
_MAKERS: dict[str, list[tuple[int, tuple[float, float, float]]]] = {
    "T": [(3, (0, 0, 1)), (2, (0, 2**0.5, 1))],
    "O": [(4, (0, 0, 1)), (3, (1, 1, 1))],
    "I1": [(2, (1, 0, 0)), (5, (_GOLDEN, 0, -1))],
    "I2": [(2, (0, 0, 1)), (5, (1, 0, _GOLDEN))],
    "I3": [(5, (0, 0, 1)), (2, (-1, 0, _GOLDEN))],
    "I4": [(5, (2, 0, 1)), (2, (1, 0, _GOLDEN))],
}
_SAME = 1e-6


class Axes(NamedTuple):
    """Axes of one order that the group takes to each other: `directions` (k, 3) of length 1."""

    order: int
    directions: Array


def about(axis: ArrayLike, degrees: float) -> Array:
    """The turn (3, 3) by an angle about an axis (3)."""
    direction = np.asarray(axis, float)
    return Rotation.from_rotvec(degrees * direction / np.linalg.norm(direction), degrees=True).as_matrix()


@cache
def turns(group: str) -> Array:
    """The rotation matrices (n, 3, 3) of a group, the identity first."""
    makers = [about(axis, 360 / order) for order, axis in _makers(group)]
    found: list[Array] = [np.eye(3)]
    for one in found:  # grows while it is walked
        for maker in makers:
            _add(found, maker @ one)
    return np.array(found)


def axes(group: str) -> list[Axes]:
    """The axes of a group, the highest order first."""
    lines: list[Array] = []
    orders: list[int] = []
    for turn in turns(group)[1:]:
        vector = Rotation.from_matrix(turn).as_rotvec()
        axis = vector / np.linalg.norm(vector)
        if not _along(axis, lines).any():
            lines.append(axis)
            orders.append(sum(_keeps(other, axis) for other in turns(group)))
    found = []
    while lines:
        first = int(np.argmax(orders))
        alike = np.any([_along(turn @ lines[first], lines) for turn in turns(group)], axis=0)
        found.append(Axes(orders[first], np.array(lines)[alike]))
        lines = [line for line, one in zip(lines, alike, strict=True) if not one]
        orders = [order for order, one in zip(orders, alike, strict=True) if not one]
    return found


def _makers(group: str) -> Iterator[tuple[int, tuple[float, float, float]]]:
    if cyclic := re.fullmatch(r"([CD])(\d+)", group):
        yield int(cyclic[2]), (0, 0, 1)
        if cyclic[1] == "D":
            yield 2, (1, 0, 0)
    else:
        yield from _MAKERS["I2" if group == "I" else group]


def _add(found: list[Array], turn: Array) -> None:
    if np.abs(np.array(found) - turn).max(axis=(1, 2)).min() > _SAME:
        found.append(turn)


def _along(vector: Array, lines: list[Array]) -> NDArray[np.bool_]:
    """Which of some axes (n, 3), which have no direction, a vector (3) of length 1 lies along."""
    return np.abs(np.array(lines).reshape(-1, 3) @ vector) > 1 - _SAME


def _keeps(turn: Array, axis: Array) -> bool:
    """Whether an axis stays as it is, its direction too."""
    return bool(turn @ axis @ axis > 1 - _SAME)
