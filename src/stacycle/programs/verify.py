"""Checks of what goes into a program and of what came out: RELION's exit status is not enough.

`check_inputs` refuses what RELION accepts in silence, or notices only after hours; `check_outputs` results that are not
what was asked for. Each program's record names its checks; `docs/faults.md` lists the faults, one by one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from stacycle.errors import ProgramFailed, UserError
from stacycle.programs.command import Command
from stacycle.programs.task import Task

# Lines of a program's output that mean a fault, though its exit status is 0; and what to do.
_FAULTS = {
    r"Option (--\S+)\s+is not a valid RELION argument": "does not know {0} and ignored it; use RELION 5",
    r"belonging to the following undefined tomograms: (.+)": (
        "left out the particles of {0}, which the tomograms file does not have; use particles and tomograms of one run"
    ),
    r"solvent mask box size: (\d+) is not the same": "cut the mask of {0} px to another box; make a fitting one",
    r"solvent mask minimum: (\S+) or maximum: (\S+) are outside": (
        "clipped the mask's values {0} to {1} to 0..1; make the mask again"
    ),
}
# A run on GPUs says so for each thread, and then that its CPU instructions run too.
_ON_GPU = re.compile(r"mapped to device \S")
_NO_GPU = re.compile(r"Running CPU instructions|do NOT have support for GPUs")


def check_inputs(command: Command) -> None:
    """UserError if an input of the program is damaged, or does not fit the others."""
    task = Task(command)
    for check_state in command.record.state_checks:
        check_state(task.files)
    for check in command.record.input_checks:
        check(task)


def check_outputs(command: Command, expected_outputs: Sequence[str | Path], lines: Sequence[str]) -> None:
    """ProgramFailed if the program, which ended with exit status 0, did not make what it should have made.
    `expected_outputs` are the files that must be there; `lines` are those of the program's output."""
    try:
        _check_lines(command, lines)
        paths = map(Path, expected_outputs)
        if missing := [str(path) for path in paths if not path.is_file() or path.stat().st_size == 0]:
            last = f" Its last words were: {' | '.join(lines[-3:])}" if lines else " It said nothing."
            raise UserError(f"it did not write {', '.join(missing)}.{last}")
        task = Task(command, lines)
        for check in command.record.output_checks:
            check(task)
    except UserError as error:
        raise ProgramFailed(f"{command.program} ended without an error, but {error}") from None


def _check_lines(command: Command, lines: Sequence[str]) -> None:
    """What the program said that means a fault."""
    wants_gpu = "--gpu" in command.flags and not any(map(_ON_GPU.search, lines))
    for line in lines:
        for pattern, fault in _FAULTS.items():
            if found := re.search(pattern, line):
                raise UserError(f"it {fault.format(*found.groups())}")
        if wants_gpu and _NO_GPU.search(line):
            raise UserError("it ran on the CPU, for it was built without CUDA", "use a GPU build or no GPU")
