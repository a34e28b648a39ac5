"""`stacycle run`: the whole workflow, or as much of it as is asked for, shown as it goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacycle import snakemake_api
from stacycle.cli import call, ending, left_in_slurm, pauses, project
from stacycle.cli.project import Project
from stacycle.cli.record import RUN, Command, Given, Parser
from stacycle.cli.status import Follower
from stacycle.cli.targets import before_end, targets_of
from stacycle.progress import journal, text
from stacycle.progress.status import Status

# Options of Snakemake, by their names inside, with which it does not run the workflow.
_OTHERWISE = {
    *(
        "dryrun",
        "touch",
        "unlock",
        "cleanup_metadata",
        "list_rules",
        "list_target_rules",
        "list_changes",
        "lint",
    ),
    *("dag", "rulegraph", "filegraph", "d3dag", "summary", "detailed_summary", "report", "archive", "help"),
    *("delete_all_output", "delete_temp_output", "list_untracked", "print_compilation", "version"),
}


def run(given: Given) -> int:
    """Run the workflow, or go on with it: all of it, or only what STEP or ROUND needs, such as bin4 or bin4/select.

    What is finished does not run again. On a terminal a table shows how far it is; on a pipe there is a line for each
    event. Ctrl-C stops; stacycle run goes on from there.
    """
    here = Project.of(given)
    config = here.config()
    project.refuse_if_busy()
    recipe = here.recipe()
    project.refuse_missing(config)
    targets = targets_of(recipe, given.steps, given.until)
    if _only_tells(given.more):
        words = here.words(given.more, targets)
        print(f"$ {project.shown(words)}", flush=True)
        return subprocess.run(project.command(words)).returncode
    if hint := project.hint_of_queue(here):
        print(hint, flush=True)
    left_in_slurm.settle(journal.read())
    _unlock(here)
    before = before_end(recipe, given.steps, given.until)
    for pause in pauses.ahead(config, recipe):
        if pause.name not in before:
            continue
        part = Part.of(here, given, pause.targets)
        if part.status or not pauses.is_confirmed(pause, config):
            told = "" if part.status else pauses.reached(pause, config)
            return part.end(config, told)
    part = Part.of(here, given, targets)
    return part.end(config)


@dataclass(frozen=True)
class Part:
    """A run of Snakemake that has ended: its exit status, the status that its files tell (None if no job began), and
    where its output is."""

    status: int
    found: Status | None
    log: Path

    @classmethod
    def of(cls, here: Project, given: Given, targets: Sequence[str]) -> Part:
        """Run Snakemake to its end, and show how it goes on."""
        words = here.words(given.more, targets)
        line = project.shown(words)
        log = call.log_file("run", line)
        print(f"$ {line}", flush=True)
        started = time.time()
        with Follower(given.verbose) as follower:
            status = call.snakemake(words, log, lambda: follower.look(since=started), given.verbose)
            follower.look(since=started, force=True)
        return cls(status, follower.status, log)

    def end(self, config: Mapping[str, Any], told: str = "") -> int:
        """Say how it ended, with what is to be `told`, and where to look. Returns the exit status."""
        if self.found is None and self.status:
            return self._nothing_began()
        if self.found is None:
            print(told or "Nothing is to be done: all is as the config asks.")
            print(ending.look_at(self.log))
            return 0
        if not sys.stdout.isatty():  # a table has it as its last line
            print(f"{text.headline(self.found)}.")
        for job in self.found.failed:
            print(f"\n{text.failure(job)}", file=sys.stderr)
        print(f"\n{told}" if told else "")
        print(ending.look_at(self.log, page=ending.make_page(config)))
        return self.status

    def _nothing_began(self) -> int:
        """Say why no job has begun."""
        written = self.log.read_text(encoding="utf-8", errors="replace")
        if self.status < 0 or self.status == 130:
            return call.fail("stopped before any job began.")
        if lines := call.told(written, "preflight"):
            return call.fail("\n".join(lines))
        return call.fail(f"stacycle: {call.fault(written)}\n  Read on: {self.log}")


def _only_tells(more: Sequence[str]) -> bool:
    """Whether options of Snakemake have it tell something, or do something else than run the workflow."""
    actions = (snakemake_api.option(word.partition("=")[0]) for word in more if word.startswith("-"))
    return any(action is not None and action.dest in _OTHERWISE for action in actions)


def _unlock(here: Project) -> None:
    """Take away the lock that a killed run of this project left behind."""
    last = journal.read()
    locks = list(Path(".snakemake/locks").glob("*")) if last and not last.alive else []
    if last and locks and all(path.stat().st_mtime <= last.started for path in locks):
        print("The last run was killed; the lock that it left is taken away.", flush=True)
        call.output_of(here.words(["--unlock"]))


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
