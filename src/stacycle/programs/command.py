"""A command line of RELION's, taken apart: the program, its flags, what it reads and where it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stacycle.files.optimisation_set import KINDS, OptimisationSet
from stacycle.programs.program import Program, of_call


@dataclass(frozen=True)
class Command:
    """`launcher` (mpirun and its options, or nothing), `program`, and the values of each flag, in order."""

    launcher: tuple[str, ...]
    program: str
    flags: dict[str, list[str]]

    @classmethod
    def of(cls, argv: Sequence[str]) -> Command:
        """Take an argument list apart. ValueError if it calls none of RELION's programs."""
        at = next((i for i, word in enumerate(argv) if word.startswith("relion_")), None)
        if at is None:
            raise ValueError(f"no program of RELION's in {list(argv)}")
        flags: dict[str, list[str]] = {}
        values: list[str] = []
        for word in argv[at + 1 :]:
            if word.startswith("--"):
                values = flags[word] = []
            else:
                values.append(word)
        return cls(tuple(argv[:at]), argv[at], flags)

    @property
    def argv(self) -> list[str]:
        """The argument list again."""
        words = [word for flag, values in self.flags.items() for word in (flag, *values)]
        return [*self.launcher, self.program, *words]

    @property
    def kind(self) -> str:
        """The program, whether or not it is its MPI build: `relion_refine`."""
        return self.program.removesuffix("_mpi")

    @property
    def ranks(self) -> int:
        """The MPI ranks that the launcher starts (its last option, see `mpi.with_mpi`); 1 without a launcher."""
        return int(self.launcher[-1]) if self.launcher else 1

    def get(self, flag: str) -> str | None:
        """The value of a flag that has one; None if it is not given."""
        return next(iter(self.flags.get(flag, [])), None)

    def inputs(self) -> dict[str, str]:
        """The files that the command line names as inputs: flag -> path."""
        return {
            flag: values[0]
            for flag, values in self.flags.items()
            if flag != "--o" and values and Path(values[0]).is_file()
        }

    @property
    def record(self) -> Program:
        """What is known of the program."""
        return of_call(self.kind, self.flags)

    @property
    def optimisation_set(self) -> str | None:
        """The optimisation set that is given, if any."""
        flags = self.record.state_flags
        return self.get(flags.optimisation_set) if flags else None

    def state(self) -> OptimisationSet:
        """What it works on, by flags of their own or by the optimisation set; "" or None for what neither names.
        UserError if the set cannot be read."""
        if (flags := self.record.state_flags) is None:
            return OptimisationSet("", "")
        named = self.optimisation_set
        files = OptimisationSet.read(named) if named else OptimisationSet("", "")
        return OptimisationSet(*(self.get(getattr(flags, kind)) or getattr(files, kind) for kind in KINDS))

    def half_maps(self) -> tuple[str, str]:
        """Both half maps, also one that the program finds by the other's name. "" for what is not given."""
        return self.record.half_maps(self)
