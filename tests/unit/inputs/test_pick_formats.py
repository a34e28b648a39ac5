"""Picks that other programs wrote come back where they were, turned as they were; what does not say so is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foreign import copick, dynamo, imod_model, motive_lists, star_picks, truth
from foreign.pick_volume import PickVolume

from stacycle.errors import UserError
from stacycle.inputs.findings import Findings
from stacycle.inputs.pick_formats.pick_format import PicksAsked, all_formats
from stacycle.inputs.place_picks import CENTRED_LABELS, Tomogram, place_picks
from stacycle.inputs.sources.source import Volume

SERIES = truth.make_series(1, "TS_01")
OTHER = truth.make_series(2, "lam 2-b_TS_01.5")
PICKS = {1: truth.make_picks(3, SERIES), 20: truth.make_picks(4, OTHER, 12)}
VOLUME = PickVolume((19, 16, 10), 6.75)  # px that do not divide the tilt series' size
NAMES = {1: "TS_01_6.75Apx.mrc", 20: "rec_lam 2-b_TS_01.5_Vol.mrc"}
FRAMES = {
    one.name: Tomogram(one.pixel, one.size, Volume(Path(f"{one.name}_Vol.mrc"), VOLUME.shape, VOLUME.voxel))
    for one in (SERIES, OTHER)
}
ONE = {"TS_01": FRAMES["TS_01"]}
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]


def read(key, *paths, frames=None, findings=None, **asked):
    """The placed picks of files of a format; fails at problems that are not raised."""
    given = PicksAsked(tuple(map(Path, paths)), **asked)
    findings = Findings() if findings is None else findings
    frames = FRAMES if frames is None else frames
    found = all_formats()[key].read(given, tuple(frames), findings)
    table = place_picks(found, frames, given, findings)
    if findings.problems:
        raise findings.problems[0]
    return table


def check(table, *several, position=0.01, angle=1e-3):
    """That a table has these picks: `position` in Å and `angle` in degrees, None if there are none."""
    assert list(table.rlnTomoName) == [one.series.name for one in several for _ in one.position]
    wanted = np.concatenate([one.centred for one in several])
    assert np.abs(table[CENTRED_LABELS].to_numpy() - wanted).max() < position
    assert (angle is None) != set(ANGLES).issubset(table)
    if angle is not None:
        angles = np.concatenate([one.angles for one in several])
        assert truth.turned_by(table[ANGLES].to_numpy(), angles) < angle


# Dynamo


@pytest.mark.parametrize(("digits", "position", "angle"), [(9, 1e-4, 1e-4), (5, 0.004, 0.02)])
@pytest.mark.parametrize("columns", [26, 36])
def test_tables_of_dynamo(tmp_path, digits, position, angle, columns):
    dynamo.write(tmp_path / "t.tbl", PICKS, VOLUME, digits, columns, apix=columns > 35)
    dynamo.write_list(tmp_path / "names.doc", NAMES)
    table = read("dynamo", tmp_path / "t.tbl", tmp_path / "names.doc")
    check(table, *PICKS.values(), position=position, angle=angle)
    assert np.allclose(table.rlnAutopickFigureOfMerit[:40], PICKS[1].score, atol=1e-4)


def test_columns_of_a_table_that_are_not_used_may_hold_anything(tmp_path):
    dynamo.write(tmp_path / "t.tbl", {1: PICKS[1]}, VOLUME, 9)
    rows = [line.split() for line in (tmp_path / "t.tbl").read_text().splitlines()]
    for row in rows:
        row[0], row[21], row[9], row[19] = "NaN", "1+2i", "NaN", "NaN"
    (tmp_path / "t.tbl").write_text("\r\n".join(map("\t".join, rows)))
    check(read("dynamo", tmp_path / "t.tbl", tomogram="TS_01"), PICKS[1])


def test_a_list_beside_a_table_names_its_tomograms(tmp_path):
    dynamo.write(tmp_path / "t.tbl", PICKS, VOLUME, 9)
    dynamo.write_list(tmp_path / "tomograms.doc", NAMES)
    findings = Findings()
    check(read("dynamo", tmp_path / "t.tbl", findings=findings), *PICKS.values())
    assert str(tmp_path / "tomograms.doc") in findings.files


def test_a_table_of_one_tomogram_takes_its_name_from_the_config(tmp_path):
    dynamo.write(tmp_path / "t.tbl", {7: PICKS[1]}, VOLUME, 9)
    check(read("dynamo", tmp_path / "t.tbl", tomogram="TS_01"), PICKS[1])


def test_numbers_that_the_set_calls_its_tomograms_by_need_no_list(tmp_path):
    dynamo.write(tmp_path / "t.tbl", {20: PICKS[1]}, VOLUME, 9)
    for name in ("20", "020"):
        named = replace(PICKS[1], series=replace(SERIES, name=name))
        check(read("dynamo", tmp_path / "t.tbl", frames={name: ONE["TS_01"]}), named)
    with pytest.raises(UserError, match="nothing says which is 20"):
        read("dynamo", tmp_path / "t.tbl", frames=dict.fromkeys(("20", "020"), ONE["TS_01"]))


def test_a_table_without_names_or_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "t.tbl"
    dynamo.write(path, PICKS, VOLUME)
    with pytest.raises(UserError, match="nothing says which is 1, 20"):
        read("dynamo", path)
    with pytest.raises(UserError, match="of 2 tomograms"):
        read("dynamo", path, tomogram="TS_01")
    dynamo.write_list(tmp_path / "a.doc", {1: "TS_01"})
    with pytest.raises(UserError, match="nothing says which is 20"):
        read("dynamo", path, tmp_path / "a.doc")
    (tmp_path / "a.doc").write_text("TS_01 1\n")
    with pytest.raises(UserError, match=r"a\.doc: line 1"):
        read("dynamo", path, tmp_path / "a.doc")
    path.write_text("1 2 3\n")
    with pytest.raises(UserError, match="line 1 has 3 columns"):
        read("dynamo", path, tomogram="TS_01")
    path.write_text(" ".join(["1"] * 25 + ["x"]) + "\n")
    with pytest.raises(UserError, match="no number"):
        read("dynamo", path, tomogram="TS_01")
    with pytest.raises(UserError, match=r"there is no such file; check the path\.$"):
        read("dynamo", tmp_path / "none.tbl", tomogram="TS_01")


# Motive lists


@pytest.mark.parametrize(("order", "kind"), [("<", "f4"), (">", "f4"), ("<", "f8")])
def test_motive_lists_of_the_em_format(tmp_path, order, kind):
    motive_lists.write_em(tmp_path / "motl.em", PICKS, VOLUME, order, kind)
    dynamo.write_list(tmp_path / "names.doc", NAMES)
    check(read("em", tmp_path / "motl.em"), *PICKS.values())
    raw = (tmp_path / "motl.em").read_bytes()
    turned = np.frombuffer(raw, order + kind, offset=512).reshape(-1, 20).T.tobytes()
    (tmp_path / "motl.em").write_bytes(raw[:4] + raw[8:12] + raw[4:8] + raw[12:512] + turned)
    check(read("em", tmp_path / "motl.em"), *PICKS.values())


def test_motive_lists_of_stopgap_keep_their_half_sets(tmp_path):
    motive_lists.write_stopgap(tmp_path / "motl.star", PICKS, VOLUME)
    dynamo.write_list(tmp_path / "names.txt", NAMES)
    table = read("stopgap", tmp_path / "motl.star", tmp_path / "names.txt")
    check(table, *PICKS.values())
    assert list(table.rlnRandomSubset[:3]) == [2, 1, 2]
    motive_lists.write_stopgap(tmp_path / "motl.star", PICKS, VOLUME, halves="A")
    assert "rlnRandomSubset" not in read("stopgap", tmp_path / "motl.star", tmp_path / "names.txt")


def test_what_is_no_motive_list_is_refused(tmp_path):
    path = tmp_path / "motl.em"
    motive_lists.write_em(path, PICKS, VOLUME)
    whole = path.read_bytes()
    listed = tmp_path / "motl.star"
    motive_lists.write_stopgap(listed, {1: PICKS[1]}, VOLUME)
    listed.write_text(listed.read_text().replace(f" {PICKS[1].score[0]:.6f} ", " high ", 1))
    with pytest.raises(UserError, match="score is not a number in every row"):
        read("stopgap", listed, tomogram="TS_01")
    for content, fault in (
        (whole[:-4], "cut short"),
        (b"\6\0\0\5" + bytes(600), "no motive list"),
        (b"x", "no motive"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=fault):
            read("em", path, tomogram="TS_01")
    star_picks.relion5(tmp_path / "p.star", PICKS[1])
    with pytest.raises(UserError, match="no motive list of STOPGAP"):
        read("stopgap", tmp_path / "p.star", tomogram="TS_01")
    motive_lists.write_stopgap(tmp_path / "p.star", PICKS, VOLUME)
    with pytest.raises(UserError, match="give it as stopgap"):
        read("star", tmp_path / "p.star")


# IMOD


@pytest.mark.parametrize("unit", [0, -9, -10])
def test_models_of_imod(tmp_path, unit):
    imod_model.write(tmp_path / "TS_01_bin5.mod", PICKS[1], VOLUME, unit)
    check(read("imod", tmp_path / "TS_01_bin5.mod"), PICKS[1], angle=None)


def test_a_model_drawn_on_another_volume_needs_its_voxel_size(tmp_path):
    coarse = PickVolume((12, 10, 6), 10.8)
    imod_model.write(tmp_path / "a.mod", PICKS[1], coarse)
    with pytest.raises(UserError, match=r"was made in 12 x 10 x 6 voxels, taken for 6.75 Å each"):
        read("imod", tmp_path / "a.mod", tomogram="TS_01")
    check(read("imod", tmp_path / "a.mod", tomogram="TS_01", pixel=10.8), PICKS[1], angle=None)
    imod_model.write(tmp_path / "a.mod", PICKS[1], coarse, unit=-9)
    check(read("imod", tmp_path / "a.mod", tomogram="TS_01"), PICKS[1], angle=None)
    with pytest.raises(UserError, match=r"voxels are of 10.8 Å, but the config says 6.75 Å"):
        read("imod", tmp_path / "a.mod", tomogram="TS_01", pixel=6.75)


def test_what_is_no_sound_model_is_refused(tmp_path):
    path = tmp_path / "TS_01.mod"
    imod_model.write(path, PICKS[1], VOLUME, z_scale=1.5)
    with pytest.raises(UserError, match="no cubes"):
        read("imod", path)
    imod_model.write(path, PICKS[1], VOLUME)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UserError, match="cut short"):
        read("imod", path)
    imod_model.write(path, PICKS[1], VOLUME)
    raw = bytearray(path.read_bytes())
    raw[184:188] = bytes(4)  # the scale along x
    path.write_bytes(raw)
    with pytest.raises(UserError, match="no cubes"):
        read("imod", path)
    imod_model.write(path, PICKS[1], VOLUME)
    raw = bytearray(path.read_bytes())
    raw[153] |= 1  # bit 16 of the flags, which are big-endian at 152
    path.write_bytes(raw)
    with pytest.raises(UserError, match="its y and z are exchanged"):
        read("imod", path)
    imod_model.write(path, replace(PICKS[1], position=PICKS[1].position[:0]), VOLUME)
    with pytest.raises(UserError, match="has no point"):
        read("imod", path)
    path.write_text("1 2 3\n")
    with pytest.raises(UserError, match="no model of IMOD"):
        read("imod", path)
    imod_model.write(tmp_path / "strange.mod", PICKS[1], VOLUME)
    with pytest.raises(UserError, match="not in the set"):
        read("imod", tmp_path / "strange.mod")


# copick


@pytest.mark.parametrize("shifted", [False, True])
def test_picks_of_copick(tmp_path, shifted):
    files = [copick.write(tmp_path, one, VOLUME, shifted=shifted) for one in PICKS.values()]
    check(read("copick", *files), *PICKS.values())
    table = read("copick", tmp_path)
    check(table, *sorted(PICKS.values(), key=lambda one: one.series.name))


def test_orientations_of_copick_that_mean_nothing_are_left_out(tmp_path):
    path = copick.write(tmp_path, PICKS[1], VOLUME, trust_orientation=False)
    check(read("copick", path), PICKS[1], angle=None)
    copick.write(tmp_path, replace(PICKS[1], angles=PICKS[1].angles * 0), VOLUME)
    findings = Findings()
    check(read("copick", path, findings=findings), PICKS[1], angle=None)
    assert "matrix of no rotation" in str(findings.warnings[0])


def test_picks_of_copick_without_a_spacing_count_from_the_corner(tmp_path):
    path = copick.write(tmp_path, PICKS[1], VOLUME, voxel_spacing=None)
    check(read("copick", path), PICKS[1])


def test_what_is_no_sound_file_of_copick_is_refused(tmp_path):
    path = copick.write(tmp_path, PICKS[1], VOLUME)
    copick.write(tmp_path, PICKS[1], VOLUME, "membrane")
    with pytest.raises(UserError, match="several objects"):
        read("copick", tmp_path)
    said = json.loads(path.read_text())
    said["points"][2]["transformation_"][0][0] *= -1
    path.write_text(json.dumps(said))
    with pytest.raises(UserError, match="matrix of point 3 is no rotation"):
        read("copick", path)
    for content, fault in (
        ("{}", "no file of copick"),
        ("x", "no file of copick"),
        ('{"points": []}', "no point"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=fault):
            read("copick", path)
    copick.write(tmp_path, PICKS[1], VOLUME, unit="nm")
    with pytest.raises(UserError, match="in nm"):
        read("copick", path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has no Picks/\*\.json"):
        read("copick", tmp_path / "empty")


# Text


def write_text(path, table, head="", mark=" "):
    path.write_text(head + "".join(mark.join(f"{value:.4f}" for value in row) + "\n" for row in table))


def test_text_in_px_and_in_angstrom(tmp_path):
    index = VOLUME.index(PICKS[1])
    path = tmp_path / "TS_01.coords"
    write_text(path, index)
    check(read("text", path, unit="px"), PICKS[1], angle=None)
    check(read("text", path, unit="px", pixel=6.75), PICKS[1], angle=None)
    write_text(path, index * VOLUME.voxel, head="# x y z\n")
    check(read("text", path, unit="angstrom"), PICKS[1], angle=None)


def test_text_with_named_columns(tmp_path):
    index = VOLUME.index(PICKS[1])
    rows = np.column_stack([np.arange(len(index)), index[:, ::-1]])
    write_text(tmp_path / "TS_01.csv", rows, "index,axis-0,axis-1,axis-2\n", ",")
    check(read("text", tmp_path / "TS_01.csv", unit="px"), PICKS[1], angle=None)
    for mark in (", ", ";", "\t"):
        write_text(tmp_path / "TS_01.csv", index, mark.join("XYZ") + "\n", mark)
        check(read("text", tmp_path / "TS_01.csv", unit="px"), PICKS[1], angle=None)


def test_six_columns_of_text_are_those_of_relions_import(tmp_path):
    frame = PICKS[1].rotation * truth.to_rotation([0, 90, 0]).inv()
    path = tmp_path / "TS_01.txt"
    write_text(path, np.column_stack([VOLUME.index(PICKS[1]), star_picks.euler(frame.inv(), "ZYZ")]))
    findings = Findings()
    check(read("text", path, unit="px", findings=findings), PICKS[1], angle=2e-4)
    assert "rlnAngleTilt 90" in str(findings.warnings[0])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no position"),
        ("1 2\n", "has 2 columns"),
        ("1 2 3\n1 2 3 4\n", "has 4 columns in line 2"),
        ("1 2 3 4\n", "has 4 columns in line 1"),
        ("1 2 3\n\n1 b 3\n", "line 3 holds something that is no number"),
        ("1 2 nan\n", "no number"),
        ("1,5 2,5 3,5\n", "line 1 has commas for decimal points"),
        ("1,5;2,5;3,5\n", "line 1 has commas for decimal points"),
        ("a b c\n1 2 3\n", "names the columns a, b, c"),
        ("x,y,z,rot,tilt,psi\n1,2,3,4,5,6\n", "has columns rot, tilt, psi, of which"),
    ],
)
def test_other_text_is_refused(tmp_path, text, fault):
    path = tmp_path / "TS_01.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=fault):
        read("text", path, unit="px")


def test_text_without_a_unit_and_other_files_are_refused(tmp_path):
    write_text(tmp_path / "TS_01.txt", VOLUME.index(PICKS[1]))
    with pytest.raises(UserError, match="say unit"):
        read("text", tmp_path / "TS_01.txt")
    with pytest.raises(UserError, match="COORDS"):
        read("text", tmp_path / "TS_01.cbox", unit="px")


def test_picks_with_and_without_angles_do_not_mix(tmp_path):
    write_text(tmp_path / "TS_01.txt", VOLUME.index(PICKS[1]))
    write_text(tmp_path / "TS_01_6.txt", np.column_stack([VOLUME.index(PICKS[1]), PICKS[1].angles]))
    with pytest.raises(UserError, match="give them as two sets"):
        read("text", tmp_path / "TS_01.txt", tmp_path / "TS_01_6.txt", unit="px")
