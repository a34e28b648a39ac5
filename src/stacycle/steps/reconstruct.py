"""Check your average: the particles reconstructed at the poses that they have; in a cycle, at bin 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stacycle.files.job_folder import MERGED
from stacycle.files.removed import PARTS
from stacycle.programs import mpi, reconstruct_particle
from stacycle.recipe import auto
from stacycle.resources.site import TOMOGRAMS
from stacycle.steps import shares, sizes
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, folder_of


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Reconstruct the average of a state, in the box of its images; in a cycle (`params.box`), in the bin1 box."""
    params, state = job.params, reader.state(job.input.state[0])
    box, binning = state.box, params.binning
    if bin1_box := params.get("box"):
        box, binning = auto.unbinned_box(bin1_box, box, binning), 1
    layout = shares.layout_of(job, engine, reader.tomograms(state.files), box)
    argv = reconstruct_particle.argv(
        state=state.path,
        out=str(folder_of(job)),
        box=box,
        binning=binning,
        symmetry=params.symmetry,
        threads=layout.threads,
        **params.settings,
    )
    return mpi.with_mpi(argv, layout.ranks, layout.launcher)


def of_box(size: Sizes, box: int) -> list[Need]:
    """What a reconstruction in a box (px) writes."""
    maps = sizes.maps(3 if size.half_sets else 1, box)
    return [size.need("maps", maps), size.need("data and weight maps", maps * 2, PARTS)]


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    yield from of_box(size, size.image)


STEP = Step(
    "reconstruct",
    "Average",
    command,
    space=space,
    shared=TOMOGRAMS,
    last=MERGED,
    removable={PARTS: ("reconstruct*",)},
    runs_alike=("cycle_reference", "variant_reconstruct", "poses"),
)
