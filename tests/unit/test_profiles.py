"""The profiles for clusters without SLURM: they ask for what profiles/slurm asks for, and tell how a job ended."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

PROFILES = ROOT / "profiles"
COMMANDS = ("pbs", "sge", "sbatch")
QUEUE = {"lsf": "lsf_queue"} | dict.fromkeys(COMMANDS, "queue")
# The variables in which a job finds its id and the folder that it was submitted in.
JOB, FOLDER = (
    {"pbs": "PBS_JOBID", "sge": "JOB_ID", "sbatch": "SLURM_JOB_ID"},
    {"pbs": "PBS_O_WORKDIR", "sge": "SGE_O_WORKDIR", "sbatch": "SLURM_SUBMIT_DIR"},
)


def profile(name: str) -> dict:
    """The settings of a profile."""
    return yaml.safe_load((PROFILES / name / "profile.yaml").read_text())


@pytest.mark.parametrize("name", QUEUE)
def test_a_profile_keeps_what_is_the_same_everywhere_and_nothing_of_slurms(name: str) -> None:
    slurm, here = profile("slurm"), profile(name)
    shared = {
        key: value
        for key, value in slurm.items()
        if key not in ("executor", "default-resources") and "slurm" not in key
    }
    assert len(shared) > 4
    assert shared.items() <= here.items()
    assert not any("slurm" in key for key in [*here, *here["default-resources"]])


@pytest.mark.parametrize("name", QUEUE)
def test_queues_and_limits_are_those_of_slurm_under_the_schedulers_names(name: str) -> None:
    wanted = profile("slurm")["default-resources"]
    wanted = {key.replace("slurm_partition", QUEUE[name]): value for key, value in wanted.items()}
    wanted |= {"gpu_job_lsf_extra": "-gpu num=2:j_exclusive=yes"} if name == "lsf" else {"gpu": 0}
    assert profile(name)["default-resources"] == wanted


def test_lsf_is_asked_for_as_many_gpus_as_a_job_computes_on() -> None:
    """The executor's plugin does not look at the resource gpu."""
    defaults = profile("lsf")["default-resources"]
    assert defaults["gpu_job_lsf_extra"] == f"-gpu num={defaults['gpus_per_job']}:j_exclusive=yes"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_profile_names_its_scripts_which_are_beside_it(name: str) -> None:
    here = profile(name)
    for script in (here["cluster-generic-status-cmd"], here["jobscript"]):
        assert os.access(PROFILES / name / script, os.X_OK)


class Cluster:
    """A project folder, and the scheduler's programs of which `status` asks: they know some jobs, or do not answer."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        (folder / ".snakemake/ended").mkdir(parents=True)
        for script in ("status", "jobscript.sh"):
            shutil.copy(PROFILES / name / script, folder)

    def programs(self, known: bool, answers: bool = True) -> None:
        for program in ("qstat", "squeue"):
            path = self.folder / program
            job = "echo a job" if known else "exit 1"
            path.write_text(f"#!/bin/sh\n{'' if answers else 'exit 1'}\n[ $# = 0 ] || {job}\n")
            path.chmod(0o755)

    def status(self, job: str = "17.head") -> str:
        path = f"{self.folder}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "status", job],
            cwd=self.folder,
            env={"PATH": path, "STATUS_PAUSE": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def run(self, command: str, job: str = "17.head") -> int:
        """Run the job script with a command of Snakemake's, elsewhere."""
        script = (
            (self.folder / "jobscript.sh").read_text().format(properties={"rule": "mask"}, exec_job=command)
        )
        environment = os.environ | {FOLDER[self.name]: str(self.folder), JOB[self.name]: job}
        return subprocess.run(["sh", "-c", script], cwd="/", env=environment, check=False).returncode


@pytest.fixture(params=COMMANDS)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Cluster:
    return Cluster(tmp_path, request.param)


def test_a_job_that_the_scheduler_knows_is_running(cluster: Cluster) -> None:
    cluster.programs(known=True)
    assert cluster.status() == "running"


def test_a_scheduler_that_does_not_answer_does_not_end_a_job(cluster: Cluster) -> None:
    cluster.programs(known=False, answers=False)
    assert cluster.status() == "running"


def test_a_job_that_is_gone_and_noted_nothing_has_failed(cluster: Cluster) -> None:
    cluster.programs(known=False)
    assert cluster.status() == "failed"


@pytest.mark.parametrize(
    ("command", "exit_status", "status"), [("true", 0, "success"), ("exit 3", 3, "failed")]
)
def test_a_job_notes_how_it_ended_though_the_scheduler_still_knows_it(
    cluster: Cluster, command: str, exit_status: int, status: str
) -> None:
    cluster.programs(known=True)
    assert cluster.run(f"cd / && {command}") == exit_status
    assert cluster.status() == status
    assert cluster.status("18.head") == "running"
