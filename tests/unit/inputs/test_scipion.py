"""Scipion's STAR files come back as the tilt series that it aligned, wherever its project lies."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foreign import scipion, truth

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.inputs import merge
from stacycle.inputs.asked import files_of
from stacycle.inputs.findings import Findings
from stacycle.inputs.sources.scipion import SOURCE
from stacycle.inputs.sources.source import Asked, all_sources


def make_series(seed=1, name="TS_01", hand=-1):
    """With two tilts that the user excluded and one black one."""
    return truth.make_series(seed, name, hand).without([0, 7], [-1])


def read(folder, findings=None, **asked):
    findings = Findings() if findings is None else findings
    found = SOURCE.read(Asked(folder, **asked), findings)
    if findings.problems:
        raise findings.problems[0]
    return found


def rewrite(path, *changes):
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.parametrize("hand", [-1, 1])
@pytest.mark.parametrize("doubled", [False, True])
def test_tilt_series_come_back(tmp_path, monkeypatch, hand, doubled):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    several = [make_series(1, "TS_01", hand), make_series(2, "20240716_lam-2.b_TS_01", hand)]
    folder = scipion.write(tmp_path / "scipion", several, doubled, volume=True)
    for series, found in zip(several, read(folder), strict=True):
        off = truth.differences(found, series)
        assert off["position"] < 1e-3
        assert off["defocus"] < 0.01
        assert max(off["astigmatism"], off["azimuth"], off["phase"], off["exposure"]) < 1e-4
        assert (found.name, found.hand, found.size, found.pixel) == (
            series.name,
            hand,
            series.size,
            series.pixel,
        )
        assert (found.voltage, found.cs, found.amplitude_contrast) == (300, 2.7, 0.07)
        images = found.tilts.rlnMicrographName
        assert [int(name.split("@")[0]) - 1 for name in images] == list(series.kept)
        assert all(Path(name.split("@")[1]).is_file() and name.endswith(".mrc") for name in images)
        assert found.volume is not None
        assert (found.volume.shape, found.volume.voxel) == ((24, 20, 12), pytest.approx(5.4))
        assert found.taken["hand"] == f"{hand}, rlnTomoHand of tomograms.star"
        assert found.taken["size"] == "96 x 80 x 48 px, rlnTomoSizeX of tomograms.star"
        assert found.taken["dropped"] == "images 1, 8, 21, not in " + f"{series.name}.star"
    files = SOURCE.files(Asked(folder))
    assert len(files) == 7
    assert all(path.is_file() for path in files)


def test_a_project_below_the_working_folder_keeps_paths_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scipion.write(tmp_path / "scipion", [make_series()])
    found = read(Path("scipion") / scipion.RUN)[0]
    assert found.tilts.rlnMicrographName[0] == "2@scipion/Runs/000002_ProtImportTs/extra/TS_01.mrc"
    assert found.volume is None


def test_the_config_overrules_what_scipion_says(tmp_path):
    series = make_series()
    folder = scipion.write(tmp_path, [series])
    asked = {
        "hand": 1,
        "size": (90, 80, 40),
        "voltage": 200.0,
        "cs": 2.0,
        "amplitude_contrast": 0.1,
        "dose": 1.5,
    }
    found = read(folder, **asked)[0]
    assert (found.hand, found.size, found.voltage, found.cs, found.amplitude_contrast) == (
        1,
        (90, 80, 40),
        200,
        2,
        0.1,
    )
    assert np.allclose(found.tilts.rlnMicrographPreExposure, 1.5 * series.order[series.kept])
    assert found.taken["hand"] == "1, the config"


def test_a_size_of_a_fractional_binning_is_the_nearest_even_one(tmp_path):
    folder = scipion.write(tmp_path, [make_series()])
    rewrite(folder / "tomograms.star", ("   48.000000", "   48.888889"))
    found = read(folder)[0]
    assert found.size == (96, 80, 48)
    assert found.taken["size"].endswith("tomograms.star (96, 80, 48.8889)")


def test_tilt_series_are_chosen_by_name(tmp_path):
    folder = scipion.write(tmp_path, [make_series(1, "TS_01"), make_series(2, "TS_02"), make_series(3, "b1")])
    assert [one.name for one in read(folder, include=("TS_*",))] == ["TS_01", "TS_02"]
    with pytest.raises(UserError, match="has none of x"):
        read(folder, include=("x",))


def test_what_is_missing_is_asked_for(tmp_path):
    folder = scipion.write(tmp_path, [make_series()])
    listed = folder / "tomograms.star"
    rewrite(listed, ("   48.000000", "        None"), ("rlnTomoHand", "rlnOther"))
    with pytest.raises(UserError, match=r"inputs.1.size: .*the size of TS_01"):
        read(folder)
    found = read(folder, size=(96, 80, 48))[0]
    assert (found.hand, found.taken["hand"]) == (-1, "-1, Scipion's default")
    rewrite(listed, ("rlnVoltage", "rlnNothing"))
    with pytest.raises(UserError, match=r"inputs.1.voltage: .*no rlnVoltage for TS_01; say voltage"):
        read(folder, size=(96, 80, 48))
    with pytest.raises(UserError, match="not 1 or -1"):
        read(folder, size=(96, 80, 48), voltage=300, hand=2)


def test_doses_that_say_no_order(tmp_path):
    series = make_series()
    folder = scipion.write(tmp_path, [replace(series, dose=0.0)])
    findings = Findings()
    read(folder, findings)
    assert "have the same rlnMicrographPreExposure" in str(findings.warnings[0])
    with pytest.raises(UserError, match="does not say the order"):
        read(folder, dose=3.0)
    folder = scipion.write(tmp_path, [series])
    rewrite(folder / "tilt_series/TS_01.star", ("57.600000", "58.500000"))
    with pytest.raises(UserError, match="no multiples of a dose"):
        read(folder, dose=3.0)


def test_columns_that_scipion_could_not_fill_are_left_out(tmp_path):
    series = make_series()
    folder = scipion.write(tmp_path, [series])
    path = folder / "tilt_series/TS_01.star"
    tables = star.read(path, oddities=[])
    for label in ("rlnTomoXTilt", "rlnTomoNominalStageTiltAngle", "rlnPhaseShift"):
        tables["TS_01"][label] = "FileNotFound"
    star.write(path, tables)
    tilts = read(folder)[0].tilts
    assert "rlnPhaseShift" not in tilts
    assert (tilts.rlnTomoXTilt == 0).all()
    assert (tilts.rlnTomoNominalStageTiltAngle == tilts.rlnTomoYTilt).all()
    rewrite(folder / "tomograms.star", ("data_global", "_global"))
    with pytest.raises(UserError, match=r"lists tomograms .* \(not read: .*tomograms.star: "):
        read(folder)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("rlnTomoYTilt", "rlnOther", "so that it is not aligned yet"),
        ("rlnDefocusU", "rlnOther", "so that it lacks its CTF"),
        ("rlnTomoXTilt", "rlnTomoProjX", "matrices of RELION 4"),
        ("rlnTomoXTilt", "rlnCoordinateX", "holds particles"),
        ("TS_01.mrc:mrcs", "gone.mrc:mrcs", r"the image .*gone.mrc in row 1 is not there"),
        ("26.990000    85", "x26.990000    85", "rlnTomoYTilt is not a number in row"),
    ],
)
def test_tilt_series_that_cannot_be_used_are_refused(tmp_path, old, new, fault):
    folder = scipion.write(tmp_path, [make_series()])
    rewrite(folder / "tilt_series/TS_01.star", (old, new))
    with pytest.raises(UserError, match=fault):
        read(folder)


def test_folders_that_are_no_export_are_refused(tmp_path):
    folder = scipion.write(tmp_path, [make_series()])
    with pytest.raises(UserError, match=r"inputs.1.scipion: .*is not there"):
        read(tmp_path / "none")
    with pytest.raises(UserError, match="has no STAR file of Scipion"):
        read(folder / "tilt_series")
    (folder / "tilt_series/TS_01.star").rename(folder / "x")
    with pytest.raises(UserError, match=r"the tilt series of TS_01, .* is not there"):
        read(folder)
    (folder / "again.star").write_text((folder / "tomograms.star").read_text())
    with pytest.raises(UserError, match="several lists of tomograms"):
        read(folder)
    (folder / "x").rename(folder / "tilt_series/TS_01.star")
    assert read(folder / "again.star")[0].name == "TS_01"
    one = {"scipion": str(folder / "again.star")}
    assert merge.read([one], Findings()) is not None
    assert files_of([one])[0] == one["scipion"]


def test_scipion_is_found_by_its_key():
    assert all_sources()["scipion"] is SOURCE
