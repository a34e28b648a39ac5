"""The map that the page carries: cut to its mask, binned, a byte a voxel; and the still of its surface."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.report import still, volume


def unpacked(made: volume.Volume, text: str = "") -> np.ndarray:
    values = np.frombuffer(zlib.decompress(base64.b64decode(text or made.data)), np.uint8)
    return values.reshape(made.shape)


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    """A folder with a ball of 20 voxels, which rises to its middle, off the centre of a box of 60; and its mask."""
    z, y, x = np.mgrid[:60, :60, :60] - np.array([30, 25, 35]).reshape(3, 1, 1, 1)
    r = np.sqrt(z**2 + y**2 + x**2)
    mrc.write_map(tmp_path / "map.mrc", np.clip(1 - r / 20, 0, 1).astype(np.float32), 4)
    mrc.write_map(tmp_path / "mask.mrc", (r < 22).astype(np.float32), 4)
    mrc.write_map(tmp_path / "local.mrc", (10 + (x + 20) / 4).astype(np.float32), 4)
    return tmp_path


def test_a_map_is_cut_to_its_mask_and_keeps_its_densities(ball: Path) -> None:
    made = volume.packed("ball", ball / "map.mrc", ball / "mask.mrc")
    assert made.shape == (47, 47, 47)  # 43 voxels of the mask and a margin
    assert made.voxel == 4
    assert made.low < made.level < made.high == 1
    values = made.low + unpacked(made) / 255 * (made.high - made.low)
    truth = mrc.voxels(ball / "map.mrc")[30, 25, 12:59]
    line = values[23, 23]
    assert line[truth > made.low] == pytest.approx(truth[truth > made.low], abs=0.003)
    assert not unpacked(made)[0].any()


def test_a_large_map_is_binned_and_a_small_one_interpolated(tmp_path: Path) -> None:
    for box, shape, voxel in ((200, 66, 12), (30, 60, 2), (90, 90, 4)):
        values = np.random.default_rng(0).normal(size=(box,) * 3).astype(np.float32)
        mrc.write_map(tmp_path / "map.mrc", values, 4)
        made = volume.packed("map", tmp_path / "map.mrc")
        assert made.shape == (shape,) * 3
        assert made.voxel == voxel


def test_local_resolutions_are_told_from_the_first_to_the_last_colour(ball: Path) -> None:
    made = volume.packed("ball", ball / "map.mrc", ball / "mask.mrc", ball / "local.mrc", (10, 20))
    line = unpacked(made, made.local)[23, 23].astype(int)
    inside = line[line > 0]
    assert inside[0] < 10
    assert inside[-1] > 245
    assert (np.diff(inside) >= 0).all()
    assert line[0] == line[-1] == 0  # outside the mask there is none


def test_a_mask_of_another_box_is_refused(ball: Path) -> None:
    mrc.write_map(ball / "other.mrc", np.ones((30, 30, 30), np.float32), 4)
    with pytest.raises(UserError, match=r"other\.mrc"):
        volume.packed("ball", ball / "map.mrc", ball / "other.mrc")


def test_the_still_of_a_ball_is_a_disc_of_its_size_lit_from_the_upper_left() -> None:
    z, y, x = np.mgrid[:50, :50, :50] - 24.5
    image = still.shaded(20 - np.sqrt(z**2 + y**2 + x**2), 0)
    seen, side = image[..., 3] > 0, len(image)
    width = 2 * still.REACH * 50 * np.sqrt(3)  # of the picture, in voxels
    assert seen.sum() / side**2 * width**2 == pytest.approx(np.pi * 20**2, rel=0.06)
    grey, middle, near = image[..., :3].mean(axis=2), side // 2, side // 6
    upper, lower = slice(middle - near, middle), slice(middle, middle + near)
    assert grey[upper, upper].mean() > grey[lower, lower].mean() + 20
    assert Image.open(io.BytesIO(base64.b64decode(still.png(image)))).size == (side, side)


def test_the_still_is_turned_as_the_page_turns_the_surface() -> None:
    values = np.zeros((40, 40, 40))
    values[18:22, 18:22, 30:36] = values[18:22, 30:36, 18:22] = 1  # along x, and along y
    places = still.VIEW.apply([[12.5, 0, 0], [0, 12.5, 0]])  # to the right, up, to the reader
    image = still.shaded(values, 0.5)
    side = len(image)
    scale = side / np.ceil(2 * still.REACH * 40 * np.sqrt(3))
    for right, up, _ in places:
        row, column = side / 2 - up * scale, side / 2 + right * scale
        assert image[int(row), int(column), 3]
    assert not image[side // 2, side // 2, 3]


def test_nothing_above_the_level_is_an_empty_still() -> None:
    assert not still.shaded(np.zeros((10, 10, 10)), 1)[..., 3].any()
