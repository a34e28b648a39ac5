"""results/final: always what the headline says, with files that belong together; nothing else is touched."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stacycle.decisions.decision import BEFORE, Decision, write_decision
from stacycle.decisions.half_maps import compare
from stacycle.errors import UserError
from stacycle.exports import particles as exported
from stacycle.files import mrc, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.report import final, final_names, overview, resolution
from stacycle.report.project import Project
from staengine.__main__ import main as engine

BOX, PIXEL = 48, 4.0
TILTS = {
    "rlnMicrographName": [f"{n}@series/TS_01.mrcs" for n in (1, 2, 3)],
    "rlnTomoYTilt": [-60.0, 0.0, 58.0],
    "rlnMicrographPreExposure": [6.0, 0.0, 3.0],
    "rlnDefocusU": [30000.0, 31000.0, 32000.0],
}
GLOBAL = {
    "rlnTomoName": ["TS_01", "TS_02"],
    "rlnVoltage": [300.0, 300.0],
    "rlnSphericalAberration": [2.7, 2.7],
    "rlnTomoTiltSeriesPixelSize": [4.0, 4.0],
    "rlnTomoTiltSeriesStarFile": ["series/TS_01.star", "series/TS_02.star"],
}


def averages(folder: Path, names: tuple[str, str, str], noise: float, seed: int) -> None:
    """Two half maps of one structure, and their mean."""
    rng = np.random.default_rng(seed)
    at = np.indices((BOX, BOX, BOX)) - BOX / 2
    inside = (at**2).sum(axis=0) < 13**2
    structure = np.random.default_rng(0).normal(1, 1, (BOX, BOX, BOX)) * inside
    halves = [structure + noise * rng.normal(0, 1, structure.shape) for _ in range(2)]
    for name, values in zip(names, [*halves, sum(halves) / 2], strict=True):
        mrc.write_map(folder / name, values, PIXEL)


def post_process(half: str, out: str) -> None:
    """By the embedded engine, with the mask."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    argv = [
        "--i",
        half,
        "--mask",
        "results/bin1/mask/mask.mrc",
        "--o",
        out,
        "--angpix",
        "4",
        "--adhoc_bfac",
        "-50",
    ]
    engine(["relion_postprocess", *argv])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project with two maps: a noisy one of a refinement, and a better one of a cycle."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        at = np.indices((BOX, BOX, BOX)) - BOX / 2
        mask = np.clip(17 - np.sqrt((at**2).sum(axis=0)), 0, 1)
        mrc.write_map("results/bin1/mask/mask.mrc", mask, PIXEL)
        names = ("run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc", "run_class001.mrc")
        averages(Path("results/bin1/refine3d"), names, 3, 1)
        averages(Path("results/bin1/cycle1/reference"), ("half1.mrc", "half2.mrc", "merged.mrc"), 1.2, 2)
        post_process(
            "results/bin1/refine3d/run_half1_class001_unfil.mrc", "results/bin1/postprocess/postprocess"
        )
        post_process("results/bin1/cycle1/reference/half1.mrc", "results/bin1/cycle1/postprocess/postprocess")
        line = "relion_tomo_reconstruct_particle --i o.star --o results/bin1/cycle1/reference/ --sym C4"
        Path("results/bin1/cycle1/reference/job.json").write_text(json.dumps({"command": line}))
        Path("series").mkdir()
        for name in ("TS_01", "TS_02"):
            star.write(f"series/{name}.star", {name: pd.DataFrame(TILTS)})
        star.write("results/inputs/tomograms.star", {"global": pd.DataFrame(GLOBAL)})
        particles = pd.DataFrame({"rlnTomoName": ["TS_01"] * 3, "rlnRandomSubset": [1, 2, 1]})
        star.write("results/bin1/refine3d/run_data.star", {"particles": particles})
        files = OptimisationSet("results/bin1/refine3d/run_data.star", "results/inputs/tomograms.star")
        files.write("results/bin1/refine3d/run_optimisation_set.star")
    return folder


def rung(label: str, folder: str, cycle: int, part: str = "") -> dict:
    state = "results/bin1/refine3d/run_optimisation_set.star"
    found = {"round": "bin1", "binning": 1, "label": label, "cycle": cycle, "part": part, "state": state}
    return found | {"postprocess": f"results/bin1/{folder}/postprocess.star", "decision": None}


REFINED, CYCLE = (
    rung("Refine3D, post-processed", "postprocess", 0),
    rung("Reconstruct bin1", "cycle1/postprocess", 1),
)
PROJECT = Project(
    rounds=[{"name": "bin1", "binning": 1, "steps": ["refine3d", "postprocess", "cycle"]}],
    steps_with_resolution=[REFINED, CYCLE],
    engine="relion",
    versions=["5.0.1, commit 73f0a3"],
)


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder for the final map; the current one is the project's."""
    monkeypatch.chdir(made)
    return tmp_path / "final"


def make(folder: Path, project: Project = PROJECT) -> list[resolution.MapResolution]:
    project = replace(project, unreadable=[])
    rows = resolution.resolutions(project)
    assert final.make(project, rows, folder) == folder / "README.md"
    return rows


def halves_in(folder: Path) -> list[Path]:
    return [folder / f"half{number}.mrc" for number in (1, 2)]


def test_it_is_what_the_headline_says(folder: Path):
    rows = make(folder)
    headline = {card.name: card.value for card in overview.headline(PROJECT, rows)}
    assert headline["Resolution"] in (folder / "README.md").read_text().splitlines()[2]
    first, last = ([mrc.voxels(path) for path in paths] for paths in (rows[0].half_maps, halves_in(folder)))
    found = compare({False: first, True: last}, PIXEL, mrc.voxels(folder / "mask.mrc")).resolution(True)
    assert found == pytest.approx(rows[-1].resolution, rel=0.1)
    assert found != pytest.approx(rows[0].resolution, rel=0.1)
    curves = pd.read_csv(folder / "fsc.tsv", sep="\t")
    assert {"frequency", "resolution", "unmasked", "masked", "corrected"} <= set(curves)
    assert len(curves) == BOX // 2 + 1
    assert f"{rows[-1].resolution:.2f}" in (folder / "deposit/emdb.tsv").read_text()


def test_files_are_links_to_results_which_stay_as_they_were(folder: Path, made: Path):
    before = {path: path.stat().st_mtime_ns for path in (made / "results").rglob("*") if path.is_file()}
    make(folder)
    of = {
        "map_sharpened.mrc": "cycle1/postprocess/postprocess.mrc",
        "map_unsharpened.mrc": "cycle1/reference/merged.mrc",
        "half1.mrc": "cycle1/reference/half1.mrc",
        "half2.mrc": "cycle1/reference/half2.mrc",
        "mask.mrc": "mask/mask.mrc",
        "fsc.xml": "cycle1/postprocess/postprocess_fsc.xml",
        "particles.star": "refine3d/run_data.star",
        "deposit/half_map_2.mrc": "cycle1/reference/half2.mrc",
    }
    for name, result in of.items():
        assert (folder / name).samefile(f"results/bin1/{result}"), name
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_where_links_do_not_work_files_are_copied(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*paths: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    make(folder)
    copy, result = folder / "half1.mrc", Path("results/bin1/cycle1/reference/half1.mrc")
    assert not copy.samefile(result)
    assert copy.read_bytes() == result.read_bytes()


def test_another_headline_brings_other_files_and_leaves_none_of_the_old_ones(folder: Path):
    make(folder)
    (folder / "my notes.txt").write_text("mine")
    fewer = Path("results/bin1/postprocess/postprocess.star")
    text = fewer.read_text()
    fewer.write_text(text.replace("results/bin1/mask/mask.mrc", "results/bin1/mask/gone.mrc"))
    try:
        make(folder, replace(PROJECT, steps_with_resolution=[REFINED]))
    finally:
        fewer.write_text(text)
    assert (folder / "half1.mrc").samefile("results/bin1/refine3d/run_half1_class001_unfil.mrc")
    assert (folder / "map_unsharpened.mrc").samefile("results/bin1/refine3d/run_class001.mrc")
    assert not (folder / "mask.mrc").exists()
    assert not (folder / "deposit/mask_1.mrc").exists()
    assert (folder / "my notes.txt").read_text() == "mine"


def test_it_follows_the_headline_and_is_left_as_it_is_while_that_stays(folder: Path):
    def follow(*steps: dict) -> dict[Path, int]:
        project = replace(PROJECT, steps_with_resolution=list(steps), unreadable=[])
        final.follow(project, resolution.resolutions(project), folder)
        return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    first = follow(REFINED)
    assert follow(REFINED) == first
    follow(REFINED, CYCLE)
    assert (folder / "half1.mrc").samefile("results/bin1/cycle1/reference/half1.mrc")
    (folder / "mask.mrc").unlink()
    follow(REFINED, CYCLE)
    assert (folder / "mask.mrc").is_file()


def test_a_map_of_a_part_is_not_the_final_one(folder: Path):
    make(folder, replace(PROJECT, steps_with_resolution=[CYCLE, REFINED | {"part": "head"}]))
    assert (folder / "half1.mrc").samefile("results/bin1/cycle1/reference/half1.mrc")


def test_a_step_that_was_undone_is_said(folder: Path, tmp_path: Path):
    write_decision(
        tmp_path / "decision.json", Decision("Variant", {"variant": BEFORE}, "rule", "Rolled back.")
    )
    undone = CYCLE | {"decision": str(tmp_path / "decision.json"), "label": "Polishing"}
    make(folder, replace(PROJECT, steps_with_resolution=[CYCLE, undone]))
    said = (folder / "README.md").read_text()
    assert "That step brought no gain and was undone: the files are those of the state before it" in said


def test_the_readme_and_the_table_name_every_file(folder: Path):
    make(folder)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    table = pd.read_csv(folder / "files.tsv", sep="\t")
    assert set(table["file"]) == there
    said = (folder / "README.md").read_text()
    assert [name for name in there - {"README.md"} if f"`{name}`" not in said] == []
    assert set(final_names.WRITTEN) | {final_names.PICTURE} <= there


def test_the_forms_questions_are_answered_from_files_and_the_rest_is_marked(folder: Path):
    make(folder)
    emdb = pd.read_csv(folder / "deposit/emdb.tsv", sep="\t", index_col="asked")["answer"]
    assert emdb["subtomograms in the map"] == "3"
    assert emdb["tomograms with such particles"] == "1"  # of two
    assert emdb["symmetry"] == "C4"
    assert emdb["acceleration voltage (kV)"] == "300"
    assert emdb["least tilt (degrees)"] == "-60"
    assert emdb["greatest defocus (µm)"] == "3.2"
    assert emdb["software, reconstruction and refinement"] == "RELION 5.0.1, commit 73f0a3"
    assert emdb["sample"].startswith("to fill in")
    empiar = pd.read_csv(folder / "deposit/empiar.tsv", sep="\t")
    assert "1 files, 3 images" in list(empiar["number"])


def test_the_state_can_be_exported_from_there(folder: Path):
    make(Path("results/final"))
    found = exported.find("results/final", None)
    assert found.particles == "results/final/particles.star"
    assert star.count(found.particles, "particles") == 3


def test_without_a_map_there_is_no_final_one(folder: Path):
    with pytest.raises(UserError, match="no map was post-processed yet"):
        make(folder, replace(PROJECT, steps_with_resolution=[]))
    gone = Path("results/bin1/cycle1/postprocess/postprocess.mrc")
    gone.rename("aside.mrc")
    try:
        with pytest.raises(
            UserError, match="the final map is not there; make it again: stacycle redo results/bin1"
        ):
            make(folder)
    finally:
        Path("aside.mrc").rename(gone)
    assert not folder.exists()
