"""What a command of `stacycle` is: the record that each module of this package holds in its `COMMANDS`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

Parser = argparse.ArgumentParser
Given = argparse.Namespace

# The groups of `stacycle --help`, in order.
START, RUN, LOOK, CHANGE, FILES = (
    "to begin",
    "to run",
    "to look",
    "to change and compare",
    "files, in and out",
)
GROUPS = (START, RUN, LOOK, CHANGE, FILES)


def nothing(parser: Parser) -> None:
    """The command has no options of its own."""


@dataclass(frozen=True)
class Command:
    """A command: its `help` in a line (the docstring of `run` says more), its `options`, and what it does.

    `run` returns the exit status, and raises UserError for a mistake. A command that `passes_on` takes options of
    Snakemake too, which are in `given.more`.
    """

    name: str
    group: str
    help: str
    run: Callable[[Given], int]
    options: Callable[[Parser], None] = nothing
    passes_on: bool = False
    more: str = ""  # the end of its --help
