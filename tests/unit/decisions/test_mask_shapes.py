"""Masks of a part: of a map or mask of one's own, of a sphere, of where two classes differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stacycle.decisions import mask_shapes
from stacycle.decisions.regrid import regridded
from stacycle.errors import UserError
from stacycle.files import mrc

BOX, PIXEL = 48, 8.0


def ball(box: int, pixel: float, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """A soft ball, its centre (x, y, z) in Å from the box's."""
    axes = [(np.arange(box) - box // 2) * pixel - at for at in centre[::-1]]
    far = np.sqrt(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2)
    return (1 / (1 + np.exp((far - radius) / pixel * 2))).astype(np.float32)


def centre_of(density: np.ndarray, pixel: float) -> np.ndarray:
    """The centre of mass x, y, z in Å from the centre of the box."""
    grid = np.indices(density.shape)[::-1] - len(density) // 2
    return (grid * density).sum((1, 2, 3)) / density.sum() * pixel


@pytest.fixture
def like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    mrc.write_map("like.mrc", ball(BOX, PIXEL, (0, 0, 0), 100), PIXEL)
    return "like.mrc"


def made(settings: dict[str, Any], like: str, *given: str) -> mask_shapes.Shape:
    return mask_shapes.shape(settings, given, like, 20, "rounds.bin2.mask_head")


@pytest.mark.parametrize(("box", "pixel"), [(64, 6.0), (31, 11.3), (48, 8.0), (96, 4.0), (20, 8.0)])
def test_a_map_is_the_same_in_angstroms_in_another_box_and_pixels(box: int, pixel: float) -> None:
    at, radius = (30.0, -24.0, 12.0), 45.0
    found = regridded(ball(BOX, PIXEL, at, radius), PIXEL, box, pixel)
    assert found.shape == (box,) * 3
    # its coarser edge takes part of the volume away
    assert centre_of(found, pixel) == pytest.approx(at, abs=0.15 * pixel)
    assert float(found.sum()) * pixel**3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.12)


def test_a_mask_of_ones_own_is_brought_to_the_rounds_pixels_and_box(like: str) -> None:
    mrc.write_map("mine.mrc", ball(80, 5.0, (40, 0, 0), 60), 5.0)
    found = made({"file": "mine.mrc"}, like, "mine.mrc")
    assert found.is_mask
    assert len(found.density) == BOX
    assert centre_of(found.density.clip(0), PIXEL) == pytest.approx((40, 0, 0), abs=1.5)


def test_a_map_of_ones_own_is_no_mask_yet(like: str) -> None:
    mrc.write_map("map.mrc", 7 * ball(80, 5.0, (40, 0, 0), 60) - 1, 5.0)
    assert not made({"file": "map.mrc"}, like, "map.mrc").is_mask


def test_a_sphere_lies_where_its_centre_says_in_angstroms(like: str) -> None:
    found = made({"sphere": {"center": [40, -80, 16], "radius": 64}}, like)
    assert found.is_mask
    assert centre_of(found.density, PIXEL) == pytest.approx((40, -80, 16), abs=1e-3)
    assert found.density.sum() * PIXEL**3 == pytest.approx(4 / 3 * np.pi * 64**3, rel=0.05)


@pytest.mark.parametrize(
    ("sphere", "problem"),
    [
        ({"center": [150, 0, 0], "radius": 50}, "the sphere leaves the box, which reaches 192 Å"),
        ({"center": [0, 0, 0], "radius": 20}, "radius of 20 Å is less than 3 of the map's pixels of 8 Å"),
    ],
)
def test_a_sphere_outside_the_box_or_of_a_few_voxels_is_refused(
    like: str, sphere: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        made({"sphere": sphere}, like)


def classes(*maps: np.ndarray) -> str:
    for number, density in enumerate(maps, 1):
        mrc.write_map(f"class{number}.mrc", density, PIXEL)
    numbers = range(1, len(maps) + 1)
    table = pd.DataFrame({"class": numbers, "map": [f"class{n}.mrc" for n in numbers]})
    table.to_csv("classes.tsv", sep="\t", index=False)
    return "classes.tsv"


def test_the_difference_of_classes_is_where_one_has_what_the_other_has_not(like: str) -> None:
    body, arm = ball(BOX, PIXEL, (0, 0, 0), 80), ball(BOX, PIXEL, (0, 120, 0), 40)
    noise = np.random.default_rng(3).normal(0, 0.05, (2, BOX, BOX, BOX))
    table = classes(body + arm + noise[0], 3 * (body + noise[1]))
    found = made({"difference": [1, 2]}, like, table)
    assert not found.is_mask
    above = found.density > found.density.max() / 2
    assert centre_of(above.astype(float), PIXEL) == pytest.approx((0, 120, 0), abs=8)
    assert above.sum() * PIXEL**3 == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.4)


def test_classes_that_are_not_there_or_the_same_are_refused(like: str) -> None:
    body = ball(BOX, PIXEL, (0, 0, 0), 80)
    table = classes(body, 2 * body, 0 * body)
    with pytest.raises(UserError, match=r"mask_head\.difference: there is no class 4"):
        made({"difference": [1, 4]}, like, table)
    with pytest.raises(UserError, match="classes 1 and 2 are the same"):
        made({"difference": [1, 2]}, like, table)
    with pytest.raises(UserError, match="has lost all its particles"):
        made({"difference": [1, 3]}, like, table)
