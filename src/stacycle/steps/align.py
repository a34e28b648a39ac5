"""Fast alignment using 3D classification with a single class, one run per T; then the best iteration and T."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stacycle.files.job_folder import DECISION
from stacycle.files.removed import ITERATIONS, PARTS
from stacycle.programs import mpi, refine
from stacycle.recipe import auto, geometry
from stacycle.recipe.rounds import PROBE, PROBING
from stacycle.resources.site import GPU, PARTICLES
from stacycle.steps import class3d, poses, sizes
from stacycle.steps.dry_run import DryRun
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, filled, layout_of


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Align a state to one reference, with the T of one variant."""
    layout = layout_of(job)
    argv = refine.align(**class3d.arguments(job, engine, reader), threads=layout.threads, gpu=layout.gpu)
    return mpi.with_mpi(argv, layout.ranks, layout.launcher)


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """One run for each T, the short one before them, and the averages of their poses."""
    yield from class3d.runs(step.name, step, run, run.settings)
    if any(path.endswith(PROBE) for path in run.recipe.accuracy(run.round, run.step)):
        yield "align_probe", run.command(step, filled(run.settings) | PROBING, variant=[1, 1])
    yield from poses.dry_run(run)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    for runs in (settings, {**settings, **PROBING, "T": 1}):
        order = geometry.healpix_order(auto.sampling(runs["sampling"]))
        yield from class3d.space(size, runs, order)
    yield size.need("reference", sizes.maps(1, size.image))
    yield from poses.space(size, settings, kept=1)


STEP = Step(
    "align",
    "Alignment",
    command,
    dry_run,
    space,
    runs_alike=("align_probe",),
    device=GPU,
    shared=PARTICLES,
    last=DECISION,
    removable={ITERATIONS: ("align/*", "align_probe"), PARTS: ("align_poses/*/reconstruct*",)},
    pictures=("sweep_by_iteration",),
)
