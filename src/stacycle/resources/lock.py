"""One program per job folder: a lock that lives as long as the program, even if the process that started it is dead.

A file lock (flock) belongs to the open file, which the program inherits. The kernel frees the lock when the last
process with that file ends, however it ends, so no stale lock stays behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stacycle.errors import UserError

LOCK_FILE = ".lock"


class Lock:
    """A locked file. The program inherits its descriptor `fd`, which is None where the file system has no locks."""

    def __init__(self, fd: int | None, **facts: Any) -> None:
        self.fd = fd
        self._note: dict[str, Any] = {}
        self.note(runner=os.getpid(), since=time.strftime("%Y-%m-%d %H:%M:%S"), **facts)

    def note(self, **facts: Any) -> None:
        """Write into the file who has the lock, for any other process that wants it."""
        self._note |= facts
        if self.fd is not None:
            text = json.dumps(self._note).encode()
            with suppress(OSError):  # a full disk
                os.pwrite(self.fd, text, 0)
                os.ftruncate(self.fd, len(text))


@contextmanager
def locked(folder: str | Path, command: str) -> Iterator[Lock]:
    """Lock a job folder, which is made if need be, until the block and the program have both ended. UserError, which
    names the process, if a program still runs there."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fd: int | None = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    assert fd is not None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note = os.pread(fd, 1 << 16, 0)
        os.close(fd)
        raise _refusal(folder, note) from None
    except OSError:  # some network file systems have no locks
        os.close(fd)
        fd = None
    slurm_job = os.environ.get("SLURM_JOB_ID")
    try:
        yield Lock(fd, host=socket.gethostname(), command=command, slurm_job=slurm_job)
    finally:
        if fd is not None:
            os.close(fd)


def _refusal(folder: Path, note: bytes) -> UserError:
    pid, holder = holder_of(note)
    if pid is None:
        return UserError(f"{folder}: a program still runs here", "wait until it has ended, or end it")
    end = f"scancel {holder['slurm_job']}" if holder.get("slurm_job") else f"kill {pid}"
    since = f"since {holder['since']} ({holder['command'].split()[0]})"
    problem = f"{folder}: process {pid} on {holder['host']} still runs here, {since}"
    return UserError(problem, f"wait until it has ended, or end it: {end}")


def holder_of(note: bytes) -> tuple[int | None, dict[str, Any]]:
    """The process that a lock file names, if any, and all that it says; its writer may not be done."""
    holder: dict[str, Any] = {}
    with suppress(ValueError, TypeError):
        holder = dict(json.loads(note))
    return holder.get("program") or holder.get("runner"), holder
