"""Exported particles are where they were and turned as they were: by formulas of their own, and read back as picks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foreign import star_picks, truth
from scipy.spatial.transform import Rotation
from test_pick_formats import check, read

from stacycle import exports
from stacycle.cli import main
from stacycle.errors import UserError
from stacycle.exports.export import ExportAsked, all_exports
from stacycle.exports.exported import export
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.inputs.place_picks import Tomogram

SERIES = [truth.make_series(1, "TS_01"), truth.make_series(2, "lam-2_TS_01.5")]
PICKS = [truth.make_picks(3, SERIES[0]), truth.make_picks(4, SERIES[1], 12)]
CENTRED = np.concatenate([one.centred for one in PICKS])
TURNS = Rotation.concatenate([one.rotation for one in PICKS])
OWN = {one.name: Tomogram(one.pixel, one.size) for one in SERIES}
SIZE, PIXEL = (19, 17, 10), 6.75  # of a volume that the tilt series' size is no multiple of
OTHER = {one.name: Tomogram(PIXEL, SIZE) for one in SERIES}
RESULT = "results/bin1/cycle1/polish"
VOLUME = {"pixel": PIXEL, "size": SIZE}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose last result has particles that moved from where they were picked, and turned frames."""
    folder = tmp_path_factory.mktemp("made") / RESULT
    folder.mkdir(parents=True)
    tables = []
    for one in PICKS:
        star_picks.relion5(folder / "one.star", one, shifted=True, halves=True)
        tables.append(star.read(folder / "one.star"))
        (folder / f"{one.series.name}.star").write_text(f"data_{one.series.name}\n# its tilts, unread\n")
    particles = pd.concat([table["particles"] for table in tables], ignore_index=True)
    particles["rlnClassNumber"] = np.arange(len(particles)) % 3 + 1
    star.write(folder / "particles.star", tables[0] | {"particles": particles})
    (folder / "motion.star").write_text("moved\n")
    star.write(folder / "tomograms.star", {"global": pd.DataFrame(map(row_of, SERIES))})
    state = OptimisationSet(*(f"{RESULT}/{name}.star" for name in ("particles", "tomograms", "motion")))
    state.write(folder / "optimisation_set.star")
    OptimisationSet("p", "t").write(folder / "run_it007_optimisation_set.star")
    ladder = pd.DataFrame({"resolution": [20, 10], "state": ["old", f"{RESULT}/optimisation_set.star"]})
    ladder.to_csv(folder.parents[2] / "ladder.tsv", sep="\t", index=False)
    return folder.parents[3]


def row_of(series: truth.Series) -> dict[str, object]:
    """Its row of a tomograms.star."""
    size = {f"rlnTomoSize{axis}": count for axis, count in zip("XYZ", series.size, strict=True)}
    return size | {
        "rlnTomoName": series.name,
        "rlnTomoTiltSeriesStarFile": f"{RESULT}/{series.name}.star",
        "rlnTomoTiltSeriesPixelSize": series.pixel,
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnTomoHand": -1.0,
    }


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That project, and another folder to work in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(made / "results")
    return tmp_path


def run(key: str, start: str | None = None, tomograms: str | None = None, force=False, **asked) -> str:
    """Export to a folder `out`."""
    return export(key, ExportAsked(Path("out"), **asked), start, tomograms, force)


# Where and how particles are


@pytest.mark.parametrize(
    ("asked", "half", "pixel"), [({}, (48, 40, 24), 1.35), (VOLUME, (9.5, 8.5, 5), PIXEL)]
)
def test_warp_and_m(project, asked, half, pixel):
    """M multiplies by the first row's pixel size; a matrix is RELION's."""
    run("warp", **asked)
    tables = star.read("out/particles.star")
    table = tables["particles"]
    assert tables["optics"].rlnImagePixelSize[0] == pixel
    at = table[star_picks.CORNER].to_numpy() * pixel - np.array(half) * pixel
    assert np.abs(at - CENTRED).max() < 1e-4
    assert largest_turn(truth.to_rotation(table[star_picks.ANGLES].to_numpy())) < 1e-3
    assert list(table.rlnMicrographName.unique()) == ["TS_01.tomostar", "lam-2_TS_01.5.tomostar"]
    assert list(table.rlnRandomSubset[:3]) == [1, 2, 1]
    assert list(table.rlnClassNumber[:4]) == [1, 2, 3, 1]
    again = read("star", "out/particles.star", frames=OTHER if asked else OWN)
    check(again, *PICKS)
    assert list(again.rlnRandomSubset) == list(table.rlnRandomSubset)


@pytest.mark.parametrize(("asked", "half"), [({"pixel": 5.4}, (12, 10, 6)), (VOLUME, (9.5, 8.5, 5))])
def test_dynamo(project, asked, half):
    """zxz(tdrot, tilt, narot) about fixed axes turns the tomogram into the particle; a position is x + dx."""
    run("dynamo", **asked)
    table = np.loadtxt("out/particles.tbl")
    at = (table[:, 23:26] + table[:, 3:6] - half) * asked["pixel"]
    assert np.abs(at - CENTRED).max() < 1e-4
    assert np.abs(table[:, 3:6]).max() <= 0.5
    assert largest_turn(Rotation.from_euler("zxz", table[:, 6:9], degrees=True).inv()) < 1e-3
    assert (table[:, 35] == asked["pixel"]).all()
    assert [*table[:2, 0], *table[:2, 21], table[-1, 19]] == [1, 2, 1, 2, 2]
    assert Path("out/particles.doc").read_text() == "1 TS_01.mrc\n2 lam-2_TS_01.5.mrc\n"
    said = asked if "size" in asked else {}
    check(read("dynamo", "out/particles.tbl", "out/particles.doc", frames=OWN, **said), *PICKS)


def test_dynamo_counts_in_the_tomograms_that_relion_made(project):
    """Else in what is asked for; nothing is guessed."""
    with pytest.raises(UserError, match=r"Dynamo is to count in, of TS_01, lam-2_TS_01\.5; say --pixel"):
        run("dynamo")
    table = star.read(f"{RESULT}/tomograms.star")["global"]
    table["rlnTomoReconstructedTomogram"] = "tomograms/rec_" + table.rlnTomoName + ".mrc"
    table["rlnTomoTomogramBinning"] = [4.0, 5.0]
    star.write("tomograms.star", {"global": table})
    assert "voxels of 5.4, 6.75 Å" in run("dynamo", f"{RESULT}/particles.star", "tomograms.star")
    assert f"1 {project}/tomograms/rec_TS_01.mrc\n" in Path("out/particles.doc").read_text()
    check(read("dynamo", "out/particles.tbl", "out/particles.doc", frames=OWN), *PICKS)
    run("dynamo", f"{RESULT}/particles.star", "tomograms.star", force=True, pixel=2.7)
    assert Path("out/particles.doc").read_text().startswith("1 TS_01.mrc\n")


@pytest.mark.parametrize(("asked", "half"), [({}, (64.8, 54, 32.4)), (VOLUME, np.array(SIZE) * PIXEL / 2)])
def test_copick(project, asked, half):
    """A matrix turns the particle into the tomogram."""
    run("copick", object="ribosome", **asked)
    paths = [Path(f"out/ExperimentRuns/{one.name}/Picks/stacycle_1_ribosome.json") for one in SERIES]
    said = [json.loads(path.read_text()) for path in paths]
    points = [point for one in said for point in one["points"]]
    at = np.array([[point["location"][axis] for axis in "xyz"] for point in points]) - half
    matrices = np.array([point["transformation_"] for point in points])
    assert np.abs(at - CENTRED).max() < 1e-4
    assert largest_turn(Rotation.from_matrix(matrices[:, :3, :3])) < 1e-3
    assert (matrices[:, :, 3] == [0, 0, 0, 1]).all()
    assert (matrices[:, 3, :3] == 0).all()
    assert [one["run_name"] for one in said] == [one.name for one in SERIES]
    check(read("copick", *paths, frames=OTHER if asked else OWN), *PICKS)


def test_copick_needs_a_name_for_the_object_that_it_keeps(project):
    for name in (None, "my_ribosome", "a b"):
        with pytest.raises(UserError, match="say --object NAME"):
            run("copick", object=name)


def test_relion(project):
    """The files are the same, but for where they lie; they name each other by paths from the project folder."""
    run("relion")
    state = OptimisationSet.read("out/optimisation_set.star")
    assert state == OptimisationSet("out/particles.star", "out/tomograms.star", "out/motion.star")
    for name in ("particles", "motion"):
        assert Path(f"out/{name}.star").read_text() == Path(f"{RESULT}/{name}.star").read_text()
    old, new = (star.read(f"{folder}/tomograms.star")["global"] for folder in (RESULT, "out"))
    series = new.pop("rlnTomoTiltSeriesStarFile")
    assert list(series) == [f"out/tilt_series/{one.name}.star" for one in SERIES]
    assert "data_TS_01\n" in Path(series[0]).read_text()
    pd.testing.assert_frame_equal(new, old.drop(columns="rlnTomoTiltSeriesStarFile"))
    with pytest.raises(UserError, match=r"--to \.\./out: is no folder below the project"):
        export("relion", ExportAsked(Path("../out")))


def test_relion_a_file_per_tomogram(project):
    """RELION's import reads the first table of each file, so there is one, without what belongs to old images."""
    run("relion", split=True)
    check(read("star", "out/by_tomogram.star", frames=OWN), *PICKS)
    tables = star.read("out/by_tomogram/TS_01.star")
    assert list(tables) == ["particles"]
    assert not {"rlnOpticsGroup", "rlnClassNumber"} & set(tables["particles"])
    assert {"rlnRandomSubset", "rlnOriginXAngst"} <= set(tables["particles"])
    listed = star.read("out/by_tomogram.star")[""]
    assert listed.rlnTomoImportParticleFile[0] == "out/by_tomogram/TS_01.star"


def largest_turn(found: Rotation) -> float:
    """Degrees from the truth."""
    return float(np.degrees((found * TURNS.inv()).magnitude().max()))


# Which particles, and their tomograms' names


def test_particles_are_those_of_the_last_resolution_or_the_given_ones(project):
    assert f"52 particles of {RESULT}/particles.star in 2 tomograms" in run("warp")
    for start in (RESULT, f"{RESULT}/optimisation_set.star", f"{RESULT}/particles.star"):
        assert "52 particles" in run("warp", start)
    with pytest.raises(UserError, match=r"one\.star: no optimisation set beside it .*; say --tomograms"):
        run("warp", f"{RESULT}/one.star")
    assert "12 particles" in run("warp", f"{RESULT}/one.star", f"{RESULT}/tomograms.star", force=True)
    with pytest.raises(UserError, match="results/bin1: has no optimisation set"):
        run("warp", "results/bin1")


def test_what_no_job_of_relion_wrote_is_refused(project):
    """Picks without angles, or files whose tables have other names."""
    table = pd.DataFrame([[SERIES[0].name, 0.0, 0.0, 0.0]] * 2, columns=["rlnTomoName", *star_picks.CENTRED])
    star.write("picks.star", {"particles": table})
    star.write("tables.star", {"": table.assign(**dict.fromkeys(star_picks.ANGLES, 0.0))})
    tomograms = f"{RESULT}/tomograms.star"
    star.write("tomograms.star", {"other": star.read(tomograms)["global"]})
    with pytest.raises(UserError, match=r"picks\.star: has no angles; refine"):
        run("warp", "picks.star", tomograms)
    with pytest.raises(UserError, match="no table data_particles"):
        run("relion", "tables.star", tomograms, split=True)
    with pytest.raises(UserError, match="no table data_global"):
        run("relion", "tables.star", "tomograms.star")


@pytest.mark.parametrize("ladder", [None, "resolution\tstate\n", "resolution\n20\n"])
def test_a_project_without_a_finished_result_is_refused(tmp_path, monkeypatch, ladder):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    if ladder:
        Path("results/ladder.tsv").write_text(ladder)
    with pytest.raises(
        UserError, match=r"ladder\.tsv: names no finished result; let a run end, or say --from"
    ):
        run("warp")


@pytest.fixture
def renamed(project: Path) -> Path:
    """The project after merging two sets with a TS_01 each."""
    (project / "results").unlink()
    Path("results/inputs").mkdir(parents=True)
    facts = {"sets": [{"renamed": {}}, {"renamed": {"TS_01": "set2_TS_01"}}]}
    Path("results/inputs/preflight.json").write_text(json.dumps(facts))
    both = [SERIES[0], replace(SERIES[0], name="set2_TS_01"), replace(SERIES[0], name="TS_03.tomostar")]
    star.write("tomograms.star", {"global": pd.DataFrame(map(row_of, both))})
    tables = []
    for one in both:
        star_picks.relion5(Path("p.star"), replace(PICKS[0], series=one))
        tables.append(star.read("p.star")["particles"])
    star.write("p.star", {"particles": pd.concat(tables)})
    return project


def test_tomograms_have_the_names_that_their_users_gave_them(renamed):
    with pytest.raises(UserError, match=r"TS_01 and set2_TS_01 are both called TS_01 .* with --include"):
        run("warp", "p.star", "tomograms.star")
    run("warp", "p.star", "tomograms.star", include=("set2_*", "TS_03*"))
    names = star.read("out/particles.star")["particles"].rlnMicrographName
    assert set(names) == {"TS_01.tomostar", "TS_03.tomostar"}
    table = pd.read_csv("out/tomograms.tsv", sep="\t")
    assert table.iloc[0].to_dict() == {"rlnTomoName": "set2_TS_01", "name": "TS_01", "particles": 40}
    with pytest.raises(UserError, match="no particle is in a tomogram named as TS_9"):
        run("warp", "p.star", "tomograms.star", include=("TS_9",))


# What is written


def test_other_files_are_overwritten_by_force_alone(project):
    run("warp")
    run("warp")  # the same
    Path("out/tomograms.tsv").write_text("mine")
    before = Path("out/particles.star").read_text()
    with pytest.raises(UserError, match=r"out/particles\.star, out/tomograms\.tsv: is there already"):
        run("warp", pixel=3.0)
    assert Path("out/particles.star").read_text() == before
    run("warp", pixel=3.0, force=True)
    assert "mine" not in Path("out/tomograms.tsv").read_text()


@pytest.mark.parametrize(
    ("key", "asked", "sentence"),
    [
        ("relion", {"pixel": 3.0}, "relion takes no --pixel; leave it out."),
        ("warp", {"split": True}, "warp takes no --split"),
        ("warp", {"size": SIZE}, "--size counts voxels whose size is not said; say --pixel, too"),
        ("warp", {"pixel": -1.0}, "--pixel is not above 0"),
        ("dynamo", {"pixel": 0.0}, "--pixel is not above 0"),
        ("warp", {"pixel": 1.0, "size": (9, 0, 9)}, "--size is not above 0"),
        ("wrap", {}, "there is no export to 'wrap'; give one of copick, dynamo, relion, warp."),
    ],
)
def test_what_cannot_be_is_refused(project, key, asked, sentence):
    with pytest.raises(UserError) as caught:
        run(key, **asked)
    assert sentence in str(caught.value)
    assert not Path("out").exists()


def test_the_command(project, capsys):
    words = ["--from", RESULT, "--pixel", "6.75", "--size", *map(str, SIZE), "--include", "TS_*", "lam*"]
    assert main(["export", "copick", *words, "--object", "ribosome", "--to", "there"]) == 0
    assert capsys.readouterr().out.startswith(
        f"there: 52 particles of {RESULT}/particles.star in 2 tomograms"
    )
    assert json.loads(next(Path("there").rglob("*.json")).read_text())["voxel_spacing"] == PIXEL
    assert main(["export", "relion", "--split"]) == 0
    assert Path("export/relion/by_tomogram.star").exists()
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    helped = capsys.readouterr().out
    assert [key for key in all_exports() if key not in helped] == []


def test_a_new_format_is_one_module(project, monkeypatch):
    Path("made").mkdir()
    Path("made/made_up.py").write_text(
        "from stacycle.exports.export import Export, Exported\n"
        "make = lambda particles, asked: Exported({'a.txt': 'A'}, 'made up')\n"
        "EXPORT = Export('made_up', frozenset(), make)\n"
    )
    monkeypatch.setattr(exports, "__path__", [*exports.__path__, "made"])
    all_exports.cache_clear()
    assert run("made_up").endswith("; made up.")
    all_exports.cache_clear()
    assert Path("out/a.txt").read_text() == "A"
