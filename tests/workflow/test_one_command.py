"""The command `stacycle` on a small project, with a stand-in for RELION: run on a pipe and in a terminal, killed, asked
for its status, paused, and told what to do at its end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import fake_relion
import pytest
import warm
import yaml
from conftest import overlay, recorded_pid
from small_inputs import write_inputs

pytestmark = pytest.mark.slow

STEPS = ["extract", "reconstruct", "class3d", "select", "mask", "refine3d", "postprocess"]
SLOW = 10  # s that a refinement takes, where it is to be killed
RIGHT_WITHIN = 5  # s after an event


@dataclass
class Command:
    """A project and `stacycle` in its folder."""

    folder: Path
    relion: Path
    config: dict

    def words(self, *words: str, cold: bool = False) -> list[str]:
        return [sys.executable if cold else warm.python(), "-m", "stacycle", *words]

    def write(self, change: dict | None = None) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(overlay(self.config, change or {})))

    def run(self, *words: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            self.words(*words), cwd=self.folder, capture_output=True, text=True, timeout=600
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def state(self) -> str:
        """What `status --json` says of the run."""
        found = subprocess.run(
            self.words("status", "--json"), cwd=self.folder, capture_output=True, text=True
        )
        return json.loads(found.stdout)["state"] if found.stdout else ""

    def steps(self) -> dict[str, str]:
        found = subprocess.run(
            self.words("status", "--json"), cwd=self.folder, capture_output=True, text=True
        )
        return (
            {step["step"]: step["state"] for step in json.loads(found.stdout)["steps"]}
            if found.stdout
            else {}
        )

    def ran(self, since: int) -> set[str]:
        """The steps whose programs were started since so many commands."""
        commands = map(" ".join, fake_relion.recorded(self.relion)[since:])
        found = (re.search(r" --o results/bin4/(\w+)", line) for line in commands)
        return {match[1].removesuffix("_poses") for match in found if match}

    @property
    def count(self) -> int:
        return len(fake_relion.recorded(self.relion))


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    root = tmp_path_factory.mktemp("command")
    relion = fake_relion.install(root / "relion")
    mpi = fake_relion.install(root / "mpi", programs=("mpirun",))
    config = {
        "inputs": [write_inputs(root / "project", names=("TS_01", "TS_02"), particles=60)],
        "particle": {"diameter": 350},
        "engine": {"kind": "relion", "bin": str(relion)},
        "rounds": {
            "bin4": {
                "steps": STEPS,
                "class3d": {"T": [1], "classes": 6, "iterations": 2, "lowpass": 30, "seed": 1},
                "refine3d": {"poses": "after"},
            },
            "bin2": None,
            "bin1": None,
        },
    }
    found = Command(root / "project", relion, config)
    found.write()
    slowed(relion, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(mpi), prepend=":")
        patch.setenv("PYTHONWARNINGS", "ignore")
        yield found


def slowed(relion: Path, slow: bool) -> None:
    """Whether a classification takes its time."""
    program = relion / "relion_refine"
    lines = [line for line in program.read_text().splitlines() if not line.startswith("sleep")]
    program.write_text("\n".join([lines[0], *([f"sleep {SLOW}"] if slow else []), *lines[1:]]) + "\n")


def test_a_run_on_a_pipe_is_killed_asked_for_its_status_and_refuses_to_run_twice(command: Command) -> None:
    log = command.folder / "out.txt"
    with log.open("w") as out:
        running = subprocess.Popen(
            command.words("run", cold=True), cwd=command.folder, stdout=out, stderr=out
        )
        wait_until(lambda: command.steps().get("bin4/class3d") == "running", 120)
        wait_until(lambda: "bin4/class3d T1_K6: running" in log.read_text(), RIGHT_WITHIN)
        assert command.state() == "running"
        second = command.run("run")
        assert second.returncode == 2
        assert "another run works on this project" in second.stderr
        snakemake = json.loads((command.folder / "results/.run/lock").read_text())["runner"]
        for pid in (running.pid, snakemake):
            os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        running.wait()
        assert command.state() == "stopped"
        assert time.monotonic() - killed < RIGHT_WITHIN
        # A job goes on without Snakemake; to start another one here is refused meanwhile.
        job = command.folder / "results/bin4/class3d/T1_K6"
        wait_until((job / "job.json").exists, 30)
        pid = recorded_pid(str(job))
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), SLOW + 30)
    lines = log.read_text().splitlines()
    called = next(line for line in lines if line.startswith("$ "))
    assert re.fullmatch(r"\$ \S*snakemake --snakefile \S+ --configfile config.yaml --profile \S+", called)
    assert re.search(r"^[\d-]{10} [\d:]{8} bin4/class3d T1_K6: running$", "\n".join(lines), re.MULTILINE)
    assert max(map(len, lines)) < 250
    slowed(command.relion, False)


def test_a_run_in_a_terminal_goes_on_and_shows_a_table(command: Command) -> None:
    status, shown = in_a_terminal(command, "run")
    assert status == 0, shown
    assert "the lock that it left is taken away" in shown
    assert "bin4/postprocess" in shown
    assert re.search(r"done after \d+ s; \d+ of \d+ jobs done", shown)
    for where in (
        "results/report.html",
        "postprocess.mrc" if not final(command) else "results/final",
        "logs/stacycle",
    ):
        assert where in shown.partition("Look at")[2]
    assert command.state() == "done"


def final(command: Command) -> bool:
    return (command.folder / "results/final/map_sharpened.mrc").exists()


def test_nothing_is_left_then_and_diff_says_so(command: Command) -> None:
    done = command.run("run")
    assert (done.returncode, "Nothing is to be done" in done.stdout) == (0, True)
    assert "No program would run again" in command.run("diff").stdout


def test_what_diff_says_is_what_then_runs(command: Command) -> None:
    command.write({"rounds": {"bin4": {"mask": {"extend": 5}}}})
    told = command.run("diff").stdout
    would = told.partition("Would run again")[2].partition("Only if")[0].partition("Kept")[0]
    maybe = told.partition("Only if")[2].partition("Kept")[0]
    first, may = (set(re.findall(r"^  bin4/(\w+)", part, re.MULTILINE)) for part in (would, maybe))
    before = command.count
    assert command.run("run").returncode == 0
    ran = command.ran(before)
    assert ran == first == {"mask", "refine3d", "postprocess"}
    assert may == set()
    command.write()
    before = command.count
    assert command.run("run").returncode == 0
    assert command.ran(before) == set(), "the first results are back"


def test_a_pause_stops_there_and_running_again_goes_on(command: Command) -> None:
    asked = {"pause": ["select"], "onsuccess": "echo {message} > told.txt", "rounds": {"bin4": {"box": 96}}}
    command.write(asked)
    done = command.run("run")
    assert done.returncode == 0, done.stderr
    assert "Paused after bin4/select" in done.stdout
    assert "results/bin4/select/classes.png" in done.stdout
    assert "rounds: {bin4: {select: {classes: [2, 3]}}}" in done.stdout
    notes = json.loads((command.folder / "results/pauses.json").read_text())
    assert notes["bin4/select"]["looked_at"]
    assert command.steps().get("bin4/mask") is None, "it was not asked for"
    assert "project: done after" in (command.folder / "told.txt").read_text()
    before = command.count
    done = command.run("run")
    assert "Going on after the pause at bin4/select" in done.stdout
    assert "refine3d" in command.ran(before)
    assert "confirmed" in json.loads((command.folder / "results/pauses.json").read_text())["bin4/select"]
    command.write(asked | {"rounds": {"bin4": {"box": 100}}})
    assert "Paused after bin4/select" in command.run("run").stdout, "what was looked at is no more"
    command.write()


def test_a_failure_is_a_sentence_and_where_to_read_on_and_the_hook_gets_it(command: Command) -> None:
    fake_relion.install(command.relion, relion_postprocess={"exit": 1, "says": "ERROR: cannot read the mask"})
    hook = [sys.executable, "-c", "import sys; open('failed.txt', 'w').write(sys.argv[1])", "{message}"]
    command.write({"onerror": hook, "rounds": {"bin4": {"postprocess": {"bfactor": -77}}}})
    done = command.run("run")
    assert done.returncode == 1
    assert "bin4/postprocess: relion_postprocess failed with exit status 1" in done.stderr
    assert "Read on: logs/bin4/postprocess.log, results/bin4/postprocess/run.out" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 4
    assert "relion_postprocess failed" in (command.folder / "failed.txt").read_text()
    assert command.state() == "failed"
    assert command.run("status").returncode == 1
    fake_relion.install(command.relion)
    command.write()
    assert command.run("run").returncode == 0


def test_a_branch_has_all_results_and_changes_nothing_of_its_origin(command: Command) -> None:
    before, count = contents(command.folder), command.count
    assert command.run("branch", "other").returncode == 0
    other = Command(command.folder.parent / "other", command.relion, command.config)
    assert other.run("run").returncode == 0
    assert other.ran(count) == set(), "all of it was there"
    other.write({"rounds": {"bin4": {"mask": {"extend": 6}}}})
    assert other.run("run").returncode == 0
    assert other.ran(count) == {"mask", "refine3d", "postprocess"}
    assert contents(command.folder) == before
    told = " ".join(command.run("compare", ".", "../other").stdout.split())
    assert "rounds.bin4.mask.extend auto 6" in told


def contents(folder: Path) -> dict[str, bytes]:
    """What the results of a project are."""
    kinds = (".star", ".mrc", ".json", ".out")
    found = (path for path in (folder / "results").rglob("*") if path.suffix in kinds and path.is_file())
    return {str(path): path.read_bytes() for path in found}


def wait_until(is_so, seconds: float) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def in_a_terminal(command: Command, *words: str) -> tuple[int, str]:
    """Run `stacycle` in a pseudo-terminal; its exit status, and what it showed without codes."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(command.folder)
        os.environ.update(TERM="xterm-256color")
        os.execv(sys.executable, command.words(*words, cold=True))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    shown = b""
    with suppress(OSError):  # its end
        while select.select([terminal], [], [], 300)[0] and (more := os.read(terminal, 1 << 16)):
            shown += more
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", shown.decode(errors="replace"))
