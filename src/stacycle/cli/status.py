"""`stacycle status`: how far the run has come, from any terminal, also after it was killed."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from stacycle.cli.record import RUN, Command, Given, Parser
from stacycle.errors import UserError
from stacycle.progress import status, text
from stacycle.progress.job_state import QUEUED, RUNNING
from stacycle.progress.journal import FAILED
from stacycle.progress.status import Status

EVERY = 1.0  # s between two looks at the files


def show(given: Given) -> int:
    """Show how far the project's run has come: its steps, what runs now, iterations, resolution and time left.

    It reads files alone, so it works from another terminal or another machine, and after the run was killed. The exit
    status is 1 if the run has failed.
    """
    found = status.collect()
    if found is None:
        raise UserError(
            "no run has begun here yet", "stacycle run begins one; stacycle plan shows what it will do"
        )
    if given.json:
        print(json.dumps(found.as_json(), indent=1))
    elif given.watch:
        watch(Follower(), lambda follower: follower.status is None or follower.status.state == RUNNING)
        found = status.collect() or found
    else:
        print_once(found)
    for job in found.failed if not given.json else ():
        print(f"\n{text.failure(job)}")
    return 1 if found.state == FAILED else 0


class Follower:
    """Shows a run as it goes on: a table that is redrawn on a terminal, else a line for each event."""

    def __init__(self, plain: bool = False) -> None:
        """With `plain`, lines on a terminal, too."""
        self.status: Status | None = None
        self._seen: text.Seen | None = None
        self._live = _live() if sys.stdout.isatty() and not plain else None
        self._looked = 0.0

    def __enter__(self) -> Follower:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def look(self, since: float = 0.0, force: bool = False) -> None:
        """Look again, if it is time to, and show what is new. A run that began before `since` is not this one."""
        if not force and time.monotonic() - self._looked < EVERY:
            return
        self._looked = time.monotonic()
        found = status.collect()
        if found is None or found.started < since:
            return
        before, self._seen, self.status = self._seen, text.seen(found), found
        if self._live:
            from stacycle.cli.table import table

            self._live.update(table(found, shutil.get_terminal_size().lines), refresh=True)
            return
        if before is None:
            _line(f"{found.jobs} jobs, {found.done} done before")
            before = {
                key: ("waiting", None) if state[0] in (RUNNING, QUEUED) else state
                for key, state in self._seen.items()
            }
        for line in text.events(before, found):
            _line(line)


def watch(follower: Follower, goes_on: Callable[[Follower], bool]) -> None:
    """Follow a run as long as it goes on, or until Ctrl-C, which ends only this."""
    with suppress(KeyboardInterrupt), follower:
        follower.look(force=True)
        while goes_on(follower):
            time.sleep(EVERY)
            follower.look(force=True)


def print_once(found: Status) -> None:
    """The table as it is now."""
    from rich.console import Console

    from stacycle.cli.table import table

    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table(found))


def _line(line: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", flush=True)


def _live() -> Any:
    """rich's display, which is loaded only where there is a terminal."""
    from rich.live import Live

    return Live(auto_refresh=False, transient=False, vertical_overflow="crop")


def _options(parser: Parser) -> None:
    parser.add_argument("-w", "--watch", action="store_true", help="go on showing it, until it has ended")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


COMMANDS = [Command("status", RUN, "how far the run has come, from any terminal", show, _options)]
