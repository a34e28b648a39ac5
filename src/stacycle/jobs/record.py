"""The record of a job, `job.json`: how its folder was made. Read and written here alone.

It holds the command, its fingerprint and the digests that this took, the programs' version, `expected_outputs`, what
was made (see `kept_outputs`), each start of the program in `runs`, whether it `ended_well`, and else the `cause`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stacycle.files.atomic import read_json, write_json
from stacycle.files.earlier_results import is_aside
from stacycle.files.job_folder import JOB_FILE, SLAB

Record = dict[str, Any]


def read(folder: str | Path) -> Record:
    """The record of the job in `folder`; empty if there is none, or it is damaged."""
    return read_json(Path(folder) / JOB_FILE)


def write(folder: str | Path, record: Record) -> None:
    """Write the record so that it outlives the end of the machine."""
    write_json(Path(folder) / JOB_FILE, record, durable=True)


def was_terminated(folder: str | Path) -> bool:
    """Whether the last start of a job's program was ended by SIGTERM."""
    status = (read(folder).get("runs") or [{}])[-1].get("exit_status")
    return status in (-signal.SIGTERM, 128 + signal.SIGTERM)


def of_project(results: str | Path) -> Iterator[tuple[Path, Record]]:
    """The folder and record of each job of a project, but of earlier results."""
    for path in sorted(Path(results).rglob(JOB_FILE)):
        if not is_aside(path):
            yield path.parent, read(path.parent)


def versions(results: str | Path) -> list[str]:
    """The versions of the programs that made the results of a project, but for a picture: `5.0.1, commit 73f0a3`."""
    found = (
        record.get("relion") or {} for folder, record in of_project(results) if not (folder / SLAB).exists()
    )
    texts = (filter(None, (one.get("version"), one.get("commit"))) for one in found)
    return sorted({", commit ".join(text) for text in texts} - {""})
