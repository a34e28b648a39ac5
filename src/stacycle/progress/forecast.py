"""The time that jobs and a whole run will still take, by what earlier jobs of the project took."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stacycle.jobs import record as job_record
from stacycle.progress import timeline
from stacycle.progress.journal import Job, Journal
from stacycle.progress.time_left import Ended, durations, of_part, of_program, of_waiting

__all__ = ["Past", "of_part", "of_program", "of_run", "of_waiting"]
SHORT = 2.0  # s of a decision, which runs no program
# To which power of the binning iterations become longer from round to round: the demo's 0.7 and 1.9.
GROWS = 1.3
OVERHEAD = 1.0  # s between two jobs, for Snakemake and the start of a script

_ended: dict[str, Ended | None] = {}


class Past:
    """What the jobs of a run took that have ended, now or in an earlier run."""

    def __init__(self, project: Path, jobs: Sequence[Job], ended: Sequence[bool]) -> None:
        """`ended` says which of the jobs have."""
        self._ended = [
            (job, found)
            for job, over in zip(jobs, ended, strict=True)
            if job.program and over and (found := _of(project / job.folder)) is not None
        ]

    def like(self, job: Job) -> list[Ended]:
        """Those of the same program's step; the nearest are those of the same round and step, then the rounds."""
        found = []
        for other, ended in self._ended:
            if other is not job and _kind(other) == _kind(job):
                nearness = sum(
                    one != two
                    for one, two in zip(_place(job.folder)[:2], _place(other.folder)[:2], strict=False)
                )
                found.append(_as_binned(replace(ended, nearness=nearness), other.binning / job.binning))
        return found


def _as_binned(ended: Ended, finer: float) -> Ended:
    """What a program would have taken at a binning finer by this factor, if its work grows with the pixels."""
    if not ended.each:
        return ended
    factor = finer**GROWS
    return replace(ended, seconds=factor * ended.seconds, each=tuple(factor * one for one in ended.each))


def _kind(job: Job) -> str:
    """What jobs are alike by: their rule; the short run before an alignment is like it."""
    return job.rule.removesuffix("_probe")


def _place(folder: str) -> tuple[str, ...]:
    return (*Path(folder).parts[1:4], "", "", "")


def forget() -> None:
    """Forget what jobs took: they may have been done again."""
    _ended.clear()


def _of(folder: Path) -> Ended | None:
    """What a job took that has ended, if it ended well."""
    if str(folder) not in _ended:
        _ended[str(folder)] = ended_of(folder, job_record.read(folder))
    return _ended[str(folder)]


def ended_of(folder: Path, record: dict[str, Any]) -> Ended | None:
    """What a job took, by its record; None if it has not ended well, or continued what an earlier start had begun."""
    runs = record.get("runs") or []
    if not (record.get("ended_well") and runs and "ended" in runs[-1]) or runs[-1].get("continued_from"):
        return None
    begin, end = (timeline.seconds(runs[-1][key]) for key in ("started", "ended"))
    work = timeline.of_job(folder, record)
    each = durations(work) if work else []
    if each and work:
        rest = end - work.ends[-1]
        each = [*each, rest] if rest > 0 and work.parts is None else each
    lead = work.begun - begin if work and work.begun else 0.0
    return Ended(max(end - begin, 0.0), tuple(each), lead=lead)


def of_run(found: Journal, states: Sequence[Any], now: float) -> tuple[float | None, bool]:
    """Seconds that a run will still take, and whether that is only the least: of some jobs nothing tells.

    The jobs are done in their order, as many side by side as were running at a time so far.
    """
    left: list[float | None] = []
    unknown = False
    for job, state in zip(found.jobs, states, strict=True):
        if state.state not in ("waiting", "queued", "running"):
            left.append(None)
        elif not job.program:
            left.append(SHORT)
        else:
            unknown |= state.left is None
            left.append((state.left or 0.0) + OVERHEAD)
    if all(one is None for one in left):
        return None, False
    width = max(_most_at_once(found, states), 1)
    return _scheduled(found.jobs, left, width), unknown


def _most_at_once(found: Journal, states: Sequence[Any]) -> int:
    """How many programs ran at a time, at most."""
    changes = []
    for job, state in zip(found.jobs, states, strict=True):
        if job.program and state.started and state.state in ("running", "done"):
            changes += [(state.started, 1), (state.ended or float("inf"), -1)]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def _scheduled(jobs: Sequence[Job], left: Sequence[float | None], width: int) -> float:
    """When the last of the jobs ends, if they begin in their order, `width` at a time, each after what it needs."""
    ends: dict[int, float] = {number: 0.0 for number, one in enumerate(left) if one is None}
    free = [0.0] * width
    for number, seconds in enumerate(left):
        if seconds is None:
            continue
        ready = max((ends.get(one, 0.0) for one in jobs[number].needs), default=0.0)
        begin = max(ready, heapq.heappop(free))
        ends[number] = begin + seconds
        heapq.heappush(free, ends[number])
    return max(ends.values(), default=0.0)
