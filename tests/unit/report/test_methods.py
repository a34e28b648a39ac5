"""The methods paragraph and the works to cite: the run's own numbers, and nothing that was not done."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from golden_project import PROJECT, make

from stacycle.decisions.decision import BEFORE, Decision, write_decision
from stacycle.report import methods, works
from stacycle.report.project import Project

ROOT = Path(__file__).parents[3]
ALIGN = "relion_refine --o results/bin4/align/T1/run --tau2_fudge 1 --particle_diameter 260 --K 1 --sym C1"
CLASSES = "relion_refine --o results/bin4/class3d/T0.5_K3/run --tau2_fudge 0.5 --K 3 --skip_align"


@pytest.fixture(scope="module")
def golden_results(tmp_path_factory) -> Path:
    folder = make(tmp_path_factory.mktemp("project"))
    for step, command in {"align/T1": ALIGN, "class3d/T0.5_K3": CLASSES}.items():
        (folder / f"results/bin4/{step}/job.json").write_text(json.dumps({"command": command}))
    return folder


@pytest.fixture
def project(golden_results, monkeypatch) -> Project:
    monkeypatch.chdir(golden_results)
    return replace(PROJECT, unreadable=[], versions=["5.0.1, commit 73f0a3"])


def test_the_paragraph_has_the_numbers_of_the_run(project):
    text = methods.paragraph(project)
    taken = {step: project.decision_of(f"bin4/{step}").choice["iteration"] for step in ("align", "class3d")}
    assert text.startswith(
        "Subtomogram averaging started from 2 tilt series (42 images at 5 Å per pixel), with 70"
    )
    assert "carried out with RELION 5.0.1, commit 73f0a3, run by stacycle" in text
    assert "At binning 4, 64 particles were extracted" in text
    assert f"aligned to one reference (T = 1, mask 260 Å, iteration {taken['align']} taken)" in text
    assert f"classified into 3 classes (T = 0.5, poses fixed, iteration {taken['class3d']} taken)" in text
    assert "64 particles of classes 1, 2 and 3 were kept and 0 rejected" in text
    assert "post-processing gave 40.00 Å" in text
    assert (
        'CTF refinement did not improve the map and was undone; Bayesian polishing (settings "motion") led'
        in text
    )
    assert re.search(
        r"The final map, of 64 particles in a box of \d+ px .* has a resolution of 28.24 Å", text
    )


def test_half_sets_are_gold_standard_only_if_poses_of_a_refinement_went_on(project, golden_results):
    assert "gold-standard" in methods.paragraph(project)
    undone = golden_results / "results/bin4/refine3d_poses/decision.json"
    write_decision(undone, Decision("Poses", {"poses": BEFORE}, "rule", "Rolled back."))
    try:
        decisions = [*project.decisions, "results/bin4/refine3d_poses/decision.json"]
        text = methods.paragraph(replace(project, decisions=decisions, unreadable=[]))
    finally:
        undone.unlink()
    assert "gold-standard" not in text
    assert "half sets whose poses are of one common refinement" in text
    assert "refined independently, but the poses before were better, and were kept" in text


def test_what_is_not_there_yet_is_not_said(project):
    started = replace(
        project, steps_with_resolution=[], decisions=[], rounds=[{**PROJECT.rounds[0], "name": "bin2"}]
    )
    text = methods.paragraph(started)
    assert text.endswith("Snakemake " + methods.version("snakemake") + ".")
    assert "final map" not in text
    assert methods.paragraph(Project())


def test_the_programs_that_inputs_came_from_are_named_and_cited(project, golden_results, tmp_path):
    facts = json.loads((golden_results / "results/inputs/preflight.json").read_text())
    taken = [
        ["set1, AreTomo3 (or AreTomo 1, 2)", "axis", "84.9"],
        ["set1, models of IMOD (.mod)", "picks", "70"],
    ]
    (tmp_path / "preflight.json").write_text(json.dumps(facts | {"taken": taken}))
    given = replace(project, preflight=str(tmp_path / "preflight.json"))
    assert "aligned in AreTomo3, with" in methods.paragraph(given)
    found = methods.citations(given)
    assert set(works.OF_SOURCE["aretomo3"]) < set(found)
    assert not {*works.OF_SOURCE["imod"], *works.OF_SOURCE["warp"]} & set(found)


def test_relion_is_cited_where_it_ran(project):
    assert set(works.RELION) < set(methods.citations(project))
    assert not set(works.RELION) & set(methods.citations(replace(project, engine="embedded")))


def test_the_works_of_citation_cff_are_among_those_that_are_cited():
    named = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    cited = "\n".join([*works.ALWAYS, *works.RELION])
    for work in named:
        assert work.get("doi", work.get("url")) in cited
