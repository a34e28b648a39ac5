"""One program per job folder: a lock that lives as long as the program, even if the process that started it is dead.

A file lock (flock) belongs to the open file, which the program inherits. The kernel frees the lock when the last
process with that file ends, however it ends, so no stale lock stays behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stacycle.errors import UserError

LOCK_FILE = ".lock"
BEAT = 10.0  # s between two signs of life in a lock file, for machines that cannot see the process
SILENT = 90.0  # s without one, after which a process on another machine counts as dead
_KERNELS_LOCKS = Path("/proc/locks")


class Lock:
    """A locked file. The program inherits its descriptor `fd`, which is None where the file system has no locks."""

    def __init__(self, fd: int | None, **facts: Any) -> None:
        self.fd = fd
        self._note: dict[str, Any] = {}
        self._beaten = time.monotonic()
        self.note(runner=os.getpid(), since=time.strftime("%Y-%m-%d %H:%M:%S"), **facts)

    def note(self, **facts: Any) -> None:
        """Write into the file who has the lock, for any other process that wants it."""
        self._note |= facts
        if self.fd is not None:
            text = json.dumps(self._note).encode()
            with suppress(OSError):  # a full disk
                os.pwrite(self.fd, text, 0)
                os.ftruncate(self.fd, len(text))

    def release(self) -> None:
        """Let the file name nobody any more, for machines that cannot see that the lock is free."""
        if self.fd is not None:
            with suppress(OSError):
                os.ftruncate(self.fd, 0)

    def beat(self) -> None:
        """Show, now and then, to whom the lock itself says nothing that its holder lives: by the file's time."""
        if self.fd is not None and time.monotonic() - self._beaten >= BEAT:
            self._beaten = time.monotonic()
            with suppress(OSError):
                os.utime(self.fd)


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
    lock = Lock(fd, host=socket.gethostname(), command=command, slurm_job=slurm_job)
    try:
        yield lock
    finally:
        lock.release()
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


def held(path: str | Path) -> dict[str, Any] | None:
    """What the holder of a lock file says of itself, while it lives; None if nobody holds it. Nothing is locked to find
    out, so that whoever wants to lock it is not disturbed.

    On this machine the process and the kernel's list of locks tell; of another machine's process, SLURM, or else how
    long ago it gave a sign of life.
    """
    try:
        stat, note = os.stat(path), Path(path).read_bytes()
    except OSError:
        return None
    pid, holder = holder_of(note)
    if pid is None:
        return None
    if holder.get("host") == socket.gethostname():
        alive = any(_lives(holder.get(who)) for who in ("program", "runner"))
        return holder if alive and _is_locked(stat) else None
    if time.time() - stat.st_mtime < 2 * BEAT:
        return holder
    queued = _known_to_slurm(str(holder["slurm_job"])) if holder.get("slurm_job") else None
    alive = time.time() - stat.st_mtime < SILENT if queued is None else queued
    return holder if alive else None


def _lives(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (TypeError, ValueError, ProcessLookupError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def _is_locked(stat: os.stat_result) -> bool:
    """Whether the kernel (Linux) knows of a lock on a file; True where it does not say."""
    try:
        lines = _KERNELS_LOCKS.read_text().splitlines()
    except OSError:
        return True
    return any(f":{stat.st_ino} " in f"{line} " for line in lines)


def _known_to_slurm(job: str) -> bool | None:
    """Whether SLURM still has a job; None if it does not say."""
    try:
        asked = ["squeue", "--noheader", "--jobs", job, "--format", "%T"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return False if "Invalid job id" in done.stderr else None
    return bool(done.stdout.strip())


def holder_of(note: bytes) -> tuple[int | None, dict[str, Any]]:
    """The process that a lock file names, if any, and all that it says; its writer may not be done."""
    holder: dict[str, Any] = {}
    with suppress(ValueError, TypeError):
        holder = dict(json.loads(note))
    return holder.get("program") or holder.get("runner"), holder
