"""Local resolution: how far each part of the post-processed map reaches, and the map filtered by that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.files.job_folder import DECISION
from stacycle.programs import local_resolution, mpi
from stacycle.recipe import geometry
from stacycle.resources.site import SPHERES
from stacycle.steps import shares, sizes
from stacycle.steps.dry_run import BOX, MANY, DryRun
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, folder_of, mask_of

if TYPE_CHECKING:
    import numpy as np

    from stacycle.decisions.decision import Decision

NAME = "relion"  # how the GUI's job names its maps: relion_locres.mrc


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Local resolution of the half maps that were post-processed, with the mask if there is one."""
    layout = shares.layout_of(job, engine, (MANY, 0))  # thousands of spheres
    argv = local_resolution.argv(
        half_map=job.input.half_maps[0],
        mask=mask_of(job),
        out=f"{folder_of(job)}/{NAME}",
        **(settings(job) if reader is FILES else _before_there_are_files(job)),
    )
    return mpi.with_mpi(argv, layout.ranks, layout.launcher)


def settings(job: Any) -> dict[str, Any]:
    """The settings of a job, each `auto` worked out. UserError if the half maps are not those that were
    post-processed."""
    from stacycle.files import relion_output

    given, half_maps = relion_output.fsc(job.input.fsc), tuple(map(str, job.input.half_maps))
    if any(given.half_maps) and given.half_maps[0] != half_maps[0]:
        problem = f"{job.input.fsc} is of {given.half_maps[0]}, not of the newest half maps, {half_maps[0]}"
        raise UserError(problem, "put postprocess between them and local_resolution", job.params.key)
    box, pixel = mrc.box_and_pixel(half_maps[0])
    of_map = {"resolution_A": given.resolution, "pixel_A": pixel, "box_px": box}
    found = _filled(dict(job.params.settings), job.params.diameter, **of_map)
    return {**found, "bfactor": given.bfactor} if found["bfactor"] == "auto" else found


def _filled(given: dict[str, Any], diameter: float, **of_map: Any) -> dict[str, Any]:
    asked = given["sampling"]
    auto = geometry.local_resolution(
        diameter_A=diameter, sampling_A=None if asked == "auto" else asked, **of_map
    )
    return {key: auto.get(key, value) if value == "auto" else value for key, value in given.items()}


def _before_there_are_files(job: Any) -> dict[str, Any]:
    found = _filled(dict(job.params.settings), job.params.diameter, resolution_A=10, pixel_A=4, box_px=BOX)
    return {**found, "bfactor": 0} if found["bfactor"] == "auto" else found


def decide(job: Any) -> tuple[Decision, np.ndarray]:
    """What the local resolutions of a job are inside its mask, and which voxels (n, n, n) these are."""
    from stacycle.decisions.local_resolution import inside, summary
    from stacycle.files import relion_output

    made, mask, diameter = job.output.map, mask_of(job), job.params.diameter
    box, pixel = mrc.box_and_pixel(made)
    within = inside(mrc.voxels(mask) if mask else None, box, pixel, diameter)
    decision = summary(
        mrc.voxels(made),
        within,
        nyquist=geometry.nyquist(pixel),
        coarsest=settings(job)["coarsest"],
        reached=relion_output.fsc(job.input.fsc).resolution,
        key=job.params.key,
    )
    return decision, within


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """One job."""
    yield step.name, run.command(step, run.settings)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    yield size.need("maps", sizes.maps(2, size.image) + sizes.tables(5) + sizes.plots(3))


STEP = Step(
    "local_resolution",
    "Local resolution",
    command,
    dry_run,
    space,
    shared=SPHERES,
    last=DECISION,
    pictures=("local_resolution_slices", "local_resolution_histogram"),
)
