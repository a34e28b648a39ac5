"""The GPUs of this machine, and how a job acquires some, so that two jobs never compute on the same GPU.

No scheduler assigns the GPUs of a workstation, so a job locks its own: one lock file (flock) per GPU, which all users
of the machine share and the program inherits: the GPU is free at once when the program ends, and not before, even if
the process that started it is killed.
"""

from __future__ import annotations

import fcntl
import os
import random
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from stacycle.errors import UserError
from stacycle.resources.lock import Lock, holder_of

POOL = "STACYCLE_GPUS"  # environment variable: the ids that the jobs of a local run share; not set otherwise
# Environment variables that name a program's GPUs, NVIDIA's and AMD's; AMD's libraries read the first as well.
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
LOCKS = Path("/tmp/stacycle-gpus")  # one folder for all users of the machine: TMPDIR differs
DRIVER = Path("/proc/driver/nvidia/gpus")
# Inside an allocation, GPUs may be numbered from 0 again.
ALLOCATIONS = ("SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID")
POLL = 0.2  # s
PATIENCE = 30.0  # s of waiting, after which a job says who has the GPUs


@dataclass(frozen=True)
class Card:
    """A GPU of this machine: its model and its unique name (`GPU-...`)."""

    model: str
    uuid: str


@dataclass(frozen=True)
class GpuLease:
    """GPUs for one program: their ids, the variables to set in its environment, and the locks that it inherits."""

    ids: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    locks: list[Lock] = field(default_factory=list)


def cards() -> list[Card]:
    """The NVIDIA GPUs of this machine in the order of `nvidia-smi`; an empty list without a driver."""
    texts = [path.read_text() for path in sorted(DRIVER.glob("*/information"))]
    if not texts:  # as under Windows (WSL)
        try:
            listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return []
        found = re.findall(r"^GPU \d+: (.*) \(UUID: (.*)\)", listed.stdout, re.MULTILINE)
        return [Card(*match) for match in found]
    values = [dict(re.findall(r"^(.+?):\s*(.*?)\s*$", text, re.MULTILINE)) for text in texts]
    return [Card(one.get("Model", "GPU"), one.get("GPU UUID", "")) for one in values]


def found() -> list[str]:
    """The ids of the GPUs that a program would see: those of CUDA_VISIBLE_DEVICES or the like (numbers as in
    `nvidia-smi`, or names), up to the first word that names no GPU, as CUDA reads it; without such a variable, all of
    this machine."""
    listed = os.environ.get(_variable())
    if listed is None:
        return [str(n) for n in range(len(cards()))]
    words = [word.strip() for word in listed.split(",")]
    bad = next((n for n, word in enumerate(words) if not re.fullmatch(r"\d+|(GPU|MIG)-\S+", word)), None)
    return list(dict.fromkeys(words[:bad]))


def _variable() -> str:
    return next((name for name in VISIBLE if name in os.environ), VISIBLE[0])


def pool(limit: int | None) -> list[str]:
    """The ids of the GPUs that the jobs of a local run share: those found, else 0, 1, ... up to the `limit`."""
    return found() or [str(n) for n in range(limit or 0)]


def per_rank(gpus: int, ranks: int) -> str | None:
    """The value of RELION's --gpu for so many GPUs, numbered from 0 within CUDA_VISIBLE_DEVICES; None without GPUs.

    Colons separate the ranks that compute (of several, all but the first), commas the GPUs of one rank, which divides
    its threads among them. With fewer GPUs than such ranks, ranks share GPUs in turn.
    """
    if not gpus:
        return None
    computing = max(1, ranks - 1)
    of_each = (range(rank, gpus, computing) or [rank % gpus] for rank in range(computing))
    return ":".join(",".join(map(str, ids)) for ids in of_each)


@contextmanager
def acquire(
    count: int, say: Callable[[str], None], check: Callable[[], None] = lambda: None
) -> Iterator[GpuLease]:
    """Acquire so many GPUs for one program, which keeps them until both the block and the program have ended.

    Waits until they are free and meanwhile calls `check`, which may raise to end the wait. Under a scheduler they are
    the GPUs that it assigned; if it assigns none, jobs lock them as on a workstation. UserError if there are too few.
    """
    if not count:
        yield GpuLease([])
        return
    local = POOL in os.environ
    assigned = not local and any(variable in os.environ for variable in VISIBLE)
    ids = [one for one in os.environ[POOL].split(",") if one] if local else found()
    if len(ids) < count:
        whose = "the scheduler assigned" if assigned else "this machine has"
        problem = f"the step needs {count} GPU{'s' * (count > 1)}, but {whose} {len(ids)}"
        raise UserError(problem, "correct the number of GPUs in the profile")
    if assigned:
        yield GpuLease(ids)
        return
    locked = _lock_all(count, ids, say, check)
    locks = [Lock(fd, project=os.getcwd()) for fd in locked.values()]
    # locks are named by the numbers of nvidia-smi, so the program must count its GPUs in the same order
    order = os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    try:
        yield GpuLease(list(locked), {_variable(): ",".join(locked), "CUDA_DEVICE_ORDER": order}, locks)
    finally:
        for fd in locked.values():
            os.close(fd)


def _lock_all(
    count: int, ids: list[str], say: Callable[[str], None], check: Callable[[], None]
) -> dict[str, int]:
    """Lock so many of the GPUs, all at once or none, so that two jobs never wait for each other: id -> descriptor."""
    files = _lock_files(ids)
    began = time.monotonic()
    said = False
    while True:
        locked: dict[str, int] = {}
        busy: list[str] = []
        for one in ids:
            if len(locked) == count or len(ids) - len(busy) < count:
                break
            fd = _lock(files[one])
            if fd is None:
                busy.append(one)
            else:
                locked[one] = fd
        if len(locked) == count:
            if said:
                say(f"GPU {', '.join(locked)} is free now")
            return locked
        for fd in locked.values():
            os.close(fd)
        if not said and time.monotonic() - began > PATIENCE:
            said = True
            holders = ", ".join(_holder(one, files[one]) for one in busy)
            say(f"waits for {count} of {len(ids)} GPUs: {holders}")
        check()
        time.sleep(POLL * random.uniform(0.5, 1.5))


def _lock_files(ids: list[str]) -> dict[str, Path]:
    """The lock file of each GPU, named by the GPU's number even if the user gave its unique name."""
    inside = [name for name in ALLOCATIONS if name in os.environ and POOL in os.environ]
    allocation = f"{inside[0]}-{os.environ[inside[0]]}-" if inside else ""
    known = [card.uuid for card in cards()] if any(one.startswith("GPU-") for one in ids) else []
    files = {}
    for one in ids:
        number = next((n for n, uuid in enumerate(known) if uuid.startswith(one)), one)
        files[one] = LOCKS / re.sub(r"[^\w.-]", "_", f"{allocation}{number}")
    return files


def _lock(path: Path) -> int | None:
    """Lock a file, which is made if need be with its folder: its descriptor; None if another job has locked it.
    UserError for anything but a plain file in its place: any user of the machine may have put it there."""
    while True:
        umask = os.umask(0)  # all users lock the same files
        try:
            fd = _open(path)
        finally:
            os.umask(umask)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            return fd
        os.close(fd)
        if status.st_nlink:  # else someone removed it meanwhile, and a lock on it keeps nobody out
            raise UserError(f"{path} is not a plain file, as the lock of a GPU must be", "remove it")


def _open(path: Path) -> int:
    """Open or make a lock file in a folder where all users may write but not remove; follows no link."""
    with suppress(FileExistsError):
        path.parent.mkdir(mode=0o1777)
    if path.parent.is_symlink():
        raise UserError(f"{path.parent} is a link, but the locks of GPUs need a folder", "remove it")
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        # in such a folder Linux refuses to open another user's file with O_CREAT (fs.protected_regular)
        with suppress(FileNotFoundError):
            return os.open(path, flags)
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)


def _holder(gpu: str, path: Path) -> str:
    """Who has locked a GPU, as its lock file says."""
    note = b""
    with suppress(OSError):
        note = path.read_bytes()
    pid, holder = holder_of(note)
    if pid is None:
        return f"GPU {gpu} is in use"
    project, since = holder.get("project"), holder.get("since")
    return f"GPU {gpu} is in use by process {pid!r} of {project!r} since {since!r}"
