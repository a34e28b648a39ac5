"""Earlier results of a job: moved aside, numbered, the newest few kept, and taken back; see `files.earlier_results`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from stacycle.files.earlier_results import ASIDE, FAILED, PREVIOUS
from stacycle.files.job_folder import JOB_FILE
from stacycle.jobs import record as job_record
from stacycle.resources.lock import LOCK_FILE

MOST = 5  # earlier results of a job that are kept
_TAKING = "taken_from"  # in a record: the folder whose files are on their way


def entries(folder: Path) -> list[Path]:
    """The folders with earlier results of a job, the newest first."""
    found = {
        path: int(match["number"] or 0)
        for path in folder.parent.glob(f"{folder.name}.{PREVIOUS}*")
        if (match := ASIDE.fullmatch(path.name)) and match["folder"] == folder.name and path.is_dir()
    }
    return sorted(found, key=found.__getitem__, reverse=True)


def left_over(folder: Path) -> list[Path]:
    """What lies in a job folder, but for its lock and its record."""
    return [path for path in folder.iterdir() if path.name not in (LOCK_FILE, JOB_FILE)]


def move_aside(folder: Path, suffix: str, spare: Path | None = None) -> Path:
    """Move what lies in a job folder to a folder beside it; `previous` ones are numbered, a `failed` one is replaced.
    The record goes last, so that `mend` knows a move that was cut off. The oldest of too many go, but not `spare`."""
    if suffix == FAILED:
        aside = folder.with_name(f"{folder.name}.{FAILED}")
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside = _next(folder)
    aside.mkdir(exist_ok=True)
    for path in [*left_over(folder), folder / JOB_FILE]:
        if path.exists():
            path.rename(aside / path.name)
    _remove_old(folder, spare)
    return aside


def copy_aside(folder: Path) -> Path:
    """As `move_aside`, for a finished refinement that continues: its files stay too, as links that take no space."""
    aside = _next(folder)
    for path in left_over(folder):
        if path.is_dir():
            shutil.copytree(path, aside / path.name, copy_function=_link, dirs_exist_ok=True)
        else:
            aside.mkdir(exist_ok=True)
            _link(path, aside / path.name)
    shutil.copyfile(folder / JOB_FILE, aside / JOB_FILE)
    _remove_old(folder)
    return aside


def take_back(folder: Path, entry: Path) -> None:
    """Move earlier results back into a job's folder, which is empty by then. If it is cut off, `mend` completes it."""
    job_record.write(folder, job_record.read(entry) | {_TAKING: entry.name})
    mend(folder)


def mend(folder: Path) -> None:
    """After a run that was killed: finish what it was taking back, or undo its move."""
    record = job_record.read(folder)
    newest = next(iter(entries(folder)), None)
    if record and newest is not None and not (newest / JOB_FILE).exists():
        for path in newest.iterdir():
            if not (folder / path.name).exists():
                path.rename(folder / path.name)
        shutil.rmtree(newest, ignore_errors=True)
    if _TAKING not in record:
        return
    entry = folder.with_name(record.pop(_TAKING))
    for path in left_over(entry) if entry.is_dir() else []:
        path.rename(folder / path.name)
    job_record.write(folder, record)
    shutil.rmtree(entry, ignore_errors=True)


def _remove_old(folder: Path, spare: Path | None = None) -> None:
    for old in entries(folder)[MOST:]:
        if old != spare:
            shutil.rmtree(old, ignore_errors=True)


def _link(path: str | Path, copy: str | Path) -> None:
    """A hard link where they work, and to what is not written to; else a copy."""
    try:
        if Path(path).suffix == ".out":  # programs append to it
            raise OSError
        os.link(path, copy)
    except OSError:
        shutil.copyfile(path, copy)


def _next(folder: Path) -> Path:
    """The folder for the next earlier result."""
    newest = next(iter(entries(folder)), None)
    number = int(newest.name.rpartition(PREVIOUS)[2] or 0) if newest is not None else 0
    return folder.with_name(f"{folder.name}.{PREVIOUS}{number + 1}")
