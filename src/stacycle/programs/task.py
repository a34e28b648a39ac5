"""A command line and what it names, for the checks of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stacycle.checks.tables import StateFiles
from stacycle.errors import UserError
from stacycle.files.job_folder import OPTIMISATION_SET
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs.command import Command


@dataclass(frozen=True)
class Task:
    """A command line, and the particles and tomograms that it names: read once, by the first check that looks."""

    command: Command
    lines: Sequence[str] = ()  # of the program's output

    @cached_property
    def files(self) -> StateFiles:
        """The state that goes in. UserError if the command line names no particles or tomograms."""
        files = self.command.state()
        if not files.particles or not files.tomograms:
            raise UserError(f"{self.command.program}: is given no particles or no tomograms", "give both")
        return StateFiles.of(files)

    @cached_property
    def made(self) -> StateFiles:
        """The state that came out, of the optimisation set in the folder of --o."""
        return StateFiles.of(OptimisationSet.read(self.folder / OPTIMISATION_SET))

    @property
    def folder(self) -> Path:
        """The folder that --o names."""
        return Path(self.get("--o"))

    @property
    def asked_pixel(self) -> float:
        """The pixel size in Å that follows from the tilt series and the binning."""
        return self.files.series_pixel * float(self.command.get("--bin") or 1)

    @property
    def half_maps(self) -> tuple[str, str]:
        """Both half maps. UserError if they are not given."""
        first, second = self.command.half_maps()
        if not (first and second):
            raise UserError(f"{self.command.program}: is not given two half maps", "give both")
        return first, second

    def get(self, flag: str) -> str:
        """The value of a flag that must have one. UserError if it has none."""
        value = self.command.get(flag)
        if not value:
            raise UserError(f"{self.command.program}: {flag} has no value", "give it one")
        return value
