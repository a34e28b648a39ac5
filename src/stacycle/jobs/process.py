"""The process of a program: it ends with whoever started it, holds the locks, and is asked to end in good time."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from stacycle.resources.lock import Lock

POLL = 0.05  # s
GRACE = 20.0  # s for a program to end when it is asked to, before it is killed; SLURM allows 30
ORPHANS_GRACE = 3.0  # s for the ranks of an mpirun that was killed to end; Open MPI's take about 1


@contextmanager
def start(
    argv: Sequence[str], output: IO[bytes], environment: Mapping[str, str], locks: Sequence[Lock]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, which writes to `output`. When the block ends, the program and all that it started has ended.

    It ends if this process is killed, and it holds the locks as long as it lives. `environment` is added to this
    process's own.
    """
    mine, runner = _children(), os.getpid()
    _adopt_orphans(True)
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        pass_fds=[lock.fd for lock in locks if lock.fd is not None],
        preexec_fn=lambda: _end_with_runner(runner),
    )
    try:
        for lock in locks:
            lock.note(program=process.pid)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        if process.returncode:
            _end_orphans(mine)
        _adopt_orphans(False)


def follow(
    output: IO[bytes], process: subprocess.Popen[bytes], *stops: list[int], beat: Callable[[], object] = bool
) -> Iterator[str]:
    """The lines that a process writes into a file, until it has ended. It is ended if any of `stops` gets a signal.
    Meanwhile `beat` is called many times a second."""
    rest, deadline, ended = b"", math.inf, False
    while not ended:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
        beat()
        ended = process.returncode is not None  # before the last look, so that nothing is missed
        if (stop := next(filter(None, stops), None)) and deadline == math.inf:
            process.send_signal(stop[0])
            deadline = time.monotonic() + GRACE
        if time.monotonic() > deadline:
            process.kill()
        *lines, rest = (rest + output.read()).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
    yield rest.decode(errors="replace")


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """The signals that ask this process to end, as they come: SIGTERM and SIGINT."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # Python handles signals in the main thread only
        return
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_runner(runner: int) -> None:
    """Ask the kernel (Linux) to end this process when its parent, the runner, is gone; ends if it is already.

    Snakemake takes a job whose runner was killed for failed and removes its files; what the program wrote later would
    pass for a result, and nobody would have checked it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the runner's way to take it would lose it here
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != runner:
        os._exit(1)


def _adopt_orphans(wanted: bool) -> None:
    """Tell the kernel (Linux) whether processes below this one whose parent dies become its children."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, int(wanted))  # PR_SET_CHILD_SUBREAPER


def _children() -> set[int]:
    """The processes whose parent is this one; none where the kernel does not list them."""
    with suppress(OSError):
        return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))
    return set()


def _end_orphans(mine: set[int]) -> None:
    """Wait until no children are left but `mine`; those that stay are killed.

    The ranks of an mpirun that was killed compute, and write, for a second more. They hold no lock: mpirun closes all
    files for them; so they must be gone before the locks are given back.
    """
    deadline = time.monotonic() + ORPHANS_GRACE
    while orphans := _children() - mine:
        for pid in orphans:
            with suppress(ProcessLookupError, ChildProcessError):
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        time.sleep(POLL)
