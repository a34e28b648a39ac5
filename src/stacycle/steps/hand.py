"""The hand of tilt series (rlnTomoHand), where it is not known: averages with both, and the better one is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stacycle.files.job_folder import DECISION
from stacycle.files.removed import PARTS
from stacycle.programs import mpi, reconstruct_particle
from stacycle.recipe import auto
from stacycle.resources.site import TOMOGRAMS
from stacycle.steps import reconstruct, shares, sizes
from stacycle.steps.dry_run import DryRun
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, folder_of

HANDS = {"plus": 1, "minus": -1}  # by the folder of their average


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Reconstruct the half maps of a state in the extent of its images, at the binning of the comparison."""
    params, state = job.params, reader.state(job.input.state[0])
    binning = auto.finer_binning(params.settings["binning"], params.binning)
    box = _box(state.box, params.binning, binning)
    layout = shares.layout_of(job, engine, reader.tomograms(state.files), box)
    argv = reconstruct_particle.argv(
        state=state.path,
        out=str(folder_of(job)),
        box=box,
        binning=binning,
        symmetry=params.symmetry,
        threads=layout.threads,
    )
    return mpi.with_mpi(argv, layout.ranks, layout.launcher)


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """One job of its rule, as all of them are alike."""
    yield step.name, run.command(step, run.settings)


def _box(box: int, binning: int, finer: int) -> int:
    """The even box in px of `finer` binning that extends as far as one of `binning`."""
    return 2 * round(auto.unbinned_box("auto", box, binning) / finer / 2)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    finer = auto.finer_binning(settings["binning"], size.binning)
    box, averages = _box(size.image, size.binning, finer), len(HANDS) * size.numbers.unknown_hands
    for need in reconstruct.of_box(replace(size, half_sets=True), box):
        yield replace(need, bytes=need.bytes * averages, files=need.files * averages)
    yield size.need("tables", (size.rows() + sizes.tables(4)) * averages)


STEP = Step(
    "hand",
    "Hand",
    command,
    dry_run,
    space,
    shared=TOMOGRAMS,
    last=DECISION,
    removable={PARTS: ("hand/*/*/reconstruct*",)},
)
