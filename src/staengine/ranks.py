"""The ranks of a program that runs as several processes, as RELION's `_mpi` builds do, and what they tell each other.

`--ranks N` before the program's name stands for `mpirun -n N`: the program forks on this machine when it has read its
input. A launcher such as srun starts the ranks by itself, on several nodes; they know their numbers by the environment,
and meet at the leader's socket, whose address lies in the output folder until all have come.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener, Pipe
from pathlib import Path
from typing import Any, TypeVar

from staengine.errors import EngineError
from staengine.files import written_atomically

T = TypeVar("T")
MEETING = 300.0  # s in which all ranks must have started
LOOK = 0.1  # s between two looks for the leader's address
# How launchers number their processes: rank, number of ranks, and names of one run's own.
LAUNCHERS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ("PMIX_NAMESPACE",)),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", ("SLURM_JOB_ID", "SLURM_STEP_ID")),
    ("PMI_RANK", "PMI_SIZE", ("PMI_ID", "SLURM_JOB_ID")),
)


class Ranks:
    """One of `size` ranks; rank 0 leads. `others` are the connections to all others, or to the leader."""

    def __init__(
        self, rank: int = 0, size: int = 1, others: Sequence[Any] = (), pids: Sequence[int] = ()
    ) -> None:
        self.rank, self.size, self.others, self.pids = rank, size, list(others), list(pids)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def own(self, items: Sequence[T]) -> list[T]:
        """The share of this rank."""
        return list(items[self.rank :: self.size])

    def gathered(self, value: T) -> list[T]:
        """At the leader the values of all ranks, in their order, at others nothing; the EngineError of one that
        failed."""
        if not self.leads:
            self._tell(0, value)
            return []
        return [value, *(self._hear(i) for i in range(len(self.others)))]

    def shared(self, value: Any = None) -> Any:
        """The leader's value, at all ranks. EngineError if one has ended."""
        if not self.leads:
            return self._hear(0)
        for i in range(len(self.others)):
            self._tell(i, value)
        return value

    def ended(self) -> int:
        """Wait for the ranks that this one started: the first exit status that is not 0."""
        found = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in self.pids]
        return next(filter(None, found), 0)

    def stop(self) -> None:
        """End the ranks that this one started."""
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def fail(self, error: EngineError) -> None:
        """Tell the leader why this rank ends; the leader ends with the same error."""
        with suppress(EngineError):
            self._tell(0, error)

    def _tell(self, other: int, value: Any) -> None:
        try:
            self.others[other].send(value)
        except OSError:
            raise self._gone(other) from None

    def _hear(self, other: int) -> Any:
        try:
            value = self.others[other].recv()
        except (EOFError, OSError):
            raise self._gone(other) from None
        if isinstance(value, EngineError):
            raise value
        return value

    def _gone(self, other: int) -> EngineError:
        return EngineError(f"rank {other + 1 if self.leads else 0} has ended before its work was done.")


ALONE = Ranks()


class Launch:
    """How a program's ranks start: `forked` (a number of them) on this machine, else as the environment says."""

    def __init__(self, forked: int = 0) -> None:
        self.forked, self.started = forked, ALONE

    @property
    def size(self) -> int:
        return self.forked or _of_environment()[1]

    @property
    def leads(self) -> bool:
        """Whether this process leads, or will: it alone reports and marks how the program ended."""
        return self.started.leads and (bool(self.forked) or _of_environment()[0] == 0)

    def start(self, out: str, idle_leader: bool = False) -> Ranks:
        """The ranks, once all are there; those of a launcher meet in the folder of `out`. EngineError if they do not.

        With `idle_leader` the leader of RELION's would not compute; here it does, so one process less is forked.
        """
        if self.size == 1:
            return ALONE
        sys.stdout.flush()
        forked = self.forked - idle_leader
        self.started = _fork(forked) if self.forked else _meet(*_of_environment(), _folder(out))
        self.silence()
        return self.started

    def silence(self) -> None:
        """As in RELION, only the leader's progress is printed."""
        if not self.leads:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def tomogram_ranks(program: str, launch: Launch | None, out: str) -> Ranks:
    """The ranks among which a program shares the tomograms. EngineError if its MPI build runs as one process."""
    if launch is None:
        return ALONE
    if launch.size < 2:
        raise EngineError(f"{program}_mpi needs at least two MPI processes; run {program} instead.")
    return launch.start(out)


def _of_environment() -> tuple[int, int, str]:
    """Rank, number of ranks, and a name of the run, as the launcher says; (0, 1, "") without one."""
    for rank, size, names in LAUNCHERS:
        if rank in os.environ and size in os.environ:
            run = "_".join(os.environ.get(name, "") for name in names)
            return int(os.environ[rank]), int(os.environ[size]), run
    return 0, 1, ""


def _folder(out: str) -> Path:
    return Path(out) if out.endswith("/") else Path(out).parent


def _fork(size: int) -> Ranks:
    """This process and its copies. Nothing may run beside it in threads."""
    ours: list[Connection] = []
    pids: list[int] = []
    for rank in range(1, size):
        here, there = Pipe()
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for one in (here, *ours):  # so that each sees when the leader has ended
                one.close()
            return Ranks(rank, size, [there])
        there.close()
        ours.append(here)
        pids.append(pid)
    return Ranks(0, size, ours, pids)


def _meet(rank: int, size: int, run: str, folder: Path) -> Ranks:
    """The ranks that a launcher started, connected."""
    place = folder / f".ranks_{run}"
    with _patience():
        try:
            return _lead(size, place) if rank == 0 else _join(rank, size, place)
        except (OSError, EOFError) as error:
            raise EngineError(f"rank {rank} of {size} could not meet the others: {error}.") from None


@contextmanager
def _patience() -> Iterator[None]:
    """Sockets that are made inside wait so long, and not forever."""
    socket.setdefaulttimeout(MEETING)
    try:
        yield
    finally:
        socket.setdefaulttimeout(None)


def _lead(size: int, place: Path) -> Ranks:
    key = secrets.token_bytes(16)
    place.parent.mkdir(parents=True, exist_ok=True)
    with Listener(("", 0), backlog=size, authkey=key) as listener:
        port = listener.address[1]
        with written_atomically(place) as partial:
            partial.touch(mode=0o600)
            partial.write_text(json.dumps([socket.gethostname(), port, key.hex()]))
        came = {}
        for _ in range(size - 1):
            connection = listener.accept()
            came[connection.recv()] = connection
    place.unlink()
    return Ranks(0, size, [came[rank] for rank in sorted(came)])


def _join(rank: int, size: int, place: Path) -> Ranks:
    deadline = time.monotonic() + MEETING
    while not place.exists():
        if time.monotonic() > deadline:
            raise OSError(f"{place} did not show up")
        time.sleep(LOOK)
    host, port, key = json.loads(place.read_text())
    connection = Client((_address(host), port), authkey=bytes.fromhex(key))
    connection.send(rank)
    return Ranks(rank, size, [connection])


def _address(host: str) -> str:
    """The host, or this machine itself where that is the leader's and its name is not known to the network."""
    return "localhost" if host == socket.gethostname() else host
