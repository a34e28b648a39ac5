"""Jobs that a killed run has left in SLURM: those that wait are taken back, those that run are waited for."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from stacycle.errors import some
from stacycle.progress.journal import Journal

_PATIENCE = 60  # s for an answer of SLURM
_EVERY = 5.0  # s between two looks at what still runs


@dataclass(frozen=True)
class Left:
    """A job in SLURM, by its number and name; `waits` if it has not begun."""

    number: str
    name: str
    waits: bool


def settle(last: Journal | None) -> None:
    """Take back what the project's last run, if it was killed, has waiting in SLURM, and wait for what it has running
    there: a second job at the same work would be refused."""
    if last is None or last.alive or last.scheduler != "slurm":
        return
    waiting = [job for job in _left(last) if job.waits]
    if waiting:
        named = some(job.name for job in waiting)
        print(
            f"Jobs of the last run, which was killed, wait in SLURM ({named}): they are taken back.",
            flush=True,
        )
        subprocess.run(["scancel", *(job.number for job in waiting)], capture_output=True)
    told = False
    while running := [job for job in _left(last) if not job.waits]:
        if not told:
            named, numbers = some(job.name for job in running), " ".join(job.number for job in running)
            print(
                f"Jobs of the last run, which was killed, still run in SLURM ({named}): this run begins when they have "
                f"ended, and goes on from what they made. To end them now: scancel {numbers}",
                flush=True,
            )
        told = True
        time.sleep(_EVERY)


def _left(last: Journal) -> list[Left]:
    """The jobs of a run that SLURM has; none if it does not answer."""
    from snakemake_executor_plugin_stacycle_slurm import name_of_log

    names = tuple(f"-{name_of_log(job.log)}" for job in last.jobs if job.log and not job.local)
    asked = ["squeue", "--me", "--noheader", "--format=%i|%j|%T|%Z"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=_PATIENCE).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = (line.split("|", 3) for line in said.splitlines() if line.count("|") >= 3)
    return [
        Left(number, name, state == "PENDING")
        for number, name, state, folder in found
        if name.endswith(names) and Path(folder).resolve() == Path.cwd().resolve()
    ]
