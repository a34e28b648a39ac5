"""`stacycle run`: the whole workflow, or as much of it as is asked for, shown as it goes on."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stacycle.cli import call, ending, pauses, project
from stacycle.cli.project import Project
from stacycle.cli.record import RUN, Command, Given, Parser
from stacycle.cli.status import Follower
from stacycle.cli.targets import targets_of
from stacycle.errors import UserError, some
from stacycle.inputs.asked import files_of
from stacycle.progress import journal, text
from stacycle.progress.status import DONE


def run(given: Given) -> int:
    """Run the workflow, or go on with it: all of it, or only what STEP or ROUND needs, such as bin4 or bin4/select.

    What is finished does not run again. On a terminal a table shows how far it is; on a pipe there is a line for each
    event. Ctrl-C stops; stacycle run goes on from there.
    """
    here = Project.of(given)
    config = here.config()
    refuse_if_busy()
    recipe = here.recipe()
    _refuse_missing(config)
    targets = targets_of(recipe, given.steps, given.until)
    pause = None if targets else pauses.next_pause(config, recipe)
    if pause:
        targets = pause.targets
    words = here.words([*_unlock(here), *given.more], targets)
    line = project.shown(words)
    log = call.log_file("run", line)
    print(f"$ {line}", flush=True)
    if hint := project.hint_of_queue(here):
        print(hint, flush=True)
    started = time.time()
    with Follower() as follower:
        status = call.snakemake(words, log, lambda: follower.look(since=started), given.verbose)
        follower.look(since=started, force=True)
    found = follower.status
    if found is None:
        return _nothing_began(status, log, pause)
    for job in found.failed:
        print(f"\n{text.failure(job)}", file=sys.stderr)
    if found.state != DONE:
        print(f"\n{text.headline(found)}.", file=sys.stderr)
    elif not sys.stdout.isatty():
        print(f"{text.headline(found)}.")
    print()
    if pause and found.state == DONE:
        print(pauses.reached(pause))
    print(ending.look_at(log, page=ending.make_page(config)))
    return status


def _refuse_missing(config: Mapping[str, Any]) -> None:
    """UserError if files that the config names are not there."""
    lacking = [path for path in files_of(config["inputs"]) if not os.path.exists(path)]
    if lacking:
        verb = "is" if len(lacking) == 1 else "are"
        cure = f"paths start at the project's folder, {Path.cwd()}; stacycle check tells more"
        raise UserError(f"{some(lacking)}, named under inputs in the config, {verb} not there", cure)


def refuse_if_busy() -> None:
    """UserError if another run works on this project."""
    if (holder := journal.holder()) is not None:
        whose = f"process {holder.get('runner')} on {holder.get('host')}, since {holder.get('since')}"
        slurm = holder.get("slurm_job")
        end = f"scancel {slurm}" if slurm else f"kill {holder.get('runner')}"
        cure = f"watch it with stacycle status --watch, or end it: {end}"
        raise UserError(f"another run works on this project ({whose})", cure)


def _unlock(here: Project) -> list[str]:
    """Take away the lock that a killed run of this project left behind; no words are needed for Snakemake then."""
    last = journal.read()
    locks = list(Path(".snakemake/locks").glob("*")) if last and not last.alive else []
    if last and locks and all(path.stat().st_mtime <= last.started for path in locks):
        print("The last run was killed; the lock that it left is taken away.", flush=True)
        call.output_of(here.words(["--unlock"]))
    return []


def _nothing_began(status: int, log: Path, pause: pauses.Pause | None) -> int:
    """What is to be said of a run that has started no job."""
    written = log.read_text(encoding="utf-8", errors="replace")
    if status == 0:
        if pause:
            print(pauses.reached(pause))
        else:
            print("Nothing is to be done: all is as the config asks.")
            print(ending.look_at(log))
        return 0
    if status < 0 or status == 130:
        return call.fail("stopped before any job began.")
    if lines := call.told(written, "preflight"):
        return call.fail("\n".join(lines))
    return call.fail(f"stacycle: {call.fault(written)}\n  Read on: {log}")


def _options(parser: Parser) -> None:
    parser.add_argument("steps", metavar="STEP|ROUND", nargs="*", help="as bin4, bin4/select (default: all)")
    until = "all up to this step, or to the end of this round, and it"
    parser.add_argument("--until", metavar="STEP|ROUND", help=until)
    project.options(parser)
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show what Snakemake says, on the terminal"
    )


COMMANDS = [
    Command(
        "run",
        RUN,
        "run the workflow, or go on with it",
        run,
        _options,
        passes_on=True,
        more="Options of Snakemake are passed on, as --cores 8; see snakemake --help.",
    )
]
