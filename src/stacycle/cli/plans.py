"""`stacycle check` and `stacycle plan`: what can be known before the run."""

from __future__ import annotations

import os
import shutil
import sys

from stacycle.cli import call, project
from stacycle.cli.project import Project
from stacycle.cli.record import START, Command, Given, Parser
from stacycle.errors import UserError


def check(given: Given) -> int:
    """Check the data, the set-up and the disk for what the config asks, in one table, before hours are spent. The exit
    status is 1 if there is a problem."""
    return _ask(given, "preflight")


def plan(given: Given) -> int:
    """Show each step's jobs, which of them would run, where they go and what they may take. Nothing is run."""
    return _ask(given, "plan")


def _ask(given: Given, rule: str) -> int:
    """Run a rule that only tells something, and print what it tells."""
    here = Project.of(given)
    here.config()  # a mistake in it is told at once, without Snakemake
    words = here.words(given.more, [rule])
    if given.verbose:
        print(project.shown(words), flush=True)
    os.environ.setdefault("COLUMNS", str(shutil.get_terminal_size((110, 0)).columns))
    status, output, errors = call.output_of(words)
    if given.verbose:
        print(errors, file=sys.stderr)
    if lines := [*output.splitlines(), *_table(call.told(errors, rule))]:
        print("\n".join(lines))
        return 1 if status else 0
    if status:
        raise UserError(call.fault(errors) or f"Snakemake ended with exit status {status}")
    return 0


def _table(lines: list[str]) -> list[str]:
    return [line.removeprefix("ERROR: ") for line in lines]


def _options(parser: Parser) -> None:
    project.options(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="show what Snakemake says, too")


COMMANDS = [
    Command("check", START, "check data, set-up and disk before the run", check, _options, passes_on=True),
    Command("plan", START, "what would run, where, and what it may take", plan, _options, passes_on=True),
]
