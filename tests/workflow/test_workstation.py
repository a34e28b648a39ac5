"""A workstation: jobs of Snakemake's local executor in real processes share two GPUs, and never one of them.

The GPUs are stand-ins: numbers that a program finds in CUDA_VISIBLE_DEVICES and notes, with the time, in a trace.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stacycle.resources import gpus

pytestmark = pytest.mark.slow

LONGEST_GAP = 4.0  # s: for Snakemake to see a job's end and to start the next, two Pythons
FREE_WITHIN = 5.0  # s
STARTS = 2.5  # where a start of Python takes long, as many of them as that takes instead

SNAKEFILE = """
from stacycle.resources import site
site.site_of(workflow)

rule all:
    input:
        expand("gpu{n}/map.mrc", n=range(config["gpu"])),
        expand("cpu{n}/map.mrc", n=range(config["cpu"])),

rule gpu:
    output: "gpu{n,[0-9]+}/map.mrc"
    priority: 1
    resources: gpu=1
    shell: "{config[python]} {config[runner]} gpu{wildcards.n} {resources.gpu}"

rule cpu:
    output: "cpu{n,[0-9]+}/map.mrc"
    shell: "{config[python]} {config[runner]} cpu{wildcards.n} 0"
"""

RUNNER = """
import sys
from pathlib import Path
from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.resources import gpus

here = Path(__file__).parent
gpus.LOCKS = here / "slots"
folder = sys.argv[1]
with task(folder + ".log", folder):
    job.run(
        ["relion_tool", "--o", folder + "/"], folder, engine={"kind": "relion", "bin": str(here / "bin")},
        expected_outputs=[folder + "/map.mrc"], gpus=int(sys.argv[2]),
    )
"""

PROGRAM = """
import os, sys, time
from pathlib import Path

def note(what):
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "cpu")
    with open(sys.argv[0] + ".trace", "a") as trace:
        trace.write(f"{{time.monotonic()}} {{what}} {{gpu}} {{os.getcwd()}}/{{sys.argv[2]}} {{os.getpid()}}\\n")

note("start")
time.sleep({seconds})
note("end")
Path(sys.argv[2], "map.mrc").write_text("a map")
"""


@dataclass
class Run:
    """One run of a program: on which GPU ("cpu" for none), in which folder, from when to when (s)."""

    gpu: str
    folder: str
    pid: int
    start: float
    end: float = float("inf")


class Workstation:
    """A machine with a program that takes a while, and projects in which Snakemake runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, list[subprocess.Popen]()
        (folder / "Snakefile").write_text(SNAKEFILE)
        (folder / "runner.py").write_text(RUNNER)
        (folder / "bin").mkdir()
        self.program(1.0)

    def program(self, seconds: float) -> None:
        """The program of all jobs takes so long."""
        path = self.folder / "bin/relion_tool"
        path.write_text(f"#!{sys.executable} -ES\n{PROGRAM.format(seconds=seconds)}")
        path.chmod(0o755)

    def start(self, project: str, gpu: int, cpu: int = 0, cores: int = 4, limit: int = 2) -> subprocess.Popen:
        """Start Snakemake on so many jobs of both kinds, with a limit of GPUs as a profile has it."""
        folder = self.folder / project
        folder.mkdir(exist_ok=True)
        hidden = {gpus.POOL, *gpus.VISIBLE, *gpus.ALLOCATIONS}
        words = [*(sys.executable, "-m", "snakemake", "--snakefile", str(self.folder / "Snakefile"))]
        words += ["--directory", str(folder), "--cores", str(cores), "--resources", f"gpu={limit}"]
        words += ["--scheduler", "greedy", "--config", f"gpu={gpu}", f"cpu={cpu}"]
        words += [f"python={sys.executable}", f"runner={self.folder / 'runner.py'}"]
        with (folder / "snakemake.log").open("w") as log:
            run = subprocess.Popen(
                words,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if name not in hidden},
            )
        self.runs.append(run)
        return run

    def trace(self) -> list[Run]:
        """The runs of the program so far, in the order of their starts."""
        path, found = self.folder / "bin/relion_tool.trace", dict[str, Run]()
        for line in path.read_text().splitlines() if path.exists() else []:
            when, what, gpu, folder, pid = line.split()
            if what == "start":
                found[pid] = Run(gpu, folder, int(pid), float(when))
            else:
                found[pid].end = float(when)
        return sorted(found.values(), key=lambda run: run.start)

    def of_gpus(self) -> dict[str, list[Run]]:
        """The runs on each GPU."""
        on = [run for run in self.trace() if run.gpu != "cpu"]
        return {gpu: [run for run in on if run.gpu == gpu] for gpu in sorted({run.gpu for run in on})}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workstation]:
    monkeypatch.setattr(gpus, "LOCKS", tmp_path / "slots")
    found = Workstation(tmp_path)
    yield found
    for run in found.runs:
        kill_all(run)


def test_eight_jobs_on_two_gpus_share_none_leave_none_idle_and_cpu_jobs_run_beside(machine, record_property):
    finish(machine.start("project", gpu=8, cpu=8))
    runs, of_gpus = machine.trace(), machine.of_gpus()
    assert (len(runs), list(of_gpus), sum(map(len, of_gpus.values()))) == (16, ["0", "1"], 8)
    assert shared(of_gpus) == []
    gaps = [later.start - run.end for on in of_gpus.values() for run, later in pairwise(on)]
    gaps.append(max(on[0].start for on in of_gpus.values()) - runs[0].start)
    record_property(
        "8 jobs on 2 GPUs, longest time that one idled while a job waited (s)", f"{max(gaps):.2f}"
    )
    assert max(gaps) < max(LONGEST_GAP, STARTS * a_start())
    beside = [run for run in runs if run.gpu == "cpu" and all(busy(on, run) for on in of_gpus.values())]
    assert beside
    assert peak(runs) <= 4


def test_two_projects_of_one_machine_never_share_a_gpu(machine, record_property, monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0,1")
    with gpus.acquire(2, print):
        projects = [machine.start(project, gpu=4) for project in ("ribosome", "capsid")]
        wait_for(lambda: len(list(machine.folder.glob("*/gpu*/.lock"))) == 4)  # two jobs of each want one
        assert machine.trace() == []
    for run in projects:
        finish(run)
    of_gpus = machine.of_gpus()
    assert sum(map(len, of_gpus.values())) == 8
    assert shared(of_gpus) == []
    record_property(
        "two projects on 2 GPUs, runs of a program on a GPU that another had", len(shared(of_gpus))
    )


@pytest.mark.parametrize("killed", ["program", "runner", "Snakemake and its jobs"])
def test_a_killed_job_frees_its_gpu_at_once(machine, record_property, monkeypatch, killed) -> None:
    machine.program(30)
    snakemake = machine.start("project", gpu=1, limit=1)
    run = wait_for(machine.trace)[0]
    machine.program(0)  # when it is tried again
    start = time.monotonic()
    if killed == "program":
        os.kill(run.pid, signal.SIGKILL)
    elif killed == "runner":
        os.kill(parent_of(run.pid), signal.SIGKILL)
    else:
        for pid in (snakemake.pid, parent_of(run.pid)):
            os.kill(pid, signal.SIGKILL)
    monkeypatch.setenv(gpus.POOL, "0")
    with gpus.acquire(1, print, give_up_at(start + FREE_WITHIN)):
        record_property(
            f"a GPU is free again after a SIGKILL of {killed} (s)", f"{time.monotonic() - start:.2f}"
        )
        assert not Path(f"/proc/{run.pid}").exists() or state_of(run.pid) == "Z"


def test_jobs_that_outlive_a_killed_snakemake_keep_their_gpu_until_they_end(
    machine, record_property, monkeypatch
):
    machine.program(6)
    first = machine.start("project", gpu=1, limit=1)
    run = wait_for(machine.trace)[0]
    first.kill()
    machine.program(0)
    finish(machine.start("other", gpu=1, limit=1))
    survivor, later = machine.trace()
    assert survivor.end - run.start >= 6  # it came to its end by itself
    assert 0 <= later.start - survivor.end < max(FREE_WITHIN, STARTS * a_start())
    record_property(
        "a GPU is free again after the end of a program whose Snakemake was killed (s)",
        f"{later.start - survivor.end:.2f}",
    )


# ---------------------------------------------------------------- helpers


def shared(of_gpus: dict[str, list[Run]]) -> list[tuple[Run, Run]]:
    """Runs that had a GPU while another had it."""
    return [
        (one, other)
        for on in of_gpus.values()
        for n, one in enumerate(on)
        for other in on[n + 1 :]
        if busy([one], other)
    ]


def busy(runs: list[Run], during: Run) -> bool:
    """Whether any of the runs lasts at a moment at which `during` does."""
    return any(run.start < during.end and during.start < run.end for run in runs)


def peak(runs: list[Run]) -> int:
    """The most runs at any moment."""
    return max(sum(run.start <= at.start < run.end for run in runs) for at in runs)


def a_start() -> float:
    """Seconds that a start of Snakemake takes now, beside what else this machine has to do."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import snakemake.cli, stacycle.jobs.job"], check=True)
    return time.monotonic() - begun


def finish(run: subprocess.Popen) -> None:
    assert run.wait(60) == 0


def kill_all(run: subprocess.Popen) -> None:
    """Kill whatever is left of a session."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            session = path.read_text().rpartition(")")[2].split()[3]
            if int(session) == run.pid:
                os.kill(int(path.parent.name), signal.SIGKILL)
        except OSError:
            continue
    run.wait()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def give_up_at(deadline: float) -> Callable[[], None]:
    """What `gpus.acquire` heeds while it waits: TimeoutError after the deadline."""

    def heed() -> None:
        if time.monotonic() > deadline:
            raise TimeoutError

    return heed


def wait_for(what: Callable[[], Any]) -> Any:
    """What the function returns as soon as that is something."""
    deadline = time.monotonic() + 30
    while not (found := what()):
        assert time.monotonic() < deadline, "what was waited for has not come"
        time.sleep(0.02)
    return found
