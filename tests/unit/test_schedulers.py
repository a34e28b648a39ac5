"""Profiles for clusters without SLURM: made from those for SLURM, with scripts that tell how a job ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from stacycle import schedulers
from stacycle.errors import UserError

SETTINGS = {
    "executor": "slurm",
    "jobs": 7,
    "retries": 2,
    "slurm-logdir": "logs/slurm",
    "default-resources": {
        "slurm_partition": "short",
        "gpu_job_slurm_partition": "cards",
        "slurm_account": "ribosome",
        "gpu_job_qos": "urgent",
        "gpus_per_job": 4,
        "max_runtime": 600,
    },
}
COMMANDS = [name for name in schedulers.NAMES if name != "lsf"]


def made(name: str, **resources: object) -> dict:
    """The profile for a scheduler, with some default resources changed."""
    changed = SETTINGS | {"default-resources": SETTINGS["default-resources"] | resources}
    return yaml.safe_load(schedulers.profile(name, changed))


def test_the_page_shows_what_the_command_makes() -> None:
    assert (ROOT / "docs/schedulers.md").read_text().endswith("-->\n" + schedulers.page())


@pytest.mark.parametrize("name", schedulers.NAMES)
def test_a_profile_keeps_what_is_the_same_everywhere_and_nothing_of_slurms(name: str) -> None:
    profile = made(name)
    assert (profile["jobs"], profile["retries"]) == (7, 2)
    assert profile["default-resources"]["max_runtime"] == 600
    assert not any("slurm" in key for key in [*profile, *profile["default-resources"]])
    assert "gpu_job_qos" not in profile["default-resources"]


def test_what_is_set_for_one_step_is_kept_under_the_schedulers_names() -> None:
    steps = {
        "set-threads": {"polish": 32},
        "set-resources": {"polish": {"slurm_partition": "big", "qos": "x"}},
    }
    lsf, pbs = (yaml.safe_load(schedulers.profile(name, SETTINGS | steps)) for name in ("lsf", "pbs"))
    assert lsf["set-threads"] == pbs["set-threads"] == {"polish": 32}
    assert lsf["set-resources"] == {"polish": {"lsf_queue": "big"}}
    assert pbs["set-resources"] == {"polish": {"queue": "big"}}


def test_partitions_and_account_are_queues_and_project_of_lsf_and_the_gpus_an_option_of_its() -> None:
    assert made("lsf")["default-resources"] == {
        "lsf_queue": "short",
        "gpu_job_lsf_queue": "cards",
        "lsf_project": "ribosome",
        "gpus_per_job": 4,
        "max_runtime": 600,
        "gpu_job_lsf_extra": "-gpu num=4:j_exclusive=yes",
    }


def test_a_site_without_gpus_asks_lsf_for_none() -> None:
    assert "gpu_job_lsf_extra" not in made("lsf", gpus_per_job=0)["default-resources"]


@pytest.mark.parametrize("name", COMMANDS)
def test_partitions_and_account_are_queues_and_account_of_a_submit_command(name: str) -> None:
    profile = made(name)
    assert profile["default-resources"] == {
        "gpu": 0,
        "queue": "short",
        "gpu_job_queue": "cards",
        "account": "ribosome",
        "gpus_per_job": 4,
        "max_runtime": 600,
    }
    assert "{resources.account:q}" in profile["cluster-generic-submit-cmd"]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_account_is_asked_for_where_the_profile_names_none(name: str) -> None:
    assert "account" not in made(name, slurm_account=None)["default-resources"]
    assert "account" not in made(name, slurm_account=None)["cluster-generic-submit-cmd"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_written_profile_names_its_scripts_by_whole_paths(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "my profile"
    command = [sys.executable, "-m", "stacycle.schedulers", name, folder.name]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    profile = yaml.safe_load((folder / "profile.yaml").read_text())
    assert profile["cluster-generic-status-cmd"] == f"'{folder}/status'"
    assert profile["jobscript"] == f"{folder}/jobscript.sh"
    assert all(os.access(folder / script, os.X_OK) for script in ("status", "jobscript.sh"))


@pytest.mark.parametrize("text", [None, "jobs: 3", "- jobs", "jobs: ["])
def test_settings_that_are_no_profile_are_refused_in_a_sentence(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    if text:
        path.write_text(text)
    with pytest.raises(UserError, match=r"profile.yaml is not a profile with default-resources"):
        schedulers.settings(path)


class Cluster:
    """A project folder, and the scheduler's programs of which `status` asks: they know some jobs, or do not answer."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.ended = folder / schedulers.ENDED
        self.ended.mkdir(parents=True)
        for script, text in schedulers.scripts(name).items():
            (folder / script).write_text(text)

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
        way = schedulers.SUBMITTING[self.name]
        environment = os.environ | {way.folder: str(self.folder), way.job: job}
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
