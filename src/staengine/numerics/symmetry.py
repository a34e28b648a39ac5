"""Point groups by RELION's names and axes: Cn, Dn, T, O and I (= I2), I1, I3, I4."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from staengine.errors import EngineError

GOLDEN = (1 + 5**0.5) / 2
# generating axes (order, direction): the main axis lies along z except for O and I
GENERATORS: dict[str, list[tuple[int, tuple[float, float, float]]]] = {
    "T": [(3, (0, 0, 1)), (2, (0, 2**0.5, 1))],
    "O": [(4, (0, 0, 1)), (3, (1, 1, 1))],
    "I1": [(2, (1, 0, 0)), (5, (GOLDEN, 0, -1))],
    "I2": [(2, (0, 0, 1)), (5, (1, 0, GOLDEN))],
    "I3": [(5, (0, 0, 1)), (2, (-1, 0, GOLDEN))],
    "I4": [(5, (2, 0, 1)), (2, (1, 0, GOLDEN))],
}


def rotations(name: str) -> NDArray[np.float64]:
    """Rotation matrices (order, 3, 3) of a point group, the identity first. Raises EngineError for others."""
    group = {"I": "I2"}.get(name.upper(), name.upper())
    cyclic = re.fullmatch(r"([CD])(\d+)", group)
    generators: Sequence[tuple[int, tuple[float, float, float]]]
    if cyclic and int(cyclic[2]) > 0:
        generators = [(int(cyclic[2]), (0, 0, 1))] + ([(2, (1, 0, 0))] if cyclic[1] == "D" else [])
    elif group in GENERATORS:
        generators = GENERATORS[group]
    else:
        raise EngineError(f"--sym {name}: the embedded engine has Cn, Dn, T, O, I, I1, I2, I3 and I4.")
    return _closure([_about(order, axis) for order, axis in generators])


def _about(order: int, axis: tuple[float, ...]) -> NDArray[np.float64]:
    return Rotation.from_rotvec(2 * np.pi / order * np.array(axis) / np.linalg.norm(axis)).as_matrix()


def _closure(generators: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """All products of the generators: multiply what was found last by each until nothing new appears."""
    group = [np.eye(3)]
    for element in group:  # grows while it is walked
        for generator in generators:
            product = generator @ element
            if not any(np.allclose(product, other, atol=1e-6) for other in group):
                group.append(product)
    return np.array(group)
