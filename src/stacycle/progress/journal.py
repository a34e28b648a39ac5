"""The journal of a run in `results/.run/`: which jobs it has, what has come of each so far, and whether it still lives.

Snakemake's main process writes it, however the run was started. `run.json` has the jobs, `events.jsonl` a line for each
event, and `lock` is held as long as that process lives.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacycle.files.atomic import read_json, write_json
from stacycle.resources import lock as locks

FOLDER = "results/.run"
_RUN, _EVENTS, _LOCK = "run.json", "events.jsonl", "lock"
STARTED, FINISHED, FAILED, ENDED = "started", "finished", "failed", "ended"
INTERRUPTED = "interrupted"
WELL = f"{ENDED} well"


@dataclass(frozen=True)
class Event:
    """Something that happened at a time (s since 1970): to a job, by its number, or to the run (`job` is None). `said`
    is what a scheduler says of a failure."""

    time: float
    what: str
    job: int | None = None
    logs: tuple[str, ...] = ()
    said: str = ""


@dataclass(frozen=True)
class Job:
    """A job of the run. `folder` is that of its first output, `needs` the numbers of the jobs before it, `program` its
    step if a program runs, `asked` whether the run is to start it, `binning` that of its round, `local` whether it runs
    beside Snakemake itself."""

    rule: str
    folder: str
    output: str
    needs: tuple[int, ...] = ()
    program: str = ""
    asked: bool = True
    log: str = ""
    binning: float = 1.0
    local: bool = False


@dataclass(frozen=True)
class Journal:
    """A run as it was begun, and what has happened since."""

    started: float
    jobs: list[Job]
    events: list[Event] = field(default_factory=list)
    host: str = ""
    pid: int = 0
    scheduler: str = ""
    alive: bool = False

    @property
    def interrupted(self) -> float | None:
        """When the run was asked to end; None if it was not."""
        return next((event.time for event in self.events if event.what == INTERRUPTED), None)

    @property
    def ended(self) -> Event | None:
        """The event of the run's end; None if it has not told of one."""
        return next((event for event in reversed(self.events) if event.what.startswith(ENDED)), None)


class Writer:
    """Writes the journal of the run of this process, and holds its lock; it does nothing if the disk is full, for a run
    is not to fail for its journal."""

    def __init__(self, project: str | Path, jobs: Sequence[Job], **facts: Any) -> None:
        self._folder, self._lock = Path(project, FOLDER), threading.Lock()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._held = _hold(self._folder / _LOCK)
        (self._folder / _EVENTS).unlink(missing_ok=True)
        began = {"started": time.time(), "host": socket.gethostname(), "pid": os.getpid(), **facts}
        write_json(self._folder / _RUN, began | {"jobs": [vars(job) for job in jobs]})

    def add(self, what: str, job: int | None = None, logs: Sequence[str] = (), said: str = "") -> None:
        """Note an event, from whichever thread."""
        told = {"time": time.time(), "what": what, "job": job, "logs": list(logs), "said": said}
        with self._lock, suppress(OSError), open(self._folder / _EVENTS, "a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")

    def close(self) -> None:
        """Let the lock name nobody any more: this process is about to end."""
        if self._held:
            self._held.release()


def interrupted(project: str | Path = ".") -> None:
    """Note that the run was asked to end, by whoever is not its own process: what fails from now on was stopped."""
    told = {"time": time.time(), "what": INTERRUPTED, "job": None, "logs": []}
    with suppress(OSError), open(Path(project, FOLDER, _EVENTS), "a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")


def _hold(path: Path) -> locks.Lock | None:
    """Lock the file until this process ends, with signs of life; None if another run has it."""
    import fcntl

    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:  # a file system without locks
        pass
    slurm_job = os.environ.get("SLURM_JOB_ID")
    held = locks.Lock(fd, host=socket.gethostname(), command="snakemake", slurm_job=slurm_job)

    def live() -> None:
        while True:
            time.sleep(locks.BEAT / 2)
            held.beat()

    threading.Thread(target=live, daemon=True).start()
    return held


def holder(project: str | Path = ".") -> dict[str, Any] | None:
    """What the run that works on a project says of itself; None if there is none."""
    return locks.held(Path(project, FOLDER, _LOCK))


def read(project: str | Path = ".") -> Journal | None:
    """The journal of the project's last run; None if it has none."""
    folder = Path(project, FOLDER)
    told = read_json(folder / _RUN)
    if not told:
        return None
    jobs = [Job(**{**one, "needs": tuple(one["needs"])}) for one in told["jobs"]]
    return Journal(
        told["started"],
        jobs,
        list(_events(folder)),
        told["host"],
        told["pid"],
        told.get("scheduler", ""),
        alive=holder(project) is not None,
    )


def _events(folder: Path) -> Iterator[Event]:
    with suppress(OSError), open(folder / _EVENTS, encoding="utf-8") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError):  # the last may be half written
                told = json.loads(line)
                logs, said = tuple(told["logs"]), told.get("said", "")
                yield Event(told["time"], told["what"], told["job"], logs, said)


def hears(writer: Writer, numbers: Mapping[Any, int]) -> Callable[[str, Any, Any], None]:
    """What `snakemake_api.listen` tells of jobs goes into the journal; `numbers` are those of the jobs, by key."""

    def hear(what: str, key: Any, told: Any) -> None:
        if (number := numbers.get(key)) is not None:
            logs, said = told if what == FAILED else ((), "")
            writer.add(what, number, logs, said)

    return hear
