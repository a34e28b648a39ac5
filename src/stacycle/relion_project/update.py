"""`results/relion/`: the project as RELION's own, brought up to date as each job starts and ends.

RELION knows jobs as TYPE/jobNNN: so here these are links to the results' folders, and keep their numbers; further links
let the paths in STAR files begin here as they do in the project's folder. The pipeline is derived anew each time from
what is there; jobs that somebody ran in RELION's GUI here, whose folders are no links, stay in it. Nothing outside of
this folder is written but each job's `job.star`, `note.txt` and marker of its end, in its own folder.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.atomic import write_text
from stacycle.programs.command import Command
from stacycle.relion_project import found, texts
from stacycle.relion_project.found import Job
from stacycle.relion_project.kinds import EXTERNAL, KINDS, label_of
from stacycle.relion_project.options import options
from stacycle.relion_project.texts import Pipeline

FOLDER = "relion"  # in results/
PIPELINE = "default_pipeline.star"
_LOCK = ".relion_lock"  # RELION's own: its GUI waits while the folder is there
_STALE, _PATIENCE = 60, 5  # seconds
_CHANGED, _IS_PROJECT = ".pipeline_has_changed", ".gui_projectdir"  # what RELION's GUI looks for
_MARKERS = {
    found.SUCCEEDED: "RELION_JOB_EXIT_SUCCESS",
    found.FAILED: "RELION_JOB_EXIT_FAILURE",
    found.ABORTED: "RELION_JOB_EXIT_ABORTED",
}
_STAR = "job.star"
_JOB = re.compile(r"job(\d{3,})")


def keep_up(results: str | Path = "results") -> None:
    """As `update`, for a job that starts or ends: it does not fail for want of this."""
    try:
        update(results)
    except (OSError, UserError, ValueError, KeyError) as error:
        logging.getLogger("stacycle").debug("%s/%s was not brought up to date: %s", results, FOLDER, error)


def update(results: str | Path = "results") -> Path | None:
    """Bring RELION's project of a project's results up to date; returns its folder, None if there is no job yet, or if
    RELION keeps it locked. The current folder is the project's. OSError if it cannot be written."""
    results = Path(results)
    folder = results / FOLDER
    if not results.is_dir():
        return None
    jobs = found.find(results, folder)
    if not jobs:
        return None
    folder.mkdir(exist_ok=True)
    with _locked(folder) as is_locked:
        if not is_locked:
            return None
        _link_project(results, folder)
        names = _link_jobs(jobs, folder)
        for job in jobs:
            if job.folder in names.new or _is_newer(job):
                _write_job(job, names)
        pipeline = _pipeline(jobs, names, folder)
        if _differs(folder / PIPELINE, text := pipeline.text()):
            write_text(folder / PIPELINE, text)
            (folder / _CHANGED).touch()
        if not (folder / _IS_PROJECT).exists():
            (folder / _IS_PROJECT).touch()
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """RELION's lock of its pipeline, as its programs take it; False if another one has it for too long. One that is
    older than a minute was left by a process that was killed."""
    lock, until = folder / _LOCK, time.monotonic() + _PATIENCE
    while True:
        try:
            lock.mkdir()
            break
        except FileExistsError:
            try:
                is_stale = time.time() - lock.stat().st_mtime > _STALE
            except FileNotFoundError:
                continue
            if is_stale:
                shutil.rmtree(lock, ignore_errors=True)
            elif time.monotonic() > until:
                yield False
                return
            else:
                time.sleep(0.1)
    try:
        (lock / f"lock_{PIPELINE}").touch()
        yield True
    finally:
        shutil.rmtree(lock, ignore_errors=True)


def _link_project(results: Path, folder: Path) -> None:
    """Link what lies in the project's folder and in results/, so that paths may begin here; of folders that RELION
    keeps jobs in, each entry by itself."""
    types = {kind.folder for kind in KINDS}
    for entry in _entries(Path()):
        if entry.name in types and entry.is_dir():
            for below in _entries(entry):
                _link(folder / entry.name / below.name, Path("../../..") / below)
        elif entry.resolve() != results.resolve() and not entry.name.endswith("_pipeline.star"):
            _link(folder / entry.name, Path("../..") / entry)
    for entry in _entries(results):
        if entry.name != FOLDER:
            _link(folder / results.name / entry.name, Path("../..") / entry.name)


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _link(path: Path, target: Path) -> None:
    """A symbolic link, unless something is there already."""
    if not os.path.lexists(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


@dataclass(frozen=True)
class _Names:
    """What RELION calls the jobs: `TYPE/jobNNN/` by folder, and their aliases; `new` are those that had none yet."""

    of_folder: Mapping[str, str]
    alias: Mapping[str, str]
    new: frozenset[str]

    def file(self, path: str) -> str:
        """A file's name in RELION's project; as it is if no job left it."""
        for parent in Path(path).parents:
            if name := self.of_folder.get(str(parent)):
                return name + Path(path).relative_to(parent).as_posix()
        return path

    def process(self, path: str) -> str:
        """The job that left a file; "" if none did."""
        return next((name for one in Path(path).parents if (name := self.of_folder.get(str(one)))), "")


def _link_jobs(jobs: list[Job], folder: Path) -> _Names:
    """Link each job's folder under its number, which it keeps, and its alias; links to what is gone go."""
    there = {(Path(job.folder), job.kind.folder): job for job in jobs}
    numbers: dict[str, int] = {}
    highest = 0
    for path in _in_types(folder):
        if not (match := _JOB.fullmatch(path.name)):
            continue
        highest = max(highest, int(match[1]))
        if not path.is_symlink() or not (target := _target(path, folder)):
            continue
        if (target, path.parent.name) in there:
            numbers[str(target)] = int(match[1])
        else:
            path.unlink()
    highest = max(highest, _counter(folder) - 1)
    names, aliases = {}, {}
    new = frozenset(job.folder for job in jobs if job.folder not in numbers)
    for job in jobs:
        if job.folder not in numbers:
            highest += 1
            numbers[job.folder] = highest
        link = folder / job.kind.folder / f"job{numbers[job.folder]:03d}"
        inside = Path(job.folder).relative_to(folder.parent).as_posix()
        _link(link, Path("../..") / inside)
        names[job.folder] = f"{job.kind.folder}/{link.name}/"
        alias = inside.replace("/", "_")
        alias = f"sta_{alias}" if alias.startswith("job") else alias  # as RELION asks of an alias
        aliases[job.folder] = f"{job.kind.folder}/{alias}/"
        beside = link.with_name(alias)
        if beside.is_symlink() and os.readlink(beside) != link.name:
            beside.unlink()
        _link(beside, Path(link.name))
    _remove_aliases(folder)
    return _Names(names, aliases, new)


def _in_types(folder: Path) -> list[Path]:
    """What lies in the folders of RELION's kinds of jobs: never in those of the user, which are links."""
    types = [folder / name for name in dict.fromkeys(kind.folder for kind in KINDS)]
    return [path for one in types if one.is_dir() and not one.is_symlink() for path in sorted(one.iterdir())]


def _target(link: Path, folder: Path) -> Path | None:
    """The folder of results that a link is of; None if it is of none."""
    target = os.readlink(link)
    inside = target.removeprefix("../../")
    return folder.parent / inside if inside != target and not inside.startswith("../") else None


def _remove_aliases(folder: Path) -> None:
    """Remove aliases of jobs that are gone."""
    for path in _in_types(folder):
        if path.is_symlink() and _JOB.fullmatch(os.readlink(path)) and not path.exists():
            path.unlink()


def _is_newer(job: Job) -> bool:
    """Whether a job's record is newer than its `job.star`."""
    try:
        return os.stat(Path(job.folder, _STAR)).st_mtime < job.recorded
    except OSError:
        return True


def _write_job(job: Job, names: _Names) -> None:
    """A job's `job.star`, its `note.txt` unless there is one, and the marker of how it ended."""
    folder = Path(job.folder)
    if not folder.is_dir():
        return
    if job.command:
        command = Command.of(shlex.split(job.command))
        text = texts.job_star(job.label, options(job.kind, command, names.file))
    else:
        text = texts.job_star(job.label, {"fn_exe": "stacycle"} if job.kind is EXTERNAL else {})
    if job.command and not (folder / "note.txt").exists():
        write_text(folder / "note.txt", f" ++++ with the following command(s):\n{job.command}\n ++++\n")
    for status, marker in _MARKERS.items():
        if status != job.status:
            (folder / marker).unlink(missing_ok=True)
        elif not (folder / marker).exists():
            (folder / marker).touch()
    write_text(folder / _STAR, text)  # last, for it says that all is written


def _pipeline(jobs: list[Job], names: _Names, folder: Path) -> Pipeline:
    """The pipeline of all jobs, with those that were run in RELION's GUI here."""
    pipeline = _of_gui(folder)
    numbers = [int(name.rstrip("/").rpartition("job")[2]) for name in names.of_folder.values()]
    pipeline.counter = max([pipeline.counter, *(number + 1 for number in numbers)])
    read: dict[str, set[str]] = {}  # files that other jobs read, by the job that left them
    for path in {path for job in jobs for path in job.inputs}:
        read.setdefault(names.process(path), set()).add(path)
    for job in jobs:
        process = names.of_folder[job.folder]
        pipeline.processes.append((process, names.alias[job.folder], job.label, job.status))
        for path in dict.fromkeys([*job.outputs, *sorted(read.get(process, ()))]):
            if label := label_of(job.kind, Path(path).name):
                pipeline.nodes.append((names.file(path), label, "1"))
                pipeline.output_edges.append((process, names.file(path)))
        for path in job.inputs:
            label, maker = label_of(EXTERNAL, Path(path).name), names.process(path)
            if not label or maker == process or not (maker or Path(path).is_file()):
                continue  # what RELION has no node for, is its own (of a run that was continued), or is gone
            if not maker:
                pipeline.nodes.append((path, label, "1"))
            pipeline.input_edges.append((names.file(path), process))
    return pipeline


def _of_gui(folder: Path) -> Pipeline:
    """What the pipeline has of jobs whose folders are no links: somebody ran them in RELION's GUI."""
    pipeline, path = Pipeline(counter=_counter(folder)), folder / PIPELINE
    if not path.is_file():
        return pipeline
    rows = {name: _rows(path, name) for name in texts.LABELS}
    own = {row[0] for row in rows["processes"] if not (folder / row[0].rstrip("/")).is_symlink()}
    own = {name for name in own if (folder / name).is_dir()}
    pipeline.processes += [row for row in rows["processes"] if row[0] in own]
    pipeline.nodes += [row for row in rows["nodes"] if row[0].startswith(tuple(own))]
    pipeline.input_edges += [row for row in rows["input_edges"] if row[1] in own]
    pipeline.output_edges += [row for row in rows["output_edges"] if row[0] in own]
    return pipeline


def _rows(path: Path, name: str) -> list[tuple[str, ...]]:
    """A table of the pipeline; no rows if it is not there, or damaged."""
    try:
        columns = star.columns(path, f"pipeline_{name}", texts.LABELS[name])
    except UserError:
        return []
    return list(zip(*(columns[label] for label in texts.LABELS[name]), strict=True))


def _counter(folder: Path) -> int:
    """The number of the next job, as the pipeline has it; 1 if there is none."""
    try:
        return int(star.columns(folder / PIPELINE, "pipeline_general", [texts.COUNTER])[texts.COUNTER][0])
    except (UserError, ValueError, IndexError):
        return 1


def _differs(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") != text
    except OSError:
        return True
