"""Extract your particles: pseudo-subtomograms, written as 2D stacks or in 3D."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stacycle.files.job_folder import PARTICLES
from stacycle.files.removed import STACKS
from stacycle.programs import mpi, subtomo
from stacycle.recipe import auto
from stacycle.resources.site import TOMOGRAMS
from stacycle.steps import shares, sizes
from stacycle.steps.dry_run import BOX, DryRun
from stacycle.steps.sizes import IMAGES, Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, filled, folder_of


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Extract the particles of a state, in a box that follows from the particle's diameter if it is `auto`."""
    params, files = job.params, reader.files(job.input.state[0])
    pixel = auto.series_pixel(files.tomograms) * params.binning if params.box == "auto" else 0
    layout = shares.layout_of(job, engine, reader.tomograms(files))
    argv = subtomo.argv(
        particles=files.particles,
        tomograms=files.tomograms,
        trajectories=files.trajectories,
        out=str(folder_of(job)),
        box=auto.box(params.box, params.diameter, pixel),
        binning=params.binning,
        threads=layout.threads,
        **params.settings,
    )
    return mpi.with_mpi(argv, layout.ranks, layout.launcher)


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    yield step.name, run.command(step, filled(run.settings), box=BOX)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    box, count = size.image, size.numbers.particles
    if settings["stack2d"]:
        pixels = [size.numbers.visible_tilts * box**2]
    else:
        pixels = [box**3, (box // 2 + 1) * 2 * box**2]  # the pseudo-subtomogram and its weights
    voxel = 2 if settings["float16"] else 4
    stacks = sum((sizes.files(sizes.MRC_HEADER + voxel * one, count) for one in pixels), sizes.files(0, 0))
    yield size.need(IMAGES, stacks, None if size.last_round else STACKS)
    yield size.need("tables", size.rows() + sizes.tables(2))


STEP = Step(
    "extract",
    "Extraction",
    command,
    dry_run,
    space,
    shared=TOMOGRAMS,
    last=PARTICLES,
    removable={STACKS: ("extract*",)},
)
