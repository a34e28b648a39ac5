"""`results/relion/`: the project as RELION's own, brought up to date as each job starts and ends.

RELION knows jobs as TYPE/jobNNN; such a folder here has links to the files in the results' folder, and what RELION
writes into a job's folder: `job.star`, `job_pipeline.star`, `note.txt`, the marker of its end. The pipeline is derived
anew each time from what is there; jobs that somebody ran in RELION's GUI here stay in it. Nothing outside is written.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.atomic import write_text
from stacycle.programs.command import Command
from stacycle.relion_project import folders, found, texts
from stacycle.relion_project.folders import FOLDER, JOB_PIPELINE, JOB_STAR, MARKERS, NOTE, Names
from stacycle.relion_project.found import RUNNING, Job
from stacycle.relion_project.kinds import EXTERNAL, kind_of, label_of
from stacycle.relion_project.options import options
from stacycle.relion_project.texts import Pipeline

RESULTS = Path("results")
PIPELINE = "default_pipeline.star"
_LOCK = ".relion_lock"  # RELION's own: its GUI waits while the folder is there
_STALE, _PATIENCE = 60, 5  # seconds
_CHANGED, _IS_PROJECT = ".pipeline_has_changed", ".gui_projectdir"  # what RELION's GUI looks for
_NO_FAILURE = (OSError, UserError, ValueError, KeyError)


def keep_up() -> None:
    """As `update`, for a job that starts or ends: it does not fail for want of this."""
    try:
        update()
    except _NO_FAILURE as error:
        logging.getLogger("stacycle").debug("%s/%s was not brought up to date: %s", RESULTS, FOLDER, error)


def show_new_files(folder: Path, command: Command) -> None:
    """Link what a job at work has made by now, for whoever looks at it; it does not fail for want of this."""
    try:
        if folder.parts[:1] != RESULTS.parts or len(folder.parts) < 2:
            return
        mirror = RESULTS / FOLDER / kind_of(command).folder / folders.alias_of(str(folder))
        if mirror.is_dir():
            folders.fill(folder, mirror)
    except _NO_FAILURE as error:
        logging.getLogger("stacycle").debug("%s/%s was not brought up to date: %s", RESULTS, FOLDER, error)


def update() -> Path | None:
    """Bring RELION's project in the current folder's results up to date; returns its folder, None if there is no job
    yet, or if RELION keeps it locked. OSError if it cannot be written."""
    folder = RESULTS / FOLDER
    if not RESULTS.is_dir():
        return None
    jobs = found.find(RESULTS, folder)
    if not jobs:
        return None
    folder.mkdir(exist_ok=True)
    with _locked(folder) as is_locked:
        if not is_locked:
            return None
        folders.link_project(RESULTS, folder)
        names = folders.name_jobs(jobs, folder, _counter(folder))
        pipeline = _of_gui(folder)
        read = _read(jobs, names)
        for job in jobs:
            own = _of_job(job, names, read)
            if (
                job.folder in names.new
                or job.status == RUNNING
                or _is_newer(job, folder / names.of_folder[job.folder])
            ):
                _write_job(job, names, own, folder / names.of_folder[job.folder])
            pipeline.add(own)
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


def _read(jobs: Sequence[Job], names: Names) -> Mapping[str, list[str]]:
    """The files that other jobs read, by the job that left them."""
    read: dict[str, list[str]] = {}
    for path in sorted({path for job in jobs for path in job.inputs}):
        read.setdefault(names.process(path), []).append(path)
    return read


def _of_job(job: Job, names: Names, read: Mapping[str, list[str]]) -> Pipeline:
    """A job's part of the pipeline."""
    process = names.of_folder[job.folder]
    number = int(process.rstrip("/").rpartition("job")[2])
    pipeline = Pipeline(number + 1, [(process, names.alias[job.folder], job.label, job.status)])
    for path in dict.fromkeys([*job.outputs, *read.get(process, ())]):
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


def _is_newer(job: Job, folder: Path) -> bool:
    """Whether a job's record is newer than its `job.star`."""
    try:
        return os.stat(folder / JOB_STAR).st_mtime < job.recorded
    except OSError:
        return True


def _write_job(job: Job, names: Names, own: Pipeline, folder: Path) -> None:
    """What RELION has in a job's folder, and links to the job's files."""
    if not Path(job.folder).is_dir():
        return
    folders.fill(Path(job.folder), folder)
    if job.command:
        command = Command.of(shlex.split(job.command))
        text = texts.job_star(job.label, options(job.kind, command, names.file))
        if not (folder / NOTE).exists():
            write_text(folder / NOTE, f" ++++ with the following command(s):\n{job.command}\n ++++\n")
    else:
        text = texts.job_star(job.label, {"fn_exe": "stacycle"} if job.kind is EXTERNAL else {})
    for status, marker in MARKERS.items():
        if status != job.status:
            (folder / marker).unlink(missing_ok=True)
        elif not (folder / marker).exists():
            (folder / marker).touch()
    write_text(folder / JOB_PIPELINE, own.text())
    write_text(folder / JOB_STAR, text)  # last, for it says that all is written


def _of_gui(folder: Path) -> Pipeline:
    """What the pipeline has of jobs that somebody ran in RELION's GUI here."""
    pipeline, path = Pipeline(counter=_counter(folder)), folder / PIPELINE
    if not path.is_file():
        return pipeline
    rows = {name: _rows(path, name) for name in texts.LABELS}
    own = {row[0] for row in rows["processes"] if folders.is_of_gui(folder / row[0])}
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
