"""The executor stacycle-slurm, without SLURM: the names of jobs, and what is made of squeue's and sacct's answers."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from snakemake_executor_plugin_stacycle_slurm import LOOKS, Executor, job_name
from stacycle.cli import left_in_slurm
from stacycle.progress.journal import Job, Journal


def job(log: str | None = None, wildcards: tuple[str, ...] = (), group: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        name="polish", log=[log] if log else [], wildcards=wildcards, is_group=lambda: group, jobid=1
    )


@pytest.mark.parametrize(
    ("log", "name"),
    [
        ("logs/bin4/refine3d.log", "sta-bin4-refine3d"),
        ("logs/bin4/cycle1/polish/motion.log", "sta-bin4-cycle1-polish-motion"),
        ("logs/bin4/class3d/T0.5_K3_it012.log", "sta-bin4-class3d-T0.5_K3_it012"),
        ("logs/bin4/cycle1/polish/a+b; rm.log", "sta-bin4-cycle1-polish-a_b__rm"),
        ("other/place.log", "sta-other-place"),
    ],
)
def test_a_jobs_name_is_its_logs_path(log: str, name: str):
    assert job_name("sta", job(log)) == name


def test_a_job_without_a_log_is_named_by_its_rule_and_wildcards():
    assert job_name("ribo", job(wildcards=("bin4", "motion"))) == "ribo-polish-bin4-motion"


def test_a_group_of_jobs_is_named_by_the_group():
    assert job_name("sta", job("logs/bin4/polish.log", group=True)) == "sta-group-polish"


def test_a_name_is_never_so_long_that_slurm_cuts_it():
    assert len(job_name("sta", job(f"logs/{'x' * 400}.log"))) == 100


class Outcomes(Executor):
    """The executor with a workflow of its own settings, that notes what is reported."""

    def __init__(self, folder: Path, clusters: tuple[str, ...] = ()) -> None:
        settings = SimpleNamespace(
            init_seconds_before_status_checks=20, keep_successful_logs=False, jobname_prefix="", requeue=False
        )
        self.workflow = SimpleNamespace(executor_settings=settings)
        self.status_rate_limiter, self.logger = nullcontext(), None
        self._submitted_job_clusters = set(clusters)
        self.well, self.ill, self.messages = [], [], []
        self.active = []
        for number in ("7", "8"):
            log = folder / f"{number}.log"
            log.touch()
            info = SubmittedJobInfo(
                job("logs/bin4/mask.log"), external_jobid=number, aux={"slurm_logfile": log}
            )
            self.active.append(info)
        self._unended = {info.external_jobid: info for info in self.active}

    def report_job_success(self, info):
        self.well.append(info.external_jobid)

    def report_job_error(self, info, msg=None, aux_logs=None):
        self.ill.append(info.external_jobid)
        self.messages.append(msg)

    def look(self) -> list[str]:
        """One look at the states; returns the jobs that run on."""

        async def check():
            return [info async for info in self.check_active_jobs(self.active)]

        self.active = asyncio.run(check())
        return [info.external_jobid for info in self.active]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Commands squeue and sacct that print what they are given, with an exit status."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def tell(name: str, text: str, status: int = 0) -> None:
        program = tmp_path / name
        program.write_text(
            f"#!/bin/sh\necho \"$@\" >> {tmp_path}/{name}.asked\nprintf '{text}'\nexit {status}\n"
        )
        program.chmod(0o755)

    tell("squeue", "")
    tell("sacct", "Slurm accounting storage is disabled", 1)
    return tell


def test_ended_jobs_are_reported_and_the_others_run_on(says, tmp_path: Path):
    says("squeue", "6|FAILED\\n7|COMPLETED\\n8|RUNNING\\n")
    executor = Outcomes(tmp_path)
    assert executor.look() == ["8"]
    assert (executor.well, executor.ill) == (["7"], [])
    assert not (tmp_path / "7.log").exists()
    assert (tmp_path / "8.log").exists()


@pytest.mark.parametrize(
    "state", ["FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "CANCELLED"]
)
def test_a_job_that_ended_ill_is_an_error_that_names_it_and_its_state(says, tmp_path: Path, state: str):
    says("squeue", f"7|RUNNING\\n8|{state}\\n")
    executor = Outcomes(tmp_path)
    assert executor.look() == ["7"]
    assert executor.messages == [f"SLURM job 8 (sta-bin4-mask): {state}. "]


@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED"])
def test_a_job_that_slurm_starts_again_itself_runs_on(says, tmp_path: Path, state: str):
    says("squeue", f"7|RUNNING\\n8|{state}\\n")
    executor = Outcomes(tmp_path)
    executor.workflow.executor_settings.requeue = True
    assert executor.look() == ["7", "8"]


def test_sacct_tells_what_squeue_has_forgotten(says, tmp_path: Path):
    says("squeue", "9|RUNNING\\n")
    says("sacct", "7|COMPLETED\\n8|CANCELLED by 1000\\n")
    executor = Outcomes(tmp_path)
    assert executor.look() == []
    assert (executor.well, executor.ill) == (["7"], ["8"])


def test_a_job_that_nobody_knows_any_more_is_an_error_after_some_looks(says, tmp_path: Path):
    says("squeue", "7|RUNNING\\n")
    executor = Outcomes(tmp_path)
    for _ in range(LOOKS - 1):
        assert executor.look() == ["7", "8"]
    assert executor.look() == ["7"]
    assert "neither squeue nor sacct" in executor.messages[0]


def test_a_job_that_is_found_again_is_not_lost(says, tmp_path: Path):
    executor = Outcomes(tmp_path)
    for _ in range(LOOKS):
        says("squeue", "7|RUNNING\\n")
        executor.look()
        says("squeue", "7|RUNNING\\n8|RUNNING\\n")
        assert executor.look() == ["7", "8"]


def test_a_controller_that_does_not_answer_ends_no_job(says, tmp_path: Path):
    says("squeue", "7|FAILED\\n", status=1)
    executor = Outcomes(tmp_path)
    for _ in range(2 * LOOKS):
        assert executor.look() == ["7", "8"]


def test_states_are_asked_for_at_even_intervals(says, tmp_path: Path):
    says("squeue", "7|RUNNING\\n8|RUNNING\\n")
    executor = Outcomes(tmp_path)
    for _ in range(3):
        executor.look()
        assert executor.next_seconds_between_status_checks == 20


def test_the_end_of_a_run_is_not_put_off_until_the_next_look(says, tmp_path: Path):
    says("squeue", "7|COMPLETED\\n8|COMPLETED\\n")
    executor = Outcomes(tmp_path)
    executor.look()
    executor.wait = False
    began = time.monotonic()
    asyncio.run(executor.sleep())
    assert time.monotonic() - began < 1


def test_what_a_killed_run_left_is_taken_back_if_it_waits_and_waited_for_if_it_runs(
    says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Jobs of the project that this very run had; not another project's, nor a script of the user's."""
    monkeypatch.chdir(tmp_path)
    jobs = [
        Job("align", "results/bin4/align/T1", "", program="align", log="logs/bin4/align/T1_it006.log"),
        Job("refine3d", "results/bin4/refine3d", "", program="refine3d", log="logs/bin4/refine3d.log"),
    ]
    killed = Journal(time.time(), jobs, scheduler="slurm")
    running = f"13|ribo-bin4-refine3d|RUNNING|{tmp_path}\\n"
    others = f"14|sta-bin4-refine3d|PENDING|/elsewhere\\n15|my-script|PENDING|{tmp_path}\\n"
    says("squeue", f"12|ribo-bin4-align-T1_it006|PENDING|{tmp_path}\\n{running}{others}")
    says("scancel", "")
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        says("squeue", others if len(looks) > 2 else f"{running}{others}")

    monkeypatch.setattr(left_in_slurm, "time", SimpleNamespace(sleep=sleep))
    left_in_slurm.settle(replace(killed, alive=True))
    left_in_slurm.settle(replace(killed, scheduler=""))
    assert not looks
    left_in_slurm.settle(killed)
    assert (tmp_path / "scancel.asked").read_text() == "12\n"
    assert len(looks) == 3
    told = capsys.readouterr().out
    assert "wait in SLURM (ribo-bin4-align-T1_it006): they are taken back" in told
    assert told.count("To end them now: scancel 13\n") == 1


def test_other_clusters_are_asked_too(says, tmp_path: Path):
    says("squeue", "CLUSTER: far\\n7|RUNNING\\n8|RUNNING\\n")
    assert Outcomes(tmp_path, clusters=("far",)).look() == ["7", "8"]
    assert "--clusters=far" in (tmp_path / "squeue.asked").read_text()
    says("squeue", "")
    Outcomes(tmp_path).look()
    assert "--clusters" not in (tmp_path / "sacct.asked").read_text()


def test_ctrl_c_takes_back_what_is_just_asked_for_or_submitted(says, tmp_path: Path):
    """Snakemake's own list of active jobs is empty while their states are asked for."""
    says("scancel", "")
    says("squeue", "7|COMPLETED\\n8|RUNNING\\n")
    executor = Outcomes(tmp_path)
    executor.look()
    with ThreadPoolExecutor(max_workers=1) as executor._job_submission_executor:
        executor._job_submission_executor.submit(time.sleep, 0.5)
        waiting = executor._job_submission_executor.submit(executor.run_job, job())
        executor.cancel_jobs([])
    assert waiting.cancelled()
    assert (tmp_path / "scancel.asked").read_text() == "8\n"


def test_an_account_is_asked_for_only_if_the_profile_names_one(says, tmp_path: Path):
    """No guess by sacct, which may not be there, or name the account of another project."""
    (tmp_path / "sacct").unlink()
    submitted = job()
    submitted.resources = {}
    assert next(Outcomes(tmp_path).get_account_arg(submitted)) == ""
