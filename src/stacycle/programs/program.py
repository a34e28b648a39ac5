"""What the rest of the code asks about one of RELION's programs, in one record; and where these records are found."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from stacycle.checks.tables import StateFiles

# Where and how fast any program computes.
_IGNORED_OF_ALL = frozenset({"--j", "--verb", "--pipeline_control"})


class StateFlags(NamedTuple):
    """The flags by which a program takes a state: an optimisation set, or its files one by one."""

    optimisation_set: str
    particles: str
    tomograms: str
    trajectories: str


class CompletionMarker(NamedTuple):
    """By which file a program takes a tomogram for done: it only asks whether that exists.

    `file` is that, `beside` those that are read with it and the flag that asks for each ("" if none does). All
    are patterns in the job's folder, with one * for the tomogram in the last part.
    """

    file: str
    beside: Mapping[str, str] = {}


@dataclass(frozen=True)
class Continuation:
    """How a run that was cut off continues: `argv` (empty: nothing is left), once the files in `remove` are deleted.
    `start` is the iteration or thing that it continues from; None if it begins anew, `why` if that needs a reason."""

    argv: list[str]
    start: int | str | None = None
    remove: list[Path] = field(default_factory=list)
    why: str = ""


def _named_references(command: Any) -> tuple[str, str]:
    return command.get("--ref1") or "", command.get("--ref2") or ""


@dataclass(frozen=True)
class Program:
    """A program of RELION's. Its functions are given a `command.Command`, its checks a `task.Task`."""

    name: str  # without _mpi
    only_with: str = ""  # the flag that makes another job of a program that has a record already
    mpi: bool = False  # its build for MPI, NAME_mpi, is used as well
    without: str = ""  # what happens without it, if a run can do without it: in words
    check_ranks: Callable[..., None] | None = None  # of flags and ranks: UserError if these are too few

    # What it reads: a state, whose images are those of the tilt series, or of the particles. Half maps are "" if they
    # are not given.
    state_flags: StateFlags | None = None
    reads_particle_images: bool = False
    half_maps: Callable[..., tuple[str, str]] = _named_references
    also_reads: Callable[..., Mapping[str, str]] = (
        lambda command: {}
    )  # files by their roles that no flag names
    state_checks: tuple[Callable[[StateFiles], None], ...] = ()
    input_checks: tuple[Callable[..., None], ...] = ()  # after those of the state

    # What it makes: a state, if it writes an optimisation set (of a command and its folder), and of that state it must
    # not change these files. `may_drop` says why it may drop particles, if it may.
    output_checks: tuple[Callable[..., None], ...] = ()
    optimisation_set: Callable[..., Path] | None = None
    must_not_change: tuple[str, ...] = ()
    may_drop: str = ""
    moves_particles: bool = False

    # The maps and FSC that other programs take from it: patterns of what follows --o in their names. They belong to the
    # state that it started from, or to that of the map which it takes by --i.
    maps: tuple[str, ...] = ()
    made_of_map: bool = False

    # The flag of its number of iterations, up to which a finished run continues if it grows; and the files of each
    # iteration, which a decision may choose from.
    iterations_flag: str = ""
    iteration_tables: re.Pattern[str] | None = None
    iteration_maps: re.Pattern[str] | None = None

    # Flags that make no other result; and how it continues, by `continue_flag` as its --help has it. `go_on` is given a
    # command, its folder and the engine's kind.
    ignored_flags: frozenset[str] = frozenset()
    unlisted_flags: frozenset[str] = frozenset()  # that it takes, though its --help does not list them
    later_flags: frozenset[str] = frozenset()  # that a job may add by what it finds when it runs
    completion_marker: CompletionMarker | None = None
    continue_flag: str = ""
    go_on: Callable[..., Continuation] | None = None

    # How the shares of several jobs on some tomograms each become one result: of a command, its folder and theirs. With
    # the flag `only_sums` the program leaves what they are merged from, and no maps.
    merge: Callable[..., Continuation] | None = None
    only_sums: str = ""

    @property
    def flags_later(self) -> set[str]:
        """The flags that its command line may get when it runs: to continue, as a share, and by what a job finds."""
        of_share = {*(self.state_flags or ())[1:], self.only_sums} if self.merge else set()
        return ({self.continue_flag, *self.later_flags} | of_share) - {""}

    @property
    def executables(self) -> tuple[str, ...]:
        """The names of the programs that may run."""
        return (self.name, f"{self.name}_mpi") if self.mpi else (self.name,)

    def ignores(self, flag: str) -> bool:
        """Whether a flag makes no other result."""
        return flag in self.ignored_flags or flag in _IGNORED_OF_ALL


def of_call(name: str, flags: Collection[str] = ()) -> Program:
    """The record of a program that is called with these flags; an empty one if no module describes it."""
    found = [
        one for one in all_programs() if one.name == name and (not one.only_with or one.only_with in flags)
    ]
    return max(found, key=lambda one: bool(one.only_with), default=Program(name))


@cache
def all_programs() -> tuple[Program, ...]:
    """The records of all modules of this folder that have one, as PROGRAM."""
    package = import_module(__package__)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = (import_module(f"{__package__}.{name}") for name in names)
    return tuple(module.PROGRAM for module in modules if hasattr(module, "PROGRAM"))
