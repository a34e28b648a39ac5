"""What was asked for, and what the run took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacycle.recipe import config
from stacycle.report import run_facts
from stacycle.report.config_line import config_line
from stacycle.report.project import Project

OWN = """
inputs: [{tomograms: tomograms.star, particles: particles.star}]
particle: {diameter: 260}
rounds:
  bin4:
    steps: [extract, reconstruct, align, class3d, class3d_states, select_states, mask, refine3d, postprocess, cycle]
    class3d_states: {classes: 2, T: [0.5]}
    select_states: {classes: [1]}
    align: {T: [1, 4]}
    cycle: {ctfrefine: {scale_only: null}}
  bin2: null
"""


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "own.yaml").write_text(OWN)
    return config.load(config.DEFAULT, tmp_path / "own.yaml")


def test_the_settings_that_are_shown_make_the_same_config_again(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    shown = run_facts.settings(settings)
    (tmp_path / "shown.yaml").write_text(shown)
    assert config.load(config.DEFAULT, tmp_path / "shown.yaml") == settings


def test_only_what_differs_from_the_tutorial_is_shown(settings: dict[str, Any]) -> None:
    shown = yaml.safe_load(run_facts.settings(settings))
    assert shown["rounds"]["bin2"] is None
    assert "bin1" not in shown["rounds"]
    assert shown["rounds"]["bin4"]["align"] == {"T": [1, 4]}
    assert shown["rounds"]["bin4"]["cycle"] == {"ctfrefine": {"scale_only": None}}
    assert run_facts.settings({}) == ""


def job(folder: Path, *runs: tuple[str, str | None, dict[str, Any]], **record: Any) -> None:
    told = [
        {"started": f"2026-11-29T{start}+0000"} | ({"ended": f"2026-11-29T{end}+0000"} if end else {}) | more
        for start, end, more in runs
    ]
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"runs": told} | record))


def test_hours_of_cores_and_gpus_are_those_of_all_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    on_gpus = {"gpus": ["0", "1"], "ranks": 3, "threads": 4}
    killed, after = ("10:00:00", None, on_gpus), ("12:00:00", "14:30:00", on_gpus)
    command = "mpirun -n 3 relion_refine_mpi --o results/bin4/refine3d/run"
    job(Path("results/bin4/refine3d"), killed, after, ended_well=True, command=command)
    job(Path("results/bin4/refine3d_poses/before/reconstruct"), ("15:00:00", "15:30:00", {"ranks": 2}))
    job(Path("results/bin4/cycle1/polish/motion"), ("09:00:00", "09:15:00", {}), cause="no space left")
    job(Path("results/bin4/refine3d.previous1"), ("08:00:00", "09:00:00", on_gpus))
    done = run_facts.jobs()
    assert [one.folder for one in done] == [
        "results/bin4/cycle1/polish/motion",
        "results/bin4/refine3d",
        "results/bin4/refine3d_poses/before/reconstruct",
    ]
    refined = done[1]
    assert (refined.hours, refined.core_hours, refined.gpu_hours, refined.starts) == (2.5, 30, 5, 2)
    assert (refined.program, refined.ended, done[0].ended) == ("relion_refine_mpi", "ended well", "failed")
    project = Project(rounds=[{"name": "bin4", "binning": 4, "steps": ["extract", "refine3d", "cycle"]}])
    took = {one.step: (one.jobs, one.hours) for one in run_facts.by_step(project, done)}
    assert took == {"bin4/refine3d": (2, 3.0), "bin4/cycle": (1, 0.25)}
    assert run_facts.total(done).gpu_hours == 5


@pytest.mark.parametrize(
    ("hours", "said"),
    [(0, "–"), (10 / 3600, "10 s"), (0.1, "6 min"), (2.5, "2.5 h"), (12.345, "12.3 h"), (1234.5, "1,234 h")],
)
def test_a_time_is_said_in_its_unit(hours: float, said: str) -> None:
    assert run_facts.duration(hours) == said


@pytest.mark.parametrize(
    "key", ["rounds.bin4.select.classes", "rounds.bin4.select_states.classes", "rounds.on.mask.x"]
)
def test_the_line_of_a_config_sets_the_key(key: str) -> None:
    found = yaml.safe_load(config_line(key, "[2, 3]"))
    for name in key.split("."):
        found = found[name]
    assert found == [2, 3]
