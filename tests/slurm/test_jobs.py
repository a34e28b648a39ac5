"""Single jobs on a real SLURM: killed by their wall time, cancelled by hand, sent where a profile says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import TINY, Project, overlay
from sandbox import Job, Slurm, wait_for

pytestmark = pytest.mark.slow

INPUTS = "results/inputs/particles.star"
ALIGNED = "results/bin4/align/T1/run_it006_data.star"
ALIGN = {"T": [1], "iterations": 6, "sampling": 7.5, "offset_step": 1}
CONFIG = overlay(TINY, {"rounds": {"bin2": None, "bin4": {"align": ALIGN}}})


@pytest.fixture(scope="module")
def slurm() -> Slurm:
    return Slurm()


@pytest.fixture(scope="module")
def ready(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which all is made that the alignment needs."""
    folder = tmp_path_factory.mktemp("ready") / "project"
    shutil.copytree(tiny_data, folder)
    project = Project(folder, CONFIG)
    done = project.snakemake("results/bin4/reconstruct/merged.mrc")
    assert done.returncode == 0, done.stderr
    return project


def test_a_job_that_is_cancelled_by_hand_is_submitted_again(slurm: Slurm, tiny_data: Path, tmp_path: Path):
    project = Project(tmp_path / "project", CONFIG)
    shutil.copytree(tiny_data, project.folder)
    with slurm.watched(project) as jobs, slurm.started(project, INPUTS) as snakemake:
        number = wait_for(lambda: named("sta-inputs", jobs))
        subprocess.run(["scancel", number], check=True)
        said, _ = snakemake.communicate(timeout=120)
    assert snakemake.returncode == 0, said
    assert f"SLURM job {number} (sta-inputs): CANCELLED." in said
    assert [job["JobState"] for job in jobs.values()] == ["CANCELLED", "COMPLETED"]


def test_a_job_that_its_wall_time_kills_continues_in_the_next_attempt(
    slurm: Slurm, ready: Project, tmp_path: Path, record_property
):
    """The program hangs after two iterations (it is stopped), and SLURM ends the job at its time limit."""
    project = Project(tmp_path / "project", CONFIG)
    shutil.copytree(ready.folder, project.folder, symlinks=True)
    aligned = project.folder / "results/bin4/align/T1"

    def runs() -> list[dict]:
        return json.loads((aligned / "job.json").read_text())["runs"]

    with slurm.watched(project) as jobs, slurm.started(project, ALIGNED, gpus_per_job=0) as snakemake:
        wait_for((aligned / "run_it002_optimiser.star").exists)
        number = wait_for(lambda: named("sta-bin4-align-T1_it006", jobs))
        os.kill(runs()[-1]["pid"], signal.SIGSTOP)
        subprocess.run(["scontrol", "update", f"JobId={number}", "TimeLimit=1"], check=True)
        said, _ = snakemake.communicate(timeout=300)
    assert snakemake.returncode == 0, said
    first, second = jobs.values()
    assert (first["JobState"], second["JobState"]) == ("TIMEOUT", "COMPLETED")
    assert second["TimeLimit"] == "1-00:00:00"  # twice the 12 hours of the first
    killed, continued = runs()
    assert killed["continued_from"] is None
    assert continued["continued_from"] >= 2
    record_property("TIMEOUT on SLURM: continues from iteration", continued["continued_from"])


@pytest.mark.parametrize(
    ("resources", "partition", "asked"),
    [
        ({"gpus_per_job": 2}, "gpu", "gres:gpu:2"),
        ({"gpus_per_job": 1, "gpu_job_gpu_model": "a100"}, "gpu", "gres:gpu:a100:1"),
        ({"gpu_job_gres": "gpu:a100:2"}, "gpu", "gres:gpu:a100:2"),
        ({"gpus_per_job": 0}, "cpu", None),
    ],
    ids=["count", "model", "gres", "no GPUs"],
)
def test_a_profile_says_how_gpus_are_asked_for_and_ctrl_c_takes_jobs_back(
    slurm: Slurm, ready: Project, resources: dict, partition: str, asked: str | None
):
    """Submitted for real, but held; then Snakemake is interrupted, as early as can be."""
    with (
        slurm.watched(ready) as jobs,
        slurm.started(ready, ALIGNED, slurm_extra="--hold", **resources) as snakemake,
    ):
        number = wait_for(lambda: named("sta-bin4-align-T1_it006", jobs))
        snakemake.send_signal(signal.SIGINT)
        said, _ = snakemake.communicate(timeout=60)
    job = jobs[number]
    assert (job["Partition"], job.get("TresPerJob") or job.get("TresPerNode")) == (partition, asked), said
    assert wait_for(lambda: slurm.jobs()[number]["JobState"] == "CANCELLED")


def named(name: str, jobs: dict[str, Job]) -> str | None:
    """The number of the job with a name in SLURM."""
    return next((number for number, job in list(jobs.items()) if job["JobName"] == name), None)
