"""relion_postprocess --locres: the resolution around each voxel, and a map filtered by it."""

from __future__ import annotations

from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.programs import shared
from stacycle.programs.task import Task

FLAG = "--locres"  # by which relion_postprocess does this instead of the post-processing
LOCAL, FILTERED = "_locres.mrc", "_locres_filtered.mrc"  # what follows --o in the names of its maps
_SAME = 1e-3  # a resolution is the coarsest if it is so near


def argv(
    *,
    half_map: str,
    mask: str | None,
    out: str,
    bfactor: float,
    sampling: float,
    mask_radius: float,
    edge_width: float,
    randomise_at: float,
    coarsest: float,
) -> list[str]:
    """Local resolution from the first half map (RELION finds the second by its name); `bfactor` in Å², all else in Å.
    RELION uses the mask for a histogram only."""
    return shared.line(
        ["relion_postprocess", FLAG, "--i", half_map, "--o", out, "--angpix", -1],
        ["--adhoc_bfac", bfactor],
        ["--mask", mask],
        ["--locres_sampling", sampling, "--locres_maskrad", mask_radius, "--locres_edgwidth", edge_width],
        ["--locres_randomize_at", randomise_at, "--locres_minres", coarsest],
    )


def check_lengths(task: Task) -> None:
    """What RELION takes and then means nothing, or never ends; of a command with `--locres`."""
    if FLAG not in task.command.flags:
        return
    box, pixel = mrc.box_and_pixel(task.half_maps[0])
    sampling, radius = (_length(task, flag) for flag in ("--locres_sampling", "--locres_maskrad"))
    at, coarsest = (_length(task, flag) for flag in ("--locres_randomize_at", "--locres_minres"))
    maps = f"these half maps of {pixel:.4g} Å/px"
    if sampling <= pixel / 2:
        problem = f"a sampling of {sampling:g} Å is no whole pixel in {maps}, and RELION would never end"
        raise UserError(problem, f"take {3 * pixel:.3g} Å or more", "local_resolution.sampling")
    if radius >= box * pixel / 2:
        problem = f"spheres of radius {radius:g} Å do not fit into the box of {box * pixel:.4g} Å"
        raise UserError(problem, "make them smaller, or the box larger", "local_resolution.mask_radius")
    if at <= 2 * pixel:
        problem = f"phases beyond {at:g} Å are none in {maps}, so nothing would tell what the spheres themselves add"
        raise UserError(problem, "take a coarser resolution", "local_resolution.randomise_at")
    if coarsest <= 2 * pixel:
        problem = (
            f"all resolutions would be {coarsest:g} Å, the coarsest, for {maps} end at {2 * pixel:.4g} Å"
        )
        raise UserError(problem, "take a coarser one", "local_resolution.coarsest")


def _length(task: Task, flag: str) -> float:
    return float(task.get(flag))


def check_maps(task: Task) -> None:
    """Both maps: box and pixel size of the half maps, and resolutions that say something."""
    root, half = task.get("--o"), task.get("--i")
    for path in (f"{root}{LOCAL}", f"{root}{FILTERED}"):
        mrc.check_same(path, half, "run it again")
        mrc.check_values(path)
    path, nyquist = f"{root}{LOCAL}", 2 * mrc.box_and_pixel(half)[1]
    values, coarsest = mrc.voxels(path), _length(task, "--locres_minres")
    told = values[values > 0]
    if not len(told) or values.min() < 0:
        raise UserError(f"{path}: its resolutions are not above 0 Å", "run it again")
    if told.min() < nyquist * (1 - _SAME) or told.max() > coarsest * (1 + _SAME):
        beyond = f"its resolutions run from {told.min():.4g} to {told.max():.4g} Å"
        raise UserError(f"{path}: {beyond}, not within {nyquist:.4g} to {coarsest:.4g} Å", "run it again")
    if (told >= coarsest * (1 - _SAME)).all():
        fault = f"all its resolutions are {coarsest:g} Å, the coarsest that was asked for"
        raise UserError(f"{path}: {fault}", "set local_resolution.coarsest to more")
