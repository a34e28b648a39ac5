"""A machine's GPUs: which there are, and how jobs take them so that no two ever compute on one at the same time.

A workstation hands out no GPUs, so a job takes its own by file locks (flock), one file per GPU, that all projects and
users of the machine share. The program inherits the locks: a GPU is taken as long as the program lives, whatever
happens to the process that started it, and free as soon as it is dead. A scheduler assigns GPUs itself.
"""

from __future__ import annotations

import fcntl
import json
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
from typing import Any

from stacycle.errors import UserError
from stacycle.resources.lock import Lock

POOL = "STACYCLE_GPUS"  # environment variable: the ids that the jobs of a local run may take; else not set
# What tells a program its GPUs, for NVIDIA's and AMD's; AMD's libraries heed the first as well.
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
SLOTS = Path("/tmp/stacycle-gpus")  # on this machine, and the same for all: TMPDIR differs
DRIVER = Path("/proc/driver/nvidia/gpus")
# GPUs may be numbered anew, from 0, for a run inside an allocation.
ALLOCATIONS = ("SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID")
POLL = 0.2  # s
PATIENCE = 30.0  # s until someone who waits is told for whom


@dataclass(frozen=True)
class Card:
    """A GPU of this machine, by its maker's name and its unique name."""

    model: str
    uuid: str


@dataclass(frozen=True)
class Held:
    """GPUs for one program: their ids, what its environment must say, and the locks that it must inherit."""

    ids: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    locks: list[Lock] = field(default_factory=list)


def cards() -> list[Card]:
    """NVIDIA's GPUs of this machine in the order of `nvidia-smi`; none if there is no driver."""
    told = [path.read_text() for path in sorted(DRIVER.glob("*/information"))]
    if not told:  # as under Windows (WSL)
        try:
            listed = subprocess.run(
                ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return []
        return [
            Card(*match)
            for match in re.findall(r"^GPU \d+: (.*) \(UUID: (.*)\)", listed.stdout, re.MULTILINE)
        ]
    values = [dict(re.findall(r"^(.+?):\s*(.*?)\s*$", text, re.MULTILINE)) for text in told]
    return [Card(one.get("Model", "GPU"), one.get("GPU UUID", "")) for one in values]


def found() -> list[str]:
    """The ids of the GPUs that a program would see: numbers (as `nvidia-smi` has them), or names as the user gave them.

    What CUDA_VISIBLE_DEVICES or the like names, up to the first word that is no GPU (as CUDA reads it); else all.
    """
    said = os.environ.get(_variable())
    if said is None:
        return [str(n) for n in range(len(cards()))]
    words = [word.strip() for word in said.split(",")]
    bad = next((n for n, word in enumerate(words) if not re.fullmatch(r"\d+|(GPU|MIG)-\S+", word)), None)
    return list(dict.fromkeys(words[:bad]))


def _variable() -> str:
    """The environment variable that tells programs their GPUs here."""
    return next((name for name in VISIBLE if name in os.environ), VISIBLE[0])


def pool(limit: int | None) -> list[str]:
    """The ids that the jobs of a local run may take: those found, or else stand-ins for as many as `limit` says."""
    return found() or [str(n) for n in range(limit or 0)]


def per_rank(gpus: int, ranks: int) -> str | None:
    """The value of RELION's --gpu for so many GPUs, numbered from 0 as CUDA_VISIBLE_DEVICES has them; None for none.

    It names, separated by colons, the GPUs of each rank that computes: of several, all but the first. Ranks share GPUs
    in turn if they are more; else GPUs are dealt out, and a rank's threads are shared between those that commas part.
    """
    if not gpus:
        return None
    computing = max(1, ranks - 1)
    return ":".join(
        ",".join(map(str, range(rank, gpus, computing))) or str(rank % gpus) for rank in range(computing)
    )


@contextmanager
def hold(count: int, say: Callable[[str], None], heed: Callable[[], None] = lambda: None) -> Iterator[Held]:
    """So many GPUs for one program, held until the block and the program have both ended.

    Waits until they are free; `heed` is called meanwhile, and may raise. Under a scheduler they are those that it
    assigned; if it assigns none, jobs of this project and others take them by locks there too. UserError if there are
    not so many.
    """
    if not count:
        yield Held([])
        return
    local = POOL in os.environ
    assigned = not local and any(variable in os.environ for variable in VISIBLE)
    ids = [one for one in os.environ[POOL].split(",") if one] if local else found()
    if len(ids) < count:
        whose = "the scheduler assigned" if assigned else "this machine has"
        raise UserError(
            f"the step needs {count} GPU{'s' * (count > 1)}, but {whose} {len(ids)}",
            "correct the number of GPUs in the profile",
        )
    if assigned:
        yield Held(ids)
        return
    slots = _take(count, ids, say, heed)
    locks = [Lock(fd, {}) for fd in slots.values()]
    for lock in locks:
        lock.tell(runner=os.getpid(), project=os.getcwd(), since=time.strftime("%Y-%m-%d %H:%M:%S"))
    # without an order of their own, the numbers are nvidia-smi's, by which the locks are named
    order = os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    try:
        yield Held(list(slots), {_variable(): ",".join(slots), "CUDA_DEVICE_ORDER": order}, locks)
    finally:
        for fd in slots.values():
            os.close(fd)


def _take(count: int, ids: list[str], say: Callable[[str], None], heed: Callable[[], None]) -> dict[str, int]:
    """Lock so many of the GPUs, all at once or none, so that two jobs never wait for each other: id -> descriptor."""
    names = _slot_names(ids)
    asked = time.monotonic()
    told = False
    while True:
        taken: dict[str, int] = {}
        busy: list[str] = []
        for one in ids:
            if len(taken) == count or len(ids) - len(busy) < count:
                break
            fd = _lock(names[one])
            if fd is None:
                busy.append(one)
            else:
                taken[one] = fd
        if len(taken) == count:
            if told:
                say(f"GPU {', '.join(taken)} is free now")
            return taken
        for fd in taken.values():
            os.close(fd)
        if not told and time.monotonic() - asked > PATIENCE:
            told = True
            holders = ", ".join(_holder(one, names[one]) for one in busy)
            say(f"waits for {count} of {len(ids)} GPUs: {holders}")
        heed()
        time.sleep(POLL * random.uniform(0.5, 1.5))


def _slot_names(ids: list[str]) -> dict[str, Path]:
    """The lock file of each GPU, which goes by its number even if it was given by its unique name."""
    inside = [name for name in ALLOCATIONS if name in os.environ and POOL in os.environ]
    allocation = f"{inside[0]}-{os.environ[inside[0]]}-" if inside else ""
    known = [card.uuid for card in cards()] if any(one.startswith("GPU-") for one in ids) else []
    names = {}
    for one in ids:
        number = next((n for n, uuid in enumerate(known) if uuid.startswith(one)), one)
        names[one] = SLOTS / re.sub(r"[^\w.-]", "_", f"{allocation}{number}")
    return names


def _lock(path: Path) -> int | None:
    """A descriptor of the lock file, locked; None if it is taken. The folder and the file are made if need be.

    UserError for anything else in its place: any user of the machine may have put it there.
    """
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
        if status.st_nlink:  # else it was removed since it was opened, and a lock on it keeps nobody out
            raise UserError(
                f"{path} is not a plain file, as it must be to tell that a GPU is taken", "remove it"
            )


def _open(path: Path) -> int:
    """Open a lock file, or make it, in a folder where all may write but not remove; nothing follows links."""
    with suppress(FileExistsError):
        path.parent.mkdir(mode=0o1777)
    if path.parent.is_symlink():
        raise UserError(
            f"{path.parent} is a link, but must be a folder to tell which GPUs are taken", "remove it"
        )
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        # Linux refuses to open another's file in such a folder with O_CREAT (fs.protected_regular)
        with suppress(FileNotFoundError):
            return os.open(path, flags)
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)


def _holder(gpu: str, path: Path) -> str:
    """Who holds a GPU, as its lock file tells."""
    holder: dict[str, Any] = {}
    with suppress(OSError, ValueError):  # it may be in the middle of being written
        holder = dict(json.loads(path.read_bytes()))
    pid = holder.get("program") or holder.get("runner")
    if pid is None:
        return f"GPU {gpu} is taken"
    return f"GPU {gpu} is held by process {pid!r} of {holder.get('project')!r} since {holder.get('since')!r}"
