"""Post-processing: the resolution by masked FSC, and a sharpened map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stacycle.files.job_folder import POSTPROCESS
from stacycle.programs import postprocess
from stacycle.steps import sizes
from stacycle.steps.dry_run import DryRun
from stacycle.steps.sizes import Files, Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, folder_of, mask_of


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Post-process two half maps, with the mask if there is one."""
    settings = dict(job.params.settings)
    bfactor = settings.pop("bfactor")
    return postprocess.argv(
        half_map=job.input.half_maps[0],
        mask=mask_of(job),
        out=f"{folder_of(job)}/postprocess",
        bfactor=None if bfactor == "auto" else bfactor,
        random_from=_random_from(job) if reader is FILES else None,
        **settings,
    )


def _random_from(job: Any) -> float | None:
    from stacycle.decisions.half_maps import random_from

    of_round = job.params.step == STEP.name  # a cycle's maps are unbinned: their FSC falls
    return random_from(job.input.half_maps) if of_round else None


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """As it is: a B-factor that is `auto` has a flag of its own."""
    yield step.name, run.command(step, run.settings)


def of_box(box: int) -> Files:
    """What post-processing of maps of `box` px writes."""
    return sizes.maps(2, box) + sizes.tables(5) + sizes.plots()


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    yield size.need("maps", of_box(size.image))


STEP = Step(
    "postprocess",
    "Post-processing",
    command,
    dry_run,
    space,
    last=POSTPROCESS,
    pictures=("fsc", "guinier", "postprocessed_map"),
    runs_alike=("cycle_postprocess", "variant_postprocess"),
)
