"""relion_refine_mpi --multibody_masks: bodies of a particle that move against each other, from a refinement of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stacycle.checks.tables import filled
from stacycle.errors import UserError
from stacycle.files import bodies, mrc, star
from stacycle.programs import refine, shared
from stacycle.programs.command import Command
from stacycle.programs.program import Program
from stacycle.programs.task import Task
from stacycle.recipe.geometry import healpix_order

MASKS, GO_ON = "--multibody_masks", "--continue"


def argv(
    *,
    optimiser: str,
    bodies: str,
    out: str,
    sampling: float,
    offset_range: float,
    offset_step: float,
    subtract: bool = True,
    pool: int,
    threads: int,
    gpu: str | None,
    scratch: str | None,
) -> list[str]:
    """Go on from an iteration's `optimiser` with the bodies of a bodies.star, at one sampling (degrees), all searches
    local; offsets in px, or what RELION makes px of (`steps.multibody`). Run `mpi.with_mpi`."""
    order = healpix_order(sampling, refine.OVERSAMPLING)
    return shared.line(
        ["relion_refine_mpi", GO_ON, optimiser, "--o", out, "--solvent_correct_fsc", MASKS, bodies],
        [
            "--oversampling",
            refine.OVERSAMPLING,
            "--healpix_order",
            order,
            "--auto_local_healpix_order",
            order,
        ],
        refine.offsets(offset_range, offset_step),
        subtract and ["--reconstruct_subtracted_bodies"],
        refine.computing(scratch, pool),
        ["--j", threads],
        ["--gpu", gpu],
    )


def half_maps(optimiser: str) -> list[str]:
    """The half maps of the iteration that an optimiser is of."""
    root = optimiser.removesuffix("optimiser.star")
    return [f"{root}half{half}_class001.mrc" for half in (1, 2)]


def _also_reads(command: Command) -> dict[str, str]:
    """The masks of the bodies, and the iteration's particles and half maps."""
    optimiser, given = command.get(GO_ON) or "", command.get(MASKS) or ""
    masks = bodies.masks(given) if Path(given).is_file() else []
    found = {f"body {number}": path for number, path in enumerate(masks, 1)}
    found |= {f"half map {half}": path for half, path in enumerate(half_maps(optimiser), 1)}
    return found | {"particles": optimiser.replace("optimiser", "data")}


def _check_ranks(flags: Mapping[str, list[str]], ranks: int) -> None:
    """UserError for fewer than the three ranks that split halves need."""
    if ranks < refine.FEWEST_WITH_HALVES:
        fault = f"multibody needs at least {refine.FEWEST_WITH_HALVES} MPI ranks but was given {ranks}"
        raise UserError(fault, "raise ranks in the profile")


def _check_bodies(task: Task) -> None:
    """The half maps that it goes on from, and the bodies' masks, which must fit them."""
    first, second = half_maps(task.get(GO_ON))
    mrc.check_same(second, first, "refine again")
    for mask in bodies.masks(task.get(MASKS)):
        mrc.check_mask(mask, first)
        mrc.check_mask_values(mask)
        values = mrc.voxels(mask)
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            problem = f"{mask}: its values run from {low:g} to {high:g}, and RELION takes none of a body outside 0..1"
            raise UserError(problem, "clip them")


def _check_refined(task: Task) -> None:
    """As many particles as went in, with a table and maps of each body."""
    root, count = task.get("--o"), len(bodies.masks(task.get(MASKS)))
    before, after = (
        len(star.columns(path, "particles", ["rlnTomoName"])["rlnTomoName"])
        for path in (task.get(GO_ON).replace("optimiser", "data"), f"{root}_data.star")
    )
    if before != after:
        problem = f"{root}_data.star has {after} particles, but {before} went in"
        raise UserError(problem, "delete the folder and run it again")
    first, _ = half_maps(task.get(GO_ON))
    for body in range(1, count + 1):
        filled(f"{root}_data.star", f"images_body_{body}", ["rlnOriginXAngst", "rlnAngleRot"])
        halves = [f"half{half}_body{body:03d}_unfil.mrc" for half in (1, 2)]
        for path in (f"{root}_{name}" for name in (f"body{body:03d}.mrc", *halves)):
            mrc.check_same(path, first, "run it again")
            mrc.check_values(path)


PROGRAM = Program(
    "relion_refine",
    only_with=MASKS,
    mpi=True,
    check_ranks=_check_ranks,
    also_reads=_also_reads,
    input_checks=(_check_bodies,),
    output_checks=(_check_refined,),
    ignored_flags=refine.PROGRAM.ignored_flags - {GO_ON},
    unlisted_flags=frozenset({GO_ON, MASKS, "--reconstruct_subtracted_bodies"}),
)
