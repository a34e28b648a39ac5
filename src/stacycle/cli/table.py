"""The live table of a run in a terminal: a line per step, with what runs now in the middle if it does not fit."""

from __future__ import annotations

import time
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stacycle.progress import text
from stacycle.progress.job_state import DONE, KEPT, QUEUED, REMOVED, RUNNING, STOPPED, WAITING
from stacycle.progress.journal import FAILED
from stacycle.progress.status import Status, StepStatus

_STYLES = {
    RUNNING: "bold cyan",
    QUEUED: "cyan",
    DONE: "green",
    KEPT: "green dim",
    FAILED: "bold red",
    STOPPED: "yellow",
    WAITING: "dim",
    REMOVED: "yellow",
}
_MARKS = {
    RUNNING: "▶",
    QUEUED: "…",
    DONE: "✓",
    KEPT: "=",
    FAILED: "✗",
    STOPPED: "■",
    WAITING: "·",
    REMOVED: "–",
}
_COLUMNS = {  # and how wide they are at least; 0: as wide as there is room
    "step": 12,
    "state": 9,
    "at": 0,
    "reached": 7,
    "this left": 9,
    "step left": 9,
}
_NUMBERS = ("reached", "this left", "step left")  # to the right
_AROUND = 8  # lines that are not the table's steps


def table(status: Status, height: int | None = None, now: float | None = None) -> RenderableType:
    """The status as a table of at most so many lines: the steps around those that run, if it would be higher."""
    now = time.time() if now is None else now
    found = Table(
        box=None, pad_edge=False, show_edge=False, header_style="dim", expand=True, collapse_padding=True
    )
    for name, width in _COLUMNS.items():
        justify: Literal["left", "right"] = "right" if name in _NUMBERS else "left"
        ratio, least = (None, width) if width else (1, None)
        found.add_column(name, justify=justify, no_wrap=True, min_width=least, ratio=ratio)
    steps, above, below = _that_fit(status.steps, height)
    if above:
        found.add_row(*_left_out(above, "above"))
    for step in steps:
        found.add_row(*_cells(step))
    if below:
        found.add_row(*_left_out(below, "below"))
    style = _STYLES[status.state]
    return Group(found, Text(""), Text(text.headline(status, now), style=style))


def _cells(step: StepStatus) -> list[Text]:
    job, style = text.told_by(step), _STYLES[step.state]
    several = f"{step.done} of {len(step.jobs)} jobs done" if 0 < step.done < len(step.jobs) else ""
    part = job.part_left if job and job.state == RUNNING else None
    at = text.at(job, short=True) if step.state not in (WAITING, KEPT) else ""
    if at and job and job.name and len(step.jobs) > 1:
        at = f"{job.name}: {at}"
    if step.state in (DONE, KEPT) and (decided := text.decided(step)):
        at = decided.removesuffix(" (by rule)")
    return [
        Text(step.step, style="" if step.state != WAITING else "dim"),
        Text(f"{_MARKS[step.state]} {step.state}", style=style),
        Text(at or several),
        Text(text.resolution(job.resolution) if job else ""),
        Text(text.duration(part)),
        Text(text.duration(text.left_of(step))),
    ]


def _that_fit(
    steps: list[StepStatus], height: int | None
) -> tuple[list[StepStatus], list[StepStatus], list[StepStatus]]:
    """The steps that are shown, those above and those below."""
    room = len(steps) if height is None else max(5, height - _AROUND)
    if len(steps) <= room:
        return steps, [], []
    busy = [number for number, step in enumerate(steps) if step.state in (RUNNING, QUEUED, STOPPED)]
    waiting = [number for number, step in enumerate(steps) if step.state == WAITING]
    middle = busy[-1] if busy else waiting[0] if waiting else len(steps) - 1
    first = min(max(0, middle - room * 2 // 3), len(steps) - room)
    return steps[first : first + room], steps[:first], steps[first + room :]


def _left_out(steps: list[StepStatus], where: str) -> list[Text]:
    states = [step.state for step in steps]
    counted = ", ".join(f"{states.count(state)} {state}" for state in _MARKS if state in states)
    return [Text(f"{len(steps)} more {where}", style="dim"), Text(), Text(counted, style="dim")]
