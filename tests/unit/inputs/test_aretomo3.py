"""Tilt series of AreTomo 1, 2 and 3 come in as they were written, or are refused in a sentence."""

from dataclasses import replace

import mrcfile
import numpy as np
import pytest
from foreign import truth
from foreign.aretomo3 import Run, voxel_of, voxels_of, write

from stacycle.errors import UserError
from stacycle.files.star_labels import CENTRED
from stacycle.inputs.findings import Findings
from stacycle.inputs.pick_formats.pick_format import CORNER, VOXELS, Picks, PicksAsked
from stacycle.inputs.place_picks import place_picks
from stacycle.inputs.sources import aretomo_hand, aretomo_tables
from stacycle.inputs.sources.aretomo3 import SOURCE
from stacycle.inputs.sources.aretomo_tables import Session
from stacycle.inputs.sources.source import Asked, all_sources

ALL = {"dose": 3.2, "voltage": 300.0, "cs": 2.7, "amplitude_contrast": 0.07, "size": (96, 80, 48), "hand": -1}
LIMITS = {
    "position": 0.02,
    "defocus": 1,
    "astigmatism": 0.01,
    "azimuth": 0.01,
    "phase": 0.01,
    "exposure": 1e-9,
}


def imported(folder, **asked):
    findings = Findings()
    series = SOURCE.read(Asked(folder, **asked), findings)
    return series, findings


def problems(folder, **asked):
    try:
        found = imported(folder, **{"dose": 3.2, **asked})[1].problems
    except UserError as error:
        found = [error]
    return "\n".join(map(str, found))


def is_true(one, series):
    found = truth.differences(one, series)
    assert all(found[what] < limit for what, limit in LIMITS.items()), found
    return True


RUNS = {
    "AreTomo3": Run(session={}),
    "AreTomo3, CTF of the kept": Run(session={}, ctf_rows="kept"),
    "AreTomo3, offset and local": Run(session={}, alpha=2.35, beta=-0.5, patches=16),
    "AreTomo3, early": Run(session={}, early=True),
    "AreTomo3, no dfHand": Run(session={}, df_hand=None),
    "AreTomo3, list of the order": Run(session={}, order="csv"),
    "AreTomo3, as acquired": Run(session={}, shuffled=True),
    "AreTomo3, list with the offset": Run(session={}, order="csv", alpha=-1.2),
    "AreTomo2": Run(program=2, ctf_rows="kept", df_hand=None, order="mdoc"),
    "AreTomo2, as acquired": Run(program=2, ctf_rows="kept", df_hand=None, order="mdoc", shuffled=True),
    "AreTomo2, list of the order": Run(program=2, ctf_rows="kept", df_hand=None, order="csv"),
}


@pytest.mark.parametrize("hand", [-1, 1])
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("dark", [(), (0, 1, 14), (20,)], ids=["none dark", "three dark", "last dark"])
def test_a_written_series_comes_back(tmp_path, run, hand, dark):
    excluded = (3, 17) if run.order == "tlt" else ()  # other lists number only what AreTomo got
    series = truth.make_series(3, "Odd_1.2-a+b", hand).without(excluded, dark)
    series = replace(series, tilt=series.stage + run.alpha)
    write(tmp_path, series, run)
    (one,), findings = imported(tmp_path, **(ALL | {"hand": hand}))
    assert not findings.problems
    assert one.name == "Odd_1.2-a+b"
    assert is_true(one, series)
    assert one.tilts.rlnTomoNominalStageTiltAngle.to_numpy() == pytest.approx(series.stage[series.kept])


def test_images_are_those_of_the_stack(tmp_path):
    series = truth.make_series(3).without(dark=(5, 6))
    write(tmp_path, series, Run(2, ctf_rows="kept", df_hand=None, order="mdoc", shuffled=True))
    (one,), _ = imported(tmp_path, **ALL)
    images = [name.split("@") for name in one.tilts.rlnMicrographName]
    stack = mrcfile.read(images[0][1])
    for (number, _), index in zip(images, series.kept, strict=True):
        assert (stack[int(number) - 1] == truth.image_of(series, index)).all()


def test_aretomo_1_has_no_size_of_the_stack(tmp_path):
    series = truth.make_series(3)
    write(tmp_path, series, Run(1, df_hand=None, order="mdoc"))
    (one,), _ = imported(tmp_path, **ALL)
    assert is_true(one, series)
    assert one.taken["program"] == "AreTomo 1, by TS_01.aln"


def test_the_session_says_what_the_config_need_not(tmp_path):
    series = truth.make_series(1)
    write(tmp_path, series, Run(session={}))
    (one,), findings = imported(tmp_path, dose=3.2)
    assert not findings.problems
    assert not findings.warnings
    assert (one.voltage, one.cs, one.amplitude_contrast, one.hand) == (300, 2.7, 0.07, -1)
    assert (one.pixel, one.size) == (pytest.approx(1.35), (80, 96, 48))
    assert one.taken["cs"] == "2.7 mm, Cs of AreTomo3_Session.json"
    assert one.taken["axis"].endswith("°, ROT of TS_01.aln")
    assert one.taken["dose"] == "3.2 e/Å² per image, of the config; order of TS_01_TLT.txt"


def test_the_config_comes_before_the_files(tmp_path):
    write(tmp_path, truth.make_series(1), Run(session={}))
    asked = {
        "pixel": 1.4,
        "voltage": 200.0,
        "cs": 0.01,
        "amplitude_contrast": 0.1,
        "size": (90, 80, 60),
        "hand": 1,
    }
    (one,), findings = imported(tmp_path, dose=2.0, **asked)
    assert {key: getattr(one, key) for key in asked} == asked
    assert one.tilts.rlnMicrographPreExposure.max() == 40
    assert "header of the images says 1.35" in str(findings.warnings[0])


def test_the_table_of_metrics_says_voltage_and_cs(tmp_path):
    write(tmp_path, truth.make_series(1), Run(metrics=True))
    (one,), _ = imported(tmp_path, dose=3.2, amplitude_contrast=0.1)
    assert (one.voltage, one.cs) == (300, 2.7)
    assert one.taken["voltage"] == "300 kV, Kv of TiltSeries_Metrics.csv"


def test_all_that_is_missing_is_told_at_once_for_all_series(tmp_path):
    for name in ("TS_01", "TS_02", "TS_03"):
        write(tmp_path, truth.make_series(1, name), Run(flip=None))
    series, findings = imported(tmp_path)
    assert not series
    keys = [problem.key.removeprefix("inputs.1.") for problem in findings.problems]
    assert sorted(keys) == ["amplitude_contrast", "cs", "dose", "size", "voltage"]
    assert all("and of 2 more" in problem.problem for problem in findings.problems)


def test_the_dose_of_the_images_is_taken_where_it_makes_sense(tmp_path):
    series = truth.make_series(1).without(dark=(4,))
    write(tmp_path / "same", series, Run(session={}, doses=2.5))
    (one,), _ = imported(tmp_path / "same")
    assert one.tilts.rlnMicrographPreExposure.to_numpy() == pytest.approx(2.5 * series.order[series.kept])

    varies = 3 - np.where(
        np.abs(series.stage) > 28, 0.5, np.arange(21) % 3 * 0.2
    )  # less at the highest tilts
    for name, doses in (("grows", (3 / np.cos(np.radians(series.stage))).round(2)), ("varies", varies)):
        write(tmp_path / name, series, Run(session={}, doses=doses))
        (one,), _ = imported(tmp_path / name)
        before = [doses[series.order < order].sum() for order in series.order[series.kept]]
        assert one.tilts.rlnMicrographPreExposure.to_numpy() == pytest.approx(before)

    write(tmp_path / "falls", series, Run(session={}, doses=2 * np.cos(np.radians(series.stage))))
    assert "measured behind the sample" in problems(tmp_path / "falls", dose=None)
    write(tmp_path / "lacks", series.without([8]), Run(session={}, doses=doses))
    assert "lacks some of the images" in problems(tmp_path / "lacks", dose=None)


# The hand


def session(version=(2, 3, 1), axis=85.0, mode=1.0, **more):
    return Session("AreTomo3_Session.json", version, {"TiltAxis": [axis, mode], **more})


HANDS = [
    # dfHand, ROT, session, hand, part of the warning
    (1, 84.9, session(), -1, ""),
    (-1, -95.1, session(), -1, ""),  # turned by AreTomo3
    (-1, -95.1, session((2, 0, 4)), -1, "turned by 180°"),
    (1, -95.1, session(Cmd=4), -1, ""),  # turned later
    (-1, 84.9, session((2, 0, 4)), 1, "probably off by 180°"),
    (-1, 84.9, session(mode=-1.0), 1, "probably off by 180°"),
    (-1, 84.9, session(axis=0.0), -1, ""),  # turned, whatever it was
    (-1, 84.9, session((2, 0, 4), axis=0.0), 1, "probably off by 180°"),
    (-1, 84.9, Session(), -1, "no AreTomo3_Session.json"),
    (1, 84.9, Session(), -1, ""),
    (0, 84.9, session(), -1, "no dfHand"),
    (1, 84.9, session(Cmd=3), -1, "writes dfHand 1 always"),
    (-1, 179.0, session(axis=-178.0, mode=-1.0), 1, "probably off by 180°"),
]


@pytest.mark.parametrize(("said", "axis", "called", "hand", "warning"), HANDS)
def test_the_hand_is_minus_dfhand_unless_the_axis_was_turned(said, axis, called, hand, warning):
    found, origin, doubt = aretomo_hand.hand_of(Asked(""), np.full(3, said), axis, called)
    assert found == hand
    assert origin
    assert warning in doubt[0] if warning else doubt is None
    found, _, doubt = aretomo_hand.hand_of(Asked("", hand=-hand), np.full(3, said), axis, called)
    assert found == -hand
    assert (doubt is not None) == ("turned by" in warning)


@pytest.mark.parametrize(
    ("text", "kv"),
    [
        ('{"parameters": {"kV": 300}}', 300),
        ('{"kV": "300", "AtBin": [4, 0, 0]}', 300),
        ('{"software": {}, "parameters": {"Cs": 2.7}}', None),
    ],
)
def test_what_aretomo3_was_called_with_is_read_without_its_version(tmp_path, text, kv):
    (tmp_path / "AreTomo3_Session.json").write_text(text)
    session = aretomo_tables.read_session(tmp_path)
    assert (session.number("kV"), session.version) == (kv, ())


@pytest.mark.parametrize("text", ["", "[]", '{"parameters": 3}', '{"software": "AreTomo3"}'])
def test_what_aretomo3_was_never_called_with_is_refused(tmp_path, text):
    (tmp_path / "AreTomo3_Session.json").write_text(text)
    with pytest.raises(UserError, match="is not what AreTomo3 was called with"):
        aretomo_tables.read_session(tmp_path)


def test_a_hand_that_averages_will_tell_is_assumed_without_a_warning():
    for said in (0, -1):
        assert aretomo_hand.hand_of(Asked("", hand_is_open=True), np.full(3, said), 84.9, Session())[
            0::2
        ] == (-1, None)


def test_a_series_of_which_aretomo3_turned_the_axis_comes_back(tmp_path):
    series = truth.make_series(5, hand=-1, axis=-95.0)
    write(tmp_path, series, Run(df_hand=-1, session={"TiltAxis": [85.0, 1.0]}))
    (one,), findings = imported(tmp_path, dose=3.2)
    assert is_true(one, series)
    assert not findings.warnings
    assert one.taken["hand"] == "-1, AreTomo3 turned the axis (dfHand -1 before)"


# The tomogram


@pytest.mark.parametrize("axis", [84.9, 2.0])
@pytest.mark.parametrize("binning", [4, 3.3])
@pytest.mark.parametrize("flip", [0, 1, 2])
def test_picks_in_a_tomogram_are_found_again(tmp_path, flip, binning, axis):
    """In its voxels, whether they are called as large as its header says, or pixel times binning; and in Å by it."""
    series = truth.make_series(2, axis=axis)
    run = Run(session={}, flip=flip, bin=binning)
    write(tmp_path, series, run)
    (one,), _ = imported(tmp_path, dose=3.2)
    volume, points = one.volume, truth.points_in(series)
    names, index, voxel = (
        np.array([one.name] * len(points), object),
        voxels_of(series, run, points),
        voxel_of(series, run),
    )
    for unit, step, said in (
        (VOXELS, 1, None),
        (VOXELS, 1, voxel),
        (VOXELS, 1, series.pixel * binning),
        (CORNER, voxel, None),
    ):
        picks = Picks(tmp_path / "p.mod", names, index * step, unit, np.arange(len(points)), voxel=said)
        table = place_picks([picks], {one.name: one}, PicksAsked(()), Findings())
        centred = table[CENTRED].to_numpy()
        assert centred == pytest.approx((points - np.array(series.size) / 2) * series.pixel, abs=1e-3)
    assert np.array(one.size) * one.pixel == pytest.approx(volume.shape * np.array(volume.voxels), abs=10)
    assert volume.mirrored == (flip == 2)
    assert (volume.cropped is None) == (np.ptp(volume.voxels) < 1e-6)


def test_a_thickness_that_aretomo3_chose_is_that_of_the_tomogram(tmp_path):
    write(tmp_path, truth.make_series(2), Run(session={"VolZ": -1}, bin=2))
    (one,), _ = imported(tmp_path, dose=3.2)
    assert one.size == (80, 96, 48)
    assert "z of TS_01_Vol.mrc" in one.taken["size"]


def test_without_a_session_a_tomogram_is_told_by_its_shape(tmp_path):
    for flip in (0, 1):
        write(tmp_path / str(flip), truth.make_series(2), Run(flip=flip))
        (one,), findings = imported(tmp_path / str(flip), **ALL)
        assert one.volume.axes == ("xzy", "xyz")[flip]
        assert any("taken for -FlipVol 1" in str(warning) for warning in findings.warnings) == (flip == 1)


def test_a_tomogram_of_other_images_is_not_used(tmp_path):
    write(tmp_path, truth.make_series(2), Run(session={}))
    truth.write_mrc(tmp_path / "TS_01_Vol.mrc", np.zeros((12, 10, 20), np.float32), 5.4)
    (one,), findings = imported(tmp_path, dose=3.2)
    assert one.volume is None
    assert "does not fit its images" in str(findings.warnings[0])


# What is refused, or warned of


def spoil(folder, ending, old, new):
    """A file of a good folder, changed in one place."""
    write(folder, truth.make_series(4).without(dark=(0, 20)), Run(session={}))
    path = folder / f"TS_01{ending}"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def drop_line(path, number):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:number] + lines[number + 1 :]))


@pytest.mark.parametrize(
    ("ending", "number", "said"),
    [
        (".aln", -1, "has 18 rows and 2 DarkFrame lines, but 21 images in its RawSize"),
        (".aln", 3, "has 19 rows and 1 DarkFrame lines, but 21 images in its RawSize"),
        ("_CTF.txt", -1, "has 20 rows, but"),
        ("_TLT.txt", -1, "has 20 images, but the stack of TS_01 has 21"),
    ],
)
def test_counts_that_disagree_are_refused(tmp_path, ending, number, said):
    series = truth.make_series(4).without(dark=(0, 20))
    write(tmp_path, series, Run(session={}))
    path = tmp_path / f"TS_01{ending}"
    drop_line(path, number % len(path.read_text().splitlines()))
    assert said in problems(tmp_path)


@pytest.mark.parametrize(
    ("ending", "old", "new", "said"),
    [
        (".aln", "RawSize = 96 80", "RawSize = 96 88", "RawSize in"),
        (".aln", "DarkFrame =     0", "DarkFrame =     7", "do not name each of 21 images once"),
        (".aln", "1.00000", "x", "line 10 has not 10 numbers"),
        ("_CTF.txt", "   1   ", "   1   nan ", "line 2 has not 7 or 8 numbers"),
    ],
)
def test_files_that_contradict_each_other_are_refused(tmp_path, ending, old, new, said):
    spoil(tmp_path, ending, old, new)
    assert said in problems(tmp_path)


def test_images_in_another_order_are_refused(tmp_path):
    series = truth.make_series(4)
    even = np.arange(-30.0, 31, 3)
    path = write(tmp_path, replace(series, stage=even, tilt=even), Run(session={})).with_name("TS_01_TLT.txt")
    text = path.read_text()
    path.write_text(text.replace("-27.00", "-27.20"))
    assert "its images are not those of TS_01_TLT.txt" in problems(tmp_path)
    rows = [line.split() for line in text.splitlines()]
    path.write_text("\n".join(f"{float(tilt) - 3:.2f} {order} {dose}" for tilt, order, dose in rows))
    assert "TILT -30.00° in row 1 is -33.00° there" in problems(tmp_path)


def test_rows_that_do_not_ascend_are_refused(tmp_path):
    path = write(tmp_path, truth.make_series(4), Run(session={}))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-2], lines[-1], lines[-2]]))
    assert "do not ascend at row 21" in problems(tmp_path)


def test_a_defocus_of_zero_is_refused(tmp_path):
    series = truth.make_series(4)
    series.defocus[2, :2] = 0
    write(tmp_path, series, Run(session={}))
    assert "has no defocus in row 3" in problems(tmp_path)


def test_dfhand_that_differs_is_refused(tmp_path):
    path = write(tmp_path, truth.make_series(4), Run(session={})).with_name("TS_01_CTF.txt")
    path.write_text(path.read_text().rstrip()[:-1] + "-1\n")
    assert "dfHand is not the same" in problems(tmp_path)


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ("TS_01.mrc", "its images are not beside it"),
        ("TS_01_CTF.txt", "its CTF was not estimated"),
        ("TS_01_TLT.txt", "in which order its images were acquired"),
    ],
)
def test_a_file_that_is_missing_is_named(tmp_path, removed, said):
    write(tmp_path, truth.make_series(4), Run(session={}))
    (tmp_path / removed).unlink()
    assert said in problems(tmp_path)


def test_an_unknown_pixel_size_is_asked_for_and_another_one_refused(tmp_path):
    series = truth.make_series(4)
    write(tmp_path, series, Run(session={"PixSize": None}))
    truth.write_stack(tmp_path / "TS_01.mrc", series, pixel=1.0)
    assert "inputs.1.pixel" in problems(tmp_path)
    assert problems(tmp_path, pixel=1.35) == ""
    write(tmp_path, series, Run(session={"PixSize": 0.675}))
    assert "says 0.675" in problems(tmp_path)
    write(tmp_path, series, Run(session={"PixSize": 0.675, "McBin": 2.0}))
    assert problems(tmp_path) == ""


def test_local_alignment_is_warned_of_once_for_all(tmp_path):
    for name in ("TS_01", "TS_02"):
        write(tmp_path, truth.make_series(1, name), Run(session={}, patches=16))
    _, findings = imported(tmp_path, dose=3.2)
    (warning,) = map(str, findings.warnings)
    assert warning.startswith("TS_01, TS_02: its local alignment (16 patches) is left out")


def test_offsets_and_dark_images_are_told(tmp_path):
    series = truth.make_series(1).without(dark=(0, 20))
    write(tmp_path, replace(series, tilt=series.stage + 1.5), Run(session={}, alpha=1.5, beta=0.3))
    (one,), _ = imported(tmp_path, dose=3.2)
    assert one.taken["dropped"] == "images 1, 21 (dark)"
    assert one.taken["offsets"].startswith(
        "AlphaOffset 1.5°, which TILT has in it; BetaOffset 0.3° is of the CTF"
    )
    assert (one.tilts.rlnTomoXTilt == 0).all()


def test_an_offset_that_aretomo2_does_not_tell_is_told(tmp_path):
    series = truth.make_series(1)
    write(tmp_path, replace(series, tilt=series.stage + 1.5), RUNS["AreTomo2"])
    (one,), _ = imported(tmp_path, **ALL)
    assert one.taken["offsets"] == "1.50°, TILT of TS_01.aln against the stage (-TiltCor)"
    assert one.tilts.rlnTomoNominalStageTiltAngle.to_numpy() == pytest.approx(series.stage)


def test_series_are_chosen_by_name_and_found_in_folders(tmp_path):
    for name in ("TS_01", "TS_02", "other"):
        write(tmp_path / name, truth.make_series(1, name), Run(session={}))
    assert [one.name for one in imported(tmp_path, dose=3.2, include=("TS_*",))[0]] == ["TS_01", "TS_02"]
    assert "has no .aln file" in problems(tmp_path, include=("X*",))
    write(tmp_path / "again", truth.make_series(1), Run(session={}))
    assert "several .aln files of TS_01" in problems(tmp_path)


def test_a_list_with_an_angle_twice_is_refused(tmp_path):
    series = truth.make_series(1)
    series.stage[3] = series.stage[2]
    write(tmp_path, series, Run(session={}, order="csv"))
    assert "has the same tilt angle twice" in problems(tmp_path)


def test_a_list_that_aretomo2_could_not_write_is_refused(tmp_path):
    run = Run(2, ctf_rows="kept", df_hand=None, order="csv")
    path = write(tmp_path, truth.make_series(1), run).parent / "TS_01_Imod" / "TS_01_order_list.csv"
    drop_line(path, 4)
    assert "does not number the images from 1" in problems(tmp_path, **ALL)


def test_an_mdoc_without_times_is_taken_only_in_another_order_than_the_tilt(tmp_path):
    series = truth.make_series(1)
    path = write(tmp_path, series, RUNS["AreTomo2"]).with_name("TS_01.mrc.mdoc")
    sections = [section for section in path.read_text().split("[ZValue") if "TiltAngle" in section]
    untimed = [section.split("DateTime")[0] for section in sections]
    path.write_text("[ZValue" + "[ZValue".join(untimed))
    assert "has no DateTime" in problems(tmp_path, **ALL)
    path.write_text("[ZValue" + "[ZValue".join(untimed[i] for i in np.argsort(series.order)))
    (one,), _ = imported(tmp_path, **ALL)
    assert is_true(one, series)


def test_marks_of_windows_and_words_in_metrics_are_read_over(tmp_path):
    series = truth.make_series(1)
    path = write(tmp_path, series, Run(metrics=True))
    for one in (path, *tmp_path.glob("*.txt")):
        one.write_bytes(b"\xef\xbb\xbf" + one.read_bytes().replace(b"\n", b"\r\n"))
    path.rename(tmp_path / "TS_01.mrc.aln")
    metrics = tmp_path / "TiltSeries_Metrics.csv"
    metrics.write_text(metrics.read_text().replace("0.0, 0.0", "nan, ?"))
    (one,), _ = imported(tmp_path, **ALL | {"voltage": None})
    assert is_true(one, series)
    assert one.taken["voltage"] == "300 kV, Kv of TiltSeries_Metrics.csv"


def test_an_axis_of_another_sign_than_the_microscopes_is_told(tmp_path):
    write(tmp_path, truth.make_series(1, axis=-84.9), RUNS["AreTomo2"])
    assert any("but at 84.9° in TS_01.mrc.mdoc" in str(one) for one in imported(tmp_path, **ALL)[1].warnings)


def test_every_file_that_is_read_is_listed(tmp_path):
    write(tmp_path, truth.make_series(1), Run(session={}, metrics=True))
    names = {path.name for path in SOURCE.files(Asked(tmp_path))}
    own = {f"TS_01{ending}" for ending in (".aln", ".mrc", "_CTF.txt", "_TLT.txt", "_Vol.mrc")}
    assert names == own | {"AreTomo3_Session.json", "TiltSeries_Metrics.csv"}
    assert all_sources()["aretomo3"] is SOURCE
