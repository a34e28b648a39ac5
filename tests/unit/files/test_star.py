"""STAR files survive reading and writing, and a damaged one is told in a sentence."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet

GOLDEN = Path(__file__).parents[2] / "golden" / "data"


def test_every_file_of_relion_survives_a_round_trip(tmp_path):
    files = sorted(path for path in GOLDEN.rglob("*.star") if "it00" not in path.name or "it001" in path.name)
    assert len(files) > 30
    for path in files:
        tables = star.read(path)
        star.write(tmp_path / "copy.star", tables)
        copy = star.read(tmp_path / "copy.star")
        assert list(copy) == list(tables)
        for name, table in tables.items():
            pd.testing.assert_frame_equal(copy[name], table, check_dtype=False, rtol=1e-8)
            assert copy[name].attrs == table.attrs, "a simple block stays one, a loop stays a loop"


def test_names_that_look_like_numbers_stay_text_and_blanks_are_quoted(tmp_path):
    particles = pd.DataFrame(
        {
            "rlnTomoName": ["001", "002"],
            "rlnOpticsGroupName": ["1", "2"],
            "rlnTomoParticleName": ["001/1", "002/1"],
            "rlnTomoVisibleFrames": ["[1,0,1]", "[1]"],
            "rlnImageName": ["my data/1.mrcs", "b.mrcs"],
            "rlnAngleRot": [1.5, -0.000001234],
            "rlnClassNumber": [1, 2],
        }
    )
    star.write(tmp_path / "a.star", {"particles": particles})
    copy = star.read(tmp_path / "a.star")["particles"]
    pd.testing.assert_frame_equal(copy, particles, check_dtype=False)
    assert copy.rlnTomoName.tolist() == ["001", "002"]
    assert '"my data/1.mrcs"' in (tmp_path / "a.star").read_text()


def test_whole_numbers_of_a_simple_block_stay_whole(tmp_path):
    star.write(tmp_path / "a.star", {"general": star.simple(rlnNrClasses=6, rlnPixelSize=7.64)})
    assert "_rlnNrClasses\t\t\t6\n" in (tmp_path / "a.star").read_text()
    assert star.columns(tmp_path / "a.star", "general")["rlnPixelSize"] == ["7.64"]


def test_infinity_and_both_nans_are_numbers():
    model = star.read(GOLDEN / "align/run_it000_model.star")
    assert model["model_general"].rlnCurrentResolution[0] == np.inf
    assert np.isnan(model["model_classes"].rlnOverallFourierCompleteness[0])


def test_the_same_tables_give_the_same_bytes_and_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.star"
    star.write(path, {"": star.simple(rlnTomoName="1")})
    before = path.read_bytes()
    star.write(path, {"": star.simple(rlnTomoName="1")})
    assert path.read_bytes() == before

    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        star.write(path, {"": star.simple(rlnTomoName="2")})
    assert path.read_bytes() == before


def test_an_optimisation_set_survives_with_and_without_trajectories(tmp_path):
    for state in (
        OptimisationSet("p.star", "t.star"),
        OptimisationSet("p q.star", "t.star", "m.star"),
    ):
        state.write(tmp_path / "set.star")
        assert OptimisationSet.read(tmp_path / "set.star") == state
    relion = OptimisationSet.read(GOLDEN / "refine/run_optimisation_set.star")
    assert relion == OptimisationSet("refine/run_data.star", "input/tomograms.star", None)


HEADER = "data_particles\n\nloop_\n_rlnTomoName #1\n_rlnAngleRot #2\n_rlnAnglePsi #3\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "there is no such file"),
        ("", "holds no STAR table"),
        ("tomogram,x,y\n1,2,3\n", "holds no STAR table"),
        ("data_particles\n", "data_particles has no columns; was it written completely"),
        (HEADER + "T1 1 2\nT1 1\n", "data_particles: row 2 has 2 values for 3 columns; was it cut short"),
        (HEADER + "T1 1 2\nT1 1 2 3\n", "data_particles: row 2 has 4 values for 3 columns"),
        (HEADER + "T1 1\nT1 1\n", "data_particles: row 1 has 2 values for 3 columns"),
        (
            HEADER.replace("_particles", "_other") + "T1 1 2\n",
            r"no table data_particles \(found: data_other\)",
        ),
        (HEADER.replace("AngleRot", "Angle") + "T1 1 2\n", "data_particles has no column rlnAngleRot"),
    ],
)
def test_a_missing_or_damaged_file_is_reported_with_its_name(tmp_path, text, complaint):
    path = tmp_path / "bad.star"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=complaint) as error:
        star.read(path, {"particles": ["rlnAngleRot"]})
    assert str(path) in str(error.value)


def test_a_nan_that_was_written_is_not_a_short_row(tmp_path):
    (tmp_path / "a.star").write_text(HEADER + "T1 1 nan\nT1 1 2\n")
    assert np.isnan(star.read(tmp_path / "a.star")["particles"].rlnAnglePsi[0])


def test_a_rewritten_file_is_read_anew(tmp_path):
    path = tmp_path / "a.star"
    path.write_text(HEADER + "T1 1 2 3\n")
    with pytest.raises(UserError):
        star.read(path)
    path.write_text(HEADER + "T1 1 2\n")
    os.utime(path, (1, 1))
    assert len(star.read(path)["particles"]) == 1


def test_a_row_cut_before_a_last_column_of_names_is_noticed(tmp_path):
    path = tmp_path / "cut.star"
    path.write_text("data_particles\n\nloop_\n_rlnAngleRot #1\n_rlnTomoName #2\n1.5 TS_01\n2.5 \n")
    with pytest.raises(UserError, match="row 2 has 1 values for 2 columns"):
        star.read(path)


def test_columns_are_those_of_the_whole_reader_in_every_file_of_relion():
    for path in GOLDEN.rglob("run_it00[15]*.star"):
        for name, table in star.read(path).items():
            columns = star.columns(path, name)
            assert list(columns) == list(table.columns)
            assert {len(values) for values in columns.values()} == {len(table)}


def test_a_column_is_found_in_whatever_table_has_it(tmp_path):
    path = tmp_path / "a.star"
    path.write_text(
        "# version 50001\n\ndata_general\n\n_rlnNumber   3 # three\n\ndata_rows\n\nloop_ \n_rlnName #1\n_rlnValue #2\n"
        '"a b" 1\n# not a row\n c   2\n\n cut\n\ndata_more\n\nloop_\n_rlnValue #1\n9\n'
    )
    assert star.column(path, "rlnNumber") == ["3"]
    assert star.column(path, "rlnName") == ["a b", "c", "cut"]
    assert star.column(path, "rlnValue") == ["1", "2"]
    assert star.column(path, "rlnOther") == []
    assert star.column(tmp_path / "missing.star", "rlnValue") == []


def test_columns_keep_blanks_in_quotes_and_empty_values(tmp_path):
    (tmp_path / "a.star").write_text(
        HEADER + '"T 1" \'\' 2\nit\'s 1 2\n\n# version 50001\n\ndata_\n_rlnX ""\n'
    )
    assert star.columns(tmp_path / "a.star", "particles") == {
        "rlnTomoName": ["T 1", "it's"],
        "rlnAngleRot": ["", "1"],
        "rlnAnglePsi": ["2", "2"],
    }
    assert star.columns(tmp_path / "a.star", "") == {"rlnX": [""]}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (HEADER + "T1 1 2\n\nT2 1 2\n", "row 2 is blank"),
        (HEADER + "T1 1 2\r\n", "line ends of Windows"),
        (HEADER + "T1 1\n", "row 1 has 2 values for 3 columns"),
        (HEADER.replace("AngleRot", "AnglePsi") + "T1 1 2\n", "a column twice"),
        (HEADER + "T1 1 2\n" + HEADER, "the table data_particles twice"),
        (HEADER.replace("loop_\n", "") + "T1 1 2\n", "neither labels nor values"),
        (HEADER.replace("_rlnAngleRot", "_rlnAngle") + "T1 1 2\n", "no column rlnAngleRot"),
    ],
)
def test_columns_are_stricter_than_relion(tmp_path, text, complaint):
    (tmp_path / "bad.star").write_bytes(text.encode())
    with pytest.raises(UserError, match=complaint):
        star.columns(tmp_path / "bad.star", "particles", ["rlnAngleRot"])


def test_an_optimisation_set_without_particles_is_refused(tmp_path):
    (tmp_path / "set.star").write_text('data_\n_rlnTomoParticlesFile ""\n_rlnTomoTomogramsFile t.star\n')
    with pytest.raises(UserError, match="names no particles"):
        OptimisationSet.read(tmp_path / "set.star")


@pytest.mark.parametrize(
    "text",
    [
        "# top\n\ndata_\n\n_a 1\n\n  data_b  \nloop_\n_a\nmy_data_1\ndata_x y\n\ndata_c\ndata_d\n_a 1",
        "data_a\n_a 1\ndata_b",
        "data_a\n",
        "no table",
        "\ndata_a\n\ndata_a\n",
    ],
)
def test_tables_are_told_apart_line_by_line(tmp_path, text):
    (tmp_path / "a.star").write_text(text)
    expected: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        if (words := line.split()) and len(words) == 1 and words[0].startswith("data_"):
            expected.append((words[0].removeprefix("data_"), []))
        elif expected:
            expected[-1][1].append(line)
    found = star.blocks(tmp_path / "a.star")
    assert [(name, block.split("\n")) for name, block in found] == [
        (name, lines or [""]) for name, lines in expected
    ]


def test_rows_are_counted(tmp_path):
    star.write(tmp_path / "a.star", {"a": pd.DataFrame({"rlnAngleRot": [1.0, 2, 3]}), "b": star.simple(x=1)})
    assert [star.count(tmp_path / "a.star", name) for name in "ab"] == [3, 1]
