"""Pictures of local resolutions, and ChimeraX's commands for the same colours."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from stacycle.files import mrc
from stacycle.report import local_resolution_figures as figures

N = 24


@pytest.fixture
def maps(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A bright ball whose left half is fine and whose right half is coarse: map, resolutions, mask."""
    z, y, x = np.mgrid[:N, :N, :N] - N // 2
    within = z**2 + y**2 + x**2 < 64
    local = np.where(x < 0, 10.0, 20.0)
    mrc.write_map(tmp_path / "filtered.mrc", np.where(within, 1.0, 0.0) + 0.01 * (x % 3), 5)
    return tmp_path / "filtered.mrc", local, within


def test_colours_run_from_the_5th_to_the_95th_percentile_but_not_over_nothing() -> None:
    assert figures.colour_range({"median": 12, "finest": 10.12, "coarsest": 20.06}) == (10.1, 20.1)
    assert figures.colour_range({"median": 40, "finest": 40, "coarsest": 40}) == (38, 42)


def test_fine_is_blue_and_coarse_red_inside_the_mask_alone(tmp_path: Path, maps: tuple) -> None:
    density, local, within = maps
    figures.slices_figure(density, local, within, (10, 20), tmp_path / "slices.png")
    image = matplotlib.image.imread(tmp_path / "slices.png")[..., :3]
    left = image[:, : image.shape[1] // 4]  # the XY slice
    blue = (left[..., 2] > left[..., 0] + 0.2).nonzero()[1]
    red = (left[..., 0] > left[..., 2] + 0.2).nonzero()[1]
    assert min(len(blue), len(red)) > 500
    assert np.median(blue) < np.median(red)
    none = np.zeros_like(within)
    figures.slices_figure(density, local, none, (10, 20), tmp_path / "grey.png")
    grey = matplotlib.image.imread(tmp_path / "grey.png")[..., :3]
    panels = grey[60:-20, : image.shape[1] * 3 // 4]
    assert np.ptp(panels, axis=2).max() < 0.05


def test_the_histogram_is_drawn_whatever_the_values(tmp_path: Path) -> None:
    numbers = {"resolution": 12.0, "nyquist": 10.0}
    for name, values in {
        "some": np.linspace(10, 20, 500),
        "one": np.full(9, 12.0),
        "none": np.zeros(9),
    }.items():
        figures.histogram_figure(values, numbers, (10, 20), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_chimerax_opens_both_maps_beside_it_and_colours_one_by_the_other(tmp_path: Path, maps: tuple) -> None:
    density, _, within = maps
    text = figures.chimerax(density, tmp_path / "local.mrc", within | True, (10, 20))
    title, *commands = text.splitlines()
    assert title.startswith("# ")
    opened = [line for line in commands if line.startswith("open")]
    assert opened == ['open "filtered.mrc" id 1', 'open "local.mrc" id 2']
    level = float(re.search(r"volume #1 .*style surface step 1 level (\S+)", text)[1])
    assert 0.02 < level < 1  # of what is not in the ball, and of the ball
    assert "volume #2 hide" in commands
    coloured = "color sample #1 map #2 palette 10,#2c7bb6:12.5,#abd9e9:15,#ffffbf:17.5,#fdae61:20,#d7191c"
    assert coloured in commands
    assert "key #2c7bb6:10 #abd9e9:12.5 #ffffbf:15 #fdae61:17.5 #d7191c:20" in commands
