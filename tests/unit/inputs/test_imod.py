"""Tilt series of IMOD's etomo: what is read is where the truth was, what cannot be taken is refused or told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foreign import imod as writer
from foreign.imod import Etomo
from foreign.truth import Series, differences, make_series, points_in, seen_positions, write_stack

from stacycle.errors import UserError
from stacycle.inputs.findings import Findings
from stacycle.inputs.sources import imod, mdoc
from stacycle.inputs.sources.source import Asked, ImportedSeries, all_sources
from stacycle.inputs.sources.tilt_axis import axes_said

DOSE = 3.2  # of the truth


def series_with_lost_tilts(seed: int = 1, **kwargs: object) -> Series:
    """A tilt series with two tilts that the user excluded and one black image."""
    return make_series(seed, **kwargs).without([0, 5], [12])  # type: ignore[arg-type]


def read(folder: Path, **asked: object) -> tuple[list[ImportedSeries], Findings]:
    findings = Findings()
    return imod.read(Asked(folder, **({"dose": DOSE} | asked)), findings), findings  # type: ignore[arg-type]


def read_one(etomo: Etomo, series: Series, **asked: object) -> ImportedSeries:
    writer.write(etomo, series)
    found, findings = read(etomo.folder, **asked)
    assert not findings.problems, findings.problems
    (one,) = found
    return one


def refusal(etomo: Etomo, **asked: object) -> str:
    """The only problem, as it is printed."""
    found, findings = read(etomo.folder, **asked)
    assert not found
    (problem,) = findings.problems
    return str(problem)


def warnings(etomo: Etomo, series: Series | None = None) -> str:
    writer.write(etomo, series or make_series(1))
    _, findings = read(etomo.folder)
    assert not findings.problems
    return " ".join(map(str, findings.warnings))


def assert_true(found: ImportedSeries, series: Series) -> None:
    off = differences(found, series)
    assert off["position"] < 0.01, off
    assert off["defocus"] < 0.6, off  # 0.1 nm
    assert off["astigmatism"] < 0.6, off
    assert off["azimuth"] < 0.006, off
    assert off["phase"] < 0.006, off
    assert off["exposure"] < 1e-9, off


def test_imod_is_one_of_the_sources() -> None:
    assert all_sources()["imod"] is imod.SOURCE


@pytest.mark.parametrize("hand", [-1, 1])
@pytest.mark.parametrize("axis", [84.9, -95.1, 179.8, 0.3])
@pytest.mark.parametrize("name", ["TS_01", "mka2018-10-01-1", "lam.1_ts"])
def test_images_are_where_the_truth_has_them(tmp_path: Path, hand: int, axis: float, name: str) -> None:
    series = series_with_lost_tilts(hand=hand, axis=axis, name=name)
    found = read_one(Etomo(tmp_path), series, hand=hand)
    assert (found.name, found.hand, found.size) == (name, hand, series.size)
    assert found.pixel == pytest.approx(series.pixel)
    assert (found.voltage, found.cs, found.amplitude_contrast) == (300, 2.7, 0.07)
    views = (series.kept + 1).tolist()
    assert found.tilts.rlnMicrographName.tolist() == [f"{view}@{tmp_path}/{name}.st" for view in views]
    assert_true(found, series)


def test_angles_are_those_of_tiltalign_with_the_offset_of_tilt(tmp_path: Path) -> None:
    series = make_series(2)
    series = replace(series, tilt=series.tilt + 2.85)  # AngleOffset
    found = read_one(Etomo(tmp_path, offset=-1.5), series)
    assert_true(found, series)
    assert found.tilts.rlnTomoNominalStageTiltAngle.to_numpy() == pytest.approx(series.stage)
    assert found.taken["offsets"].startswith("angles +2.85° against the stage, OFFSET -1.5° among them")


@pytest.mark.parametrize("x_axis_tilt", [0.0, 1.3])
@pytest.mark.parametrize("x_tilt", [0.0, -0.4])
def test_x_tilt_and_shift_move_the_volume_as_tilt_does(
    tmp_path: Path, x_tilt: float, x_axis_tilt: float
) -> None:
    series, shift = make_series(3), (6.0, -11.0)
    entries = {"SHIFT": f"{shift[0]} {shift[1]}", "XAXISTILT": str(x_axis_tilt)}
    etomo = Etomo(tmp_path, x_tilt=x_tilt, tilt_entries=entries)
    found = read_one(etomo, series)
    points = points_in(series)
    expected = writer.seen_by_imod(etomo, series, points, shift, x_axis_tilt)
    assert np.abs(seen_positions(found, series.image, points) - expected).max() < 0.01


@pytest.mark.parametrize("hand", [-1, 1])
def test_a_volume_that_is_shifted_has_the_defocus_of_its_own_middle(tmp_path: Path, hand: int) -> None:
    series = make_series(3, hand=hand)
    found = read_one(Etomo(tmp_path, tilt_entries={"SHIFT": "6 -11"}), series, hand=hand)
    middle = np.array([series.size]) / 2 + [-6, 0, -11]  # of the shifted volume, in the other
    assert found.tilts.rlnDefocusU.to_numpy() == pytest.approx(series.defocus_at(middle)[:, 0], abs=0.6)


def test_the_half_pixel_between_imod_and_relion_is_left_out(tmp_path: Path) -> None:
    series = replace(make_series(3), shift=np.full((21, 2), 0.25))
    found = read_one(Etomo(tmp_path), series)
    assert found.tilts.rlnTomoXShiftAngst.to_numpy() == pytest.approx(0.25 * series.pixel, abs=2e-3)


def test_plain_defocus_is_that_of_both_axes(tmp_path: Path) -> None:
    series = series_with_lost_tilts()
    found = read_one(Etomo(tmp_path, version=2), series)
    mean = series.defocus[series.kept, :2].mean(1)
    for label in ("rlnDefocusU", "rlnDefocusV"):
        assert found.tilts[label].to_numpy() == pytest.approx(mean, abs=5)  # whole nm
    assert "rlnPhaseShift" not in found.tilts


@pytest.mark.parametrize(
    ("first", "row", "expected"),
    [
        ("1 0 0.0 0.0 0.0 3", "2000.5 1900.5 -30.25", (20005, 19005, -30.25, 0)),
        ("4 0 0.0 0.0 0.0 3", "2000.5 45", (20005, 20005, 0, 45)),
        ("15 0 0.0 0.0 0.0 3", "2000.5 1900.5 -0.5 1.25", (20005, 19005, np.degrees(-0.5), np.degrees(1.25))),
        ("37 0 0.0 0.0 0.0 3", "2000.5 1900.5 -30.25 45 0.01", (20005, 19005, -30.25, 45)),
    ],
)
def test_flags_say_what_the_columns_of_defocus_are(
    tmp_path: Path, first: str, row: str, expected: tuple[float, ...]
) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write(etomo, series)
    rows = [f"{view} {view} 0 0 {row}" for view in range(1, 22)]
    etomo.file(series, ".defocus").write_text("\n".join([first, *rows]))
    (found,), _ = read(tmp_path)
    labels = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
    assert found.tilts.loc[0, list(labels)].tolist() == pytest.approx(expected[:3])
    assert found.tilts.get("rlnPhaseShift", np.zeros(1))[0] == pytest.approx(expected[3])


def test_defocus_of_ranges_of_views_lies_between(tmp_path: Path) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write(etomo, series)
    rows = [f"{middle - 2} {middle + 2} 0 0 {2000 + 10 * middle}" for middle in range(3, 20, 2)]
    etomo.file(series, ".defocus").write_text("\n".join([rows[0] + " 2", *rows[1:]]))
    (found,), findings = read(tmp_path)
    assert found.tilts.rlnDefocusU[2:19].to_numpy() == pytest.approx(20000 + 100 * np.arange(3, 20))
    assert "fitted to several views at once" in str(findings.warnings[0])


# The order of the images and their dose


def test_exposures_beside_the_angles_tell_the_order(tmp_path: Path) -> None:
    series = series_with_lost_tilts()
    assert_true(read_one(Etomo(tmp_path, mdoc=False), series), series)


def test_an_mdoc_with_images_that_the_stack_lacks_counts_them(tmp_path: Path) -> None:
    whole = make_series(1)
    kept = np.delete(np.arange(21), [3, 10])
    arrays = ("tilt", "axis", "stage", "shift", "defocus", "phase", "order", "excluded", "dark")
    series = replace(whole, **{key: getattr(whole, key)[kept] for key in arrays})
    etomo = Etomo(tmp_path)
    writer.write(etomo, series)
    writer.write_mdoc(etomo.file(series, ".st.mdoc"), whole)
    (found,), findings = read(tmp_path)
    assert not findings.problems
    assert_true(found, series)


@pytest.mark.parametrize("year", ["%y", "%Y"])
def test_an_mdoc_that_is_sorted_tells_the_order_by_its_times(tmp_path: Path, year: str) -> None:
    etomo, series = Etomo(tmp_path), series_with_lost_tilts()
    writer.write(etomo, series)
    writer.write_mdoc(etomo.file(series, ".st.mdoc"), series, is_sorted=True, year=year)
    (found,), _ = read(tmp_path)
    assert_true(found, series)


def test_an_mdoc_without_times_goes_by_its_sections(tmp_path: Path) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write(etomo, series)
    writer.write_mdoc(etomo.file(series, ".st.mdoc"), series, times=False)
    (found,), _ = read(tmp_path)
    assert_true(found, series)
    assert found.taken["dose"] == "3.2 e/Å² per image, inputs.1.dose; order by ZValue of TS_01.st.mdoc"


def test_a_sorted_mdoc_without_times_is_refused(tmp_path: Path) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write(etomo, series)
    writer.write_mdoc(etomo.file(series, ".st.mdoc"), series, times=False, is_sorted=True)
    assert "has no DateTime, and its images are sorted by angle" in refusal(etomo)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (r"TiltAngle = [^\n]*", "TiltAngle = 33.3", "has 0 images at"),
        (r"TiltAngle = [^\n]*\n", "", "has no TiltAngle for each image"),
        (r"TiltAngle = [^\n]*", "TiltAngle = ?", "TiltAngle = '?' is no number"),
        (r"DateTime = [^\n]*", "DateTime = yesterday", "DateTime = 'yesterday' is no time"),
        ("23:58:03", "23:58:44", "has the same DateTime twice"),
    ],
)
def test_an_mdoc_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write(etomo, series)
    path = etomo.file(series, ".st.mdoc")
    changed = re.sub(old, new, path.read_text(), count=1)
    assert changed != path.read_text()
    path.write_text(changed)
    assert said in refusal(etomo)


def test_an_unknown_order_or_dose_is_refused(tmp_path: Path) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write(etomo, series)
    said = refusal(etomo, dose=None)
    assert said.startswith(
        "inputs.1.dose: the dose of TS_01 is not known: no file of IMOD says it (TS_01.st.mdoc has 1.71"
    )
    etomo.file(series, ".st.mdoc").unlink()
    assert "no file says in which order" in refusal(etomo)


# Size and volume


def test_the_size_is_that_of_the_aligned_stack(tmp_path: Path) -> None:
    series = replace(make_series(1), image=(80, 96))
    found = read_one(Etomo(tmp_path), series)
    assert found.size == (96, 80, 48)
    assert found.taken["size"] == "96 × 80 × 48 px, THICKNESS of tilt.com"
    assert_true(found, series)


def test_an_axis_about_180_degrees_has_no_jump(tmp_path: Path) -> None:
    series = make_series(1)
    around = replace(series, axis=np.linspace(179.5, 180.5, 21))
    writer.write(Etomo(tmp_path, rotation=180.0), around)
    (found,), _ = read(tmp_path)
    assert np.ptp(found.tilts.rlnTomoZRot) < 1.1


@pytest.mark.parametrize(
    ("trimmed", "axes", "backwards", "mirrored"),
    [("", "xzy", "z", False), ("-rx", "xyz", "", False), ("-yz", "xyz", "z", True)],
)
def test_a_tomogram_is_told_with_its_axes(
    tmp_path: Path, trimmed: str, axes: str, backwards: str, mirrored: bool
) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write_volume(etomo, series, trimmed)
    volume = read_one(etomo, series).volume
    assert volume is not None
    assert (volume.shape, volume.axes, volume.reversed, volume.mirrored) == (
        (24, 20, 12),
        axes,
        backwards,
        mirrored,
    )
    assert volume.voxel == pytest.approx(5.4)
    assert volume.path.name == ("TS_01_rec.mrc" if trimmed else "TS_01_full_rec.mrc")


@pytest.mark.parametrize("cleaned", [False, True])
def test_a_tomogram_that_was_cut_is_a_part_of_the_whole(tmp_path: Path, cleaned: bool) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write_volume(etomo, series, "-rx")
    writer.write_mrc(etomo.file(series, "_rec.mrc"), np.zeros((12, 20, 18), np.float32), 5.4)
    if cleaned:
        etomo.file(series, "_full_rec.mrc").unlink()
    volume = read_one(etomo, series).volume
    assert volume is not None
    assert (volume.shape, volume.axes) == ((24, 20, 12), "xzy")
    assert volume.part == etomo.file(series, "_rec.mrc")


def test_a_tomogram_is_taken_without_that_which_it_was_made_of(tmp_path: Path) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write_volume(etomo, series, "-rx")
    etomo.file(series, "_full_rec.mrc").unlink()
    volume = read_one(etomo, series).volume
    assert volume is not None
    assert (volume.path.name, volume.shape, volume.axes) == ("TS_01_rec.mrc", (24, 20, 12), "xyz")


def test_all_files_that_are_read_are_listed(tmp_path: Path) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write_volume(etomo, series, "-rx")
    writer.write(etomo, series)
    listed = {path.name for path in imod.files(Asked(tmp_path))}
    there = {path.name for path in tmp_path.iterdir()}
    assert listed == there


def test_each_folder_holds_a_tilt_series(tmp_path: Path) -> None:
    for name in ("TS_01", "TS_02", "lamella"):
        writer.write(Etomo(tmp_path / name), make_series(1, name=name))
    found, _ = read(tmp_path, include=("TS_*",))
    assert [one.name for one in found] == ["TS_01", "TS_02"]
    with pytest.raises(UserError, match=r"inputs.1.include: .* no tilt series called A"):
        read(tmp_path, include=("A",))


# What is told


def test_nothing_is_warned_of_without_reason(tmp_path: Path) -> None:
    assert warnings(Etomo(tmp_path, x_tilt=0.2)) == ""


@pytest.mark.parametrize(
    ("etomo", "said"),
    [
        ({"magnified": 1.003}, "magnifies or skews the image, which RELION cannot hold"),
        ({"tilt_entries": {"LOCALFILE": "TS_01local.xf"}}, "has local alignments (TS_01local.xf)"),
        ({"tilt_entries": {"ZFACTORFILE": "TS_01.zfac"}}, "has factors of z (TS_01.zfac)"),
        ({"rotation": -84.9}, "but at -84.9° in TS_01.edf, 170° apart; one axis is wrong"),
        ({"tilt_entries": {"XAXISTILT": "-1.9"}}, "rlnTomoXTilt is up to 1.90°"),
    ],
)
def test_what_relion_cannot_hold_is_told(tmp_path: Path, etomo: dict[str, object], said: str) -> None:
    assert said in warnings(Etomo(tmp_path, **etomo))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("TS_01.edf", "#Fri\nSetup.ImageRotationA=83.9\nSetup.ImageRotationB=\n", 83.9),
        ("align.com", "$tiltalign -StandardInput\nRotationAngle\t85.3\nRotOption 1\n", 85.3),
        ("align.log", "  RotationAngle = 85.0\n", 85),
        (
            "TS_01.mdoc",
            "[T =     Tilt axis angle = -88.7, binning = 4]\n[ZValue = 0]\nRotationAngle = 1.3\n",
            -88.7,
        ),
        ("TS_01.mdoc", "T = TiltAxisAngle = -173.94\n[ZValue = 0]\nRotationAngle = 83.94\n", 83.94),
        ("TS_01.mdoc", "[ZValue = 0]\nRotationAngle = 175.3\n", None),
        ("TS_01.edf", "Setup.ImageRotationA=\n", None),
    ],
)
def test_the_axis_is_looked_for_elsewhere(tmp_path: Path, file: str, text: str, said: float | None) -> None:
    stack, path = tmp_path / "TS_01.st", tmp_path / file
    stack.write_bytes(bytes(224) + b"    Tilt axis angle = 84.1, binning = 2".ljust(800))
    path.write_text(text)
    found = [(said, file)] if said else []
    assert list(axes_said([path], stack)) == [*found, (84.1, "the header of TS_01.st")]


def test_an_axis_that_nothing_else_says_is_told(tmp_path: Path) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write(etomo, series)
    for name in ("TS_01.edf", "align.com"):
        path = tmp_path / name
        path.write_text(re.sub(r".*Rotation.*\n", "", path.read_text()))
    _, findings = read(tmp_path)
    (warning,) = map(str, findings.warnings)
    assert re.match(r"84.\d\d°, TS_01.xf alone says the tilt axis of TS_01; .edf, ", warning)


@pytest.mark.parametrize("day", ["{}-Nov-24", "{}-Nov-2024", "2024-Nov-{}", "2024/11/{}", "2024-11-{}"])
def test_times_of_mdoc_files_are_written_in_many_ways(tmp_path: Path, day: str) -> None:
    path = tmp_path / "TS_01.mdoc"
    images = [(-3.0, "30", "10"), (0.0, "08", "23"), (3.0, "30", "09")]
    said = [f"[ZValue = 0]\nTiltAngle = {a}\nDateTime = {day.format(d)}  {h}:00:00\n" for a, d, h in images]
    path.write_text("\r\n".join(said))
    assert mdoc.read(path).order.tolist() == [2, 0, 1]


def test_a_missing_command_is_told(tmp_path: Path) -> None:
    writer.write(Etomo(tmp_path), make_series(1))
    (tmp_path / "tilt.com").unlink()
    _, findings = read(tmp_path, size=(96, 80, 48))
    assert "tilt.com: is not there or empty" in str(findings.warnings[0])


def test_transforms_of_few_decimals_are_told(tmp_path: Path) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write(etomo, series)
    path = etomo.file(series, ".xf")
    rows = np.loadtxt(path)
    np.savetxt(path, rows, fmt="%9.3f")
    _, findings = read(tmp_path)
    assert "so few decimals" in str(findings.warnings[0])


def test_what_was_taken_is_told(tmp_path: Path) -> None:
    taken = read_one(Etomo(tmp_path), series_with_lost_tilts()).taken
    assert re.fullmatch(r"84\.\d\d°, TS_01.xf", taken["axis"])
    assert taken["hand"] == "-1, the usual one: no file of IMOD says it"
    assert taken["dropped"] == "views 1, 6, 13, tilt.com and align.com and TS_01.edf"
    assert taken["voltage"] == "300 kV, ctfplotter.com"


# What is refused


def test_a_folder_without_alignments_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rotation.xf").write_text("0 1 -1 0 0 0\n")
    with pytest.raises(UserError, match=r"inputs.1.imod: .* has no NAME.xf beside a NAME.tlt"):
        read(tmp_path)


def test_one_name_in_two_folders_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        writer.write(Etomo(tmp_path / folder), make_series(1))
    with pytest.raises(UserError, match="both hold a tilt series TS_01"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("TS_01.xf", r"\A[^\n]*\n", "", "TS_01.xf: has 20 lines, but TS_01.st has 21 images; keep the stack"),
        ("TS_01.tlt", r"\A[^\n]*\n", "", "TS_01.tlt: has 20 lines"),
        ("TS_01.rawtlt", r"\A[^\n]*\n", "", "TS_01.rawtlt: has 20 lines"),
        ("TS_01.xtilt", r"\A[^\n]*\n", "", "TS_01.xtilt: has 20 lines"),
        ("TS_01.xf", r"\A *[^ ]*", "", "TS_01.xf: line 1 has 5 numbers, not 6"),
        ("TS_01.xf", r"\A *[^ ]*", "a", "TS_01.xf: line 1 is not numbers"),
        ("TS_01.xf", r"\A[^\n]*", "1 0 0 -1 2 3", "TS_01.xf: row 1 mirrors the image"),
        ("TS_01.tlt", r"\A[^\n]*", "nan", "TS_01.tlt: line 1 has 'nan'"),
        ("TS_01.tlt", r"(?s).*", "", "TS_01.tlt: is empty"),
        ("TS_01.edf", "Single", "Dual", "is of a tilt series about two axes"),
        ("TS_01.edf", r"Projections=", "Projections=99", "TS_01.edf: excludes view 99, but there are 21"),
        ("TS_01.edf", r"Projections=", "Projections=a-b", "'a-b' is no list of views"),
        ("TS_01.edf", r"Projections=", "Projections=1-21", "all views of TS_01 are excluded"),
        ("tilt.com", "TILTFILE TS_01.tlt", "TILTFILE TS_02.tlt", "has TILTFILE TS_02.tlt, not TS_01.tlt"),
        (
            "tilt.com",
            "THICKNESS",
            "#THICKNESS",
            "inputs.1.size: the size of TS_01 is not known: THICKNESS of tilt.com",
        ),
        ("tilt.com", "THICKNESS 48", "THICKNESS thick", "THICKNESS is 'thick', which is no number"),
        (
            "tilt.com",
            "SUBSETSTART 0",
            "SUBSETSTART 20",
            "SUBSETSTART takes a part of the images off their middle in x",
        ),
        (
            "tilt.com",
            "THICKNESS",
            "SLICE 0 40\nTHICKNESS",
            "SLICE takes a part of the tomogram off its middle",
        ),
        ("tilt.com", "OFFSET 0.00", "OFFSET 0 7", "OFFSET shifts the tilt axis by 7 px"),
        ("newst.com", "0.0,0.0", "5.0,0.0", "OffsetsInXandY is not 0"),
        ("newst.com", r"(InXandY\s+\d+),\d+\n", r"\1\n", "SizeToOutputInXandY is not two numbers"),
        ("ctfplotter.com", "Voltage", "#Volt", None),  # which the .mdoc file has too
        (
            "ctfplotter.com",
            "Spherical",
            "#Spher",
            "inputs.1.cs: the cs of TS_01 is not known: ctfplotter.com does not",
        ),
        ("TS_01.defocus", "\n2\t2", "\n2\t99", "TS_01.defocus: line 3 is not 8 numbers for some of 21 views"),
        ("TS_01.defocus", "\n2\t2[^\n]*", "", "TS_01.defocus: says nothing of views 2"),
        ("TS_01.defocus", r"\A[^\n]*\n", "", "line 1 does not say its version"),
        ("TS_01.defocus", "\n2\t2", "\ntwo\t2", "has what is no number"),
        ("TS_01.defocus", "\n2\t2", "\n2\tinf", "TS_01.defocus: line 3 has what is no number"),
        ("ctfplotter.com", "AmplitudeContrast .*", "AmplitudeContrast nan", "is 'nan', which is no number"),
        ("TS_01.defocus", r"(?s)\n.*", "\n", "TS_01.defocus: has no views"),
    ],
)
def test_files_that_cannot_be_taken_are_refused(
    tmp_path: Path, file: str, old: str, new: str, said: str | None
) -> None:
    writer.write(Etomo(tmp_path), make_series(1))
    text = (tmp_path / file).read_text()
    changed = re.sub(old, new, text, count=1)
    assert changed != text
    (tmp_path / file).write_text(changed)
    if said:
        assert said in refusal(Etomo(tmp_path))
    else:
        assert read(tmp_path)[0][0].taken["voltage"] == "300 kV, TS_01.st.mdoc"


@pytest.mark.parametrize("file", ["TS_01.st", "TS_01.defocus", "TS_01.xtilt"])
def test_missing_files_are_refused(tmp_path: Path, file: str) -> None:
    writer.write(Etomo(tmp_path), make_series(1))
    (tmp_path / file).unlink()
    assert f"{tmp_path / file}: " in refusal(Etomo(tmp_path))


def test_a_stack_that_is_not_the_aligned_one_is_refused(tmp_path: Path) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write(etomo, series)
    write_stack(etomo.file(series, ".st"), series, np.arange(20))
    assert "has 21 lines, but TS_01.st has 20 images" in refusal(etomo)


def test_an_unknown_pixel_size_is_refused(tmp_path: Path) -> None:
    etomo, series = Etomo(tmp_path), make_series(1)
    writer.write(etomo, series)
    write_stack(etomo.file(series, ".st"), series, pixel=1.0)
    assert refusal(etomo).startswith("inputs.1.pixel: the pixel of TS_01 is not known")
    (found,), _ = read(tmp_path, pixel=1.35)
    assert found.pixel == 1.35
