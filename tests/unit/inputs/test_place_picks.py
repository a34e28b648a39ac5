"""Picks made in a volume that lies otherwise than the tilt series' tomogram are turned back, or refused if mirrored."""

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from foreign import truth

from stacycle.inputs.findings import Findings
from stacycle.inputs.orientations import to_angles, to_rotation
from stacycle.inputs.pick_formats.pick_format import CENTRED, CORNER, UNBINNED, VOXELS, Picks, PicksAsked
from stacycle.inputs.place_picks import CENTRED_LABELS, Tomogram, place_picks, tomograms_of
from stacycle.inputs.sources.source import Volume

SERIES = truth.make_series(1, "TS_01")
PICKS = truth.make_picks(2, SERIES)
SHAPE, VOXEL = (19, 16, 10), 6.75
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]


def place(volume, position, unit=VOXELS, findings=None, angles=None, shift=None, asked=None, **said):
    count = len(position)
    picks = Picks(
        Path("p.star"),
        np.array(["TS_01"] * count),
        position,
        unit,
        np.arange(count) + 1,
        angles,
        shift=shift,
        **said,
    )
    frames = {"TS_01": Tomogram(SERIES.pixel, SERIES.size, volume)}
    findings = Findings() if findings is None else findings
    return place_picks([picks], frames, asked or PicksAsked((Path("p.star"),)), findings)


def refused(*given, **said):
    findings = Findings()
    assert place(*given, findings=findings, **said).empty
    assert len(findings.problems) == 1
    return str(findings.problems[0])


def in_file(axes, backwards):
    """Picks and a unit vector of each in the voxels of a file, made by turning an array, and that volume."""
    index = PICKS.centred / VOXEL + np.array(SHAPE) / 2
    for axis in backwards:
        at = "xyz".index(axis)
        index[:, at] = SHAPE[at] - 1 - index[:, at]
    order = ["xyz".index(axis) for axis in axes]
    return index[:, order], Volume(Path("TS_01_Vol.mrc"), SHAPE, VOXEL, axes, backwards)


@pytest.mark.parametrize(
    ("axes", "backwards"), [("xyz", ""), ("xzy", "z"), ("xzy", ""), ("xyz", "z"), ("xzy", "y"), ("xyz", "xy")]
)
@pytest.mark.parametrize("unit", [VOXELS, CORNER])
def test_positions_in_a_volume_that_lies_otherwise_are_turned_back(axes, backwards, unit):
    index, volume = in_file(axes, backwards)
    table = place(volume, index * (VOXEL if unit == CORNER else 1), unit)
    assert np.abs(table[CENTRED_LABELS].to_numpy() - PICKS.centred).max() < 1e-6


@pytest.mark.parametrize(("axes", "backwards"), [("xzy", "z"), ("xzy", "y"), ("xyz", "xy"), ("xyz", "")])
def test_orientations_turn_with_a_volume_that_is_not_mirrored(axes, backwards):
    """A point 10 voxels from a particle, in its own frame, is found at the same place in both."""
    index, volume = in_file(axes, backwards)
    assert not volume.mirrored
    columns = np.eye(3)
    for axis in backwards:
        columns["xyz".index(axis)] *= -1
    seen = columns[["xyz".index(axis) for axis in axes]] @ PICKS.rotation.as_matrix()  # in the file's axes
    angles = to_angles(type(PICKS.rotation).from_matrix(seen))
    shift = seen @ np.array([1.0, 2.0, 3.0])
    table = place(volume, index, angles=angles, shift=shift)
    assert truth.turned_by(table[ANGLES].to_numpy(), PICKS.angles) < 1e-6
    wanted = PICKS.centred + PICKS.rotation.apply([1.0, 2.0, 3.0])
    assert np.abs(table[CENTRED_LABELS].to_numpy() - wanted).max() < 1e-6


@pytest.mark.parametrize(("axes", "backwards"), [("xzy", ""), ("xyz", "z")])
def test_angles_in_a_mirrored_volume_are_refused(axes, backwards):
    index, volume = in_file(axes, backwards)
    assert volume.mirrored
    assert "mirror image of its particles (TS_01_Vol.mrc)" in refused(volume, index, angles=PICKS.angles)


def test_picks_of_another_volume_are_refused_where_axes_matter():
    index, volume = in_file("xzy", "z")
    assert "nothing says how its axes lie" in refused(volume, index * 2, voxel=VOXEL / 2)


def test_picks_that_may_be_of_a_part_of_the_volume_must_say_its_size():
    index, volume = in_file("xzy", "z")
    volume = replace(volume, part=Path("TS_01_rec.mrc"))
    assert "counts in voxels of TS_01_Vol.mrc or of TS_01_rec.mrc, nothing says which" in refused(
        volume, index
    )
    assert "was made in 19 x 10 x 12 voxels" in refused(volume, index, shape=(19, 10, 12))
    assert len(place(volume, index, shape=(19, 10, 16))) == len(index)


def test_rounded_voxel_sizes_are_those_of_the_volume():
    index, volume = in_file("xyz", "")
    table = place(volume, index, voxel=6.76)
    assert np.abs(table[CENTRED_LABELS].to_numpy() - PICKS.centred).max() < 1e-6


def test_a_volume_of_relion_shares_the_corner_of_the_tilt_series():
    volume = Volume(Path("rec_TS_01.mrc"), SHAPE, VOXEL, anchor="corner")
    table = place(volume, PICKS.position / 5)
    assert np.abs(table[CENTRED_LABELS].to_numpy() - PICKS.centred).max() < 1e-6


def test_voxels_of_unknown_size_are_refused():
    index, _ = in_file("xyz", "")
    assert refused(None, index).startswith(
        "inputs.1.particles.pixel: p.star: nothing says how large the voxels"
    )


def test_the_config_overrules_the_volume_if_it_says_pixel_and_size():
    _, volume = in_file("xyz", "")
    asked = PicksAsked((Path("p.star"),), pixel=2.7, size=(50, 40, 30))
    index = PICKS.centred / 2.7 + np.array([25, 20, 15])
    assert np.abs(place(volume, index, asked=asked)[CENTRED_LABELS].to_numpy() - PICKS.centred).max() < 1e-6


def test_the_config_may_say_pixel_and_size_of_a_volume_that_is_turned():
    index, volume = in_file("xzy", "z")
    asked = PicksAsked((Path("p.star"),), pixel=VOXEL, size=(SHAPE[0], SHAPE[2], SHAPE[1]))
    found = place(volume, index, asked=asked)[CENTRED_LABELS].to_numpy()
    assert np.abs(found - PICKS.centred).max() < 1e-6


def test_picks_in_one_corner_are_refused_unless_their_pixels_are_known():
    small = PICKS.position / 4
    assert "all particles lie in one corner" in refused(None, small, UNBINNED)
    assert len(place(None, small[:9], UNBINNED)) == 9
    assert len(place(None, PICKS.centred - 200, CENTRED)) == len(PICKS.position)


def test_tomograms_of_relion_tell_their_voxels(tmp_path):
    with mrcfile.new(tmp_path / "rec_TS_01.mrc", np.zeros((12, 20, 25), np.float32)) as file:
        file.voxel_size = 5.4
    table = pd.DataFrame(
        {
            "rlnTomoName": ["TS_01", "TS_02", "TS_03"],
            "rlnTomoTiltSeriesPixelSize": SERIES.pixel,
            **{f"rlnTomoSize{axis}": float(size) for axis, size in zip("XYZ", SERIES.size, strict=True)},
            "rlnTomoTomogramBinning": [4.0, 4.0, np.nan],
            "rlnTomoReconstructedTomogram": str(tmp_path / "rec_TS_01.mrc"),
        }
    )
    table.loc[1, "rlnTomoReconstructedTomogram"] = "none.mrc"
    found = tomograms_of(table)
    assert [one.volume and one.volume.shape for one in found.values()] == [(25, 20, 12), (24, 20, 12), None]
    assert found["TS_01"].volume.voxel == pytest.approx(5.4)
    assert found["TS_01"].volume.anchor == "corner"
    assert found["TS_01"].size == SERIES.size


def test_angles_go_there_and_back():
    assert truth.turned_by(to_angles(to_rotation(PICKS.angles)), PICKS.angles) < 1e-6
    assert np.allclose(to_rotation(PICKS.angles).as_matrix(), PICKS.rotation.as_matrix())
