"""A small project run whole with the embedded engine, killed again and again on the way; then changed.

What is done again, and what is not.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from graphlib import TopologicalSorter
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pipeliner
import pytest
import warm
from conftest import TINY, Project

import kills
from stacycle.files import relion_output
from stacycle.files.earlier_results import is_aside
from stacycle.preflight import against_data, disk
from stacycle.provenance import audit
from stacycle.recipe import config
from stacycle.recipe.rounds import Recipe

pytestmark = pytest.mark.slow

REPORT = {"Write the report", "Put the final map together"}
CYCLE = "bin4/cycle1: "
BIN2 = {"bin2: extract subtomograms", "bin2: reconstruct the average"} | REPORT


def of_variant(sweep: str, program: str, name: str) -> set[str]:
    """The jobs of one variant of a cycle's sweep."""
    after = {f"{CYCLE}{verb} after {sweep}, {name}" for verb in ("reconstruct", "post-process")}
    return {f"{CYCLE}{program}, {name}"} | after


def decide(sweep: str) -> set[str]:
    return {f"{CYCLE}keep the best of {sweep}, or what was before"}


def ctfrefine(name: str) -> set[str]:
    return of_variant("ctfrefine", "refine the CTF", name)


def polish(name: str) -> set[str]:
    return of_variant("polish", "polish", name)


def poses(step: str) -> set[str]:
    """The jobs that compare the poses after a step of bin4 with those before it."""
    each = ("before", "after")
    return (
        {f"bin4: particles of {step} with the poses {when} it" for when in each}
        | {f"bin4: reconstruct with the poses {when} {step}" for when in each}
        | {f"bin4: keep the poses after {step}, or those before it"}
    )


AFTER_POLISH = decide("polish") | BIN2
AFTER_CTFREFINE = decide("ctfrefine") | polish("motion") | polish("no_motion") | AFTER_POLISH
AFTER_CYCLE_POSTPROCESS = ctfrefine("regularised") | ctfrefine("unregularised") | AFTER_CTFREFINE
AFTER_CYCLE_MASK = {CYCLE + "post-process the reference"} | AFTER_CYCLE_POSTPROCESS
AFTER_CYCLE_REFERENCE = {CYCLE + "create the bin1 mask"} | AFTER_CYCLE_MASK
AFTER_POSTPROCESS = {CYCLE + "create the bin1 mask"} | AFTER_CYCLE_MASK
AFTER_SCORE = {CYCLE + "reconstruct the half maps at bin 1"} | AFTER_CYCLE_REFERENCE
AFTER_REFINE = (
    poses("refine3d")
    | {"bin4: postprocess", "bin4: score particles", "bin4: leave out particles that score low"}
    | AFTER_SCORE
    | AFTER_POSTPROCESS
)
AFTER_MASK = {"bin4: refine3d, two independent halves"} | AFTER_REFINE
AFTER_SELECT = {"bin4: create mask"} | AFTER_MASK
AFTER_CLASS3D_DECISION = {"bin4: show the classes for select", "bin4: select good classes"} | AFTER_SELECT
AFTER_CLASS3D = {"bin4: choose T and iteration of class3d"} | AFTER_CLASS3D_DECISION
CLASS3D = {f"bin4: class3d without alignment, T{T}_K2" for T in ("0.5", "2")}
AFTER_ALIGN_DECISION = CLASS3D | AFTER_CLASS3D
AFTER_ALIGN = {"bin4: choose the alignment's T and iteration"} | poses("align") | AFTER_ALIGN_DECISION
ALIGN = {"bin4: align to one reference, T1"}
PROBE = {"bin4: align for a few iterations, to know the accuracy of angles"}
AFTER_EXTRACT = {"bin4: reconstruct the average"} | PROBE | ALIGN | AFTER_ALIGN


KILLS = 24


@pytest.fixture(scope="module")
def killed(tiny_data: Path) -> tuple[Project, kills.Story]:
    """The project, finished, and how often it was killed before it was."""
    project = Project(tiny_data, TINY)
    _, *words = project.command("--rerun-incomplete")
    return project, kills.run_with_kills([warm.python(), *words], tiny_data, KILLS, seed=1)


@pytest.fixture(scope="module")
def finished(killed: tuple[Project, kills.Story]) -> Project:
    return killed[0]


def bin4(**steps: dict) -> dict:
    return {"rounds": {"bin4": steps}}


def test_a_run_that_is_killed_at_random_moments_continues_each_time(
    killed: tuple[Project, kills.Story], record_property
) -> None:
    story = killed[1]
    record_property("kills: how many, in how many kinds of jobs", f"{len(story.kills)}, {len(story.hit)}")
    assert len(story.kills) >= 20
    assert {kill.how for kill in story.kills} == set(kills.WAYS)


def test_what_a_killed_run_had_finished_is_not_done_again(finished: Project, record_property) -> None:
    results = finished.folder / "results"
    twice, starts = kills.done_twice(results), kills.started(results)
    record_property("kills: iterations or tomograms done twice", f"{sum(twice.values())} {twice or ''}")
    assert all(number < starts[folder] for folder, number in twice.items()), "more than one at a new start"
    assert kills.run_again_though_finished(results) == []


def test_nothing_in_a_run_that_was_killed_is_of_mixed_states_or_incomplete(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.folder)
    assert audit.audit("results") == []


@pytest.mark.parametrize("sweep", ["ctfrefine", "polish"])
def test_a_variant_that_was_killed_is_run_again_and_not_taken_for_a_failed_one(
    sweep: str, finished: Project
) -> None:
    decision = json.loads((finished.folder / f"results/bin4/cycle1/{sweep}/decision.json").read_text())
    assert not any(row.get("failed") for row in decision["candidates"])


def test_what_the_results_take_on_disk_was_predicted(finished: Project, record_property) -> None:
    loaded = config.load(config.DEFAULT, finished.folder / "config.yaml")
    facts = json.loads((finished.folder / "results/inputs/preflight.json").read_text())
    needs = disk.needed(Recipe.from_config(loaded), loaded, against_data.numbers_of(facts))
    ratio = sum(need.bytes for need in needs) / disk.used(finished.folder / "results")[0]
    record_property("disk: foretold, of what the small project takes", f"{ratio:.2f}")
    assert 1 <= ratio < 1.3


def test_a_finished_project_has_nothing_to_do(finished: Project) -> None:
    assert finished.jobs() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (bin4(select={"classes": [1]}), {"bin4: select good classes"} | AFTER_SELECT),
        (bin4(mask={"extend": 4}), {"bin4: create mask"} | AFTER_MASK),
        (bin4(refine3d={"lowpass": 55}), AFTER_MASK),
        (bin4(postprocess={"bfactor": -50}), {"bin4: postprocess"} | AFTER_POSTPROCESS),
        (bin4(cycle={"mask": {"extend": 4}}), AFTER_CYCLE_REFERENCE),
        (
            bin4(cycle={"ctfrefine": {"regularised": {"regularisation": 1}}}),
            ctfrefine("regularised") | AFTER_CTFREFINE,
        ),
        (bin4(cycle={"polish": {"no_motion": {"max_error": 4}}}), polish("no_motion") | AFTER_POLISH),
        (bin4(cycle={"polish": {"stiff": {"sigma_velocity": 0.1}}}), polish("stiff") | AFTER_POLISH),
        (bin4(cycle={"polish": {"no_motion": None}}), AFTER_POLISH),
        (bin4(cycle={"choose": {"ctfrefine": "before"}}), AFTER_CTFREFINE),
        ({"rounds": {"bin2": {"box": 44}}}, BIN2),
        ({"rounds": {"bin2": None}}, REPORT),
        (bin4(class3d={"lowpass": 45}), CLASS3D | AFTER_CLASS3D),
        (bin4(class3d={"T": [0.5, 2, 4]}), {"bin4: class3d without alignment, T4_K2"} | AFTER_CLASS3D),
        (bin4(class3d={"iteration": 3}), AFTER_CLASS3D),
        (bin4(class3d={"variant": "T2_K2"}), AFTER_CLASS3D),
        (bin4(align={"iteration": 2}), AFTER_ALIGN),
        (bin4(align={"local_range": 6}), PROBE | ALIGN | AFTER_ALIGN),
        (bin4(align={"T": [2]}), {"bin4: align to one reference, T2"} | AFTER_ALIGN),
        (bin4(box=28), {"bin4: extract subtomograms"} | AFTER_EXTRACT),
        ({"particle": {"symmetry": "C2"}}, AFTER_EXTRACT),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_changed_parameter_reruns_its_step_and_what_follows_and_nothing_else(
    finished: Project, change: dict, expected: set[str]
) -> None:
    assert set(finished.jobs(change)) == expected


def test_where_scratch_is_is_no_reason_to_run_programs_again(finished: Project) -> None:
    assert finished.jobs({"engine": {"scratch": "/nowhere"}}) == []


def test_two_sets_with_the_same_names_are_merged_with_unique_ones(finished: Project) -> None:
    from stacycle.files import star

    tomograms = star.read(finished.folder / "results/inputs/tomograms.star")["global"]
    assert tomograms["rlnTomoName"].is_unique
    assert len(tomograms) == 2


def test_each_decision_says_what_was_chosen_by_whom_and_why(finished: Project) -> None:
    for step in ("align", "class3d", "select", "mask"):
        decision = json.loads((finished.folder / f"results/bin4/{step}/decision.json").read_text())
        assert decision["by"] == "rule"
        assert decision["reason"].strip()
        assert decision["choice"] is not None


def test_the_report_is_one_file_that_needs_no_network(finished: Project) -> None:
    page = (finished.folder / "results/report.html").read_text()
    assert "data:image/png;base64," in page
    assert 'src="http' not in page
    assert "results/bin4" in page or "bin4" in page


@pytest.mark.parametrize("pilot", [None, 0.5])
def test_a_cycle_as_several_jobs_is_the_same(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pilot: float | None
) -> None:
    """The profile's `jobs_per_step` on a copy of the project whose sweeps are gone: maps, decisions, lineage; also of
    sweeps that were tried on half of the tomograms first."""
    copy = Project(tmp_path / "copy", finished.config)
    shutil.copytree(finished.folder, copy.folder, symlinks=True)
    for sweep in ("ctfrefine", "polish"):
        shutil.rmtree(copy.folder / "results/bin4/cycle1" / sweep)
    done = copy.snakemake(
        *("--default-resources", "jobs_per_step=4", "--", "results/bin2/extract/particles.star"),
        change={"rounds": {"bin4": {"cycle": {"pilot": pilot}}}},
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert "bin4/cycle1: polish, motion, share 1of2" in done.stderr
    tried = "bin4/cycle1: try polish, motion, on a share of the tomograms" in done.stderr
    assert tried == bool(pilot)
    of_both = [project.folder / "results/bin4/cycle1" for project in (finished, copy)]
    for path in ("ctfrefine/half2.mrc", "polish/half1.mrc", "polish/merged.mrc"):
        one, other = (mrcfile.read(folder / path).astype(float).ravel() for folder in of_both)
        assert 1 - np.corrcoef(one, other)[0, 1] < 1e-6, path
    for sweep in ("ctfrefine", "polish"):
        one, other = (json.loads((folder / sweep / "decision.json").read_text()) for folder in of_both)
        assert one["choice"] == other["choice"]
    monkeypatch.chdir(copy.folder)
    assert audit.audit("results") == []
    assert not list(copy.folder.glob("results/**/*_shares")), "what shares left is still there"


def test_another_reader_of_relions_files_finds_each_job_with_its_inputs(finished: Project) -> None:
    results = finished.folder / "results"
    seen = pipeliner.read(results / "relion")
    folders = {
        path.parent
        for name in ("job.json", "state.json")
        for path in results.rglob(name)
        if not is_aside(path)
    }
    assert {
        results / (results / "relion" / one["name"] / ".results").read_text() for one in seen["jobs"]
    } == folders
    assert {one["status"] for one in seen["jobs"]} == {"Succeeded"}
    assert [one["name"] for one in seen["jobs"] if not one["inputs"]] == ["Import/job001/"]
    nodes = {node for one in seen["jobs"] for node in one["inputs"] + one["outputs"]}
    assert [node for node in nodes if not (results / "relion" / node).is_file()] == []
    starts = {one["name"]: one["from"] for one in seen["jobs"]}
    order = list(TopologicalSorter(starts).static_order())  # there is no circle
    assert order[0] == "Import/job001/"
    reached = {"Import/job001/"}
    for name in order:
        if reached & set(starts[name]):
            reached.add(name)
    assert reached == set(order)  # all comes from the inputs
    read = {start.split("/")[0] for one in seen["jobs"] for start in one["from"]}
    assert read >= {
        "Import",
        "Extract",
        "Class3D",
        "Select",
        "MaskCreate",
        "Refine3D",
        "PostProcess",
        "CtfRefine",
    }


def test_the_final_map_is_that_of_the_last_rung(finished: Project) -> None:
    results = finished.folder / "results"
    last = pd.read_csv(results / "ladder.tsv", sep="\t").iloc[-1]
    said = (results / "final/README.md").read_text()
    assert f"**{last['resolution']:.2f} Å**" in said
    star = relion_output.fsc(results / "bin4/cycle1/polish/postprocess.star")
    assert (results / "final/half1.mrc").samefile(finished.folder / star.half_maps[0])
    assert (results / "final/map.png").read_bytes().startswith(b"\x89PNG")
    views = {path.parent.relative_to(results).as_posix() for path in results.rglob("view.cxc")}
    assert views >= {"final", "bin4/class3d", "bin4/select", "bin4/refine3d", "bin4/postprocess", "bin4/mask"}


def test_snakemakes_own_report_has_the_results_that_matter(finished: Project, tmp_path: Path) -> None:
    done = finished.snakemake("--report", str(tmp_path / "report.zip"))
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "report.zip") as report:
        shown = {
            Path(name).name: report.getinfo(name).file_size
            for name in report.namelist()
            if "/data/raw/" in name
        }
        (page,) = (
            name for name in report.namelist() if name.count("/") == 1 and name.endswith("report.html")
        )
        text = report.read(page).decode()
    assert set(shown) == {"report.html", "ladder.tsv", "classes.png", "map.png", "fsc.png"}
    assert min(shown.values()) > 100
    assert "The final map: central slices, and its surface" in text
