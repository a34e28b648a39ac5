"""A real SLURM of one node for the tests: the sandbox that runs, or one that is started."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import warm
import yaml
from conftest import ROOT, Project

SCRIPT = Path(__file__).with_suffix(".sh")
PROFILE = ROOT / "profiles/slurm"
SANDBOX = "sandbox"  # the name of its cluster
MUST_RUN = "STACYCLE_SLURM_TESTS"  # set where SLURM must be there: continuous integration

Job = dict[str, str]  # what `scontrol show job` says of a job


class Slurm:
    """The sandbox, and `snakemake --profile profiles/slurm` in it. Without one a test is left out, or fails in CI."""

    def __init__(self) -> None:
        with open(SCRIPT) as lock:  # tests run side by side
            fcntl.flock(lock, fcntl.LOCK_EX)
            why = start()
        if why and MUST_RUN in os.environ:
            pytest.fail(why)
        if why:
            pytest.skip(why)

    @property
    def has_hosts(self) -> bool:
        """Whether the nodes of the partition pair are hosts of their own, which a machine may not allow."""
        return Path(os.environ.get("STACYCLE_SANDBOX", "/tmp/stacycle-slurm"), "host.pair1.pid").exists()

    @contextmanager
    def gpus(self) -> Iterator[None]:
        """Both GPUs for the jobs of the block alone: tests run side by side, and those that use GPUs ask here."""
        with open(__file__) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def snakemake(
        self, project: Project, *arguments: str, **resources: object
    ) -> subprocess.CompletedProcess:
        """Run the command to its end. `resources` are laid over the profile's default-resources."""
        _, *words = self.command(project, *arguments, **resources)
        return subprocess.run(
            [warm.python(), *words],
            capture_output=True,
            text=True,
            timeout=900,
            env=environment(),
            cwd="/",
        )

    @contextmanager
    def started(self, project: Project, *arguments: str, **resources: object) -> Iterator[subprocess.Popen]:
        """The command, started; it is ended as by Ctrl-C, if it has not ended by itself.

        Ctrl-C works in it too if these tests run in the background, where shells have it ignored.
        """
        command = self.command(project, *arguments, **resources)
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            cwd="/",
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGINT)
                give_up = threading.Timer(60, process.kill)
                give_up.start()
                print(process.communicate()[0])
                give_up.cancel()

    def command(self, project: Project, *arguments: str, **resources: object) -> list[str]:
        defaults = yaml.safe_load((PROFILE / "profile.yaml").read_text())["default-resources"] | resources
        words = [f"{name}={value}" for name, value in defaults.items()]
        often = ("--stacycle-slurm-init-seconds-before-status-checks", "1")
        command = project.command(
            "--profile", str(PROFILE), *often, *arguments, "--default-resources", *words
        )
        cores = command.index("--cores")
        del command[cores : cores + 2]  # a cluster's jobs are not limited by it
        return command

    def jobs(self) -> dict[str, Job]:
        """The jobs that SLURM knows, by number."""
        command = ["scontrol", "show", "job", "--oneliner"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        jobs = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in said.splitlines() if "=" in line]
        return {job["JobId"]: job for job in jobs}

    @contextmanager
    def watched(self, project: Project) -> Iterator[dict[str, Job]]:
        """The project's jobs that are submitted meanwhile, as SLURM last knew them: it forgets them after minutes."""
        before, seen, over = self.jobs(), {}, threading.Event()

        def watch() -> None:
            while not over.wait(1):
                look()

        def look() -> None:
            for number, job in self.jobs().items():
                if number not in before and job["WorkDir"] == str(project.folder):
                    seen[number] = job

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield seen
        finally:
            over.set()
            watcher.join()
            look()


def wait_for(what: Callable, seconds: float = 240):
    """What `what` returns, as soon as it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited for {seconds} s in vain")


def process_of(program: str, *environment: str) -> int | None:
    """The process of a program of the embedded engine, on whichever host, that has this in its environment."""
    wanted = {one.encode() for one in environment}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words, given = ((process / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
            if words[1:4] == [b"-m", b"staengine", program.encode()] and wanted <= set(given):
                return int(process.name)
    return None


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONWARNINGS": "ignore"}


def cluster() -> str:
    """The name of the SLURM that answers on this machine; empty if none does."""
    if shutil.which("scontrol") is None:
        return ""
    said = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True).stdout
    found = re.search(r"^ClusterName\s*= (\S+)$", said, re.MULTILINE)
    return found[1] if found else ""


def start() -> str:
    """Start a sandbox, if none runs. Returns why that cannot be, or an empty string."""
    if cluster() == SANDBOX:
        return ""
    if cluster():
        return f"a real cluster, {cluster()}, is left alone"
    missing = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    if missing:
        return f"SLURM is not installed ({', '.join(missing)}): tests/slurm/sandbox.sh install, as root"
    if os.geteuid() != 0:
        return "only root can start a SLURM to test with: tests/slurm/sandbox.sh start"
    done = subprocess.run([SCRIPT, "start"], capture_output=True, text=True)
    return "" if done.returncode == 0 and cluster() == SANDBOX else f"SLURM does not start: {done.stderr}"
