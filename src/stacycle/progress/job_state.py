"""The state of one job of a run: what the run's journal says of it, held against the job's own record and lock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stacycle.jobs import failure
from stacycle.jobs import record as job_record
from stacycle.progress import journal, timeline
from stacycle.progress.journal import FAILED, FINISHED, STARTED, Job, Journal
from stacycle.resources import lock

WAITING, QUEUED, RUNNING, DONE, KEPT, STOPPED = "waiting", "queued", "running", "done", "kept", "stopped"
REMOVED = "removed"  # done once, but its result is not there any more


def state_of(
    project: Path,
    found: Journal,
    job: Job,
    events: Mapping[str, journal.Event],
    record: Mapping[str, Any],
) -> str:
    """The state of a job, of the last events about it by kind and of its record (empty if it has none)."""
    if FAILED in events and FINISHED not in events and STARTED in events:
        return STOPPED if _was_stopped(found, events[FAILED], record) else FAILED
    if FINISHED in events:
        if record.get(failure.ENDED):  # by this run, though no program ran
            return DONE
        return KEPT if record and not ran_since(record, events[STARTED].time) else DONE
    if not job.rule:  # its record is all that is known
        if lock.held(project / job.folder / lock.LOCK_FILE):
            return RUNNING
        return KEPT if record.get("ended_well") else FAILED if record.get("cause") else STOPPED
    if STARTED not in events:
        if job.asked and not (found.ended and found.ended.what == journal.WELL):
            return WAITING
        return KEPT
    since = events[STARTED].time
    ran = ran_since(record, since)
    if job.program and lock.held(project / job.folder / lock.LOCK_FILE):
        return RUNNING if ran or not found.scheduler else QUEUED
    if found.alive and not found.ended:
        if not found.scheduler or job.local:
            return RUNNING
        if ran:  # before Snakemake has asked the scheduler
            return _of_run_program(project, job, record)
        return RUNNING if not job.program and written_since(project / job.log, since) else QUEUED
    return DONE if ran and record.get("ended_well") else STOPPED


def _was_stopped(found: Journal, failed: journal.Event, record: Mapping[str, Any]) -> bool:
    """Whether a job that failed was ended with the run, and would have gone on by itself."""
    asked = found.interrupted
    if asked is not None and failed.time >= asked:
        return True
    return not found.scheduler and job_record.was_stopped(record)


def _of_run_program(project: Path, job: Job, record: Mapping[str, Any]) -> str:
    """The state of a job whose program was started, and whose lock nobody is known to hold."""
    if "ended" not in job_record.last_run(record):
        try:
            killed = (project / job.folder / lock.LOCK_FILE).stat().st_size > 0
        except OSError:
            killed = False
        return STOPPED if killed else RUNNING  # on a file system without locks it is empty
    if record.get("ended_well"):
        return DONE
    return STOPPED if job_record.was_stopped(record) else FAILED


def ran_since(record: Mapping[str, Any], since: float) -> bool:
    """Whether a job's program was started after that time (whose seconds are cut off in the record)."""
    runs = record.get("runs") or []
    return bool(runs) and timeline.seconds(runs[-1]["started"]) >= int(since) - 1


def written_since(log: Path, since: float | None) -> bool:
    """Whether a log was written to after that time."""
    try:
        return log.stat().st_mtime >= int(since or 0) - 1
    except OSError:
        return False


def of_scheduler(failed: journal.Event | None) -> str:
    """What a scheduler says of a job that failed, unless it is only that it failed."""
    return failed.said if failed and not failed.said.rstrip(". ").endswith("FAILED") else ""
