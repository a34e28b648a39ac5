"""Particles on the page: seen from where, how many in each tomogram, and where they lie in a tilt image."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from golden_project import SVG
from matplotlib.axes import Axes
from scipy.spatial.transform import Rotation

from stacycle.files import mrc, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.inputs.orientations import to_angles
from stacycle.report import particle_figures, particle_panel, particle_table
from stacycle.report.particle_panel import GIVEN
from stacycle.report.plots import Plot
from stacycle.steps.tomogram import FILE, Slab

COORDINATES = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]


def write_particles(path: Path, positions: np.ndarray, names: list[str], **columns: object) -> None:
    table = pd.DataFrame(positions, columns=COORDINATES).assign(rlnTomoName="TS_1", rlnTomoParticleName=names)
    star.write(path, {"particles": table.assign(**columns)})


def test_even_directions_are_even_however_particles_are_turned_in_the_subtomogram(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    seen, own = Rotation.random(4000, rng=rng), Rotation.random(4000, rng=rng)
    angles = to_angles(own.inv() * seen)
    turns = to_angles(own)
    columns = dict(zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), angles.T, strict=True))
    columns |= dict(zip([f"rlnTomoSubtomogram{one}" for one in ("Rot", "Tilt", "Psi")], turns.T, strict=True))
    write_particles(
        tmp_path / "particles.star", np.zeros((4000, 3)), [f"{i}" for i in range(4000)], **columns
    )
    found = particle_table.read(tmp_path / "particles.star").directions
    assert found == pytest.approx(seen.inv().apply([0, 0, 1]), abs=1e-3)


def test_rot_and_tilt_are_the_direction_that_a_particle_without_turns_is_seen_from(tmp_path: Path) -> None:
    angles = {"rlnAngleRot": [30.0], "rlnAngleTilt": [70.0], "rlnAnglePsi": [12.0]}
    write_particles(tmp_path / "particles.star", np.zeros((1, 3)), ["a"], **angles)
    (x, y, z) = particle_table.read(tmp_path / "particles.star").directions[0]
    assert np.degrees(np.arccos(z)) == pytest.approx(70)
    assert np.degrees(np.arctan2(y, x)) == pytest.approx(30)


def test_what_is_seen_more_often_from_one_side_is_bright_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = []
    show = Axes.imshow

    def shown(self: Axes, image: np.ndarray, **options: object) -> object:
        images.append(image)
        return show(self, image, **options)

    monkeypatch.setattr(Axes, "imshow", shown)
    directions = Rotation.random(20000, rng=np.random.default_rng(0)).apply([0, 0, 1])
    particle_figures.directions_figure(directions, tmp_path / "even.png")
    tops = directions[directions[:, 2] > 0]
    particle_figures.directions_figure(np.concatenate([directions, tops, tops]), tmp_path / "tops.png")
    even, tops = images
    assert even.shape == tops.shape == (18, 36)
    assert abs(even - 1).mean() < 0.2
    assert tops[9:].mean() / tops[:9].mean() == pytest.approx(3, rel=0.05)


@pytest.fixture
def tomogram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tomogram whose tilt image at -3° has a bright dot at each of three particles; a fourth was lost."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    positions = rng.uniform(-300, 300, (4, 3))
    write_particles(Path(GIVEN), positions, ["a", "b", "c", "d"])
    write_particles(Path("left.star"), positions[:3], ["a", "b", "c"])
    tilts = pd.DataFrame({"rlnTomoXTilt": [0.0, 1], "rlnTomoYTilt": [30.0, -3], "rlnTomoZRot": [85.0, 84]})
    tilts = tilts.assign(rlnTomoXShiftAngst=[0, 25.0], rlnTomoYShiftAngst=[0, -40.0])
    tilts = tilts.assign(rlnDefocusU=3e4, rlnDefocusV=3e4, rlnDefocusAngle=0, rlnMicrographPreExposure=0)
    tilts["rlnMicrographName"] = ["1@images.mrcs", "2@images.mrcs"]
    star.write("series.star", {"TS_1": tilts})
    row = {"rlnTomoName": "TS_1", "rlnTomoTiltSeriesStarFile": "series.star", "rlnTomoHand": -1}
    row |= {"rlnTomoTiltSeriesPixelSize": 5.0}
    star.write("tomograms.star", {"global": pd.DataFrame([row])})
    images = np.zeros((2, 210, 200), np.float32)
    turn = Rotation.from_euler("ZYX", [84, -3, 1], degrees=True)
    for x, y, _ in turn.apply(positions[:3]):
        images[1, round((y - 40) / 5) + 105, round((x + 25) / 5) + 100] = 1
    mrc.write_map("images.mrcs", images, 5)
    return tmp_path


def test_particles_lie_where_the_tilt_image_shows_them_and_the_lost_one_beside(
    tomogram: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    draw = particle_figures.positions_figure

    def positions(*given: object, path: object) -> None:
        drawn.append(given)
        draw(*given, path=path)  # type: ignore[arg-type]

    monkeypatch.setattr(particle_figures, "positions_figure", positions)
    given, left = (particle_table.read(path) for path in (GIVEN, "left.star"))
    state = OptimisationSet("left.star", "tomograms.star")
    made = particle_panel._positions("tomograms.star", given, left, state, thick=300)
    assert "over its tilt image at -3°" in made.caption
    image, width, height, kept, lost = drawn[0]
    assert (width, height) == (1000, 1050)
    assert (len(kept), len(lost)) == (3, 1)
    for x, y in kept:
        assert image[round(y / 5), round(x / 5)] > 0.1  # a dot of 1, softened by a pixel, is 0.16
    x, y = lost[0]
    assert image[round(y / 5), round(x / 5)] < 0.1


def test_over_a_tomogram_lie_those_that_are_in_the_slice(
    tomogram: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, left = (particle_table.read(path) for path in (GIVEN, "left.star"))
    heights = left.positions[:, 2]
    volume = np.zeros((70, 105, 100), np.float32)  # of 10 Å
    for x, y, z in left.positions:
        volume[round(z / 10) + 35, round((y + 525) / 10), round((x + 500) / 10)] = 1
    mrc.write_map("rec.mrc", volume, 10)
    table = star.read("tomograms.star")["global"].assign(rlnTomoReconstructedTomogram="rec.mrc")
    table = table.assign(rlnTomoSizeX=200, rlnTomoSizeY=210, rlnTomoSizeZ=140)
    star.write("tomograms.star", {"global": table})
    drawn = []
    monkeypatch.setattr(
        particle_figures, "positions_figure", lambda *given, path: drawn.append(given) or path.write(SVG)
    )
    made = particle_panel._positions(
        "tomograms.star", given, left, OptimisationSet("left.star", "tomograms.star"), thick=100
    )
    assert "over a slice of the tomogram" in made.caption
    assert made.files[0] == "rec.mrc"
    image, width, height, kept, _ = drawn[0]
    assert (width, height) == (1000, 1050)
    assert len(kept) == (np.abs(heights - np.median(heights)) <= 50).sum() >= 1
    for x, y in kept:
        assert image[round(y / 10), round(x / 10)] > 0.01  # a dot of 1 in a slab of ten sections, softened


@pytest.fixture
def slab(tomogram: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Slab, list]:
    """A slab of the tomogram, 160 Å thick, 20 Å above its middle, with a dot at each particle that is in it; and what
    is drawn."""
    made = Slab("TS_1", 20, 160, "rec.mrc")
    made.write(FILE)
    volume = np.zeros((16, 105, 100), np.float32)  # of 10 Å
    for x, y, z in particle_table.read(GIVEN).positions:
        if abs(z - 20) < 80:
            volume[int((z - 20) // 10) + 8, round(y / 10 + 52.5), round(x / 10 + 50)] = 1
    mrc.write_map("rec.mrc", volume, 10)
    drawn: list = []
    monkeypatch.setattr(
        particle_figures, "positions_figure", lambda *given, path: drawn.append(given) or path.write(SVG)
    )
    return made, drawn


def positions() -> Plot | None:
    given, left = (particle_table.read(path) for path in (GIVEN, "left.star"))
    state = OptimisationSet("left.star", "tomograms.star")
    return particle_panel._positions("tomograms.star", given, left, state, thick=300)


def test_over_a_slab_that_was_made_for_it_lie_those_in_it_and_it_is_said_which(
    slab: tuple[Slab, list],
) -> None:
    made = positions()
    assert (
        "TS_1, over a slab of it, 160 Å thick, 20 Å above its middle; those whose centre is in"
        in made.caption
    )
    assert made.files == ("rec.mrc", "left.star")
    image, width, height, kept, lost, diameter = slab[1][0]
    assert (width, height, diameter) == (1000, 1050, 160)
    heights = particle_table.read(GIVEN).positions[:, 2]
    inside = np.abs(heights - 20) <= 80
    assert (len(kept), len(lost)) == (inside[:3].sum(), inside[3:].sum())
    assert 1 <= inside.sum() < 4
    for x, y in (*kept, *lost):
        assert image[int(y // 10), int(x // 10)] > 0.15 / 16  # a dot of 1 in 16 sections, softened by a pixel


def test_without_the_slab_it_is_said_why_and_a_tilt_image_is_shown(slab: tuple[Slab, list]) -> None:
    replace(slab[0], file="", why="no such program").write(FILE)
    assert "over its tilt image at -3°" in positions().caption
    assert (
        "no slice could be made (no such program; logs/inputs/tomogram.log says more)" in positions().caption
    )
    slab[0].write(FILE)
    Path("rec.mrc").unlink()
    assert positions().caption.endswith("not a slice of it")
    Path(FILE).write_text("{}")
    assert positions().caption.endswith("not a slice of it")


def test_particles_in_a_slab_are_in_rings_of_their_size(tmp_path: Path) -> None:
    places = np.array([[300.0, 300], [700, 600]])
    path = io.BytesIO()
    particle_figures.positions_figure(np.eye(100), 1000, 1000, places, places[:1], 260, path=path)
    assert path.getvalue().count(b"<path") > 3
    drawn = {size: io.BytesIO() for size in (130, 260)}
    for size, file in drawn.items():
        particle_figures.positions_figure(np.zeros((9, 9)), 1000, 1000, places, places[:0], size, path=file)
    assert drawn[130].getvalue() != drawn[260].getvalue()


@pytest.mark.parametrize(
    ("shape", "by", "binned"), [((900, 1000), 3, (300, 333)), ((200, 210), 1, (200, 210))]
)
def test_an_image_is_binned_to_what_a_page_needs(
    shape: tuple[int, int], by: int, binned: tuple[int, int]
) -> None:
    image, times = particle_panel._binned(np.random.default_rng(0).normal(size=shape))
    assert times == by
    assert image.shape == binned


@pytest.mark.parametrize(("count", "bars"), [(5, 10), (200, 0)])
def test_few_tomograms_have_a_bar_each_and_many_are_a_histogram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, bars: int
) -> None:
    heights = []
    bar = Axes.bar
    monkeypatch.setattr(Axes, "hist", lambda *given, **options: None)
    monkeypatch.setattr(Axes, "bar", lambda self, at, n, **o: heights.extend(n) or bar(self, at, n, **o))
    given = {f"TS_{i}": 10 + i % 7 for i in range(count)}
    left = {name: n - 3 for name, n in given.items()}
    particle_figures.per_tomogram_figure(given, left, tmp_path / "out.png")
    assert len(heights) == bars
    assert heights in ([], [*given.values(), *left.values()])
