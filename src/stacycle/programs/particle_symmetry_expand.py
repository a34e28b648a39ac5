"""relion_particle_symmetry_expand: each particle once for every rotation of a point group."""

from __future__ import annotations

from stacycle.checks.tables import check_numbers
from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.star_labels import ANGLES
from stacycle.programs import shared
from stacycle.programs.program import Program
from stacycle.programs.task import Task
from stacycle.recipe.geometry import turns_of_group


def argv(*, particles: str, out: str, symmetry: str) -> list[str]:
    """Copies of the particles of a file, in another."""
    return shared.line(["relion_particle_symmetry_expand", "--i", particles, "--o", out, "--sym", symmetry])


def _check_expanded(task: Task) -> None:
    """As many rows as the particles have copies, with angles."""
    before, made, group = task.get("--i"), task.get("--o"), task.get("--sym")
    number = len(star.column(before, "rlnTomoName"))
    found = star.columns(made, "particles", ["rlnTomoName", *ANGLES])
    wanted = number * turns_of_group(group)
    if len(found["rlnTomoName"]) != wanted:
        fault = f"{made} has {len(found['rlnTomoName'])} rows, but {number} particles have {wanted} copies in {group}"
        raise UserError(fault, "run it again")
    check_numbers(made, found, ANGLES)


PROGRAM = Program("relion_particle_symmetry_expand", output_checks=(_check_expanded,))
