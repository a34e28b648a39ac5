"""A result that was edited, asked for anew, made by another version or asked for again: what runs, and what is kept.

A small project with a stand-in for RELION; its record of lineage is on, as in a user's.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_relion
import numpy as np
import pytest
import warm
from conftest import Project
from small_inputs import write_inputs

from stacycle.files import mrc

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("redo")]

AVERAGE = "results/bin4/reconstruct/merged.mrc"
SELECTED = "results/bin4/select/particles.star"
STEPS = ["extract", "reconstruct", "class3d", "select"]


class Small(Project):
    """A project whose stand-in for RELION records what it is called for."""

    def __init__(self, folder: Path) -> None:
        self.relion = fake_relion.install(folder / "relion")
        round_ = {
            "steps": STEPS,
            "box": 48,
            "class3d": {"T": [1], "classes": 6, "iterations": 2, "lowpass": 30},
        }
        super().__init__(
            folder,
            {
                "inputs": [write_inputs(folder, "set", particles=30)],
                "particle": {"diameter": 350},
                "engine": {"kind": "relion", "bin": str(self.relion), "scratch": None},
                "rounds": {"bin4": round_, "bin2": None, "bin1": None},
            },
        )

    def ran(self, done: subprocess.CompletedProcess) -> list[str]:
        """The programs that ran, in order, since this was asked last."""
        assert done.returncode == 0, done.stdout + done.stderr
        programs = [command[0] for command in fake_relion.recorded(self.relion)]
        (self.relion / "commands.jsonl").unlink(missing_ok=True)
        return [program.removeprefix("relion_") for program in programs]

    def stacycle(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [warm.python(), "-m", "stacycle", *words], cwd=self.folder, capture_output=True, text=True
        )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Small:
    made = Small(tmp_path_factory.mktemp("small"))
    assert made.ran(made.snakemake())
    return made


def edit(path: Path) -> None:
    """Write into a map, as a viewer or a script would, and hide it from whoever looks at the time."""
    times = path.stat()
    found = mrc.header(path)
    values = np.memmap(path, found.voxel, "r+", found.start)
    values[:100] += 1
    values.flush()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def same(path: Path, voxels: np.ndarray) -> bool:
    return bool((mrc.voxels(path) == voxels).all())


def test_a_map_that_was_edited_in_place_is_made_again_and_never_recorded_as_genuine(project: Small) -> None:
    average = project.folder / AVERAGE
    genuine = np.array(mrc.voxels(average))
    edit(average)
    told = project.stacycle("audit", ".")
    assert told.returncode == 1
    assert f"stacycle redo {AVERAGE}" in told.stdout
    done = project.snakemake("--forcerun", AVERAGE, "--", AVERAGE)
    assert "tomo_reconstruct_particle" in project.ran(done)
    assert f"{AVERAGE} is not what the program made" in done.stderr
    assert same(average, genuine)
    assert not same(project.folder / "results/bin4/reconstruct.previous1/merged.mrc", genuine)
    project.ran(project.snakemake())
    assert project.stacycle("audit", ".").returncode == 0


@pytest.mark.parametrize("key", ["bin", "scratch"])
def test_where_programs_are_and_run_is_no_reason_to_run_them_again(project: Small, key: str) -> None:
    assert project.jobs({"engine": {key: "/nowhere"}}) == []
    assert project.jobs() == []  # and config.yaml is as it was


REDONE = {  # any file of results/ that a rule makes, or a job's folder: the program that makes it
    "results/bin4/reconstruct": "tomo_reconstruct_particle",
    "results/bin4/class3d/T1_K6/run_it001_model.star": "refine",
    SELECTED: None,
    "results/bin4/select/classes.png": None,
    "results/inputs/tomograms.star": None,
}


def test_one_command_makes_any_results_anew(project: Small) -> None:
    decided = project.folder / "results/bin4/select/decision.json"
    times = decided.stat().st_mtime_ns
    assert project.ran(project.stacycle("redo", "bin4/select", "--dry-run")) == []
    assert decided.stat().st_mtime_ns == times, "a dry run touches nothing"
    before = {path: (project.folder / path).stat().st_mtime_ns for path in REDONE}
    named = {"results/bin4/reconstruct": "bin4/reconstruct"}  # as everywhere else
    programs = project.ran(project.stacycle("redo", *(named.get(path, path) for path in REDONE)))
    assert sorted(programs) == sorted(filter(None, REDONE.values()))
    after = {path: (project.folder / path).stat().st_mtime_ns for path in REDONE}
    assert [path for path in REDONE if after[path] <= before[path]] == []
    assert project.ran(project.snakemake()) == []


def test_a_redo_that_is_cut_off_before_its_job_begins_is_gone_on_with_by_the_next_run(project: Small) -> None:
    """The mark is set and Snakemake not yet there: it is ended as soon as the mark is seen."""
    runner = subprocess.Popen(
        [sys.executable, "-m", "stacycle", "redo", AVERAGE], cwd=project.folder, start_new_session=True
    )
    record = project.folder / "results/bin4/reconstruct/job.json"
    deadline = time.monotonic() + 60
    while (project.folder / AVERAGE).stat().st_mtime > 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(runner.pid, signal.SIGKILL)
    runner.wait()
    assert "redo" in json.loads(record.read_text())
    assert project.ran(project.snakemake(AVERAGE)) == ["tomo_reconstruct_particle"]
    assert project.ran(project.snakemake()) == []


def test_a_path_that_is_no_result_is_reported_in_a_sentence(project: Small) -> None:
    for path, told in {
        "set/particles.star": "is not in a folder results",
        "results/bin4/reconstruct.previous1/merged.mrc": "is an earlier result",
        "results/bin4": "holds no result that a rule makes",
    }.items():
        done = project.stacycle("redo", path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert told in done.stderr


def test_settings_turned_there_and_back_bring_the_first_result_back_though_it_has_no_seed(
    project: Small,
) -> None:
    classified = project.folder / "results/bin4/class3d/T1_K6/run_it002_data.star"
    first = classified.stat().st_ino
    there = {"rounds": {"bin4": {"class3d": {"lowpass": 35}}}}
    assert project.ran(project.snakemake(change=there)) == ["refine"]
    assert classified.stat().st_ino != first
    done = project.snakemake()
    assert project.ran(done) == []
    assert "is taken back from results/bin4/class3d/T1_K6.previous" in done.stderr
    assert classified.stat().st_ino == first
    assert project.stacycle("audit", ".").returncode == 0


def test_the_slab_that_the_page_shows_is_made_anew_by_its_folder(project: Small) -> None:
    assert project.ran(project.stacycle("redo", "results/inputs/tomogram")) == ["tomo_reconstruct_tomogram"]
    assert project.ran(project.snakemake()) == []


def test_another_version_of_relion_is_warned_of_and_redoes_only_if_it_is_asked_to(project: Small) -> None:
    fake_relion.install(project.relion, version="5.0.2-commit-abcdef")
    assert project.ran(project.snakemake()) == []
    done = project.snakemake("--forcerun", AVERAGE, "--", AVERAGE)
    assert project.ran(done) == []
    assert re.search(
        r"WARNING: it was made by version 5\.0\.1-commit-73f0a3, and 5\.0\.2.*is here now", done.stderr
    )
    redo = {"engine": {"new_version": "redo"}}
    assert project.ran(project.snakemake(AVERAGE, change=redo)) == [
        "tomo_subtomo",
        "tomo_reconstruct_particle",
    ]
    record = json.loads((project.folder / "results/bin4/reconstruct/job.json").read_text())
    assert record["relion"] == {"version": "5.0.2", "commit": "abcdef"}
    project.ran(project.snakemake())
    assert "made by 5.0.2, commit abcdef" in (project.folder / "results/report.html").read_text()
