"""What `auto` means for each setting, by the images that a step starts from and the resolution so far."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacycle.errors import UserError
from stacycle.files import mrc, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import PIXEL
from stacycle.recipe import geometry


@dataclass(frozen=True)
class State:
    """An optimisation set and the images that its particles have: `box` px of `pixel` Å."""

    path: str
    files: OptimisationSet
    box: int
    pixel: float


def read_state(path: str) -> State:
    """The state of an `optimisation_set.star`. UserError if its optics groups differ in box or pixel size."""
    files = OptimisationSet.read(path)
    labels = ["rlnImageSize", "rlnImagePixelSize"]
    optics = star.columns(files.particles, "optics", ["rlnOpticsGroup", *labels])
    sizes = dict.fromkeys(zip(*(map(float, optics[label]) for label in labels), strict=True))
    if len(sizes) != 1:
        found = ", ".join(f"{box:g} px of {pixel:g} Å" for box, pixel in sizes)
        problem = f"{files.particles}: its optics groups differ in box or pixel size ({found})"
        raise UserError(problem, "extract all particles with the same box and binning")
    box, pixel = next(iter(sizes))
    return State(path, files, int(box), pixel)


def series_pixel(tomograms: str) -> float:
    """Pixel size in Å of the unbinned tilt series. UserError if they differ by more than `mrc.SAME_PIXEL`."""
    sizes = [float(size) for size in star.columns(tomograms, "global", [PIXEL])[PIXEL]]
    if max(sizes) > (1 + mrc.SAME_PIXEL) * min(sizes):
        problem = f"{tomograms}: tilt series have pixel sizes from {min(sizes):g} to {max(sizes):g} Å"
        raise UserError(problem, "rescale them to one, or average them as separate projects")
    return sizes[0]


def box(setting: int | str, diameter: float, pixel: float) -> int:
    """A round's box in px of `pixel` Å; `auto` follows from the particle's `diameter` in Å."""
    return geometry.box(diameter, pixel) if setting == "auto" else int(setting)


def unbinned_box(setting: int | str, box: int, binning: float) -> int:
    """The box in px of a cycle's maps; `auto` has the extent of the round's box."""
    return geometry.bin1_box(box, binning) if setting == "auto" else int(setting)


def finer_binning(setting: int | str, binning: int) -> int:
    """The binning at which a round's averages tell more than its images; `auto` is half of the round's."""
    return max(1, binning // 2) if setting == "auto" else int(setting)


def estimation_box(setting: int | str, half_map: str, key: str) -> int:
    """The box in px in which images are compared; `auto` is a fast one, 10 % larger than the half map's. UserError if
    it is smaller than that."""
    least, _ = mrc.box_and_pixel(half_map)
    auto = geometry.estimation_box(least)
    if setting != "auto" and int(setting) < least:
        problem = f"{setting} px is smaller than the {least} px of the reference {half_map}"
        raise UserError(problem, f"give at least {least}, better {auto}, or auto", key)
    return auto if setting == "auto" else int(setting)


def resolution(path: str) -> float:
    """The resolution in Å in a `state.json` or `postprocess.star`; nan if there is none."""
    if Path(path).suffix == ".json":
        found = json.loads(Path(path).read_text())["resolution"]
        return math.nan if found is None else float(found)
    column = "rlnFinalResolution"
    return float(star.columns(path, "general", [column])[column][0])


def reached(paths: list[str]) -> float:
    """The resolution in Å reached so far: the first finite one of the files, newest first (at low T the best class can
    have none, `inf`). UserError if no file has one."""
    finite = (found for path in paths if math.isfinite(found := resolution(path)))
    if (newest := next(finite, None)) is None:
        problem = "auto follows from a resolution, but no step before this one has one"
        raise UserError(problem, "set it", "lowpass")
    return newest


def lowpass(setting: float | str, paths: list[str], pixel: float = 0) -> float:
    """The low-pass filter in Å of a reference; `auto` is slightly coarser than the resolution `reached`, and than what
    a map of `pixel` Å can carry."""
    if setting != "auto":
        return float(setting)
    return geometry.initial_lowpass(max(reached(paths), geometry.nyquist(pixel)))


def accuracy(path: str) -> tuple[float, float]:
    """The accuracy of angles in degrees and of positions in Å that RELION estimated: in a `state.json`, or in a model
    of one class."""
    if Path(path).suffix == ".json":
        rotations, translations = json.loads(Path(path).read_text())["accuracy"]
        return float(rotations), float(translations)
    labels = ["rlnAccuracyRotations", "rlnAccuracyTranslationsAngst"]
    columns = star.columns(path, "model_classes", labels)
    return float(columns[labels[0]][0]), float(columns[labels[1]][0])


def sampling(setting: float | str, paths: Sequence[str] = ()) -> float:
    """The angular sampling in degrees to begin with; `auto` follows from the accuracy in a file of `paths`, if there is
    one, and is the tutorial's if not."""
    if setting != "auto":
        return float(setting)
    return geometry.angular_sampling(accuracy(paths[0])[0]) if paths else geometry.TUTORIAL_SAMPLING


def mask_settings(
    settings: dict[str, Any], paths: list[str], pixel: float, diameter: float
) -> dict[str, Any]:
    """A mask's settings with each `auto` but the threshold worked out: the low-pass filter is about the resolution
    `reached`, the extension and soft edge (px) follow from that, or from the filter that is given."""
    resolution = settings["lowpass"]
    if resolution == "auto":
        resolution = max(reached(paths), geometry.nyquist(pixel))
    extend, soft_edge = geometry.mask_margin(resolution, pixel, diameter)
    found = {"lowpass": geometry.mask_lowpass(resolution), "extend": extend, "soft_edge": soft_edge}
    return {key: found.get(key, value) if value == "auto" else value for key, value in settings.items()}


def classification(settings: Mapping[str, Any], picks: int | None, diameter: float) -> dict[str, Any]:
    """What `auto` means for a classification as far as the number of picks tells, which is known before anything runs:
    which runs there are depends on it. A T of one's own is not repeated."""
    by_picks = geometry.classification(picks, diameter)
    if settings["T"] != "auto":
        by_picks["repeats"] = 1
    return {key: value for key, value in by_picks.items() if settings[key] == "auto"}


def resolve_auto(
    settings: dict[str, Any], state: State, paths: list[str], accuracies: Sequence[str] = ()
) -> dict[str, Any]:
    """A refinement's settings with each `auto` worked out; `paths` are the files with a resolution, newest first, and
    `accuracies` one with an accuracy of angles, if there is one."""
    of_images = {
        "offset_range": geometry.offset_range(state.pixel),
        "offset_step": geometry.offset_step(state.pixel, *(accuracy(path)[1] for path in accuracies[:1])),
        "mask_diameter": geometry.mask_diameter(state.box, state.pixel),
        "highres_limit": geometry.estep_limit(state.pixel),
    }
    resolved = {
        key: of_images.get(key, value) if value == "auto" else value for key, value in settings.items()
    }
    resolved["lowpass"] = lowpass(settings["lowpass"], paths, state.pixel)
    if "sampling" in settings:
        resolved["sampling"] = sampling(settings["sampling"], accuracies)
    if settings.get("local_sampling") == "auto":
        resolved["local_sampling"] = resolved["sampling"]
    if settings.get("offset_range") == "auto":
        resolved["offset_range"] = max(resolved["offset_range"], resolved["offset_step"])
    return resolved
