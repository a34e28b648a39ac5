"""Slices as images of the page: right way up, as many pixels as voxels, with outlines where a mask ends."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stacycle.files import mrc
from stacycle.report import images

GOLDEN = Path(__file__).parents[2] / "golden" / "data"


def pixels(png: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(png))))


def points(line: images.Line) -> np.ndarray:
    """The points (n, 2) of an outline."""
    return np.array([float(one) for one in re.findall(r"[\d.]+", line.path)]).reshape(-1, 2)


def test_slices_are_those_of_the_whole_map(tmp_path: Path) -> None:
    density = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    mrc.write_map(tmp_path / "map.mrc", density, 10)
    found, pixel = images.central(tmp_path / "map.mrc")
    assert pixel == 10
    expected = [density[4], density[:, 4], density[:, :, 4]]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_first_row_of_a_map_is_at_the_bottom_of_its_image() -> None:
    image = np.zeros((6, 6))
    image[0, 2] = 1
    shown = pixels(images.png(image, (0, 1)))
    assert shown.shape == (6, 6)
    assert shown[5, 2] == 255
    assert shown.sum() == 255


def test_a_mask_is_outlined_where_it_is_a_half_and_where_it_ends(tmp_path: Path) -> None:
    y, x = np.mgrid[:24, :24] - np.array([15, 8]).reshape(2, 1, 1)
    edge = np.clip((7 - np.hypot(x, y)) / 4, 0, 1)
    mask = np.broadcast_to(edge, (24, 24, 24)).astype(np.float32)
    mrc.write_map(tmp_path / "mask.mrc", mask, 10)
    mrc.write_map(tmp_path / "map.mrc", mask, 10)
    made = images.slices(tmp_path / "map.mrc", "Map", tmp_path / "mask.mrc")
    lines = {line.kind: points(line) for line in made.images[0].lines}
    middle = [8.5, 24 - 15.5]  # of the image, whose rows run downwards
    for kind, radius in (("mask", 5), ("edge", 7)):
        reach = np.hypot(*(lines[kind] - middle).T)
        assert reach == pytest.approx(
            np.full(len(reach), radius), abs=0.6
        )  # 0.53 where only a corner is inside
    mrc.write_map(tmp_path / "none.mrc", 0 * mask, 10)
    none = images.slices(tmp_path / "map.mrc", "Map", tmp_path / "none.mrc")
    assert [image.lines for image in none.images] == [(), (), ()]


def test_a_scale_bar_is_of_a_round_length_and_as_long_as_it_says() -> None:
    bar = images.scale_bar(box=64, pixel=10)
    assert bar == images.ScaleBar(100, 100 * 100 / 640)
    assert images.scale_bar(64, 0) is None


def test_a_large_map_is_shown_in_as_many_pixels_as_a_page_needs() -> None:
    rng = np.random.default_rng(0)
    large = images.png(rng.normal(size=(640, 640)), (-2, 2))
    assert pixels(large).shape == (320, 320)
    assert len(large) < 130_000


def test_a_coloured_picture_gets_smaller_and_stays_what_it_was() -> None:
    ramp = np.linspace(0, 255, 400).astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(90)), -1)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    small = images.smaller(file.getvalue())
    shown = np.array(Image.open(io.BytesIO(base64.b64decode(small))).convert("RGB"), float)
    assert np.abs(shown - picture).mean() < 10
