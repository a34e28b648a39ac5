"""`snakemake -n` on a project where nothing has been done prints every job of every round."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Project

TUTORIAL = {
    "inputs": [
        {"tomograms": "gain1/tomograms.star", "particles": "gain1/particles.star"},
        {"tomograms": "gain2/tomograms.star", "particles": "gain2/particles.star"},
    ],
    "particle": {"diameter": 350},
}
ALL_JOBS = {
    "Check and merge the inputs",
    "bin4: extract subtomograms",
    "bin4: reconstruct the average",
    "bin4: align to one reference, T1",
    "bin4: choose the alignment's T and iteration",
    "bin4: classify without alignment, T0.5_K6",
    "bin4: classify without alignment, T1_K6",
    "bin4: classify without alignment, T2_K6",
    "bin4: classify without alignment, T4_K6",
    "bin4: choose the classification's T and iteration",
    "bin4: show the classes",
    "bin4: select good classes",
    "bin4: create the mask",
    "bin4: refine two independent halves",
    "bin4: post-process",
    "Write the report",
}


@pytest.fixture
def tutorial(tmp_path: Path) -> Project:
    """The tutorial's config with inputs that exist, which is all that a dry run wants."""
    for one in TUTORIAL["inputs"]:
        for path in one.values():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text("data_\n")
    return Project(tmp_path, TUTORIAL)


def test_the_tutorial_config_plans_every_job_of_its_round(tutorial: Project) -> None:
    assert set(tutorial.jobs()) == ALL_JOBS


def test_planning_the_tutorial_takes_less_than_five_seconds_of_computing(tutorial: Project) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    tutorial.jobs()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_a_shorter_recipe_plans_just_its_steps(tutorial: Project) -> None:
    steps = ["extract", "reconstruct", "mask", "refine3d", "postprocess"]
    jobs = tutorial.jobs({"rounds": {"bin4": {"steps": steps}}})
    assert len(jobs) == 7
    assert not any("class" in job or "align" in job for job in jobs)


def test_a_sweep_over_T_and_K_plans_one_job_per_pair(tutorial: Project) -> None:
    jobs = tutorial.jobs({"rounds": {"bin4": {"class3d": {"T": [0.2, 1], "classes": [3, 6]}}}})
    swept = sorted(job.split()[-1] for job in jobs if "classify" in job)
    assert swept == ["T0.2_K3", "T0.2_K6", "T1_K3", "T1_K6"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rounds": {"bin4": {"align": {"iteratons": 5}}}}, "rounds.bin4.align.iteratons"),
        ({"particle": {"diameter": "big"}}, "particle.diameter"),
        ({"rounds": {"bin4": {"steps": ["extract", "refine3d"]}}}, "refine3d needs a reference map"),
        ({"rounds": {"bin4": {"steps": ["extract", "reconstruct", "select"]}}}, "select needs class3d"),
        ({"inputs": None}, "inputs"),
    ],
)
def test_a_mistake_in_the_config_is_one_sentence_and_a_failure(
    tutorial: Project, change: dict, sentence: str
) -> None:
    done = tutorial.snakemake("--dry-run", change=change)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_demo_config_is_valid() -> None:
    from stacycle.config import load

    config = load(ROOT / "config/config.yaml", ROOT / "config/demo.yaml")
    assert config["engine"]["kind"] == "embedded"
    assert (
        yaml.safe_load((ROOT / "profiles/demo/profile.yaml").read_text())["configfile"] == "config/demo.yaml"
    )
