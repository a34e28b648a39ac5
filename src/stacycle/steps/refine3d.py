"""3D refinement of two independent half sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stacycle.files.job_folder import FINAL_DATA
from stacycle.files.removed import ITERATIONS, PARTS
from stacycle.programs import mpi, refine
from stacycle.recipe import auto, geometry
from stacycle.resources.site import GPU, PARTICLES
from stacycle.steps import class3d, poses, sizes
from stacycle.steps.dry_run import DryRun
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, filled, layout_of, mask_of

MOST_ITERATIONS = 15  # it ends by itself, seldom later than this


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Refine two halves of a state, with the mask if there is one."""
    state, layout = reader.state(job.input.state[0]), layout_of(job, half_sets=True)
    argv = refine.refine3d(
        particles=state.files.particles,
        tomograms=state.files.tomograms,
        trajectories=state.files.trajectories,
        mask=mask_of(job),
        threads=layout.threads,
        gpu=layout.gpu,
        **class3d.of_refinement(job, engine, state),
    )
    return mpi.with_mpi(argv, layout.ranks, layout.launcher)


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """One run, and the averages of its poses."""
    yield step.name, run.command(step, filled(run.settings))
    yield from poses.dry_run(run)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    maps = sizes.maps(4, size.image)  # filtered and unfiltered, of each half
    order = geometry.healpix_order(auto.sampling(settings["sampling"]))
    order = max(5, order + 1)  # it goes to finer angles by itself
    tables = size.iteration(order, models=2) * (MOST_ITERATIONS + 1)
    yield size.need("maps of iterations", maps * (MOST_ITERATIONS - 1), ITERATIONS)
    yield size.need("maps and tables", maps + tables + sizes.maps(3, size.image) + size.iteration(order))
    yield from poses.space(size, settings, kept=3)


STEP = Step(
    "refine3d",
    "3D auto-refine",
    command,
    dry_run,
    space,
    device=GPU,
    half_sets=True,
    shared=PARTICLES,
    last=FINAL_DATA,
    removable={ITERATIONS: ("refine3d*",), PARTS: ("refine3d*_poses/*/reconstruct*",)},
    pictures=("refinement_by_iteration", "directions"),
)
