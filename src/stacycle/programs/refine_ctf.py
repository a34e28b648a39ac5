"""relion_tomo_refine_ctf: the tilts' defocus and contrast scale, refined against two half maps (CTF refinement)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stacycle.checks.images import check_tilt_images
from stacycle.checks.outcome import check_tilts_refined
from stacycle.checks.state import check_half_sets, check_tables
from stacycle.errors import UserError
from stacycle.programs import shared, shares
from stacycle.programs.program import CompletionMarker
from stacycle.programs.task import Task

SCALES: dict[str | None, shared.Part] = {  # how the contrast scale is refined
    "tilt": ["--do_scale", "--per_frame_scale"],
    "tomogram": ["--do_scale", "--per_tomogram_scale"],
    None: False,
}
_SEARCH = 3000.0  # Å: RELION's default of --d0 and --d1
_FARTHEST = 3.0  # times as far as was searched, which the fit after the search does not exceed


def argv(
    *,
    defocus: bool,
    search_range: float,
    regularisation: float | None,
    scale: str | None,
    threads: int,
    **compared_with: Any,
) -> list[str]:
    """Refine the tilts' defocus and contrast scale.

    Defoci are searched within `search_range` Å of those so far, with `regularisation` lambda towards the tilt
    series' mean (None: none). `scale` is one of SCALES.
    """
    return shared.line(
        ["relion_tomo_refine_ctf", *shared.compared_with(**compared_with)],
        defocus and ["--do_defocus", "--d0", -search_range, "--d1", search_range],
        defocus and regularisation is not None and ["--do_reg_defocus", "--lambda", regularisation],
        SCALES[scale],
        ["--j", threads],
    )


def _check_tilts(task: Task) -> None:
    """Tomograms, tilts and particles as they were, and each tilt's defocus (Å) one that a refinement can find.
    That is none if it became 0, or lies far outside of the search."""
    check_tilts_refined(task.files, task.made)
    limits = (abs(float(task.command.get(flag) or _SEARCH)) for flag in ("--d0", "--d1"))
    farthest = max(_FARTHEST * max(limits), _SEARCH)
    for name, (path, tilts) in task.made.series.items():
        before = task.files.series[name][1]
        for label in ("rlnDefocusU", "rlnDefocusV"):
            values = zip(map(float, before[label]), map(float, tilts[label]), strict=True)
            for row, (old, new) in enumerate(values, 1):
                if (new == 0 != old) or abs(new - old) > farthest:
                    fault = f"{label} is {new:g} Å in row {row}, and was {old:g}"
                    raise UserError(f"{path}: {fault}, which no refinement makes of it", "run it again")


PROGRAM = replace(
    shared.TOMOGRAPHY,
    name="relion_tomo_refine_ctf",
    mpi=True,
    state_checks=(check_tables, check_tilt_images, check_half_sets),
    input_checks=(shared.check_references,),
    output_checks=(_check_tilts,),
    must_not_change=("particles", "trajectories"),
    # with a defocus but no scale, RELION finds the scale with the defocus as it was before
    merge=shares.merge_tomograms,
    completion_marker=CompletionMarker("temp/defocus/*.star", {"temp/scale/*.star": "--do_scale"}),
)
