"""The mistakes of docs/mistakes.md, made for real: a sentence each, no traceback, an exit status that is not 0."""

from __future__ import annotations

import io
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import warm
from conftest import ROOT
from small_inputs import write_inputs

from stacycle import cli

CONFIG = """\
inputs:
  - {tomograms: set/tomograms.star, particles: set/particles.star}
particle: {diameter: 350}
rounds:
  bin4: {STEPS}
"""
# Those that Snakemake itself has to be started for.
SLOW = {"`stacycle run --cores lots`", "RELION not on the PATH"}


def table() -> dict[str, str]:
    """What was done -> what is said, with … for what differs, as the documentation has them."""
    rows = re.findall(
        r"^\| (?!mistake)(.+?) \| (.+) \|$", (ROOT / "docs/mistakes.md").read_text(), re.MULTILINE
    )
    return dict(rows)


def config(text: str = CONFIG, steps: str = "box: auto") -> None:
    """A project's config, with small inputs."""
    write_inputs(Path(), "set")
    Path("config.yaml").write_text(text.replace("STEPS", steps))


def written(text: str) -> Callable[[], list[str]]:
    """The config as given, and `run`."""

    def situation() -> list[str]:
        write_inputs(Path(), "set")
        Path("config.yaml").write_text(text)
        return ["run"]

    return situation


def below() -> list[str]:
    config()
    Path("results").mkdir()
    os.chdir("set")
    return ["run"]


def two_configs() -> list[str]:
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text("particle: {diameter: 350}\n")
    return ["run"]


def gone() -> list[str]:
    config(CONFIG.replace("set/particles", "gone/particles"))
    return ["run"]


def without_relion() -> list[str]:
    config()
    return ["check"]


def a_file_for_a_folder() -> list[str]:
    config()
    Path("logs").write_text("")
    return ["run"]


def branch_there() -> list[str]:
    config()
    return ["branch", Path.cwd().name]


def with_config(*words: str, folders: tuple[str, ...] = ()) -> Callable[[], list[str]]:
    """A project that has a config, and these words."""

    def situation() -> list[str]:
        config()
        for folder in folders:
            Path(folder).mkdir(parents=True)
        return list(words)

    return situation


SITUATIONS: dict[str, Callable[[], list[str]]] = {
    "`stacycle run` in an empty folder": lambda: ["run"],
    "`stacycle run` in a folder below the project": below,
    "`stacycle`, and no command": lambda: [],
    "`stacycle run -c set/particles.star`": with_config("run", "-c", "set/particles.star"),
    "two files that could be the config": two_configs,
    "an empty config": written(""),
    "a tab in the config": written("particle:\n\tdiameter: 350\n"),
    "a quote in the config that is not closed": written('particle:\n  symmetry: "C1\n'),
    "a key misspelt in the config": written(CONFIG.replace("STEPS", "selct: {classes: [1]}")),
    "a key twice in the config": written(CONFIG.replace("STEPS", "box: auto") + "particle: {diameter: 3}\n"),
    "`diameter: 3,5`": written(
        CONFIG.replace("diameter: 350", "diameter: '3,5'").replace("STEPS", "box: auto")
    ),
    "`particle: 350`": written(CONFIG.replace("{diameter: 350}", "350").replace("STEPS", "box: auto")),
    "a step that has not what it needs": written(CONFIG.replace("STEPS", "steps: [extract, refine3d]")),
    "class 9 of 6": written(CONFIG.replace("STEPS", "class3d: {classes: 6}, select: {classes: [2, 9]}")),
    "a pause after a step that there is not": written(
        "pause: [selekt]\n" + CONFIG.replace("STEPS", "box: auto")
    ),
    "inputs that are not there": gone,
    "RELION not on the PATH": without_relion,
    "a project that another run works on": with_config("run"),
    "`stacycle branch` of it": with_config("branch", "other"),
    "a file where a folder should be": a_file_for_a_folder,
    "a full disk": with_config("run"),
    "a project folder that may not be written to": with_config("run"),
    "Python older than 3.11": with_config("status"),
    "`stacycle open` before any run": with_config("open"),
    "`stacycle open map` before there is one": with_config("open", "map"),
    "`stacycle redo results/bin4/gone`": with_config("redo", "results/bin4/gone"),
    "`stacycle redo` before any run": with_config("redo", "results/bin4/mask/mask.mrc"),
    "`stacycle branch` to a folder that is there": branch_there,
    "`stacycle compare` with a folder that is no project": with_config(
        "compare", ".", "nowhere", folders=("results",)
    ),
    "`stacycle init` where there is a config": with_config("init"),
    "`stacycle init` where no inputs are found": lambda: ["init"],
    "`stacycle init --symmetry C0`": lambda: shlex.split(
        "init --tomograms t --particles p --diameter 1 --symmetry C0"
    ),
    "`stacycle audit` of a folder that is no project": lambda: ["audit", "nowhere"],
    "`stacycle diagnose` of a file that is not there": lambda: ["diagnose", "nowhere.log"],
    "`stacycle adopt` of a file that is not there": lambda: ["adopt", "nowhere.star"],
}
NEEDS_PROJECT = ("run", "report", "diff", "status", "open", "branch")


@contextmanager
def around(mistake: str) -> Iterator[None]:
    """What else has to be so."""
    if mistake in ("a project that another run works on", "`stacycle branch` of it"):
        code = (
            "import time; from stacycle.progress.journal import Writer\n"
            "held = Writer('.', []); print('held', flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
            assert other.stdout
            other.stdout.readline()
            yield
            other.send_signal(signal.SIGKILL)
    elif mistake == "a full disk" and (disk := small_disk()):
        try:
            yield
        finally:
            subprocess.run(["umount", disk], check=True)
    elif mistake == "a full disk":
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
    else:
        yield


def small_disk() -> Path | None:
    """A disk of its own for logs/, without space; None where only root could make one."""
    disk = Path("logs").absolute()
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], capture_output=True
    ).returncode:
        return None
    with suppress(OSError), open(disk / "filled", "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return disk


def outside(mistake: str, words: list[str]) -> tuple[int, str] | None:
    """The exit status and the words of a mistake that another process has to make; None if this one can."""
    command = [sys.executable, "-m", "stacycle", *words]
    if mistake == "Python older than 3.11":
        as_old = "import runpy, sys; sys.version_info = (3, 10, 0); runpy.run_module('stacycle', run_name='__main__')"
        command = [sys.executable, "-c", as_old]
    elif mistake == "a project folder that may not be written to":
        Path.cwd().chmod(0o555)
        if os.geteuid() == 0:  # who may write everywhere
            if not shutil.which("setpriv"):
                pytest.skip("root may write everywhere, and there is no setpriv to take that away")
            may_not = "-dac_override,-dac_read_search"
            command = ["setpriv", "--bounding-set", may_not, "--inh-caps", may_not, *command]
    else:
        return None
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.9", "3.10"])
def test_an_old_python_that_is_here_says_what_is_needed(version: str, tmp_path: Path) -> None:
    old = [Path(found)] if (found := shutil.which(f"python{version}")) else []
    old += sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python"))
    if not old or subprocess.run([old[-1], "-V"], capture_output=True).returncode:
        pytest.skip(f"there is no Python {version} here")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [old[-1], "-m", "stacycle", "run"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == f"stacycle: needs Python 3.11 or newer, and this is {version}; call it with a newer one.\n"
    )


def words_of(mistake: str) -> list[str]:
    """The command line of a mistake, in a folder where it is one."""
    if mistake in SITUATIONS:
        return SITUATIONS[mistake]()
    command = re.search(r"`stacycle (.*?)`", mistake)
    assert command, f"{mistake}: no situation is known for it"
    words = shlex.split(command[1])
    if words[0] in NEEDS_PROJECT:
        config()
    return words


@pytest.mark.parametrize(
    "mistake", [pytest.param(one, marks=pytest.mark.slow if one in SLOW else ()) for one in table()]
)
def test_a_mistake_gets_its_sentence_and_no_traceback(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(sys, "executable", warm.python() if mistake in SLOW else sys.executable)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    words = words_of(mistake)
    with around(mistake):
        status, said = outside(mistake, words) or (cli.main(words), "")
    said = " ".join(" ".join([said, *capsys.readouterr()]).split())
    assert status != 0
    assert "Traceback" not in said
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in table()[mistake].split("…"))
    assert re.search(pattern, said), said


def test_there_are_forty_of_them() -> None:
    assert len(table()) >= 40
