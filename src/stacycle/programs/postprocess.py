"""relion_postprocess: the resolution by the FSC of two half maps, and a sharpened map."""

from __future__ import annotations

import os

from stacycle.checks.maps import read_shells
from stacycle.checks.tables import check_numbers
from stacycle.errors import UserError
from stacycle.files import mrc, star
from stacycle.programs import local_resolution, shared
from stacycle.programs.command import Command
from stacycle.programs.program import Program
from stacycle.programs.task import Task

RANDOM_FROM = "--randomize_at_A"


def argv(
    *,
    half_map: str,
    mask: str | None,
    out: str,
    bfactor: float | None,
    autob_lowres: float = 10,
    skip_fsc_weighting: bool = False,
    random_from: float | None = None,
) -> list[str]:
    """Resolution and sharpening from the first half map (RELION finds the second by its name).
    `bfactor` (Å², negative sharpens) of None is estimated from resolutions finer than `autob_lowres` Å. Phases are
    random from the resolution `random_from` (Å) on, or from where the FSC falls below 0.8."""
    return shared.line(
        ["relion_postprocess"],
        ["--mask", mask],
        ["--i", half_map, "--o", out, "--angpix", -1],
        ["--auto_bfac", "--autob_lowres", autob_lowres] if bfactor is None else ["--adhoc_bfac", bfactor],
        skip_fsc_weighting and ["--skip_fsc_weighting"],
        [RANDOM_FROM, random_from],
    )


def _half_maps(command: Command) -> tuple[str, str]:
    """The first half map, and the second, which has the same name but for its number."""
    first = command.get("--i") or ""
    folder, name = os.path.split(first)
    return first, command.get("--i2") or os.path.join(folder, name.replace("half1", "half2"))


def _check_postprocessed(task: Task) -> None:
    """The FSC, and the sharpened map with and without the mask; of a command with `--locres`, its maps."""
    if local_resolution.FLAG in task.command.flags:
        local_resolution.check_maps(task)
        return
    root, half = task.get("--o"), task.get("--i")
    general = star.columns(f"{root}.star", "general", ["rlnFinalResolution"])
    check_numbers(f"{root}.star", general, ["rlnFinalResolution"])
    shells = read_shells(f"{root}.star")
    if len(shells) != mrc.box_and_pixel(half)[0] // 2 + 1:
        raise UserError(f"{root}.star: its FSC has {len(shells)} shells, not those of {half}", "run it again")
    for path in (f"{root}.mrc", *([f"{root}_masked.mrc"] if task.command.get("--mask") else [])):
        mrc.check_same(path, half, "run it again")
        mrc.check_values(path)


PROGRAM = Program(
    "relion_postprocess",
    mpi=True,
    half_maps=_half_maps,
    input_checks=(shared.check_half_maps, local_resolution.check_lengths),
    output_checks=(_check_postprocessed,),
    maps=(".star", ".mrc", "_masked.mrc", local_resolution.LOCAL, local_resolution.FILTERED),
    made_of_map=True,
    later_flags=frozenset({RANDOM_FROM}),
)
