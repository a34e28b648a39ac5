"""What a mask is made of other than the newest map: a map or mask of one's own, a sphere, where two classes differ.

Each is a density in the box and pixels of the map that the mask is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stacycle.decisions.mask import distance, low_pass
from stacycle.decisions.regrid import regridded
from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.recipe.step_settings import SHAPES

LEAST_RADIUS = 3.0  # pixels: a smaller sphere is mostly soft edge


class Shape(NamedTuple):
    """A density (n, n, n), whether it is a shape already (0 and 1: no threshold is sought), and what it is of."""

    density: np.ndarray
    is_mask: bool
    of: str


def asked(settings: Mapping[str, Any]) -> str:
    """The kind of shape that a mask's settings ask for; "" for the newest map."""
    return next((kind for kind in SHAPES if settings.get(kind)), "")


def shape(settings: Mapping[str, Any], given: Sequence[str], like: str, lowpass: float, key: str) -> Shape:
    """The shape that a mask's settings ask for, in the box and pixels of the map `like`.

    `given` are the files that it is made of: the map, or the table of classes (classes.tsv). `lowpass` (Å) is the
    resolution at which classes are compared. UserError for a file that is no map, a sphere outside the box, a class
    that is not there, or two that do not differ.
    """
    kind = asked(settings)
    box, pixel = mrc.box_and_pixel(like)
    if kind == "file":
        return _of_file(given[0], box, pixel)
    if kind == "sphere":
        return _of_sphere(settings["sphere"], box, pixel, f"{key}.sphere")
    return _of_classes(settings["difference"], given[0], pixel, lowpass, f"{key}.difference")


def _of_file(path: str, box: int, pixel: float) -> Shape:
    mrc.check_values(path)
    _, own = mrc.box_and_known_pixel(path)
    values = np.asarray(mrc.voxels(path), np.float32)
    low, high = float(values.min()), float(values.max())
    is_mask = low >= -1e-3 and 0.5 < high <= 1 + 1e-3 and float(np.median(values)) < 1e-3
    return Shape(regridded(values, own, box, pixel), is_mask, path)


def _of_sphere(sphere: Mapping[str, Any], box: int, pixel: float, key: str) -> Shape:
    centre, radius = np.array(sphere["center"], float), float(sphere["radius"])
    if radius < LEAST_RADIUS * pixel:
        fault = f"a radius of {radius:g} Å is less than {LEAST_RADIUS:g} of the map's pixels of {pixel:.4g} Å"
        raise UserError(fault, "give more, or focus in a finer round", f"{key}.radius")
    half = box * pixel / 2
    if np.abs(centre).max() + radius > half:
        fault = f"the sphere leaves the box, which reaches {half:.0f} Å from its centre"
        raise UserError(fault, "center counts in Å from there, x y z; give another, or a larger box", key)
    return Shape(
        _within(centre / pixel, radius / pixel, box), True, f"a sphere of {radius:g} Å at {_shown(centre)}"
    )


def _within(centre: np.ndarray, radius: float, box: int) -> np.ndarray:
    """1 within `radius` (px) of a point (x, y, z, px from the centre n // 2), else 0."""
    axes = [np.arange(box) - box // 2 - at for at in centre[::-1]]
    squares = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2
    return (squares <= radius**2).astype(np.float32)


def _of_classes(numbers: Sequence[int], table: str, pixel: float, lowpass: float, key: str) -> Shape:
    classes = pd.read_csv(table, sep="\t").set_index("class")
    if missing := [str(number) for number in numbers if number not in classes.index]:
        known = ", ".join(map(str, classes.index))
        raise UserError(f"there is no class {', '.join(missing)} in {table}", f"name two of {known}", key)
    one, other = (np.asarray(mrc.voxels(str(classes.loc[number, "map"])), np.float32) for number in numbers)
    one, other = (low_pass(density, pixel, lowpass) for density in (one, other))
    if not one.any() or not other.any():
        raise UserError(f"a class of {numbers} has lost all its particles", "name two others", key)
    inside = distance(len(one)) <= len(one) / 2
    scale = float((one[inside] * other[inside]).sum() / (other[inside] ** 2).sum())
    difference = low_pass(np.abs(one - scale * other), pixel, lowpass)
    if float(difference.max()) <= 0.02 * float(one.max()):
        raise UserError(f"the maps of classes {numbers[0]} and {numbers[1]} are the same", "name others", key)
    return Shape(difference, False, f"where classes {numbers[0]} and {numbers[1]} differ")


def _shown(centre: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in centre)
