"""The jobs of a project, read from the folders of its results: what each is, what it read, and what it left.

A folder with a `job.json` is a program's, one with a `state.json` alone is a decision's. What was read of a folder is
kept (in `.jobs.json`) until one of its records changes: a project may have a thousand of them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from stacycle.errors import UserError
from stacycle.files.atomic import read_json, write_text
from stacycle.files.earlier_results import is_aside
from stacycle.files.job_folder import DECISION, JOB_FILE, STATE_FILE
from stacycle.jobs import record as job_record
from stacycle.programs.command import Command
from stacycle.recipe.rounds import PILOT, SWEEPS
from stacycle.relion_project import kinds
from stacycle.relion_project.kinds import KINDS, Kind, label_of

RUNNING, SUCCEEDED, FAILED, ABORTED = "Running", "Succeeded", "Failed", "Aborted"
INPUTS = "inputs"
_KNOWN = ".jobs.json"
# Folders that hold no job; some of them hold a file for each particle.
_WITHOUT_JOBS = {"Subtomograms", "tilt_series", "temp", "relion", "final", "Trash"}
_WITHOUT_JOBS |= {f"{sweep}{PILOT}" for sweep in SWEEPS}
_SHARES = "_shares"  # holds jobs that do a part of another one each, and go when it has ended
_STATES = ("optimisation_set.star", "run_optimisation_set.star")
_MAPS = ("merged.mrc", "run_class001.mrc", "reference.mrc", "mask.mrc")
_BELOW = ("postprocess/postprocess.star", "reconstruct/merged.mrc")  # of a candidate, by which it is judged


@dataclass(frozen=True)
class Job:
    """A job: its `folder`, from the project's; the kind's label; its status, as RELION says it; when it was started, in
    seconds since 1970; the files that it read and left; its command line, "" for a decision; and when its record was
    written."""

    folder: str
    label: str
    status: str
    started: float
    inputs: list[str]
    outputs: list[str]
    command: str
    ranks: int
    recorded: float = 0

    @property
    def kind(self) -> Kind:
        """The kind of job."""
        return next(kind for kind in KINDS if kind.label == self.label)


def find(results: Path, kept_in: Path) -> list[Job]:
    """All jobs in a project's results, in the order in which they were started. `kept_in` is the folder for what was
    read. The current folder is the project's."""
    known = read_json(kept_in / _KNOWN)
    found: dict[str, Any] = {}
    for folder, names in _folders(results):
        stamp = [_stamp(folder / name) for name in (JOB_FILE, STATE_FILE) if name in names]
        before = known.get(str(folder))
        if before and before["stamp"] == stamp:
            found[str(folder)] = before
        elif (job := _read(folder, set(names))) is not None:
            recorded = max(time for time, _ in stamp) / 1e9
            found[str(folder)] = {"stamp": stamp, "job": asdict(replace(job, recorded=recorded))}
    if found != known and kept_in.is_dir():
        write_text(kept_in / _KNOWN, json.dumps(found))
    jobs = [Job(**one["job"]) for one in found.values()]
    return sorted(jobs, key=lambda job: (int(job.started), bool(job.command), job.folder))


def _folders(results: Path) -> Iterator[tuple[Path, list[str]]]:
    """The folders of jobs, and what each holds."""
    for path, folders, names in os.walk(results):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _WITHOUT_JOBS and not name.startswith(".") and not name.endswith(_SHARES)
            if not is_aside(name)
        )
        if JOB_FILE in names or STATE_FILE in names:
            yield Path(path), names


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_mtime_ns, stat.st_size]


def _read(folder: Path, names: set[str]) -> Job | None:
    """The job of a folder; None if it was not started, or if its record is damaged."""
    try:
        return _of_program(folder, names) if JOB_FILE in names else _of_decision(folder, names)
    except (UserError, ValueError, KeyError, IndexError, TypeError):
        return None


def _of_program(folder: Path, names: set[str]) -> Job | None:
    record = read_json(folder / JOB_FILE)
    if not record.get("runs") or not record.get("command"):
        return None
    command = Command.of(shlex.split(record["command"]))
    kind, status = kinds.kind_of(command), _status(record)
    started = datetime.strptime(record["runs"][0]["started"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
    inputs = list(dict.fromkeys([*command.inputs().values(), *filter(os.path.isfile, command.half_maps())]))
    outputs = _outputs(kind, names) if status == SUCCEEDED else []
    made = [str(folder / name) for name in outputs]
    own = [path for path in inputs if folder not in Path(path).parents]  # a continuation names its own files
    return Job(str(folder), kind.label, status, started, own, made, record["command"], command.ranks)


def _status(record: dict[str, Any]) -> str:
    if record.get("ended_well"):
        return SUCCEEDED
    if record.get("cause"):
        return ABORTED if job_record.was_stopped(record) else FAILED
    return RUNNING


def _outputs(kind: Kind, names: set[str]) -> list[str]:
    """The files in a job's folder that are nodes of RELION's; of iterations, those of the last one."""
    fitting = sorted(name for name in names if any(re.fullmatch(pattern, name) for pattern in kind.nodes))
    if not kind.of_iterations:
        return fitting
    last = max((name[:9] for name in fitting if name.endswith("_data.star")), default="")
    return [name for name in fitting if name.startswith(f"{last}_")]


def _of_decision(folder: Path, names: set[str]) -> Job:
    """A job that chose among results, or made one without a program."""
    state = folder / STATE_FILE
    record = read_json(state)
    parent = (record.get("parent") or {}).get("path")
    is_selection = DECISION in names and folder.name.split("_")[0] == "select"
    kind = kinds.IMPORT if folder.name == INPUTS else kinds.SELECT if is_selection else kinds.EXTERNAL
    inputs = [_left_in(Path(parent))] if parent else []
    if not any(inputs) and kind is not kinds.IMPORT:  # then of the state that its record names
        inputs = [record[name][0] for name in ("particles", "tomograms") if record.get(name)]
    candidates = [path for path in folder.iterdir() if path.is_dir() and not is_aside(path.name)]
    for below in sorted(candidates if DECISION in names else ()):
        if (below / JOB_FILE).is_file() or (below / STATE_FILE).is_file():
            judged = [str(below / name) for name in _BELOW if (below / name).is_file()]
            inputs += [_left_in(below), *judged]
    outputs = [str(folder / name) for name in sorted(names) if label_of(kind, name)]
    started = state.stat().st_mtime
    return Job(str(folder), kind.label, SUCCEEDED, started, list(filter(None, inputs)), outputs, "", 1)


def _left_in(folder: Path) -> str:
    """The optimisation set that a job left in its folder, or else its map; "" if there is neither."""
    named = [folder / name for name in _STATES if (folder / name).is_file()]
    named += sorted(folder.glob("run_it*_optimisation_set.star"), reverse=True)
    named += [folder / name for name in _MAPS if (folder / name).is_file()]
    return str(named[0]) if named else ""
