"""The status of a project's last run, collected from its files: one source for the live table, `stacycle status` and
its JSON.

What the run's journal says of a job is held against the job's own record and lock, which outlive Snakemake: no job is
called running whose process is dead, and one that ended after Snakemake was killed is called done.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stacycle.files.atomic import read_json
from stacycle.files.job_folder import DECISION, JOB_FILE
from stacycle.jobs import failure
from stacycle.jobs import record as job_record
from stacycle.progress import forecast, journal, timeline
from stacycle.progress.job_state import (
    DONE,
    KEPT,
    QUEUED,
    REMOVED,
    RUNNING,
    STOPPED,
    WAITING,
    of_scheduler,
    state_of,
    written_since,
)
from stacycle.progress.journal import FAILED, FINISHED, STARTED, Job, Journal
from stacycle.progress.timeline import Timeline

# which of its jobs' states a step has
_ORDER = (FAILED, RUNNING, QUEUED, STOPPED, WAITING, REMOVED, DONE, KEPT)


@dataclass
class JobStatus:
    """A job: `step` is its round and step as in `results/`, `name` its folder below that. `iteration` of `iterations`
    (or tomogram, see `what`) is the one that it is at, or ended with; times in s since 1970, `left` in s. `decided` is
    what was chosen, and by whom, `host` where the program of a job that runs is, `attempt` 2 if
    it has been started again after a failure."""

    step: str
    name: str
    state: str
    folder: str = ""
    what: str = ""
    iteration: int | None = None
    iterations: int | None = None
    resolution: float | None = None
    started: float | None = None
    ended: float | None = None
    left: float | None = None
    part_left: float | None = None
    cause: str = ""
    log: str = ""
    program: str = ""
    decided: str = ""
    host: str = ""
    attempt: int = 1


@dataclass
class StepStatus:
    """A step and its jobs; `done` counts those that are done or kept."""

    step: str
    state: str
    done: int
    jobs: list[JobStatus] = field(default_factory=list)


@dataclass
class Status:
    """A run: `state` is running, done, failed or stopped. `left` (s) is None if nothing tells, and the least that it
    can be if `at_least`: of some jobs nothing tells yet how long they take."""

    project: str
    state: str
    started: float
    ended: float | None
    host: str
    pid: int
    jobs: int
    done: int
    left: float | None
    at_least: bool
    steps: list[StepStatus]

    @property
    def failed(self) -> list[JobStatus]:
        """The jobs that failed."""
        return [job for step in self.steps for job in step.jobs if job.state == FAILED]

    def as_json(self) -> dict[str, Any]:
        """As what JSON can hold."""
        return asdict(self)


def collect(project: str | Path = ".", now: float | None = None) -> Status | None:
    """The status of the project's last run; None if it has none."""
    found = journal.read(project) or _of_records(Path(project))
    if found is None:
        return None
    now = time.time() if now is None else now
    project = Path(project)
    if _of.get(project.resolve()) != found.started:  # another run may have made anew what was settled
        _of[project.resolve()] = found.started
        _files.clear()
        _settled.clear()
        forecast.forget()
    told = _last_events(found)
    states = [_job(project, found, number, told, now) for number in range(len(found.jobs))]
    starts = Counter(event.job for event in found.events if event.what == STARTED)
    for number, state in enumerate(states):
        state.attempt = max(1, starts[number])
    _tell_left(project, found, states, now)
    steps: dict[str, StepStatus] = {}
    for state in states:
        steps.setdefault(state.step, StepStatus(state.step, WAITING, 0)).jobs.append(state)
    for step in steps.values():
        step.state = _of_step(step.jobs)
        step.done = sum(job.state in (DONE, KEPT) for job in step.jobs)
    run_state = _of_run(found, states)
    left, at_least = forecast.of_run(found, states, now) if run_state == RUNNING else (None, False)
    ended = found.ended.time if found.ended else None
    done = sum(step.done for step in steps.values())
    return Status(
        str(project.resolve()),
        run_state,
        found.started,
        ended,
        found.host,
        found.pid,
        len(states),
        done,
        left,
        at_least,
        list(steps.values()),
    )


def _of_records(project: Path) -> Journal | None:
    """What the records of jobs tell of a project whose run has left no journal; None if there are none."""
    jobs, starts = [], []
    for folder, record in job_record.of_project(project / "results"):
        if runs := record.get("runs"):
            starts.append(timeline.seconds(runs[0]["started"]))
            name = str(folder.relative_to(project))
            jobs.append((starts[-1], Job("", name, name, program=str(record.get("command")), asked=False)))
    return Journal(min(starts), [job for _, job in sorted(jobs, key=lambda one: one[0])]) if jobs else None


def place_of(folder: str) -> tuple[str, str]:
    """The step of a folder below `results/`, and the rest: `bin4/align`, `T1`; `bin4/cycle1/polish`, `motion`."""
    parts = Path(folder).parts[1:]
    if not parts:
        return "report", ""
    depth = 3 if len(parts) > 2 and parts[1].startswith("cycle") and parts[1][5:].isdigit() else 2
    return "/".join(parts[:depth]), "/".join(parts[depth:])


def _last_events(found: Journal) -> dict[int, dict[str, journal.Event]]:
    """Of each job the last event of each kind since its last start."""
    told: dict[int, dict[str, journal.Event]] = {}
    for event in found.events:
        if event.job is not None:
            told[event.job] = (
                {STARTED: event} if event.what == STARTED else told.get(event.job, {}) | {event.what: event}
            )
    return told


def _job(
    project: Path, found: Journal, number: int, told: Mapping[int, Mapping[str, journal.Event]], now: float
) -> JobStatus:
    job, events = found.jobs[number], told.get(number, {})
    step, name = place_of(job.folder)
    asked_about = STARTED in events or not job.asked or not job.rule
    settled = FINISHED in events or (not job.asked and bool(job.rule))
    record = _read(project / job.folder / JOB_FILE, settled) if job.program and asked_about else {}
    state = JobStatus(step, name, state_of(project, found, job, events, record), job.folder, log=job.log)
    state.program = job.program
    if STARTED in events:
        state.started = events[STARTED].time
    for what in (FINISHED, FAILED):
        if what in events:
            state.ended = events[what].time
    if state.state == FAILED:
        log = project / job.log
        told_why = record.get("cause", "") or (_last_error(log) if written_since(log, state.started) else "")
        state.cause = " ".join(filter(None, (told_why, of_scheduler(events.get(FAILED)))))
    if state.state in (DONE, KEPT) and not found.alive and not (project / job.output).exists():
        state.state = REMOVED
    if state.state in (DONE, KEPT):
        state.decided = _left_out(record) or _decided(project / job.folder, settled)
    work = timeline.of_job(project / job.folder, record) if record else None
    if work and state.state in (RUNNING, DONE, KEPT, STOPPED, FAILED):
        _tell_work(state, work, record, now)
    return state


def _tell_work(state: JobStatus, work: Timeline, record: Mapping[str, Any], now: float) -> None:
    state.what, state.resolution = work.what, work.resolution
    if state.state == RUNNING:
        state.iteration, state.iterations = (work.now, work.parts) if work.what else (None, None)
        state.host = job_record.last_run(record).get("host", "")
        return
    how_far = record.get("how_far") or {}
    if work.what == "iteration":
        state.iteration = how_far.get("iterations") or work.done or None
        state.iterations = how_far.get("limit") or work.parts
    last = job_record.last_run(record)
    if "ended" in last:
        state.ended = timeline.seconds(last["ended"])
    if state.state == DONE and "started" in last:
        state.started = timeline.seconds(last["started"])


def _tell_left(project: Path, found: Journal, states: Sequence[JobStatus], now: float) -> None:
    past = forecast.Past(project, found.jobs, [state.state in (DONE, KEPT) for state in states])
    for job, state in zip(found.jobs, states, strict=True):
        if state.state == RUNNING and job.program:
            record = _record(project / job.folder)
            if work := timeline.of_job(project / job.folder, record):
                state.left = forecast.of_program(work, now, past.like(job))
                state.part_left = forecast.of_part(work, now) if work.what == "iteration" else None
        elif state.state in (WAITING, QUEUED) and job.program:
            state.left = forecast.of_waiting(past.like(job))


def _of_step(jobs: Sequence[JobStatus]) -> str:
    states = Counter(job.state for job in jobs)
    return next(state for state in _ORDER if states[state])


def _of_run(found: Journal, states: Sequence[JobStatus]) -> str:
    if found.ended and found.ended.what == journal.WELL:
        return DONE
    if found.alive and not found.ended:
        return RUNNING
    if any(state.state == FAILED for state in states):
        return FAILED
    known = all(job.rule for job in found.jobs)
    return STOPPED if known or any(state.state != KEPT for state in states) else DONE


_files: dict[str, tuple[int, dict[str, Any]]] = {}
_settled = set[str]()
_of: dict[Path, float] = {}  # when the run began that the files are of


def _read(path: Path, settled: bool = False) -> dict[str, Any]:
    """A file of JSON, read again only when it has changed; empty if there is none. One that is `settled` is not looked
    at again: a thousand looks a second are much for a file server."""
    if settled and str(path) in _settled:
        return _files.get(str(path), (0, {}))[1]
    if settled:  # this look is the last
        _settled.add(str(path))
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        return {}
    known = _files.get(str(path))
    if known is None or known[0] != changed:
        known = _files[str(path)] = (changed, read_json(path))
    return known[1]


def _record(folder: Path) -> dict[str, Any]:
    return _read(folder / JOB_FILE)


def _left_out(record: Mapping[str, Any]) -> str:
    """That a sweep goes on without a variant, though its job has ended well; "" if it does not."""
    if record.get(failure.ENDED):
        return "ended early, by its pilot"
    return "failed, and left out of its sweep" if record.get("cause") and not record.get("ended_well") else ""


def _decided(folder: Path, settled: bool) -> str:
    """What was decided in a folder, and by whom: `classes 1, 3 (by rule)`; "" if nothing was."""
    told = _read(folder / DECISION, settled)
    choice = told.get("choice")
    if not isinstance(choice, dict):
        return ""
    words = ", ".join(f"{key} {_plain(value)}" for key, value in choice.items())
    return f"{words} (by {told.get('by')})"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def _last_error(log: Path) -> str:
    """The last sentence that a script ended with, from its log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    starts = [number for number, line in enumerate(lines) if line.startswith("ERROR: ")]
    return "\n".join(lines[starts[-1] :]).removeprefix("ERROR: ") if starts else ""
