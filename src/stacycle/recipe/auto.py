"""What a step starts from: the particles' box and pixel size, and the resolution reached so far."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.mrc import SAME_PIXEL
from stacycle.files.star_labels import PIXEL
from stacycle.recipe import geometry

# What `auto` means for a setting of a refinement: from the extracted images, or the resolution reached so far.
_FROM_IMAGES = {
    "mask_diameter": geometry.mask_diameter,
    "highres_limit": lambda box, pixel: geometry.estep_limit(pixel),
}


@dataclass(frozen=True)
class State:
    """An optimisation set and the images that its particles have: `box` px of `pixel` Å."""

    path: str
    files: star.OptimisationSet
    box: int
    pixel: float


def read_state(path: str) -> State:
    """The state of an `optimisation_set.star`. UserError if its optics groups differ in box or pixel size."""
    files = star.read_optimisation_set(path)
    labels = ["rlnImageSize", "rlnImagePixelSize"]
    optics = star.columns(files.particles, "optics", ["rlnOpticsGroup", *labels])
    sizes = dict.fromkeys(zip(*(map(float, optics[label]) for label in labels), strict=True))
    if len(sizes) != 1:
        raise UserError(
            (
                f"{files.particles}: its optics groups differ in box or pixel size "
                f"({', '.join(f'{box:g} px of {pixel:g} Å' for box, pixel in sizes)})"
            ),
            "extract all particles with the same box and binning",
        )
    box, pixel = next(iter(sizes))
    return State(path, files, int(box), pixel)


def series_pixel(tomograms: str) -> float:
    """Pixel size in Å of the unbinned tilt series. UserError if they differ by more than `maps.SAME_PIXEL`."""
    sizes = [float(size) for size in star.columns(tomograms, "global", [PIXEL])[PIXEL]]
    if max(sizes) > (1 + SAME_PIXEL) * min(sizes):
        raise UserError(
            f"{tomograms}: tilt series have pixel sizes from {min(sizes):g} to {max(sizes):g} Å",
            "rescale them to one, or average them as separate projects",
        )
    return sizes[0]


def resolution(path: str) -> float:
    """The resolution in Å that a `state.json` or `postprocess.star` tells; nan if it tells none."""
    if Path(path).suffix == ".json":
        told = json.loads(Path(path).read_text())["resolution"]
        return math.nan if told is None else float(told)
    column = "rlnFinalResolution"
    return float(star.columns(path, "general", [column])[column][0])


def reached(told: list[str]) -> float:
    """The resolution in Å reached so far: that of the first of the files, newest first, which tells a finite one.

    At low T the best class can have none (`inf`). UserError if no file tells one.
    """
    finite = (found for path in told if math.isfinite(found := resolution(path)))
    if (newest := next(finite, None)) is None:
        raise UserError(
            "lowpass: auto follows from a resolution, but no step before this one tells one", "set it"
        )
    return newest


def lowpass(setting: float | str, told: list[str], pixel: float = 0) -> float:
    """A low-pass filter in Å: the setting, or for `auto` slightly coarser than the resolution `reached`.

    A map of `pixel` Å carries nothing beyond its Nyquist frequency, whatever was reached at a finer pixel size.
    """
    if setting != "auto":
        return float(setting)
    return geometry.initial_lowpass(max(reached(told), geometry.nyquist(pixel)))


def settle(settings: dict[str, Any], state: State, told: list[str]) -> dict[str, Any]:
    """The settings with each `auto` worked out; `told` names the files that tell a resolution, newest first."""
    settled = {
        key: _FROM_IMAGES[key](state.box, state.pixel) if value == "auto" and key in _FROM_IMAGES else value
        for key, value in settings.items()
    }
    return settled | {"lowpass": lowpass(settings["lowpass"], told, state.pixel)}
