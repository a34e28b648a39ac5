"""Snakemake's executor for SLURM, with job names that a person can read in squeue: sta-bin4-refine3d.

The SLURM plugin submits and cancels jobs, and has all settings. It gives all jobs of a run one name, and asks for the
states of jobs by that name. Here each job has its own name, so this executor asks by number: first squeue, which needs
no accounting, then sacct for jobs that squeue has forgotten. No answer of SLURM makes Snakemake wait for ever.
"""

from __future__ import annotations

import asyncio
import os
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings, common_settings
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from stacycle import snakemake_api
from stacycle.recipe import config_text

__all__ = ["Executor", "ExecutorSettings", "common_settings", "job_name"]

PREFIX = "sta"
LONGEST_NAME = 100  # characters
LOST = "lost: neither squeue nor sacct knows it any more"
REQUEUED = {"NODE_FAIL", "PREEMPTED"}  # after these SLURM may start a job again by itself
ENDED = {"COMPLETED", "BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT", LOST}
LOOKS = 3  # in vain, after which a job counts as lost
PATIENCE = 60  # s to wait for squeue or sacct
name: ContextVar[str] = ContextVar("name", default=PREFIX)  # of the job that this thread submits

# Snakemake loads its executors before it reads a config file: the one chance to explain a fault of the file.
snakemake_api.explain_faults_of_config_files(config_text.read)


class Executor(SlurmExecutor):
    """The SLURM plugin's executor, with a name for each job.

    WorkflowError for the efficiency report, which looks for jobs of one name.
    """

    def __post_init__(self, test_mode: bool = False) -> None:
        if self.workflow.executor_settings.efficiency_report:
            raise WorkflowError(
                "--stacycle-slurm-efficiency-report needs jobs that all have one name; leave it out, or use "
                "--executor slurm --slurm-efficiency-report, which names them so."
            )
        self._unended: dict[str, SubmittedJobInfo] = {}  # by number
        super().__post_init__(test_mode)

    @property
    def run_uuid(self) -> str:
        """The SLURM plugin names a job by this: here the name of the job that this thread submits."""
        return name.get()

    @run_uuid.setter
    def run_uuid(self, value: str) -> None:
        """Ignore the SLURM plugin's one name for all jobs."""

    def run_job(self, job: JobExecutorInterface) -> None:
        name.set(job_name(self._prefix, job))
        super().run_job(job)

    def run_array_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        name.set(legible(self._prefix, jobs[0].name))
        super().run_array_jobs(jobs)

    def get_account_arg(self, job: JobExecutorInterface) -> Iterator[str]:
        """The profile's account; without one, SLURM takes the user's own, so there is nothing to guess."""
        if job.resources.get("slurm_account"):
            yield from super().get_account_arg(job)
        else:
            yield ""

    @property
    def _prefix(self) -> str:
        return self.workflow.executor_settings.jobname_prefix or PREFIX

    def _report_job_submission_threadsafe(self, job_info: SubmittedJobInfo) -> None:
        self._unended[job_info.external_jobid] = job_info
        super()._report_job_submission_threadsafe(job_info)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel all jobs; `active_jobs` lacks those that are being submitted or asked for at this moment."""
        self._job_submission_executor.shutdown(cancel_futures=True)
        super().cancel_jobs(list(self._unended.values()))

    async def sleep(self) -> None:
        """Wait until the next look at the states, or until the run has ended."""
        for _ in range(int(self.next_seconds_between_status_checks)):
            if self.wait:
                await asyncio.sleep(1)

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report the jobs that have ended, yield the others. Snakemake calls this at even intervals."""
        settings = self.workflow.executor_settings
        self.next_seconds_between_status_checks = settings.init_seconds_before_status_checks
        ended = ENDED if settings.requeue else ENDED | REQUEUED
        states = await self._states(active_jobs) if active_jobs else {}
        for info in active_jobs:
            state, log = states.get(info.external_jobid), info.aux["slurm_logfile"]
            if state not in ended:
                yield info
                continue
            self._unended.pop(info.external_jobid)
            if state != "COMPLETED":
                said = f"SLURM job {info.external_jobid} ({job_name(self._prefix, info.job)}): {state}. "
                self.report_job_error(info, msg=said, aux_logs=[str(log)])
                continue
            self.report_job_success(info)
            if not settings.keep_successful_logs:
                with suppress(OSError):
                    log.unlink()

    async def _states(self, jobs: list[SubmittedJobInfo]) -> dict[str, str]:
        """The state of each job by its number; no entry for a job while SLURM gives no clear answer.

        While the controller is away no job counts as ended. A job that it does not find several times is LOST.
        """
        squeue = f"squeue --noheader --states=all --user={os.getuid()} --format=%i|%T".split()
        sacct = ["sacct", "-X", "--noheader", "--parsable2", "--format=JobID,State", "--jobs"]
        others = ",".join(self._submitted_job_clusters)
        clusters = [f"--clusters={others}"] if others else []
        async with self.status_rate_limiter:
            states = await ask(*squeue, *clusters)
        if states is None:
            return {}
        missing = [str(info.external_jobid) for info in jobs if info.external_jobid not in states]
        if missing:
            states |= await ask(*sacct, ",".join(missing), *clusters) or {}
        for info in jobs:
            info.aux["looks"] = 0 if info.external_jobid in states else info.aux.get("looks", 0) + 1
            if info.aux["looks"] >= LOOKS:
                states[info.external_jobid] = LOST
        return states


async def ask(*command: str) -> dict[str, str] | None:
    """The states that squeue or sacct prints as "number|state"; None if it fails. "CANCELLED by 1000" is CANCELLED."""
    try:
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=DEVNULL)
    except OSError:  # sacct is not everywhere
        return None
    try:
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    except TimeoutError:
        process.kill()
        return None
    if process.returncode:
        return None
    lines = (line.split("|") for line in said.decode().splitlines() if "|" in line)
    return {number: state.split()[0] for number, state in lines}


def job_name(prefix: str, job: Any) -> str:
    """A job's name in SLURM, from its log (logs/bin4/refine3d.log: sta-bin4-refine3d), else its rule and wildcards."""
    if job.is_group():
        return legible(prefix, "group", job.name)
    if job.log:
        return f"{legible(prefix)}-{name_of_log(job.log[0])}"[:LONGEST_NAME]
    return legible(prefix, job.name, *job.wildcards)


def name_of_log(log: str) -> str:
    """A job's name in SLURM, from its log, without the prefix."""
    path = Path(log)
    return legible(*path.with_suffix("").parts[path.parts[0] == "logs" :])


def legible(*words: str) -> str:
    """The words in one, with characters only that mean nothing special to a shell, scheduler or table."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", "-".join(words))[:LONGEST_NAME]
