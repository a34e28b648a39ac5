"""What several test files use: a way to call Snakemake on a project, and a small finished project."""

from __future__ import annotations

import copy
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: workers of xdist share the cores
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")  # tests may be run in a container
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as of a shell's job in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import warm
import yaml
from snakemake.utils import update_config

from stacycle.provenance import origin
from stacycle.provenance import record as state_record

ROOT = Path(__file__).parents[1]

# Runs in about two minutes: real data, real algorithms, far too little of either for science.
TINY = {
    "inputs": [
        {"tomograms": "set1/tomograms.star", "particles": "set1/particles.star"},
        {"tomograms": "set2/tomograms.star", "particles": "set2/particles.star"},
    ],
    "particle": {"diameter": 260},
    "engine": {"kind": "embedded"},
    "rounds": {
        "bin4": {
            "box": 24,
            "align": {"iterations": 3, "sampling": 3.7, "seed": 1},
            "class3d": {"classes": 2, "T": [0.5, 2], "iterations": 4, "seed": 1},
            "refine3d": {"seed": 1},
            "cycle": {"ctfrefine": {"scale_only": None}},
        },
        "bin2": {"steps": ["extract", "reconstruct"], "box": 48},
        "bin1": None,
    },
}


class Project:
    """A project folder with a config, and Snakemake called on it as a user would, but for its start (tests/warm.py)."""

    cold = False  # True: starts are a user's too

    def __init__(self, folder: Path, config: dict) -> None:
        self.folder, self.config = folder, config

    def snakemake(
        self, *arguments: str, change: dict | None = None, timeout: float = 900
    ) -> subprocess.CompletedProcess:
        """Run `snakemake` with the project's config, `change` laid over it."""
        python, *words = self.command(*arguments, change=change)
        return subprocess.run(
            [python if self.cold else warm.python(), *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
            cwd="/",
        )

    def command(self, *arguments: str, change: dict | None = None) -> list[str]:
        """The `snakemake` command line for the project's config, `change` laid over it."""
        configfile = self.folder / "config.yaml"
        configfile.write_text(yaml.safe_dump(overlay(self.config, change or {})))
        return [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
            *("--directory", str(self.folder), "--configfile", str(configfile), "--cores", "2", *arguments),
        ]

    def jobs(self, change: dict | None = None, *arguments: str) -> list[str]:
        """What `snakemake -n` says it would do, one line per job: the jobs' messages."""
        done = self.snakemake("--dry-run", *arguments, change=change)
        assert done.returncode == 0, done.stderr
        return re.findall(r"^Job \d+: (.*)$", done.stdout + done.stderr, re.MULTILINE)


def overlay(base: dict, change: dict) -> dict:
    """`change` laid over `base`, key by key, as Snakemake does with a --configfile."""
    merged = copy.deepcopy(base)
    update_config(merged, change)
    return merged


def simulate(folder: Path, **flags: object) -> None:
    """Simulated data in `folder`, by the embedded engine's simulator."""
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    command = [warm.python(), "-m", "staengine", "simulate", "--o", str(folder), *words]
    subprocess.run(command, check=True, capture_output=True, text=True)


def recorded_pid(job: str = "job", seconds: float = 20) -> int:
    """The process of a job's last program, as soon as its runner has recorded it: a program may get ahead of that."""
    deadline = time.monotonic() + seconds
    while "pid" not in (run := json.loads(Path(job, "job.json").read_text())["runs"][-1]):
        assert time.monotonic() < deadline, f"{job}: no process was recorded"
        time.sleep(0.01)
    return run["pid"]


def computing_seconds() -> float:
    """Seconds that processors have worked for this process and for those of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def least_seconds(work: Callable[[], object], limit: float, times: int = 3) -> float:
    """The least computing seconds that `work` took: once, or up to `times` times as long as it took `limit` or more.

    Other work on the same cores makes a measurement longer, never shorter: the least is the nearest to the truth.
    """
    least = float("inf")
    for _ in range(times):
        start = computing_seconds()
        work()
        least = min(least, computing_seconds() - start)
        if least < limit:
            break
    return least


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests measured: the figures of docs/benchmarks.md, `record_property` of each test."""
    passed = terminalreporter.stats.get("passed", [])
    figures = [figure for report in passed if report.when == "call" for figure in report.user_properties]
    if figures:
        terminalreporter.section("figures")
        for name, value in sorted(figures):
            terminalreporter.line(f"{name:70} {value}")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets of one small tilt series each, with clashing names, 16 particles and junk per series."""
    folder = tmp_path_factory.mktemp("tiny")
    simulate(
        folder, sets=2, tomos=1, particles=16, size=320, depth=160, angpix=5, tilt_step=12, snr=0.5, seed=3
    )
    return folder


@pytest.fixture
def golden_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with RELION's own files in it, as the current one."""
    for source in ("input", "extract", "average", "align", "mask", "refine"):
        (tmp_path / source).symlink_to(ROOT / "tests/golden/data" / source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(origin, "check", lambda _: None)  # golden data has no lineage
    monkeypatch.setattr(state_record, "of_program", lambda *_: [])
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    return tmp_path
