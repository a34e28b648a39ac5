"""Creating a mask, with a threshold found from the map itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stacycle.files import mrc
from stacycle.files.job_folder import DECISION
from stacycle.programs import mask_create
from stacycle.recipe import auto
from stacycle.recipe.step_settings import SHAPES
from stacycle.steps import sizes
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, folder_of

if TYPE_CHECKING:
    import numpy as np

    from stacycle.decisions.decision import Decision
    from stacycle.decisions.mask_shapes import Shape


def decide(job: Any) -> tuple[Decision, dict[str, Any]]:
    """The threshold of a job's map, and what relion_mask_create is given, of which nothing is `auto`. What is made of
    another shape, or of a map with dust at the threshold, has the map that `prepare` writes, low-passed already."""
    from stacycle.decisions.mask import DUST, mask_threshold, of_shape

    density, pixel, settings, shape = _given(job)
    key, threshold = f"{job.params.key}.threshold", settings["threshold"]
    if shape and shape.is_mask:
        decision = of_shape(shape.of, shape.density, pixel, key if threshold != "auto" else "")
    else:
        decision = mask_threshold(
            density, pixel, settings["lowpass"], job.params.diameter, threshold, key=key
        )
    settings |= decision.choice | {"map": job.input.map}
    if shape or decision.numbers["dust"] > DUST:
        folder = folder_of(job)  # what lies in it is moved with its earlier results
        settings |= {"map": f"{folder}_density/density.mrc", "lowpass": None}
    return decision, settings


def prepare(job: Any, settings: Settings) -> None:
    """Write the map without dust or of another shape, if the mask is made of that."""
    from stacycle.decisions.mask import low_pass, without_dust
    from stacycle.provenance import record

    if settings["map"] != job.input.map:
        density, pixel, given, shape = _given(job)
        if not (shape and shape.is_mask):
            density = without_dust(low_pass(density, pixel, given["lowpass"]), settings["threshold"])
        mrc.write_map(settings["map"], density, pixel)
        record.of_map(settings["map"], job.input.map)


def compared(job: Any, decision: Decision) -> tuple[Decision, list[str]]:
    """The decision with the volume of the mask that was made, and what is to be said of it beside the mask before."""
    from stacycle.decisions.mask import changed_volume

    made, *earlier = map(_volume, [job.output.mask, *job.input.earlier])
    changed = [warning for before in earlier for warning in changed_volume(made, before)]
    numbers, warnings = decision.numbers | {"mask_volume": made}, decision.warnings + changed
    return replace(decision, numbers=numbers, warnings=warnings), changed


def _volume(mask: str) -> float:
    """The volume in Å^3 of a mask, its soft edge by weight."""
    return float(mrc.voxels(mask).sum(dtype=float)) * mrc.header(mask).pixel ** 3


def _given(job: Any) -> tuple[np.ndarray, float, dict[str, Any], Shape | None]:
    """The voxels and pixel size that a job's mask is made of, its settings, of which only the threshold may be `auto`,
    and the shape that they ask for, if any."""
    from stacycle.decisions import mask_shapes

    params, resolution, map_ = job.params, job.input.resolution, job.input.map
    given, pixel, shape = dict(params.settings), mrc.header(map_).pixel, None
    if mask_shapes.asked(given):
        lowpass = auto.mask_settings(given, resolution, pixel, params.diameter)["lowpass"]
        shape = mask_shapes.shape(given, job.input.shape, map_, lowpass, params.key)
        if shape.is_mask and given["extend"] == "auto":
            given["extend"] = 0  # it is where the user wants it
    settings = auto.mask_settings(given, resolution, pixel, params.diameter)
    settings = {key: value for key, value in settings.items() if key not in SHAPES}
    return shape.density if shape else mrc.voxels(map_), pixel, settings, shape


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Make a mask from a map, or from it without dust; what is `auto` is decided. A dry run has no map to look at."""
    if reader is FILES:
        return argv(job, decide(job)[1])
    settings = {key: value for key, value in job.params.settings.items() if key not in SHAPES}
    return argv(job, {**settings, "map": job.input.map})


def argv(job: Any, settings: Settings) -> list[str]:
    """The command line, with settings of which none is `auto`."""
    return mask_create.argv(out=job.output.mask, threads=job.threads, **settings)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    yield size.need("mask", sizes.maps(2, size.image) + sizes.tables(2))  # and the map without dust


STEP = Step(
    "mask",
    "Mask",
    command,
    space=space,
    last=DECISION,
    pictures=("mask", "mask_threshold"),
    candidates_shown=0,
    runs_alike=("cycle_mask",),
)
