"""Pictures of a map's surface: what stands in front is seen, on the right side, and shaded by the light."""

from pathlib import Path

import numpy as np
import pytest

from stacycle.files import mrc
from stacycle.report.surface_figures import map_figure, surface_image

BOX = 48
# Who looks along an axis, with the other two upwards and to the right, looks from its end, or from its beginning.
FROM = {(0, 1, 2): ("z", 1), (1, 0, 2): ("y", -1), (2, 0, 1): ("x", 1)}


def ball(z: float, y: float, x: float, radius: float) -> np.ndarray:
    """A ball (BOX³) whose density falls off across its surface at 0.5."""
    at = np.indices((BOX, BOX, BOX)) - np.reshape([z, y, x], (3, 1, 1, 1))
    return np.clip(radius - np.sqrt((at**2).sum(axis=0)) + 0.5, 0, 1).astype(np.float32)


def test_a_ball_is_a_disc_of_its_size_on_white():
    image = surface_image(ball(24, 20, 28, 9), 0.5)
    seen = (image < 1).any(axis=-1)
    times = len(image) / BOX
    assert seen.sum() == pytest.approx(np.pi * (9 * times) ** 2, rel=0.03)
    rows, columns = np.nonzero(seen)
    assert (rows.mean() / times, columns.mean() / times) == pytest.approx((20.5, 28.5), abs=0.3)


@pytest.mark.parametrize("order", FROM)
def test_of_two_balls_the_one_nearer_to_who_looks_is_seen_and_never_as_in_a_mirror(order):
    axis, side = FROM[order]
    places = np.full((2, 3), 24)
    places[0, "zyx".index(axis)] += 10 * side
    places[1, "zyx".index(axis)] -= 10 * side
    near, far = (ball(*place, 6) for place in places)
    colours = np.where(near > 0, 1.0, np.where(far > 0, 9.0, 0)).astype(np.float32)
    image = surface_image(near + far, 0.5, order, colours, (1, 9))
    middle = image[len(image) // 2, len(image) // 2]
    assert middle[2] > 1.3 * middle[0]  # blue, as the finest is


def test_light_comes_from_above_left_and_from_who_looks():
    image = surface_image(ball(24, 24, 24, 14), 0.5).mean(axis=-1)
    middle, off = len(image) // 2, round(9 * len(image) / BOX)
    assert image[middle + off, middle] > image[middle - off, middle] + 0.1
    assert image[middle, middle - off] > image[middle, middle + off] + 0.05


def test_nothing_above_the_level_is_a_white_picture():
    assert (surface_image(ball(24, 24, 24, 9), 2.0) == 1).all()


def test_the_picture_of_a_map_is_made_with_and_without_local_resolution(tmp_path: Path):
    mrc.write_map(tmp_path / "map.mrc", ball(24, 20, 28, 9), 4.0)
    mrc.write_map(tmp_path / "local.mrc", np.full((BOX, BOX, BOX), 7.0), 4.0)
    map_figure(tmp_path / "map.mrc", 0.5, tmp_path / "one.png")
    map_figure(tmp_path / "map.mrc", 0.5, tmp_path / "two.png", tmp_path / "local.mrc", (6, 8))
    first, second = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert first.startswith(b"\x89PNG")
    assert second.startswith(b"\x89PNG")
    assert first != second


def test_a_map_of_a_large_box_takes_seconds(tmp_path: Path):
    """Averaged over neighbours first: 336 px is what a ribosome has at bin1."""
    big = np.kron(ball(24, 24, 24, 12), np.ones((7, 7, 7), np.float32))
    mrc.write_map(tmp_path / "map.mrc", big, 1.0)
    map_figure(tmp_path / "map.mrc", 0.5, tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 10_000
