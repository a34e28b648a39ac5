"""relion_tomo_align: tilt series realigned by their particles, and the particles' motion (polishing)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stacycle.checks.images import check_tilt_images
from stacycle.checks.outcome import check_motion, check_tilts_refined
from stacycle.checks.state import check_half_sets, check_tables
from stacycle.programs import shared, shares
from stacycle.programs.program import CompletionMarker
from stacycle.programs.task import Task


def argv(
    *,
    max_error: float,
    shift_only: bool,
    motion: bool,
    sigma_velocity: float,
    sigma_divergence: float,
    gaussian_decay: bool,
    threads: int,
    **compared_with: Any,
) -> list[str]:
    """Realign tilt series by their particles, within `max_error` px.

    With `motion` particles move too, with priors on velocity (Å per unit dose) and divergence (Å); with `shift_only`
    tilt images are only shifted as a whole, without motion.
    """
    motion = motion and not shift_only
    return shared.line(
        ["relion_tomo_align", *shared.compared_with(**compared_with), "--r", max_error],
        shift_only and ["--shift_only"],
        motion and ["--motion", "--s_vel", sigma_velocity, "--s_div", sigma_divergence],
        motion and gaussian_decay and ["--sq_exp_ker"],
        ["--j", threads],
    )


def _check_tilts(task: Task) -> None:
    """Tomograms, tilts and particles as they were, but for where they are; and motion, if it was fitted."""
    check_tilts_refined(task.files, task.made)
    if "--motion" in task.command.flags:
        check_motion(task.made)


PROGRAM = replace(
    shared.TOMOGRAPHY,
    name="relion_tomo_align",
    mpi=True,
    state_checks=(check_tables, check_tilt_images, check_half_sets),
    input_checks=(shared.check_references,),
    output_checks=(_check_tilts,),
    moves_particles=True,
    merge=shares.merge_tomograms,
    completion_marker=CompletionMarker(
        "temp/*_projections.star", {"temp/*_positions.star": "", "temp/*_motion.star": "--motion"}
    ),
)
