"""`stacycle audit`, `stacycle diagnose`: what is wrong with results, or with a program's log."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stacycle.cli import project
from stacycle.cli.record import LOOK, Command, Given, Parser
from stacycle.errors import UserError, some, unreadable
from stacycle.files import job_folder
from stacycle.jobs import record as job_record

MOST_BYTES = 1_000_000  # of a log's end that are read
LAST_LINES = 10
# What job.run writes above the output of each start of a program, in run.out and in a rule's log.
START = re.compile(r"(?:# \S+ )?\$ (?P<command>.*)")
# Colours and other codes that a terminal would obey; carriage returns and line ends are left.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def _options_of_diagnose(parser: Parser) -> None:
    parser.add_argument(
        "log",
        metavar="LOG",
        help="a log, a job's folder (its run.out, as that of bin4/refine3d), or - for standard input",
    )
    status = "the exit status (default: the job's, if known)"
    parser.add_argument("--exit-code", type=int, metavar="N", help=status)


def _options_of_audit(parser: Parser) -> None:
    parser.add_argument("project", metavar="PROJECT", nargs="?", default=".", help="default: this folder")


def diagnose(arguments: Given) -> int:
    """Say why the program that wrote LOG failed, and what to do.

    The exit status is 0 if something was explained, 1 if the log shows a failure that cannot be explained.
    """
    from stacycle.diagnosis.explain import explain

    path = Path(project.result(arguments.log))
    record = {} if arguments.log == "-" else job_record.read(path if path.is_dir() else path.parent)
    lines = last_run(_lines(_end(path) if arguments.log != "-" else sys.stdin.buffer.read()[-MOST_BYTES:]))
    status = _exit_status(record) if arguments.exit_code is None else arguments.exit_code
    if not lines and status is None:
        raise UserError(f"{arguments.log} is empty, and no exit status is known", "give it with --exit-code")
    found = explain(_program(lines, record), status, lines)
    print(f"{'Warning' if found.kind == 'warning' else 'Cause'}: {found.cause}\nCure: {found.cure}")
    if found.link:
        print(f"Known: {found.link}")
    if lines:
        print("\n".join(["Last lines of the log:", *(f"  {line}" for line in lines[-LAST_LINES:])]))
    return 0 if found.known else 1


def audit(arguments: Given) -> int:
    """Check the provenance of a project's results: that each step was made of the particles, tomograms and maps that
    are there, and that no particle was lost or ever changed its half set. The exit status is 1 if there is a fault."""
    from stacycle.jobs.kept_outputs import altered_outputs
    from stacycle.provenance import audit as provenance

    if not Path(arguments.project, "results").is_dir():
        raise UserError(f"{arguments.project}: has no folder results", "give the folder of a project")
    with contextlib.chdir(arguments.project):
        faults = provenance.audit("results")
        altered = altered_outputs("results")
        faults += [fault for path, fault in altered if not any(path in told for told in faults)]
    print("\n".join(faults) or "All results belong together; no particle was lost, or changed its half set.")
    return 1 if faults else 0


def last_run(lines: Sequence[str]) -> list[str]:
    """The lines of the last start of a program, if a log holds several, from the line with its command on."""
    starts = [number for number, line in enumerate(lines) if START.fullmatch(line)]
    return list(lines[starts[-1] if starts else 0 :])


def _end(path: Path) -> bytes:
    """The last bytes of a log, or of a job folder's. UserError if it cannot be read."""
    if path.is_dir():
        path = path / job_folder.PROGRAM_OUTPUT
        if not path.exists():
            if not job_record.read(path.parent):
                jobs = sorted(str(one.parent) for one in path.parent.rglob(job_folder.PROGRAM_OUTPUT))
                cure = f"give one of those in it: {some(jobs)}" if jobs else ""
                raise UserError(
                    f"{path.parent} is not a job's folder: it has neither run.out nor job.json", cure
                )
            return b""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, path.stat().st_size - MOST_BYTES))
            return log.read(MOST_BYTES)
    except OSError as error:
        raise unreadable(path.absolute(), error) from None


def _lines(text: bytes) -> list[str]:
    """The clean lines of a log. UserError if it is no text."""
    from stacycle.jobs.output import clean_lines

    if text.count(0) > len(text) / 2 or len(CONTROL.findall(text[:10_000].decode("latin-1"))) > 1000:
        raise UserError("that is not a log but a binary file", "give the text that the program wrote")
    return list(clean_lines(io.StringIO(CONTROL.sub("", text.decode(errors="replace")))))


def _exit_status(record: dict[str, Any]) -> int | None:
    """The exit status of the job's last run; None if it has none, as when it was killed with its runner."""
    status = (job_record.last_run(record) or record).get("exit_status")
    return status if isinstance(status, int) else None


def _program(lines: Sequence[str], record: dict[str, Any]) -> str:
    """The program of RELION's that was run; empty if neither log nor record names it."""
    start = START.fullmatch(lines[0]) if lines else None
    found = re.search(r"\brelion_\w+", start["command"] if start else str(record.get("command", "")))
    return found[0] if found else ""


COMMANDS = [
    Command("diagnose", LOOK, "why a program failed, from its log", diagnose, _options_of_diagnose),
    Command("audit", LOOK, "whether all results of the project belong together", audit, _options_of_audit),
]
