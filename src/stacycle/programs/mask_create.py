"""relion_mask_create: a mask made of a map."""

from __future__ import annotations

from stacycle.checks.maps import check_map
from stacycle.files import mrc
from stacycle.programs import shared
from stacycle.programs.program import Program
from stacycle.programs.task import Task


def argv(
    *, map: str, out: str, lowpass: float | None, threshold: float, extend: int, soft_edge: int, threads: int
) -> list[str]:
    """Create a mask from a map: filtered (Å), cut at a threshold, extended and given a soft edge (px)."""
    return shared.line(
        ["relion_mask_create", "--i", map, "--o", out],
        ["--lowpass", lowpass],
        ["--ini_threshold", threshold],
        ["--extend_inimask", extend, "--width_soft_edge", soft_edge, "--j", threads],
    )


def _check_mask(task: Task) -> None:
    """The mask, which must fit its map."""
    mask = task.get("--o")
    mrc.check_mask(mask, task.get("--i"))
    mrc.check_mask_values(mask)


PROGRAM = Program(
    "relion_mask_create",
    input_checks=(lambda task: check_map(task.get("--i")),),
    output_checks=(_check_mask,),
    maps=("",),
    made_of_map=True,
)
