"""What a step starts from: the particles' box and pixel size, and the resolution reached so far."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacycle import geometry, runs, star
from stacycle.errors import UserError
from stacycle.recipe import STATE_FILE

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
    columns = ["rlnOpticsGroup", "rlnImageSize", "rlnImagePixelSize"]
    optics = star.read(files.particles, {"optics": columns})["optics"]
    sizes = optics[columns[1:]].drop_duplicates()
    if len(sizes) != 1:
        raise UserError(
            f"{files.particles}: its optics groups differ in box or pixel size "
            f"({', '.join(f'{int(box)} px of {pixel:g} Å' for box, pixel in sizes.to_numpy())}); "
            "extract all particles with the same box and binning."
        )
    box, pixel = sizes.iloc[0]
    return State(path, files, int(box), float(pixel))


def check_half_sets(particles: str) -> None:
    """UserError unless every particle is in half set 1 or 2, and both have some."""
    table = star.read(particles, {"particles": []})["particles"]
    if "rlnRandomSubset" not in table or set(table["rlnRandomSubset"].astype(int)) != {1, 2}:
        raise UserError(
            f"{particles}: its particles are not in two half sets (rlnRandomSubset 1 and 2), which CTF refinement and "
            "polishing compare with the other half; run refine3d before cycle."
        )


def series_pixel(tomograms: str) -> float:
    """Pixel size in Å of the unbinned tilt series. UserError if they differ by more than 0.1 %."""
    column = "rlnTomoTiltSeriesPixelSize"
    sizes = star.read(tomograms, {"global": [column]})["global"][column].astype(float)
    if sizes.max() > 1.001 * sizes.min():
        raise UserError(
            f"{tomograms}: tilt series have pixel sizes from {sizes.min():g} to {sizes.max():g} Å; "
            "rescale them to one, or average them as separate projects."
        )
    return float(sizes.iloc[0])


def write_state_file(folder: str | Path, maps: Sequence[str] = (), resolution: float = math.nan) -> None:
    """Write `state.json`: what the decision's optimisation set and `maps` in `folder` hold, and the resolution.

    It tells by content, in a file small enough for Snakemake to compare by content, whether a decision that was made
    again came to the same state: if so, nothing after it is done again.
    """
    folder = Path(folder)
    files = star.read_optimisation_set(folder / "optimisation_set.star")
    told = {
        "particles": [files.particles, _digest(files.particles)],
        "tomograms": [files.tomograms, _digest(files.tomograms, *_tilt_series(files.tomograms))],
        "trajectories": [files.trajectories, _digest(files.trajectories)] if files.trajectories else None,
        "maps": {name: _digest(folder / name) for name in maps},
        "resolution": resolution if math.isfinite(resolution) else None,
    }
    (folder / STATE_FILE).write_text(json.dumps(told, indent=1) + "\n")


def _tilt_series(tomograms: str) -> list[str]:
    column = "rlnTomoTiltSeriesStarFile"
    return list(star.read(tomograms, {"global": [column]})["global"][column])


def _digest(*paths: str | Path) -> str:
    """SHA-256 of the files' contents, one after the other."""
    total = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def resolution(path: str) -> float:
    """The resolution in Å that a `state.json` or `postprocess.star` tells; nan if it tells none."""
    if Path(path).suffix == ".json":
        told = json.loads(Path(path).read_text())["resolution"]
        return math.nan if told is None else float(told)
    return runs.fsc(path).resolution


def reached(told: list[str]) -> float:
    """The resolution in Å reached so far: that of the first of the files, newest first, which tells a finite one.

    At low T the best class can have none (`inf`). UserError if no file tells one.
    """
    finite = (found for path in told if math.isfinite(found := resolution(path)))
    if (newest := next(finite, None)) is None:
        raise UserError(
            "lowpass: auto follows from a resolution, but no step before this one tells one; set it."
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
