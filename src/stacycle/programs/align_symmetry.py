"""relion_align_symmetry: turns a map so that its axes lie where RELION has those of a point group."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stacycle.checks.maps import check_map
from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.programs import shared
from stacycle.programs.program import Program
from stacycle.programs.task import Task

_SOLUTION = re.compile(r"refined solution is ROT = (\S+) TILT = (\S+) PSI = (\S+)")


def argv(*, map: str, out: str, symmetry: str, resolution: float) -> list[str]:
    """Turn a map about the middle of its box, by its detail up to `resolution` Å."""
    return shared.line(
        ["relion_align_symmetry", "--i", map, "--o", out],
        ["--sym", symmetry, "--keep_centre", "--maxres", resolution],
    )


def solution(lines: Iterable[str]) -> tuple[float, float, float]:
    """rot, tilt and psi in degrees by which the map was turned, of what the program said: with RELION's matrix A of
    these, aligned(x) = map(Aᵀ x). UserError if it did not say."""
    found = [match for line in lines if (match := _SOLUTION.search(line))]
    if not found:
        raise UserError(
            "relion_align_symmetry did not tell by which angles it turned the map", "look at its log"
        )
    rot, tilt, psi = map(float, found[-1].groups())
    return rot, tilt, psi


def _check_aligned(task: Task) -> None:
    """The turned map, and the angles."""
    made = task.get("--o")
    mrc.check_same(made, task.get("--i"), "run it again")
    mrc.check_values(made)
    solution(task.lines)


PROGRAM = Program(
    "relion_align_symmetry",
    input_checks=(lambda task: check_map(task.get("--i")),),
    output_checks=(_check_aligned,),
    maps=("",),
    made_of_map=True,
)
