"""Bayesian polishing: tilt series realigned by their particles, one run per variant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stacycle.programs import align
from stacycle.resources.site import TOMOGRAMS
from stacycle.steps import ctfrefine, sizes
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step

_TRACK = 700  # bytes per particle and tilt that fitted motion leaves: two tables, three plots and their page


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Realign a state's tilt series, with the settings of one variant."""
    return ctfrefine.shared_run(align.argv, job, engine, reader)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    """What one variant writes."""
    files = ctfrefine.of_tilt_series(size) + size.rows()
    if settings["motion"]:
        files += sizes.files(_TRACK * size.tilts() * size.numbers.particles)
    yield size.need("tables", files)


STEP = Step("polish", "Polishing", command, space=space, shared=TOMOGRAMS)
