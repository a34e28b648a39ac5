"""Tilt series of Warp: what is read is where the truth was, what cannot be taken is refused or told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foreign import warp as writer
from foreign.truth import Series, differences, make_series, points_in, seen_positions
from foreign.warp import WarpProject

from stacycle.errors import UserError
from stacycle.inputs.findings import Findings
from stacycle.inputs.sources import warp
from stacycle.inputs.sources.source import Asked, ImportedSeries, all_sources


def series_with_lost_tilts(seed: int = 1, **kwargs: object) -> Series:
    """A tilt series with two tilts that the user excluded and one black image."""
    return make_series(seed, **kwargs).without([0, 5], [12])  # type: ignore[arg-type]


def read(folder: Path, **asked: object) -> tuple[list[ImportedSeries], Findings]:
    findings = Findings()
    return warp.read(Asked(folder, **asked), findings), findings  # type: ignore[arg-type]


def read_one(project: WarpProject, series: Series, **asked: object) -> ImportedSeries:
    writer.write(project, series)
    found, findings = read(project.folder, **asked)
    assert not findings.problems, findings.problems
    (one,) = found
    return one


def refusal(project: WarpProject, **asked: object) -> str:
    """The only problem, as it is printed."""
    found, findings = read(project.folder, **asked)
    assert not found
    (problem,) = findings.problems
    return str(problem)


def assert_true(found: ImportedSeries, series: Series) -> None:
    off = differences(found, series)
    assert off["position"] < 0.005, off
    assert off["defocus"] < 0.1, off
    assert off["astigmatism"] < 0.1, off
    assert off["azimuth"] < 1e-4, off
    assert off["phase"] < 1e-4, off
    assert off["exposure"] < 1e-5, off


def test_warp_is_one_of_the_sources() -> None:
    assert all_sources()["warp"] is warp.SOURCE


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("hand", [-1, 1])
@pytest.mark.parametrize("name", ["TS_01", "24jul16a_Position_1.2", "TS_1-b"])
def test_images_are_where_the_truth_has_them(tmp_path: Path, old: bool, hand: int, name: str) -> None:
    series = series_with_lost_tilts(hand=hand, name=name, axis=-86.5 if hand > 0 else 84.9)
    found = read_one(WarpProject(tmp_path, old=old), series, size=series.size)
    assert (found.name, found.hand, found.size) == (name, hand, series.size)
    assert found.pixel == pytest.approx(series.pixel)
    assert (found.voltage, found.cs, found.amplitude_contrast) == (300, 2.7, 0.07)
    assert_true(found, series)


@pytest.mark.parametrize("hand", [-1, 1])
def test_level_movement_and_warp_are_part_of_the_geometry(tmp_path: Path, hand: int) -> None:
    series = series_with_lost_tilts(hand=hand)
    project = WarpProject(tmp_path, level=(0, 2.37), movement=(12.5, -7.25), warp=(8.0, -15.0, 40.0))
    assert_true(read_one(project, series), series)


def test_level_x_is_the_x_tilt_as_warp_turns_by_it(tmp_path: Path) -> None:
    series = make_series(3)
    found = read_one(WarpProject(tmp_path, level=(-4.2, 1.1)), series)
    points, middle = points_in(series), np.array(series.size) / 2
    for row, seen in enumerate(seen_positions(found, series.image, points)):
        matrix = writer.euler(-series.tilt[row], -series.axis[row]) @ writer.rotate_x(-4.2)
        expected = ((points - middle) @ matrix.T)[:, :2] + series.shift[row] + np.array(series.image) / 2
        assert np.abs(seen - expected).max() < 0.005


def test_images_of_odd_size_have_their_middle_between_pixels(tmp_path: Path) -> None:
    series = replace(make_series(3), image=(95, 80))
    found = read_one(WarpProject(tmp_path), series)
    moved = replace(series, shift=series.shift + np.array([0.5, 0]))
    assert differences(found, moved)["position"] < 0.005


def test_angles_that_imod_offset_differ_from_those_of_the_stage(tmp_path: Path) -> None:
    series = make_series(4)
    project = WarpProject(tmp_path, turned=8.5)
    found = read_one(project, series)
    assert_true(found, replace(series, tilt=series.tilt - 8.5))
    assert found.tilts.rlnTomoNominalStageTiltAngle.to_numpy() == pytest.approx(series.stage)


def test_each_average_is_an_image_of_its_own(tmp_path: Path) -> None:
    series = series_with_lost_tilts()
    found = read_one(WarpProject(tmp_path), series)
    names = [Path(name) for name in found.tilts.rlnMicrographName]
    numbers = [int(name.name.removeprefix("TS_01_").split("_")[0]) for name in names]
    assert numbers == series.order[series.kept].tolist()
    assert all(name.is_file() and ".." not in name.parts for name in names)


def test_averages_may_be_where_warptools_processes_movies(tmp_path: Path) -> None:
    writer.write(WarpProject(tmp_path), make_series(1))
    star = tmp_path / "tomostar/TS_01.tomostar"
    star.write_text(star.read_text().replace("../warp_frameseries/", "../frames/"))
    (found,), _ = read(tmp_path)
    assert str(tmp_path / "warp_frameseries/average") in found.tilts.rlnMicrographName[0]


def test_a_stack_stands_in_for_averages(tmp_path: Path) -> None:
    series = series_with_lost_tilts()
    found = read_one(WarpProject(tmp_path, stack=True), series)
    stack = tmp_path / "warp_tiltseries/tiltstack/TS_01/TS_01.st"
    assert found.tilts.rlnMicrographName.tolist() == [f"{n}@{stack}" for n in range(1, 19)]
    assert_true(found, series)


def test_a_stack_of_all_tilts_keeps_its_numbers(tmp_path: Path) -> None:
    series = series_with_lost_tilts()
    project = WarpProject(tmp_path, stack=True)
    writer.write(project, series)
    stack = tmp_path / "warp_tiltseries/tiltstack/TS_01/TS_01.st"
    writer.write_stack(stack, series, writer.imported_tilts(series))
    (found,), _ = read(tmp_path)
    assert [int(name.split("@")[0]) for name in found.tilts.rlnMicrographName][:6] == [2, 3, 4, 5, 7, 8]


def test_a_dose_that_is_asked_for_counts_from_the_order_of_exposures(tmp_path: Path) -> None:
    series = series_with_lost_tilts()
    found = read_one(WarpProject(tmp_path), series, dose=2.5)
    assert found.tilts.rlnMicrographPreExposure.to_numpy() == pytest.approx(2.5 * series.order[series.kept])
    assert "inputs.1.dose" in found.taken["dose"]


def test_values_that_are_asked_for_come_first(tmp_path: Path) -> None:
    asked = {"hand": -1, "size": (100, 90, 60), "voltage": 200.0, "cs": 2.2, "amplitude_contrast": 0.1}
    found = read_one(WarpProject(tmp_path), make_series(1, hand=1), **asked)
    assert {key: getattr(found, key) for key in asked} == asked
    assert all("inputs.1." in found.taken[key] for key in asked)


def test_what_was_taken_is_told(tmp_path: Path) -> None:
    taken = read_one(WarpProject(tmp_path), series_with_lost_tilts()).taken
    assert re.fullmatch(r"84\.\d\d°, AxisAngle of TS_01.xml", taken["axis"])
    assert taken["hand"] == "-1, AreAnglesInverted is True in TS_01.xml"
    assert taken["size"] == "96 × 80 × 48 px, VolumeDimensionsAngstrom of TS_01.xml"
    assert taken["dropped"] == "tilts 1, 6, UseTilt of TS_01.xml"
    assert taken["voltage"] == "300 kV, TS_01.xml"


@pytest.mark.parametrize("unset", ["0, 0, 0", "129.6, 108, 1"])  # new, and as ts_import_alignments leaves it
def test_the_size_may_be_that_of_the_settings(tmp_path: Path, unset: str) -> None:
    project = WarpProject(tmp_path, attributes={"VolumeDimensionsAngstrom": unset})
    dimensions = "".join(
        f'<Param Name="Dimensions{a}" Value="{n}" />' for a, n in zip("XYZ", (192, 160, 96), strict=True)
    )
    text = f'<Settings><Import><Param Name="PixelSize" Value="0.675" /></Import><Tomo>{dimensions}</Tomo></Settings>'
    (tmp_path / "warp_tiltseries.settings").write_text(text)
    found = read_one(project, make_series(1))
    assert found.size == (96, 80, 48)
    assert found.taken["size"].endswith("warp_tiltseries.settings")


def test_a_tomogram_begins_where_the_volume_does(tmp_path: Path) -> None:
    series = make_series(1)
    project = WarpProject(tmp_path)
    path = writer.write_volume(project, series, 10.0)
    volume = read_one(project, series).volume
    assert volume is not None
    assert (volume.path, volume.shape, volume.mirrored) == (path, (12, 10, 6), False)
    assert (volume.voxel, volume.anchor) == (10, "corner")


@pytest.mark.parametrize("hand", [-1, 1])
@pytest.mark.parametrize("size", [None, (120, 70, 60)])
def test_positions_count_from_the_corner_of_the_volume(
    tmp_path: Path, hand: int, size: tuple[int, int, int] | None
) -> None:
    series = make_series(1, hand=hand)
    odd = np.array([95.3, 81.1, 46.7])  # px: what no tomogram of RELION can have
    edges = {"VolumeDimensionsAngstrom": ", ".join(f"{edge:.7g}" for edge in odd * series.pixel)}
    found = read_one(WarpProject(tmp_path, attributes=edges), series, **({"size": size} if size else {}))
    assert found.size == (size or (96, 82, 46))
    points = points_in(series)
    middle = np.array(series.size) / 2 - odd / 2
    assert np.abs(seen_positions(found, series.image, points) - series.project(points + middle)).max() < 0.005
    corner = found.hand * found.pixel * _heights(found) + found.tilts.rlnDefocusU.to_numpy()
    assert corner == pytest.approx(series.defocus_at(middle[None])[:, 0], abs=0.1)


def test_of_several_tomograms_none_is_taken(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    for voxel in (10.0, 5.4):
        writer.write_volume(project, make_series(1), voxel)
    writer.write_volume(project, make_series(1, name="TS_01_2"), 10.0)
    assert read_one(project, make_series(1)).volume is None


def test_only_the_included_ones_are_read(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    for name in ("TS_01", "TS_02", "TS_11"):
        writer.write(project, make_series(1, name=name))
    found, _ = read(tmp_path, include=("TS_0*",))
    assert [one.name for one in found] == ["TS_01", "TS_02"]
    with pytest.raises(UserError, match=r"inputs.1.include: .* no tilt series called TS_9\* \(TS_01"):
        read(tmp_path, include=("TS_9*",))


def test_all_files_that_are_read_are_listed(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    volume = writer.write_volume(project, make_series(1), 10.0)
    one = read_one(project, make_series(1))
    wanted = {project.tomostar("TS_01"), project.xml("TS_01"), volume, Path(one.tilts.rlnMicrographName[0])}
    assert wanted == set(warp.files(Asked(tmp_path)))


def _heights(found: ImportedSeries) -> np.ndarray:
    """(rows) px: how high the corner of the tomogram is over its middle."""
    tilt = np.radians(found.tilts.rlnTomoYTilt.to_numpy())
    x, _, z = -np.array(found.size) / 2
    return -x * np.sin(tilt) + z * np.cos(tilt)


# What is told


def warnings(project: WarpProject, series: Series | None = None, **asked: object) -> str:
    writer.write(project, series or make_series(1))
    _, findings = read(project.folder, **asked)
    assert not findings.problems
    return " ".join(map(str, findings.warnings))


def test_nothing_is_warned_of_without_reason(tmp_path: Path) -> None:
    movement = np.arange(21.0).reshape(1, 21, 1, 1)  # along the tilts, the same at all places
    assert warnings(WarpProject(tmp_path, grids={"GridMovementY": movement})) == ""


def test_of_grids_that_differ_from_place_to_place_the_middle_is_taken(tmp_path: Path) -> None:
    series = make_series(1)
    movement = np.random.default_rng(0).normal(size=(1, 21, 3, 3))
    movement[..., 1, 1] = 4
    warped = np.zeros((5, 2, 3, 3))
    warped[..., 1, 1] = np.arange(5)[:, None]  # along the exposure
    project = WarpProject(tmp_path, grids={"GridMovementX": movement, "GridVolumeWarpX": warped})
    said = warnings(project, series)
    assert "GridMovementX, GridVolumeWarpX differ from place to place" in said
    (found,), _ = read(tmp_path)
    when = 4 * series.exposure / series.exposure.max()
    matrices = [writer.euler(-t, -a) for t, a in zip(series.tilt, series.axis, strict=True)]
    moved = np.array([matrix @ [w, 0, 0] for matrix, w in zip(matrices, when, strict=True)])
    expected = series.shift * 1.35 + moved[:, :2] - [4, 0]
    assert found.tilts[["rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]].to_numpy() == pytest.approx(
        expected, abs=1e-4
    )


@pytest.mark.parametrize(
    ("project", "said"),
    [
        ({"attributes": {"MagnificationCorrection": "1.02, 0, 0, 1"}}, "MagnificationCorrection is not 1"),
        ({"attributes": {"MagnificationCorrection": "1.02, 1, 3"}}, "MagnificationCorrection is not 1"),
        ({"grids": {"GridAngleY": np.full((1, 21, 1, 1), 0.3)}}, "GridAngleY turn the particles"),
        ({"attributes": {"UnselectManual": "True"}}, "left out, for it was deselected"),
    ],
)
def test_what_relion_cannot_hold_is_told(tmp_path: Path, project: dict[str, object], said: str) -> None:
    assert said in warnings(WarpProject(tmp_path, **project))  # type: ignore[arg-type]


def test_a_hand_that_nobody_may_have_looked_at_is_told(tmp_path: Path) -> None:
    assert "ts_defocus_hand" in warnings(WarpProject(tmp_path), make_series(1, hand=1))
    assert warnings(WarpProject(tmp_path), make_series(1, hand=1), hand=1) == ""


def test_an_axis_that_was_turned_is_told(tmp_path: Path) -> None:
    project, series = WarpProject(tmp_path), make_series(1)
    writer.write(project, replace(series, axis=series.axis - 180))
    project.tomostar("TS_01").unlink()
    aside = WarpProject(tmp_path / "aside")
    writer.write(aside, series)
    project.tomostar("TS_01").write_text(aside.tomostar("TS_01").read_text())
    _, findings = read(tmp_path, include=("TS_01",))
    assert "in TS_01.tomostar, 180° apart" in str(findings.warnings[0])


def test_a_tilt_series_without_xml_is_left_out_and_told(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    writer.write(project, make_series(1))
    writer.write(project, make_series(1, name="TS_02"))
    project.xml("TS_02").unlink()
    found, findings = read(tmp_path)
    assert project.tomostar("TS_02") in warp.files(Asked(tmp_path))
    assert [one.name for one in found] == ["TS_01"]
    assert "there is no TS_02.xml" in str(findings.warnings[0])


# What is refused


def test_a_folder_without_tomostars_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"inputs.1.warp: .* has no .tomostar file"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("</Angles>", "\n60</Angles>", "has 21 values of UseTilt, but 22 Angles"),
        ("<UseTilt>True\n", "<UseTilt>", "has 20 values of UseTilt"),
        ("<AxisOffsetX>", "<AxisOffsetX>NaN\n", "has 22 values of AxisOffsetX"),
        (r"<AxisOffsetX>[^\n]*", "<AxisOffsetX>NaN", "value 1 of AxisOffsetX is no number"),
        (r"<AxisAngle>[^\n]*", "<AxisAngle>abc", "AxisAngle has a value that is no number"),
        ("</TiltSeries>", "", "is no complete XML file"),
        (r"<Angles>[^<]*</Angles>", "", "has no Angles"),
        (r"<AxisOffsetY>[^<]*</AxisOffsetY>", "", "has no AxisOffsetY"),
        (
            r'(GridCTF Width="1" Height="1" Depth=)"21"',
            r'\1"20"',
            "GridCTF has a wrong node or size (index 20 is out of bounds",
        ),
        (r'(GridCTF Width="1" Height="1" Depth=)"21"', r'\1"x"', "GridCTF has a wrong node or size (invalid"),
        ("<UseTilt>True", "<UseTilt>yes", "UseTilt is 'yes', not True or False"),
        (r"<Dose>[^\n]*", "<Dose>17", "wrpDose of row 1 is"),
        (r"<Angles>[^\n]*", "<Angles>20", "wrpAngleTilt of row 1 is"),
        (r"<MoviePath>[^\n]*", "<MoviePath>../x/other.eer", "but other in"),
        (
            'Name="Voltage"',
            'Name="kV"',
            "inputs.1.voltage: the voltage of TS_01 is not known: TS_01.xml does not say it",
        ),
        ('Name="Cs"', 'Name="cs"', "inputs.1.cs: the cs of TS_01 is not known"),
        ("VolumeDim", "Dim", "inputs.1.size: the size of TS_01 is not known"),
        (
            r'(<GridCTF [^\n]*\n[^\n]*Value=)"[^"]*"',
            r'\1"0"',
            "the defocus of tilt 1 is 0 µm in GridCTF; estimate the CTF",
        ),
    ],
)
def test_an_xml_file_that_cannot_be_taken_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    project = WarpProject(tmp_path)
    writer.write(project, make_series(1))
    text = project.xml("TS_01").read_text(encoding="utf-8-sig")
    changed = re.sub(old, new, text, count=1)
    assert changed != text
    project.xml("TS_01").write_text(changed, encoding="utf-8-sig")
    assert said in refusal(project)


def test_a_ctf_of_another_number_of_tilts_is_refused(tmp_path: Path) -> None:
    project = WarpProject(tmp_path, grids={"GridCTF": np.full((1, 20, 1, 1), 3.0)})
    writer.write(project, make_series(1))
    assert "GridCTF has 20 values, but there are 21 Angles" in refusal(project)


def test_a_tomostar_with_other_tilts_than_the_xml_file_is_refused(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    writer.write(project, make_series(1))
    lines = project.tomostar("TS_01").read_text().splitlines()
    project.tomostar("TS_01").write_text("\n".join(lines[:-1]) + "\n")
    assert "has 20 tilts, but" in refusal(project)


def test_a_tomostar_with_words_for_numbers_is_refused(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    writer.write(project, make_series(1))
    text = project.tomostar("TS_01").read_text()
    for word in ("abc", "nan"):
        project.tomostar("TS_01").write_text(re.sub(r"(eer  )\S+", rf"\1{word}", text, count=1))
        assert "wrpAngleTilt is not a number in row 1" in refusal(project)


@pytest.mark.parametrize("unset", ["", "null"])
def test_an_xml_file_in_small_letters_with_nothing_unset_is_read(tmp_path: Path, unset: str) -> None:
    attributes = {"LevelAngleX": "", "MagnificationCorrection": "", "UnselectManual": unset}
    project = WarpProject(tmp_path, attributes=attributes)
    writer.write(project, make_series(1, hand=-1))
    path = project.xml("TS_01")
    path.write_text(
        path.read_text("utf-8-sig").replace("True", "true").replace("False", "false"), "utf-8-sig"
    )
    (found,), _ = read(tmp_path)
    assert (len(found.tilts), found.hand) == (21, -1)


def test_a_series_that_was_not_aligned_is_refused(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    writer.write(project, replace(make_series(1), shift=np.zeros((21, 2))))
    assert "all AxisOffsetX and Y are 0" in refusal(project)


def test_an_alignment_may_be_all_in_the_movement(tmp_path: Path) -> None:
    series = replace(make_series(1), shift=np.full((21, 2), 2.0))
    movement = -2 * series.pixel
    assert_true(read_one(WarpProject(tmp_path, movement=(movement, movement)), series), series)


def test_two_xml_files_of_one_series_are_refused(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    writer.write(project, make_series(1))
    (tmp_path / "older").mkdir()
    (tmp_path / "older/TS_01.xml").write_bytes(project.xml("TS_01").read_bytes())
    assert "are all the tilt series TS_01" in refusal(project)


def test_an_xml_file_of_a_movie_is_not_taken_for_the_series(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    writer.write(project, make_series(1))
    (tmp_path / "older").mkdir()
    (tmp_path / "older/TS_01.xml").write_text("<Movie></Movie>")
    (found,), _ = read(tmp_path)
    assert found.name == "TS_01"


def test_missing_images_are_refused(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    writer.write(project, make_series(1))
    next((tmp_path / "warp_frameseries/average").iterdir()).unlink()
    assert "is missing (1 of 21 images of TS_01)" in refusal(project)


def test_a_stack_of_another_number_of_images_is_refused(tmp_path: Path) -> None:
    project = WarpProject(tmp_path, stack=True)
    series = make_series(1)
    writer.write(project, series)
    writer.write_stack(tmp_path / "warp_tiltseries/tiltstack/TS_01/TS_01.st", series, np.arange(7))
    assert "has 7 images, but" in refusal(project)


def test_exposures_that_say_no_order_are_refused(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    writer.write(project, replace(make_series(1), dose=0.0))
    assert "says the same exposure, 0 e/Å², of all tilts" in refusal(project)
    assert "says the same exposure" in refusal(project, dose=3.0)


def test_a_dose_for_exposures_that_differ_is_refused(tmp_path: Path) -> None:
    series = make_series(1)
    series = replace(series, order=np.where(series.order == 20, 20.4, series.order))
    project = WarpProject(tmp_path)
    writer.write(project, series)
    assert "exposures that are no multiples of one" in refusal(project, dose=3.0)


def test_an_unknown_pixel_size_is_refused(tmp_path: Path) -> None:
    project = WarpProject(tmp_path)
    writer.write(project, replace(make_series(1), pixel=1.0))
    assert refusal(project).startswith("inputs.1.pixel: the pixel of TS_01 is not known")
    assert "has 1.35 Å/px in its header, but 2.7 is asked for" in _with_pixel(tmp_path / "other")


def _with_pixel(folder: Path) -> str:
    project = WarpProject(folder)
    writer.write(project, make_series(1))
    return refusal(project, pixel=2.7)
