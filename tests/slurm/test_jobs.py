"""Single jobs on a real SLURM: killed by their wall time, cancelled by hand, sent where a profile says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from conftest import TINY, Project, overlay
from sandbox import PROFILE, Job, Slurm, environment, process_of, wait_for

from stacycle.progress import status

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


class Followed:
    """A project that `stacycle run` works on by a profile of its own, whose jobs wait until they are released."""

    RIGHT_WITHIN = 5  # s after an event

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self.slurm, self.folder, self.slowest = slurm, folder, 0.0
        Project(folder, CONFIG).command()  # writes the config
        profile = yaml.safe_load((PROFILE / "profile.yaml").read_text())
        profile["default-resources"] |= {"slurm_partition": "pair", "gpu_job_slurm_partition": "pair"}
        profile["default-resources"] |= {"gpus_per_job": 0, "cores_per_job": 2, "slurm_extra": "--hold"}
        profile["stacycle-slurm-init-seconds-before-status-checks"] = 2 * self.RIGHT_WITHIN
        (folder / "profiles/slurm").mkdir(parents=True)
        (folder / "profiles/slurm/profile.yaml").write_text(yaml.safe_dump(profile))

    @contextmanager
    def run(self, *words: str) -> Iterator[subprocess.Popen]:
        command = [sys.executable, "-m", "stacycle", "run", *words]
        with (self.folder / "said.txt").open("w") as said:
            process = subprocess.Popen(command, cwd=self.folder, stdout=said, stderr=said, env=environment())
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def said(self) -> str:
        return (self.folder / "said.txt").read_text()

    def right(self, **expected: object) -> None:
        """Wait until the status says this of the run or of the alignment, which is not to take longer than it may."""
        began = time.monotonic()

        def says() -> bool:
            found = status.collect(self.folder)
            jobs = [job for step in found.steps for job in step.jobs] if found else []
            aligned = next((job for job in jobs if job.program == "align"), None)
            told = vars(aligned) | {"run": found.state} if found and aligned else {}
            return all(told.get(key) == value for key, value in expected.items())

        wait_for(says, self.RIGHT_WITHIN)
        self.slowest = max(self.slowest, time.monotonic() - began)

    def kill(self, process: subprocess.Popen) -> None:
        """Kill `stacycle run` and Snakemake, as a broken machine would."""
        process.kill()
        os.kill(json.loads((self.folder / "results/.run/lock").read_text())["runner"], signal.SIGKILL)


def test_stacycle_status_is_right_about_a_run_on_slurm_whatever_becomes_of_it(
    slurm: Slurm, ready: Project, tmp_path: Path, record_property
):
    """The queue; a node that is another host; the main process killed twice, a job cancelled; and the end."""
    shutil.copytree(ready.folder, tmp_path / "project", symlinks=True)
    here = Followed(slurm, tmp_path / "project")
    job = here.folder / "results/bin4/align/T1"
    with slurm.watched(Project(here.folder, {})) as jobs:

        def waiting() -> str | None:
            found = [number for number, one in list(jobs.items()) if one["JobState"] == "PENDING"]
            return found[0] if found else None

        with here.run("--profile", "slurm", "--", ALIGNED) as run:
            first = wait_for(waiting)
            here.right(run="running", state="queued")
            assert from_elsewhere(here.folder) == ("running", "queued")
            here.kill(run)
            here.right(run="stopped", state="stopped")
        with here.run("--", ALIGNED) as run:
            second = wait_for(lambda: waiting() if waiting() != first else None)
            assert "wait in SLURM (sta-bin4-align-T1_it006): they are taken back" in here.said()
            wait_for(lambda: jobs[first]["JobState"] == "CANCELLED", 5)
            subprocess.run(["scontrol", "release", second], check=True)
            wait_for((job / "run_it002_optimiser.star").exists)
            program = wait_for(lambda: process_of("relion_refine", f"SLURM_JOB_ID={second}"))
            os.kill(program, signal.SIGSTOP)
            host = json.loads((job / "job.json").read_text())["runs"][-1]["host"]
            assert host == (jobs[second]["NodeList"] if slurm.has_hosts else socket.gethostname())
            here.right(run="running", state="running", host=host)
            assert from_elsewhere(here.folder) == ("running", "running")
            here.kill(run)
            here.right(run="stopped", state="running")
        with here.run("--", ALIGNED) as run:
            wait_for(lambda: f"To end them now: scancel {second}" in here.said(), 20)
            here.right(run="stopped", state="running")
            os.kill(program, signal.SIGCONT)
            subprocess.run(["scancel", second], check=True)
            here.right(run="stopped", state="stopped")
            third = wait_for(lambda: waiting() if waiting() not in (first, second) else None)
            here.right(run="running", state="queued")
            subprocess.run(["scontrol", "release", third], check=True)
            wait_for(lambda: json.loads((job / "job.json").read_text()).get("ended_well"))
            here.right(state="done")
            assert run.wait(120) == 0, here.said()
        here.right(run="done")
    runs = json.loads((job / "job.json").read_text())["runs"]
    assert [one["continued_from"] is None for one in runs] == [True, False]
    told = here.said().partition("4 jobs, 3 done before\n")[2].partition("done after")[0]
    assert re.search(r"align T1: queued\n.*align T1: running.*\n(.*\n)*.*align T1: done \(", told), (
        here.said()
    )
    assert all(re.match(r"[\d-]{10} [\d:]{8} bin4/", line) for line in told.splitlines()), told
    record_property("SLURM: status is right after", f"{here.slowest:.1f} s at most")


def from_elsewhere(project: Path) -> tuple[str, str]:
    """The states of the run and of the alignment that `stacycle status --json` tells on another host, which has none of
    their processes; on this one, where another cannot be had."""
    command = [sys.executable, "-m", "stacycle", "status", "--json"]
    apart = ["unshare", "--uts", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode == 0:
        command = [*apart, "sh", "-c", 'hostname elsewhere; exec "$@"', "sh", *command]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    return told["state"], {step["step"]: step["state"] for step in told["steps"]}["bin4/align"]


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
