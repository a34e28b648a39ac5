"""A job: one program run in its own folder, watched line by line, and looked at when it has ended.

RELION exits 0 on many faults and writes progress bars that fill a log with carriage returns; so a job's log holds
clean lines, the terminal sees one line per iteration or tomogram, and what should have been made is looked for.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from stacycle import __version__
from stacycle.errors import ProgramError, UserError
from stacycle.software import resolve

JOB_FILE = "job.json"
# RELION redraws its bars ("  3/  8 sec ....~~(,_,">o]", tail "yum!") with carriage returns.
PROGRESS_BAR = re.compile(r"^\s*[\d.?]+\s*/\s*[\d.?]+ (sec|min|hrs?)\b.*~~\(")
# Not that --angpix was left out: the pixel size of the header is what is meant.
WARNING = re.compile(r"\s*(WARNING|!)(?!.*--angpix)")
LAST_LINES = 30
# Where Snakemake points TMPDIR for its jobs if it was not set: often small, so no place for all particles.
SYSTEM_TEMPORARY = ("/tmp", "/var/tmp", "/usr/tmp")


class Say:
    """Speaks to the log file, and to the terminal in one line that names the job."""

    def __init__(self, log: IO[str], name: str) -> None:
        self._log, self.name = log, name

    def log(self, text: str) -> None:
        """To the log alone."""
        print(text, file=self._log, flush=True)

    def __call__(self, text: str) -> None:
        """To the log and to the terminal."""
        self.log(text)
        for line in text.splitlines():
            print(f"[{self.name}] {line}", file=sys.stderr, flush=True)


@contextmanager
def task(log: str, name: str) -> Iterator[Say]:
    """One script's work: opens its log; a UserError becomes one sentence and exit status 1, no traceback."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as stream:
        say = Say(stream, name)
        try:
            yield say
        except UserError as error:
            say(f"ERROR: {error}")
            raise SystemExit(1) from None


def run(
    argv: Sequence[str], folder: str | Path, *, engine: dict[str, Any], makes: Sequence[str | Path], say: Say
) -> None:
    """Run a program, given by RELION's command line, whose output goes to `folder`.

    What an earlier run left in the folder is moved aside first (`move_aside`), so that nothing stale is taken for new.
    `engine` is the config's section that says where RELION's programs are. `makes` are the files that must be there,
    and not empty, when the program has ended well.
    Raises UserError if the program cannot be found, ProgramError if it fails or leaves any of them out.
    """
    folder = Path(folder)
    command = resolve(engine, list(argv))
    if shutil.which(command[0]) is None:
        raise UserError(
            f"{command[0]} was not found on the PATH, but {program(argv)} runs with it; load the MPI that RELION "
            "was built with."
        )
    move_aside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "command": shlex.join(argv),
        "executed": command,
        "engine": engine["kind"],
        "stacycle": __version__,
        "started": _now(),
    }
    _write_json(folder / JOB_FILE, record)
    say.log(f"$ {record['command']}")
    status, last_lines = _watch(command, say)
    missing = [str(path) for path in makes if not Path(path).is_file() or Path(path).stat().st_size == 0]
    record |= {"ended": _now(), "exit_status": status, "ended_well": status == 0 and not missing}
    _write_json(folder / JOB_FILE, record)
    if status != 0:
        how = f"was ended by signal {-status}" if status < 0 else f"failed with exit status {status}"
        raise ProgramError(f"{program(argv)} {how}: {_reason(last_lines)}")
    if missing:
        raise ProgramError(
            f"{program(argv)} ended without an error but did not write {', '.join(missing)}: {_reason(last_lines)}"
        )


@contextmanager
def may_fail(
    folder: str | Path, makes: Sequence[str | Path], say: Say, allowed: bool = True
) -> Iterator[None]:
    """One variant of a sweep, if `allowed`: should its program fail, the sweep goes on without it.

    The cause is kept in the job's record (`failure`), and what should have been made becomes empty files, which no
    program takes for results. A mistake of the user's, which all variants would share, is still an error.
    """
    try:
        yield
    except ProgramError as error:
        if not allowed:
            raise
        record = Path(folder) / JOB_FILE
        record.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        _write_json(record, known | {"ended_well": False, "cause": str(error)})
        for path in makes:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(b"")
        say(
            f"FAILED: {error} The sweep goes on without this variant (snakemake --forcerun {makes[0]} tries it again)."
        )


def need(paths: Sequence[str | Path]) -> None:
    """ProgramError, with the cause, if one of the files is what a failed variant left (see `may_fail`)."""
    for path in map(Path, paths):
        if path.exists() and path.stat().st_size == 0:
            raise ProgramError(failure(path.parent) or f"{path} is empty; delete it and run Snakemake again.")


def failure(folder: str | Path) -> str:
    """Why a variant's program failed in `folder` (see `may_fail`); empty if it did not."""
    record = Path(folder) / JOB_FILE
    return json.loads(record.read_text(encoding="utf-8")).get("cause", "") if record.exists() else ""


def move_aside(folder: Path) -> None:
    """Move what an earlier run of a program left in `folder` to `folder.previous`, replacing what was there.

    A run that did not end well goes to `folder.failed`, so that trying again loses no good one.
    """
    record = folder / JOB_FILE
    if not record.exists():
        return
    ended_well = '"ended_well": true' in record.read_text(encoding="utf-8")  # it may be cut short
    aside = folder.with_name(folder.name + (".previous" if ended_well else ".failed"))
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)


def program(argv: Sequence[str]) -> str:
    """The RELION program that a command line calls, whether or not mpirun starts it."""
    return next(word for word in argv if word.startswith("relion_"))


def clean_lines(stream: IO[str]) -> Iterator[str]:
    """The lines of a program's output without its progress bars and blank lines; carriage returns end a line too."""
    for raw in stream:
        for line in raw.split("\r"):
            line = line.rstrip()
            if line and not PROGRESS_BAR.match(line):
                yield line


def milestone(line: str) -> str | None:
    """What a line of RELION's output means to someone who waits; None for the many that mean nothing."""
    if match := re.match(r"\s*Expectation iteration (\d+)(?: of (\d+))?", line):
        return f"iteration {int(match[1])}" + (f" of {match[2]}" if match[2] else "")
    if match := re.match(r"\s*CurrentResolution= (\S+) Angstroms", line):
        return f"resolution {float(match[1]):.1f} Å"
    if match := re.match(r"\s*\+ Tomogram (\d+) / (\d+)", line):
        return f"tomogram {match[1]} of {match[2]}"
    if match := re.match(
        r"\s*Auto-refine: (Refinement has converged|Angular step|\+ Final resolution)(.*)", line
    ):
        return (match[1] + match[2]).strip("+ .").lower()
    if match := re.match(r"\s*\+ FINAL RESOLUTION:\s+(\S+)", line):
        return f"final resolution {match[1]} Å"
    return line.strip() if WARNING.match(line) else None


def scratch_folder(setting: str | None) -> str | None:
    """The folder of `engine.scratch` with variables like $TMPDIR filled in; None if it is unset, empty or /tmp.

    Whoever wants all particles in /tmp says so by its name.
    """
    folder = os.path.expandvars(setting or "")
    if folder != setting and folder.rstrip("/") in SYSTEM_TEMPORARY:
        return None
    return None if not folder or "$" in folder else folder


def gpus(resources: Any) -> str | None:
    """The value of RELION's --gpu for a job's resources: "" (all that it sees), or None without a GPU."""
    return "" if resources.get("gpu", 0) else None


def _watch(command: list[str], say: Say) -> tuple[int, list[str]]:
    """Run the command; its clean lines go to the log, milestones to the terminal. Returns exit status, last lines."""
    last: list[str] = []
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    try:
        for line in clean_lines(process.stdout):
            last = [*last[1 - LAST_LINES :], line]
            if text := milestone(line):
                print(f"[{say.name}] {text}", file=sys.stderr, flush=True)
            say.log(line)
        return process.wait(), last
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _reason(last_lines: list[str]) -> str:
    """What RELION gives as the error, which MPI, backtraces and C++ may talk over; else its last words."""
    words = [line.strip() for line in last_lines if not line.startswith(("==", "--"))]
    errors = [after for line, after in pairwise(words) if line == "ERROR:" and after != "ERROR:"]
    if errors:
        return errors[0].removeprefix("ERROR: ")
    return f"its last words were: {' | '.join(words[-3:])}" if words else "it said nothing"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
