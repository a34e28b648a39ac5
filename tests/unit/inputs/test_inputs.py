"""Sets are merged with unique names and nothing lost; whatever is wrong with them is told, all at once."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from conftest import least_seconds
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from input_sets import CENTRED, PIXEL, SIZE, change, write_set

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.inputs import merge
from stacycle.inputs.findings import Findings
from stacycle.inputs.input_set import tilt_series_of

GOLDEN = Path(__file__).parents[2] / "golden" / "data"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def merged(*sets):
    facts = merge.merge(sets, "results/inputs", engine="RELION 5.0.1")
    state = OptimisationSet.read("results/inputs/optimisation_set.star")
    return facts, star.read(state.particles)["particles"], star.read(state.tomograms)["global"]


def complaints(*sets):
    with pytest.raises(UserError) as error:
        merge.merge(sets, "results/inputs")
    assert not Path("results/inputs").exists(), "nothing is written from faulty inputs"
    return str(error.value).splitlines()


def complaint(*sets):
    (sentence,) = complaints(*sets)
    return sentence


def test_one_sound_set_passes_unchanged():
    one = write_set("a")
    facts, particles, tomograms = merged(one)
    before = star.read("a/particles.star")["particles"]
    pd.testing.assert_frame_equal(particles, before)
    pd.testing.assert_frame_equal(tomograms, star.read("a/tomograms.star")["global"])
    assert facts == json.loads(Path("results/inputs/preflight.json").read_text())
    assert facts["engine"] == "RELION 5.0.1"
    assert facts["particles"] == 12
    assert facts["pixel_size"] == PIXEL
    assert facts["warnings"] == []
    assert [(t["name"], t["particles"], t["tilts"]) for t in facts["tomograms"]] == [
        ("TS_01", 6, 3),
        ("TS_02", 6, 3),
    ]
    assert merge.describe(facts) == "12 particles in 2 tomograms of 1 set; 2 Å/px; 3 tilts"


def test_relions_own_test_data_pass(monkeypatch):
    out = Path("results/inputs").absolute()
    monkeypatch.chdir(GOLDEN)
    entry = {"tomograms": "input/tomograms.star", "particles": "input/particles.star"}
    facts = merge.merge([entry], out)
    assert (facts["particles"], len(facts["tomograms"]), facts["warnings"]) == (64, 2, [])
    # RELION counts a tilt only if the whole box is in the image, so it cannot see more than the centres allow
    relion = star.read("extract/particles.star")["particles"]
    seen = relion.rlnTomoVisibleFrames.str.count("1").groupby(relion.rlnTomoName).median()
    assert all(one["visible_tilts"] >= seen[one["name"]] for one in facts["tomograms"])


def test_names_that_clash_get_the_sets_name_and_stay_readable_for_relion():
    first, second = write_set("a"), write_set("b", names=("TS_02", "TS_03"), seed=2) | {"name": "gain2"}
    facts, particles, tomograms = merged(first, second)
    assert tomograms.rlnTomoName.tolist() == ["TS_01", "TS_02", "gain2_TS_02", "TS_03"]
    assert tomograms.rlnOpticsGroupName.tolist() == ["optics1"] * 2 + ["gain2_optics1"] * 2
    assert particles.rlnTomoName.value_counts().to_dict() == dict.fromkeys(tomograms.rlnTomoName, 6)
    for name, path in zip(tomograms.rlnTomoName, tomograms.rlnTomoTiltSeriesStarFile, strict=True):
        assert name in star.read(path), "RELION wants the table to have the tomogram's name"
    copy = star.read(tomograms.rlnTomoTiltSeriesStarFile[2])["gain2_TS_02"]
    pd.testing.assert_frame_equal(copy, star.read("b/TS_02.star")["TS_02"])
    assert facts["sets"][1]["renamed"] == {"TS_02": "gain2_TS_02"}
    assert "TS_02 -> gain2_TS_02" in merge.describe(facts)


def test_sets_without_a_name_are_called_by_their_number():
    _, _, tomograms = merged(write_set("a"), write_set("b", seed=2), write_set("c", seed=3))
    assert tomograms.rlnTomoName.tolist()[2:] == ["set2_TS_01", "set2_TS_02", "set3_TS_01", "set3_TS_02"]


def test_two_lists_of_picks_in_the_same_tomograms_share_them():
    one, other = write_set("a"), write_set("b", seed=2)
    _, particles, tomograms = merged(one, one | {"particles": other["particles"]})
    assert tomograms.rlnTomoName.tolist() == ["TS_01", "TS_02"]
    assert tomograms.rlnOpticsGroupName.tolist() == ["optics1", "optics1"]
    assert len(particles) == 24


def test_names_like_001_and_paths_with_blanks_survive():
    facts, particles, tomograms = merged(write_set("my data/gain 1", names=("001", "002"), group="1"))
    assert tomograms.rlnTomoName.tolist() == ["001", "002"]
    assert set(particles.rlnTomoName) == {"001", "002"}
    assert tomograms.rlnTomoTiltSeriesStarFile[0] == "my data/gain 1/001.star"
    assert facts["tomograms"][0]["visible_tilts"] > 0
    assert tilt_series_of("my data/gain 1/tomograms.star") == [f"my data/gain 1/00{i}.star" for i in (1, 2)]


@pytest.mark.parametrize("unit", [PIXEL, 4 * PIXEL])
def test_corner_coordinates_become_centred_ones(unit):
    """In px of the tilt series, as RELION takes them, or of a binned tomogram, if the file says so."""
    one = write_set("a")
    expected = star.read("a/particles.star")["particles"]
    change("a/particles.star", from_corner(unit))
    pd.testing.assert_frame_equal(merged(one)[1], expected, rtol=1e-6, atol=1e-6)


def test_corner_coordinates_in_binned_pixels_that_do_not_say_so_are_noticed():
    one = write_set("a")
    change("a/particles.star", from_corner(4 * PIXEL))
    change("a/particles.star", drop("rlnDetectorPixelSize"))
    assert "in one corner of their tomograms, as if rlnCoordinateX/Y/Z were in binned" in complaint(one)


def from_corner(unit):
    def edit(table):
        corner = (table[CENTRED].to_numpy() + SIZE * PIXEL / 2) / unit
        table = table.drop(columns=CENTRED)
        table[["rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ"]] = corner
        return table if unit == PIXEL else table.assign(rlnDetectorPixelSize=unit)

    return edit


def test_a_nameless_table_of_picks_is_taken_by_its_columns():
    one = write_set("a")
    picks = star.read("a/particles.star")["particles"]
    star.write("a/particles.star", {"": picks})
    assert len(merged(one)[1]) == 12


def test_particles_from_an_earlier_refinement_keep_their_poses_and_lose_their_old_images():
    first, second = write_set("a"), write_set("b", seed=2)
    change(
        "b/particles.star",
        lambda t: t.assign(
            rlnOriginXAngst=1.5,
            rlnOpticsGroup=1,
            rlnImageName="old.mrcs",
            rlnTomoParticleName=t.rlnTomoName + "/7",
        ),
    )
    facts, particles, _ = merged(second)
    assert "rlnTomoParticleName" not in particles
    assert "not unique" in facts["warnings"][0]
    facts, particles, _ = merged(first, second)
    assert particles.rlnOriginXAngst.tolist() == [0.0] * 12 + [1.5] * 12
    assert not {"rlnOpticsGroup", "rlnImageName", "rlnTomoParticleName"} & set(particles)
    assert facts["warnings"] == ["b/particles.star: rlnTomoParticleName left out, as not all sets have it."]


def test_unique_particle_names_follow_a_renamed_tomogram():
    sets = [write_set("a"), write_set("b", seed=2)]
    for one in sets:
        change(
            one["particles"],
            lambda t: t.assign(rlnTomoParticleName=[f"{n}/{i}" for i, n in enumerate(t.rlnTomoName)]),
        )
    names = merged(*sets)[1].rlnTomoParticleName
    assert names.tolist()[0] == "TS_01/0"
    assert names.tolist()[-1] == "set2_TS_02/11"


@pytest.mark.parametrize(("file", "what"), [("particles", "picks"), ("tomograms", "tomograms")])
def test_a_missing_or_empty_star_file_is_reported(file, what):
    one = write_set("a")
    Path(f"a/{file}.star").write_text("")
    assert f"a/{file}.star: holds no STAR table" in complaint(one)
    Path(f"a/{file}.star").unlink()
    assert f"a/{file}.star: there is no such file" in complaint(one)


def drop(column):
    return lambda table: table.drop(columns=column)


def put(row, **values):
    def edit(table):
        for column, value in values.items():
            table[column] = table[column].astype(object) if isinstance(value, str) else table[column]
            table.loc[row, column] = value
        return table

    return edit


@pytest.mark.parametrize(
    ("file", "edit", "sentence"),
    [
        (
            "particles",
            drop("rlnAngleTilt"),
            "a/particles.star: has no column rlnAngleTilt; picks need angles",
        ),
        (
            "particles",
            drop(CENTRED[2]),
            "a/particles.star: has no positions; it needs rlnCenteredCoordinateXAngst",
        ),
        ("particles", drop("rlnTomoName"), "a/particles.star: has no table with a column rlnTomoName"),
        ("particles", lambda t: t.iloc[:0], "a/particles.star: its table has no row"),
        ("particles", put(4, rlnAnglePsi=np.nan), "a/particles.star: rlnAnglePsi is not a number in row 5"),
        ("particles", put(2, rlnAngleRot="n/a"), "a/particles.star: rlnAngleRot is not a number in row 3"),
        (
            "particles",
            put(7, rlnTomoName="TS_02x"),
            "a/particles.star: tomogram TS_02x (row 8) is not in a/tomograms.star; did you mean TS_02?",
        ),
        (
            "particles",
            put([0, 3], **{CENTRED[2]: 100.0}),
            "a/particles.star: positions outside the tomogram in rows 1, 4, the first ",
        ),
        ("tomograms", drop("rlnTomoHand"), "a/tomograms.star: has no column rlnTomoHand"),
        (
            "tomograms",
            drop("rlnTomoTiltSeriesStarFile"),
            "a/tomograms.star: has no column rlnTomoTiltSeriesStarFile",
        ),
        ("tomograms", put(0, rlnTomoSizeZ=0), "a/tomograms.star: rlnTomoSizeZ is 0 in row 1, but"),
        ("tomograms", put(1, rlnTomoName="TS_01"), "a/tomograms.star: TS_01 stands there twice"),
        (
            "tomograms",
            put(1, rlnTomoName="TS 02"),
            "a/tomograms.star: RELION cannot use tomogram 'TS 02' as a name",
        ),
        (
            "tomograms",
            put(1, rlnTomoTiltSeriesStarFile="b/TS_02.star"),
            "b/TS_02.star: there is no such file (tilt series of TS_02); check the path",
        ),
        ("TS_02", drop("rlnDefocusU"), "a/TS_02.star: has no column rlnDefocusU"),
        (
            "TS_02",
            drop("rlnMicrographName"),
            "a/TS_02.star: has no column rlnMicrographName (tilt series of TS_02); add it",
        ),
        ("TS_02", put(1, rlnTomoYTilt=np.nan), "a/TS_02.star: rlnTomoYTilt is not a number in row 2"),
        (
            "particles",
            put(2, rlnTomoName=None),
            "a/particles.star: has no rlnTomoName in row 3; correct or remove",
        ),
        ("TS_02", put(2, rlnTomoXTilt="q"), "a/TS_02.star: rlnTomoXTilt is not a number in row 3"),
        (
            "TS_02",
            put(0, rlnMicrographName="1@a/none.mrcs"),
            "a/TS_02.star: image a/none.mrcs is missing or no MRC file",
        ),
        (
            "TS_01",
            put(0, rlnMicrographName="4@a/TS_01.mrcs"),
            "a/TS_01.star: image a/TS_01.mrcs has only 3 tilts",
        ),
    ],
)
def test_a_fault_in_a_star_file_is_reported_with_file_and_row(file, edit, sentence):
    one = write_set("a")
    change(f"a/{file}.star", edit)
    assert sentence in complaint(one)


def test_an_image_that_is_cut_short_is_reported_by_its_size():
    one = write_set("a")
    image = Path("a/TS_02.mrcs")
    whole = image.stat().st_size
    with image.open("r+b") as file:
        file.truncate(whole - 1)
    assert (
        f"a/TS_02.star: image a/TS_02.mrcs is cut short, {whole - 1} of {whole} bytes; copy it again"
        in complaint(one)
    )
    with image.open("r+b") as file:
        file.truncate(100)
    assert "image a/TS_02.mrcs is missing or no MRC file" in complaint(one)


@pytest.mark.parametrize("header", [b"", b"\0" * 1024, b"\xff" * 1024])
def test_an_image_that_is_empty_or_has_a_senseless_header_is_reported(header):
    one = write_set("a")
    Path("a/TS_02.mrcs").write_bytes(header)
    assert "image a/TS_02.mrcs is missing or no MRC file" in complaint(one)


@given(
    file=st.sampled_from(["tomograms.star", "particles.star", "TS_01.star", "TS_01.mrcs"]),
    place=st.floats(0, 1),
    old=st.integers(0, 30),
    new=st.binary(max_size=8)
    | st.sampled_from([b"nan", b"-inf", b"1e999", b'"', b" ", b"\n\n", b"@", b"loop_", b"#"]),
)
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_damage_anywhere_is_reported_in_sentences_or_does_no_harm(file, place, old, new):
    one = write_set("a", names=("TS_01",), particles=2)
    path = Path("a") / file
    sound = path.read_bytes()
    start = int(place * min(len(sound), 3000 if file.endswith(".star") else 1024))
    path.write_bytes(sound[:start] + new + sound[start + old :])
    found = Findings()
    merged = merge.read([one], found)
    assert (merged is None) == bool(found.problems)


def test_a_pixel_size_that_differs_between_star_file_and_image_is_reported():
    one = write_set("a")
    with mrcfile.open("a/TS_01.mrcs", "r+") as file:
        file.voxel_size = PIXEL * 1.02
    assert "image a/TS_01.mrcs has 2.04 Å/px in its header, but 2 in the STAR file" in complaint(one)
    for pixel, warning in (
        (PIXEL * 1.005, []),
        (0, ["no pixel size in its header"]),
        (1, ["no pixel size in its header"]),
    ):
        with mrcfile.open("a/TS_01.mrcs", "r+") as file:
            file.voxel_size = pixel
        warnings = merged(one)[0]["warnings"]
        assert len(warnings) == len(warning)
        assert all(expected in told for expected, told in zip(warning, warnings, strict=True))


def test_images_of_different_size_in_a_series_are_reported():
    one = write_set("a")
    mrcfile.write("a/other.mrcs", np.zeros((1, 100, 100), np.int8), voxel_size=PIXEL)
    change("a/TS_01.star", put(2, rlnMicrographName="1@a/other.mrcs"))
    assert "image a/other.mrcs has another size than the first" in complaint(one)


def test_the_same_particle_twice_is_reported_within_a_set_and_across_sets():
    one = write_set("a")
    change(
        "a/particles.star",
        lambda t: pd.concat([t, t.iloc[[2]].assign(**{CENTRED[0]: t[CENTRED[0]][2] + 0.5})]),
    )
    assert "a/particles.star row 3 and a/particles.star row 13 are the same particle" in complaint(one)
    one = write_set("a")
    assert "(the first of 12 such pairs) are the same particle" in complaint(one, one)


def test_sets_of_different_pixel_size_are_refused_but_for_what_is_rounding():
    first = write_set("a")
    sentence = complaint(first, write_set("b", pixel=2.5, seed=2))
    assert "differ in pixel size, 2 to 2.5 Å; rescale them to one, or average them apart" in sentence
    assert "differ in pixel size, 2 to 2.01 Å" in complaint(first, write_set("b", pixel=2.01, seed=2)), (
        "any job would refuse them"
    )
    facts, _, _ = merged(first, write_set("b", pixel=2.001, seed=2))
    assert "differ a little in pixel size, 2 to 2.001 Å" in facts["warnings"][0]


def test_a_set_name_that_makes_an_existing_name_is_refused():
    sets = [
        write_set("a", names=("TS_01", "b_TS_01")),
        write_set("b", names=("TS_01",), seed=2) | {"name": "b"},
    ]
    assert "b_TS_01 is a tomogram of another set, too; give this set a name of its own" in complaint(*sets)


def test_all_faults_of_all_sets_are_reported_at_once():
    one, other = write_set("a"), write_set("b", seed=2)
    change("a/particles.star", put(0, rlnTomoName="TS_09"))
    Path("a/TS_01.mrcs").unlink()
    change("b/tomograms.star", drop("rlnVoltage"))
    Path("b/particles.star").unlink()
    told = complaints(one, other)
    assert len(told) == 4
    for part in ("TS_09", "a/TS_01.mrcs is missing", "rlnVoltage", "b/particles.star: there is no such file"):
        assert sum(part in sentence for sentence in told) == 1


def test_very_many_faults_are_cut_to_a_readable_number():
    one = write_set("a", names=[f"TS_{i:03}" for i in range(60)], particles=1)
    for path in Path("a").glob("TS_*.star"):
        path.unlink()
    told = complaints(one)
    assert len(told) == 51
    assert told[-1] == "... and 10 more problems."


def test_paths_that_are_right_from_another_folder_say_which(monkeypatch, project):
    one = write_set("a")
    sub = project / "sub"
    sub.mkdir()
    monkeypatch.chdir(sub)
    told = complaints({key: f"../{path}" for key, path in one.items()})
    assert f"It is right from {project}: is that the project folder?" in told[0]


def test_what_is_worth_knowing_is_a_warning():
    one = write_set("a")
    change("a/TS_01.star", lambda t: t.assign(rlnMicrographPreExposure=0.0))
    change("a/TS_02.star", lambda t: t.assign(rlnTomoXShiftAngst=590.0))
    change("a/particles.star", lambda t: t[t.rlnTomoName == "TS_02"])
    facts, _, _ = merged(one)
    told = "\n".join(facts["warnings"])
    assert "a/TS_01.star: rlnMicrographPreExposure is the same in all tilts" in told
    assert "No particles in 1 of 2 tomograms: TS_01" in told
    assert "leaves them out: 6 of 6 particles" in told
    assert "rlnTomoXShiftAngst is 590 Å in rows 1, 2, 3, so that the tomogram's centre lies outside" in told
    assert merge.describe(facts).count("Warning: ") == 4


@pytest.mark.parametrize(
    ("position", "seen_at"), [((150, 0, 0), 2), ((0, 150, 0), 0), ((0, 0, 58), 3), ((110, 0, 58), 1)]
)
def test_the_tilts_that_see_a_particle_are_counted_by_projecting_it(position, seen_at):
    """Tilts of -60, 0 and 60 degrees about y, images 200 Å wide: tilting brings 150 Å along x into view."""
    one = write_set("a", names=["TS_01"], particles=1, image=(100, 100))
    change("a/TS_01.star", lambda t: t.assign(rlnTomoZRot=0.0))
    change("a/particles.star", put(0, **dict(zip(CENTRED, map(float, position), strict=True))))
    assert merged(one)[0]["tomograms"][0]["visible_tilts"] == seen_at


def test_tilt_series_of_a_file_that_is_not_there_are_none():
    assert tilt_series_of("none.star") == []


@pytest.mark.slow
def test_500_tomograms_and_50_000_particles_take_less_than_10_seconds():
    one = write_set("a", names=[f"{i:03}" for i in range(500)], particles=100, tilts=41, image=(4, 4))

    def merge() -> None:
        facts, _, _ = merged(one)
        assert facts["particles"] == 50_000

    assert least_seconds(merge, limit=10) < 10
