"""The command `stacycle`: what a person asks about a project by hand, beside Snakemake."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stacycle import __version__
from stacycle.errors import UserError, unreadable
from stacycle.files import job_folder
from stacycle.jobs import record as job_record

MOST_BYTES = 1_000_000  # of a log's end that are read
LAST_LINES = 10
# What job.run writes above the output of each start of a program, in run.out and in a rule's log.
START = re.compile(r"(?:# \S+ )?\$ (?P<command>.*)")
# Colours and other codes that a terminal would obey; carriage returns and line ends are left.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `stacycle`. Returns the exit status: 2 for a usage mistake, with a sentence."""
    words = list(sys.argv[1:] if argv is None else argv)
    more = words.index("--") if "--" in words and words[0] == "redo" else len(words)
    arguments = _parser(words[:1] == ["import"]).parse_args(words[:more])
    arguments.options = words[more + 1 :]
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return arguments.run(arguments)
    except UserError as error:
        print(f"stacycle: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"stacycle: {error.filename}: {error.strerror}; mend that, then try again.", file=sys.stderr)
        return 2


def _parser(importing: bool = False) -> argparse.ArgumentParser:
    about = "Subtomogram averaging with RELION 5 in Snakemake."
    parser = argparse.ArgumentParser(prog="stacycle", description=about)
    parser.add_argument("--version", action="version", version=f"stacycle {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(run.__name__.rstrip("_"), help=help, description=run.__doc__)
        command.set_defaults(run=run)
        return command

    command = add(workflow, "the path of the Snakefile, for snakemake --snakefile")
    other = "another of the workflow's files or folders, such as profiles/slurm"
    command.add_argument("name", metavar="NAME", nargs="?", default="Snakefile", help=other)
    command = add(diagnose, "why a program failed, from its log")
    given = "a log, a job's folder (its run.out), or - for standard input"
    command.add_argument("log", metavar="LOG", help=given)
    status = "the exit status (default: the job's, if known)"
    command.add_argument("--exit-code", type=int, metavar="N", help=status)
    command = add(audit, "whether all results of a project belong together")
    command.add_argument("project", metavar="PROJECT", nargs="?", default=".", help="default: this folder")
    command = add(redo, "make a result anew, whatever was kept")
    command.add_argument("paths", metavar="PATH", nargs="+", help="a file of results/, or a job's folder")
    command.epilog = "More options for Snakemake can follow after --."
    command = add(import_, "aligned tilt series and picks of other programs as RELION 5's STAR files")
    command.add_argument(
        "config", metavar="CONFIG", nargs="?", help="a config with inputs; or the options below"
    )
    command.add_argument("out", metavar="OUT", help="folder for the STAR files, below the project folder")
    command.set_defaults(keys=_add_keys_of_a_set(command) if importing else ())
    command.epilog = "An option's value is written as in a config: --size '[4096, 4096, 1200]'."
    _add_options_of_export(add(export, "the final particles for RELION, Warp and M, Dynamo or copick"))
    command = add(adopt, "declare that a state which was made elsewhere belongs together")
    command.add_argument("set", metavar="OPTIMISATION_SET", help="an optimisation_set.star in the project")
    return parser


def _add_keys_of_a_set(command: argparse.ArgumentParser) -> tuple[str, ...]:
    """Give a command an option for each key of a set of the config; returns the keys."""
    from stacycle.recipe.config_schema import schema

    keys = schema()["properties"]["inputs"]["items"]["properties"]
    for key, node in keys.items():
        meaning = node["description"].replace("%", "%%")
        command.add_argument(f"--{key}", metavar="VALUE", help=meaning, default=argparse.SUPPRESS)
    return tuple(keys)


def _add_options_of_export(command: argparse.ArgumentParser) -> None:
    command.add_argument("format", metavar="FORMAT", help="relion, warp (M's, too), dynamo or copick")
    start = (
        "a job's folder or a STAR file of particles (default: the last resolution's in results/ladder.tsv)"
    )
    command.add_argument("--from", dest="start", metavar="PATH", help=start)
    command.add_argument("--tomograms", metavar="FILE", help="theirs, if no optimisation set beside says it")
    command.add_argument("--to", metavar="FOLDER", help="for the files (default: export/FORMAT)")
    pixel = "Å per voxel of the volume that positions are to count in"
    command.add_argument("--pixel", type=float, metavar="Å", help=pixel)
    size = "its voxels, if its centre is the tilt series' tomogram's, not its corner"
    command.add_argument("--size", type=int, nargs=3, metavar=("X", "Y", "Z"), help=size)
    patterns = "patterns of the names of tomograms, as 'TS_0*' (default: all)"
    command.add_argument("--include", nargs="+", default=(), metavar="NAME", help=patterns)
    command.add_argument("--object", metavar="NAME", help="what copick calls the particle")
    command.add_argument("--split", action="store_true", help="relion: a STAR file per tomogram, too")
    command.add_argument("--force", action="store_true", help="overwrite files with something else in them")


def workflow(arguments: argparse.Namespace) -> int:
    """Print the path of the Snakefile, or of another of the workflow's files or folders."""
    from stacycle.workflow import path

    print(path(arguments.name))
    return 0


def diagnose(arguments: argparse.Namespace) -> int:
    """Say why the program that wrote LOG failed, and what to do.

    The exit status is 0 if something was explained, 1 if the log shows a failure that cannot be explained.
    """
    from stacycle.diagnosis.explain import explain

    path = Path(arguments.log)
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


def audit(arguments: argparse.Namespace) -> int:
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


def redo(arguments: argparse.Namespace) -> int:
    """Make a result anew: its program, or its decision, runs again, whatever is the same.

    The earlier result is kept beside it. Snakemake is called as in the last run, for this result alone; what depends
    on it follows in the next run. The exit status is Snakemake's.
    """
    from stacycle.jobs import redo as again

    return again.run(arguments.paths, arguments.options)


def import_(arguments: argparse.Namespace) -> int:
    """Write tilt series, tomograms and picks as STAR files of RELION 5, checked and merged, and nothing else: of the
    inputs of CONFIG, or of one set given by options. Without --particles there are tomograms and tilt series alone."""
    from stacycle.inputs import imported

    given = {key: value for key, value in vars(arguments).items() if key in arguments.keys}
    print(imported.write(arguments.config, given, arguments.out))
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write the particles of a result for another program, with shifts and turns applied. Nothing is written unless all
    of it can be, and no file with something else in it is overwritten."""
    from stacycle.exports import exported
    from stacycle.exports.export import ExportAsked

    asked = ExportAsked(
        Path(arguments.to or f"export/{arguments.format}"),
        arguments.pixel,
        tuple(arguments.size) if arguments.size else None,
        arguments.object,
        arguments.split,
        tuple(arguments.include),
    )
    print(exported.export(arguments.format, asked, arguments.start, arguments.tomograms, arguments.force))
    return 0


def adopt(arguments: argparse.Namespace) -> int:
    """Record that the particles, tomograms and trajectories of an optimisation set belong together.

    What the workflow makes is recorded by itself; this is for a state that was brought from elsewhere.
    """
    from stacycle.provenance import record

    known = record.adopt(arguments.set)
    print(f"{arguments.set}: recorded as a state, {known['id'][:12]}.")
    return 0


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
                raise UserError(f"{path.parent} is not a job's folder: it has neither run.out nor job.json")
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
    runs = record.get("runs") or [record]
    status = runs[-1].get("exit_status")
    return status if isinstance(status, int) else None


def _program(lines: Sequence[str], record: dict[str, Any]) -> str:
    """The program of RELION's that was run; empty if neither log nor record names it."""
    start = START.fullmatch(lines[0]) if lines else None
    found = re.search(r"\brelion_\w+", start["command"] if start else str(record.get("command", "")))
    return found[0] if found else ""
