"""The record of a job, `job.json`: how its folder was made. Read and written here alone.

It holds the command, its fingerprint and the digests that this took, the programs' version, `expected_outputs`, what
was made (see `kept_outputs`), each start of the program in `runs`, whether it `ended_well`, and else the `cause`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
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


def last_run(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of the last start of its program; {} if there was none."""
    return record["runs"][-1] if record.get("runs") else {}


def was_terminated(record: Mapping[str, Any]) -> bool:
    """Whether the last start of a job's program was ended by SIGTERM."""
    return last_run(record).get("exit_status") in (-signal.SIGTERM, 128 + signal.SIGTERM)


def was_stopped(record: Mapping[str, Any]) -> bool:
    """Whether a job's program was ended with its runner (see `job.run`), and would go on by itself."""
    return " was stopped (SIG" in record.get("cause", "")


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
