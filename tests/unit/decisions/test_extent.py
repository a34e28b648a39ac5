"""An average that is larger or smaller than the config's diameter is told, and noise is not taken for a particle."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from stacycle.decisions.extent import check_diameter, extent, noted, wrong_diameter
from stacycle.decisions.mask import otsu_level
from stacycle.report import page
from stacycle.report.project import Project

PIXEL = 8.0  # Å


def particle(size: int, *axes: float, noise: float = 0.0, shift: float = 0.0) -> np.ndarray:
    """An ellipsoid of density 1 with these axes (Å) in a box of `size` px, and noise; tapered as a reconstruction."""
    grid = (np.indices((size, size, size)) - size // 2) * PIXEL - shift
    scaled = [axis / (length / 2) for axis, length in zip(grid, axes, strict=True)]
    solid = 1 / (1 + np.exp((np.sqrt(sum(one**2 for one in scaled)) - 1) * min(axes) / 2 / PIXEL))
    radius = np.sqrt(((np.indices(solid.shape) - size // 2) ** 2).sum(axis=0)) / (size / 2)
    taper = np.clip((1 - radius) / 0.1, 0, 1)
    return ((solid - 0.1 + np.random.default_rng(1).normal(0, noise, solid.shape)) * taper).astype(np.float32)


@pytest.mark.parametrize("noise", [0, 0.5, 1])
@pytest.mark.parametrize("axes", [(260, 260, 260), (150, 150, 260), (260, 200, 90)])
def test_the_extent_is_the_longest_axis_whatever_the_shape_and_the_noise(axes: tuple, noise: float) -> None:
    assert extent(particle(64, *axes, noise=noise), PIXEL) == pytest.approx(260, rel=0.18)


def test_a_particle_off_the_centre_is_no_larger() -> None:
    assert extent(particle(64, 200, 200, 200, shift=40), PIXEL) == pytest.approx(200, rel=0.1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("density", [0.0, 3.5])
def test_a_map_that_is_the_same_everywhere_has_no_particle_and_is_no_fault(density: float) -> None:
    same = np.full((32, 32, 32), density, np.float32)
    assert otsu_level(same) == density
    assert np.isnan(extent(same, PIXEL))


def test_noise_alone_has_no_extent_and_is_no_reason_to_warn() -> None:
    found = [
        extent(np.random.default_rng(seed).normal(0, 1, (32, 32, 32)).astype(np.float32), 16.0)
        for seed in range(10)
    ]
    assert np.isnan(found).all()
    assert wrong_diameter(260, float("nan"), 520) == ""


@pytest.mark.parametrize(
    ("factor", "told"),
    [(0.7, "extends to at least "), (0.8, "extends to "), (1.0, ""), (1.1, ""), (1.5, ""), (2.0, "Å only")],
)
def test_a_wrong_diameter_is_recognised_in_the_average_in_the_box_that_follows_from_it(
    factor: float, told: str
) -> None:
    diameter = 260 * factor
    size = int(2 * diameter / PIXEL) // 4 * 4
    found = extent(particle(size, 260, 260, 260, noise=0.3), PIXEL)
    said = wrong_diameter(diameter, found, size * PIXEL)
    assert told in said
    assert bool(said) == bool(told)
    if said:
        assert f"particle.diameter is {diameter:g} Å" in said


def test_the_warning_is_noted_beside_the_map_and_shown_in_the_report(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    average = Path("results/bin4/reconstruct/merged.mrc")
    average.parent.mkdir(parents=True)
    with mrcfile.new(average) as file:
        file.set_data(particle(32, 170, 170, 170))
        file.voxel_size = PIXEL
    assert check_diameter(average, 170) == noted(average) == ""
    told = check_diameter(average, 130)
    assert told.startswith("particle.diameter is 130 Å but the average extends to at least 1")
    page.write_report("report.html", Project(averages=[str(average)]), [])
    assert "particle.diameter is 130 Å" in Path("report.html").read_text()
    assert noted("results/bin2/reconstruct/merged.mrc") == ""
