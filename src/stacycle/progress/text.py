"""A status as words: a line per event for a pipe, what a table's cells say, and the sentence of a failure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from stacycle.files.job_folder import PROGRAM_OUTPUT
from stacycle.progress.job_state import DONE, KEPT, QUEUED, REMOVED, RUNNING, STOPPED
from stacycle.progress.journal import FAILED
from stacycle.progress.status import JobStatus, Status, StepStatus

_SHORT = {"iteration": "it.", "tomogram": "tomo."}
_LONGEST = 400  # characters of a cause that are shown


def duration(seconds: float | None) -> str:
    """A time span as one would say it: 40 s, 12 min, 3 h 20 min, 2 d 5 h; "" if it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 36:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def at(job: JobStatus | None, short: bool = False) -> str:
    """Where a job is: iteration 3 of 25 (in `short` it. 3 of 25); "" if that is not known."""
    if job is None or not job.what or job.iteration is None:
        return ""
    what = _SHORT[job.what] if short else job.what
    return f"{what} {job.iteration}" + (f" of {job.iterations}" if job.iterations else "")


def resolution(value: float | None) -> str:
    """A resolution with its unit."""
    return "" if value is None or value >= 999 else f"{value:.1f} Å"


def told_by(step: StepStatus) -> JobStatus | None:
    """The job of a step that says most of it: one that runs, else the last that has told something."""
    running = [job for job in step.jobs if job.state in (RUNNING, QUEUED)]
    if running:
        return max(running, key=lambda job: job.left or 0.0)
    told = [job for job in step.jobs if job.resolution is not None or job.iteration is not None]
    return told[-1] if told else None


def decided(step: StepStatus) -> str:
    """What was decided in a step; "" if nothing was, or not yet."""
    return next((job.decided for job in reversed(step.jobs) if job.decided), "")


def left_of(step: StepStatus) -> float | None:
    """Seconds until the jobs of a step that run now have ended."""
    found = [job.left for job in step.jobs if job.state == RUNNING and job.left is not None]
    return max(found) if found else None


def headline(status: Status, now: float | None = None) -> str:
    """The run in a line: what it is doing, how much is done, and how long it will take."""
    now = time.time() if now is None else now
    gone = duration((status.ended or now) - status.started)
    count = f"{status.done} of {status.jobs} jobs done"
    if status.state == RUNNING:
        least = "at least " if status.at_least else ""
        left = f"; {least}{duration(status.left)} left" if status.left is not None else ""
        return f"running for {gone}{left}; {count}"
    if status.state == DONE:
        gone_since = sum(job.state == REMOVED for step in status.steps for job in step.jobs)
        more = (
            f"; results of {gone_since} were removed since: stacycle run makes them again"
            if gone_since
            else ""
        )
        return f"done after {gone}; {count}{more}"
    if status.state == STOPPED:
        still = [job for step in status.steps for job in step.jobs if job.state == RUNNING]
        on = f"; {len(still)} of its programs still run" if still else ""
        return f"stopped; {count}{on}; stacycle run goes on from there"
    return f"failed after {gone}; {count}"


def failure(job: JobStatus) -> str:
    """Why a job failed, in a sentence, and where to read on."""
    cause = job.cause.strip() or "its script ended without saying why"
    if len(cause) > _LONGEST and "\n" not in cause:
        cause = cause[:_LONGEST].rsplit(" ", 1)[0] + " …"
    name = " ".join(part for part in (job.step, job.name) if part)
    out = Path(job.folder, PROGRAM_OUTPUT)
    where = [job.log] if job.log and Path(job.log).exists() else []
    where += [str(out)] if job.program and out.exists() else []
    more = f"\n  Read on: {', '.join(where)}" if where else ""
    return f"{name}: {cause}{more}"


Seen = dict[str, tuple[str, int | None]]  # folder and name of a job -> its state and iteration


def events(before: Seen, status: Status) -> Iterator[str]:
    """A line for each event since a status that `before` was made of (`seen`): for a pipe."""
    for step in status.steps:
        for job in step.jobs:
            old = before.get(_key(job))
            if old is None or old == _state(job):
                continue
            name = " ".join(part for part in (job.step, job.name) if part)
            if old[0] != job.state and (job.program or job.state not in (RUNNING, QUEUED)):
                yield f"{name}: {_change(job, status.host)}"
            elif job.state == RUNNING and job.iteration and job.program:
                left = f", {duration(job.left)} left" if job.left is not None else ""
                reached = f", {resolution(job.resolution)}" if job.resolution else ""
                yield f"{name}: {at(job)}{reached}{left}"


def seen(status: Status) -> Seen:
    """The states that `events` compares with."""
    return {_key(job): _state(job) for step in status.steps for job in step.jobs}


def _key(job: JobStatus) -> str:
    return f"{job.folder} {job.log}"


def _state(job: JobStatus) -> tuple[str, int | None]:
    return job.state, job.iteration if job.state == RUNNING else None


def _change(job: JobStatus, here: str) -> str:
    if job.state == FAILED:
        return f"failed: {job.cause.splitlines()[0] if job.cause else 'see ' + job.log}"
    if job.state in (DONE, KEPT):
        took = job.ended - job.started if job.ended and job.started and job.state == DONE else None
        facts = [fact for fact in (resolution(job.resolution), duration(took)) if fact]
        decided = f": {job.decided}" if job.decided else ""
        return job.state + (f" ({', '.join(facts)})" if facts else "") + decided
    where = f" on {job.host}" if job.host not in ("", here) else ""
    return f"{job.state}{where}" + (f", attempt {job.attempt}" if job.attempt > 1 else "")
