"""Turning map and particles to the axes that RELION has of a point group, and testing that the map has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stacycle.files.job_folder import DECISION
from stacycle.programs import align_symmetry
from stacycle.recipe import auto
from stacycle.steps import sizes
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Turn the newest map, which has no symmetry yet, by what it shows up to the resolution reached."""
    params, wanted = job.params, job.params.settings["lowpass"]
    return align_symmetry.argv(
        map=job.input.map,
        out=str(job.output[0]),
        symmetry=params.symmetry,
        resolution=auto.reached(job.input.resolution) if wanted == "auto" else wanted,
    )


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    yield size.need("maps", sizes.maps(2, size.image))
    yield size.need("tables", size.rows() + sizes.tables(4))


STEP = Step("align_symmetry", "Symmetry", command, space=space, last=DECISION)
