"""`stacycle diff` and `stacycle redo`: what a changed config makes anew, and a result that is to be made anew."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stacycle.cli import call, project
from stacycle.cli.project import Project
from stacycle.cli.record import CHANGE, Command, Given, Parser
from stacycle.errors import UserError, some
from stacycle.jobs.redo import COMMAND
from stacycle.preflight.plan_table import CONTINUES, KEPT, OPEN, RUNS
from stacycle.progress.status import place_of

_MOST = 24  # jobs that are listed one by one
AS_JSON = "STACYCLE_PLAN"  # in the environment: the file that rules/plan.smk writes its jobs to, too


def diff(given: Given) -> int:
    """Show what a run with the config as it is now would do again, and what it would keep.

    The jobs themselves decide: each one's command line and inputs are held against those that made its result.
    """
    here = Project.of(given)
    here.config()
    if not Path(COMMAND).exists():
        raise UserError("no run has begun here yet", "stacycle plan shows what the first one will do")
    print("\n".join(_told(_planned(here, given.more), given.all)))
    return 0


def _planned(here: Project, more: Sequence[str]) -> list[dict[str, Any]]:
    """The jobs of a whole run, with what would come of each."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "plan.json")
        os.environ[AS_JSON] = str(file)
        try:
            status, _, errors = call.output_of(here.words(more, ["plan"]))
        finally:
            del os.environ[AS_JSON]
        if status or not file.exists():
            raise UserError(call.fault(errors) or f"Snakemake ended with exit status {status}")
        return json.loads(file.read_text())


def _told(jobs: Sequence[dict[str, Any]], every: bool) -> Iterator[str]:
    """The lines: what runs again, what is decided anew, what may follow from that, and what is kept."""
    started = [job for job in jobs if not job["done"]]
    programs = [job for job in started if job["fate"] in (RUNS, CONTINUES) and not job["short"]]
    decided = [job for job in started if job["short"] and job["first"]]
    still_open = [job for job in started if job["fate"] == OPEN]
    kept = [job for job in jobs if job["done"] or job["fate"] == KEPT]
    if programs:
        yield f"Would run again ({_counted(programs)}):"
        yield from _by_step(programs, every)
    if decided:
        yield f"Would be decided, or drawn, again: {some(_steps(decided), 12)}."
    if still_open:
        yield f"Only if that comes out otherwise ({_counted(still_open)}):"
        yield from _by_step(still_open, every)
    if not (programs or still_open):
        yield "No program would run again: all results are as the config asks."
    yield f"Kept: {_counted(kept)}." + (f" {some(_steps(kept), 12)}." if kept else "")


def _by_step(jobs: Sequence[dict[str, Any]], every: bool) -> Iterator[str]:
    """A line for each step, with the names of its jobs; if they are many, for each round, unless `every` is asked."""
    if len(jobs) > _MOST and not every:
        rounds: dict[str, list[str]] = {}
        for step in _steps(jobs):
            rounds.setdefault(step.partition("/")[0], []).append(step.partition("/")[2] or step)
        yield from (f"  {name}: {', '.join(steps)}" for name, steps in rounds.items())
        return
    steps: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        steps.setdefault(_place(job)[0], []).append(job)
    for step, alike in steps.items():
        names = [name for job in alike if (name := _place(job)[1])]
        goes_on = [job["start"] for job in alike if job["fate"] == CONTINUES]
        more = f": {some(names, 99 if every else 6)}" if names else ""
        yield f"  {step}{more}" + (f" (continues from {some(goes_on)})" if goes_on else "")


def _steps(jobs: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(_place(job)[0] for job in jobs))


def _place(job: dict[str, Any]) -> tuple[str, str]:
    return place_of(job["folder"])


def _counted(jobs: Sequence[Any]) -> str:
    return f"{len(jobs)} job{'s' * (len(jobs) != 1)}"


def redo(given: Given) -> int:
    """Make a result anew: its program, or its decision, runs again, whatever is the same.

    The earlier result is kept beside it. Snakemake is called as in the last run, for this result alone; what depends
    on it follows in the next run. The exit status is Snakemake's.
    """
    from stacycle.jobs import redo as again

    return again.run([project.result(path) for path in given.paths], given.more)


def _options_of_diff(parser: Parser) -> None:
    project.options(parser)
    parser.add_argument("--all", action="store_true", help="every job by name")


def _options_of_redo(parser: Parser) -> None:
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="a step (bin4/select), or a file or job's folder of results/"
    )


COMMANDS = [
    Command(
        "diff", CHANGE, "what the changed config would redo, and keep", diff, _options_of_diff, passes_on=True
    ),
    Command(
        "redo",
        CHANGE,
        "make a result anew, whatever was kept",
        redo,
        _options_of_redo,
        passes_on=True,
        more="Options of Snakemake are passed on, as is what follows --.",
    ),
]
