"""Snakemake as a command of `stacycle` calls it: its output goes to a file, its failure becomes a sentence."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stacycle.cli.project import command
from stacycle.errors import UserError
from stacycle.progress import journal

LOGS = "logs/stacycle"
_POLL = 0.25  # s
# How Snakemake begins to tell of an error, and what is only about its inside.
_ERROR = re.compile(r"^(?:\w*Error|\w*Exception)(?: in (?:file|rule|line).*)?:?\s*(.*)$")
_INSIDE = re.compile(
    r"^\s*(File \"|Traceback|Error in|Exiting because|Shutting down|Complete log|At least one job|"
    r"Building DAG|WorkflowError|\[(Mon|Tue|Wed|Thu|Fri|Sat|Sun) )"
)
_OURS = re.compile(r"^\[[\w/ .+-]+\] ")


def log_file(what: str, line: str) -> Path:
    """A new file for Snakemake's output, which begins with a line. UserError if it cannot be written."""
    path = Path(LOGS, f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{what}.log")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"$ {line}\n", encoding="utf-8")
    except OSError as error:
        cure = "see to the rights and the space of the project folder"
        raise UserError(f"{path}: cannot be written ({error.strerror})", cure) from None
    return path


def snakemake(words: Sequence[str], log: Path, watch: Callable[[], None], verbose: bool = False) -> int:
    """Run Snakemake with these words to its end, and `watch` meanwhile; returns its exit status.

    Its output goes to `log`, or to the terminal if `verbose`. When this process is asked to end, Snakemake gets one
    Ctrl-C, on which it ends its jobs; two would break it. It has a process group of its own, so that a terminal's
    Ctrl-C does not reach it as well.
    """
    with open(log, "a", encoding="utf-8") as output:
        into = None if verbose else output
        process = subprocess.Popen(
            command(words),
            stdin=subprocess.DEVNULL,
            stdout=into,
            stderr=into,
            env=_environment(),
            process_group=0,
        )
    asked: list[int] = []

    def stop(number: int, _: object) -> None:
        if not asked and process.poll() is None:
            journal.interrupted()
            process.send_signal(signal.SIGINT)
        asked.append(number)

    before = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        while process.poll() is None:
            watch()
            try:
                process.wait(_POLL)
            except subprocess.TimeoutExpired:
                continue
        return process.returncode
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}


def output_of(words: Sequence[str]) -> tuple[int, str, str]:
    """Run Snakemake with these words; returns its exit status and its two streams."""
    done = subprocess.run(
        command(words), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=_environment()
    )
    return done.returncode, done.stdout, done.stderr


def told(text: str, of: str) -> list[str]:
    """The lines that a rule's script has told, without its name before them."""
    begin = f"[{of}] "
    return [line.removeprefix(begin) for line in text.splitlines() if line.startswith(begin)]


def fault(text: str) -> str:
    """What Snakemake says is wrong before it has started any job, in as few lines as there are to it; "" if nothing."""
    lines = text.splitlines()
    if locked := [line for line in lines if "LockException" in line or "cannot be locked" in line]:
        return _LOCKED if locked else ""
    for number, line in enumerate(lines):
        if found := re.match(r"^snakemake: error: (.*)$", line):
            return f"Snakemake: {found[1]}."
        if _ERROR.match(line) and not _OURS.match(line):
            inline = _ERROR.match(line)[1]  # type: ignore[index]
            rest = [one for one in lines[number + 1 :] if one.strip() and not _INSIDE.match(one)]
            return "\n".join([inline, *rest][:12] if inline and not _INSIDE.match(inline) else rest[:12])
    return "\n".join(line for line in lines[-3:] if line.strip())


_LOCKED = "the project is locked by another run of Snakemake, or one that was killed; see stacycle status."


def fail(message: str) -> int:
    """Say why a run failed; returns the exit status for that."""
    print(message, file=sys.stderr)
    return 1
