"""Creating a mask, with a threshold found from the map itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stacycle.files import mrc
from stacycle.files.job_folder import DECISION
from stacycle.programs import mask_create
from stacycle.recipe import auto
from stacycle.steps import sizes
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step

if TYPE_CHECKING:
    from stacycle.decisions.decision import Decision


def decide(job: Any) -> tuple[Decision, dict[str, Any]]:
    """The threshold of a job's map, and the settings with the low-pass filter that it holds for."""
    from stacycle.decisions.mask import mask_threshold

    settings, density, pixel = job.params.settings, mrc.voxels(job.input.map), mrc.header(job.input.map).pixel
    lowpass = auto.mask_lowpass(settings["lowpass"], job.input.resolution, pixel)
    diameter, key = job.params.diameter, f"{job.params.key}.threshold"
    decision = mask_threshold(density, pixel, lowpass, diameter, settings["threshold"], key=key)
    return decision, settings | {"lowpass": lowpass} | decision.choice


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Make a mask from a map; the threshold and low-pass filter are decided if they are `auto`."""
    settings = job.params.settings
    return argv(job, decide(job)[1] if "auto" in settings.values() else settings)


def argv(job: Any, settings: Settings) -> list[str]:
    """The command line, with settings of which none is `auto`."""
    return mask_create.argv(map=job.input.map, out=job.output.mask, threads=job.threads, **settings)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    yield size.need("mask", sizes.maps(1, size.image) + sizes.tables(2))


STEP = Step(
    "mask",
    "Mask",
    command,
    space=space,
    last=DECISION,
    pictures=("mask",),
    candidates_shown=0,
    in_cycle=("cycle_mask",),
)
