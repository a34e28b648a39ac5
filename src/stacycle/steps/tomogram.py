"""The slab of a tomogram over which the page shows particles: of which tomogram, at which height, and how coarse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stacycle.files import star
from stacycle.files.atomic import read_json, write_json
from stacycle.files.job_folder import SLAB
from stacycle.files.star_labels import PIXEL, RECONSTRUCTED, SIZE
from stacycle.programs import reconstruct_tomogram
from stacycle.provenance import particles as of_state
from stacycle.recipe.rounds import INPUTS
from stacycle.steps import sizes
from stacycle.steps.dry_run import DryRun
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, folder_of

FILE = f"{INPUTS}/tomogram/{SLAB}"
_ACROSS = 360  # voxels of the longer side at most: as many pixels as the page's picture has
_OF_PARTICLE = 32  # voxels of a particle's diameter at most: finer ones would show noise

Array = NDArray[Any]


@dataclass(frozen=True)
class Slab:
    """A slab of a tomogram, `thickness` at a `height` above its middle, both in Å, and its `file`; "" if none was made,
    and `why`, in a sentence: not if the tomogram has a reconstruction of its own."""

    tomogram: str
    height: float
    thickness: float
    file: str = ""
    why: str = ""

    def write(self, path: str | Path) -> None:
        """Write it for the page."""
        write_json(path, asdict(self))


def read(path: str | Path) -> Slab | None:
    """The slab that a file tells of; None if there is no such file, or it is of another kind."""
    try:
        return Slab(**read_json(path))
    except TypeError:
        return None


def choose(particles: str, diameter: float) -> Slab:
    """A slab as thick as a particle of the tomogram that has most particles, where most of these are."""
    columns = of_state.read(particles)
    (name, _), *_ = Counter(columns["rlnTomoName"]).most_common(1)
    heights = of_state.positions(columns)[np.array(columns["rlnTomoName"]) == name, 2]
    return Slab(name, _densest(heights, diameter), diameter)


def has_own(tomograms: str, tomogram: str) -> bool:
    """Whether a tomogram has a reconstruction already."""
    return Path(_row(tomograms, tomogram).get(RECONSTRUCTED, "")).is_file()


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Reconstruct the slab, in voxels as fine as the picture can show."""
    slab = choose(job.input.particles, job.params.diameter)
    row = _row(job.input.tomograms, slab.tomogram)
    pixel = float(row[PIXEL])
    width, height, _ = (int(float(row[label])) for label in SIZE)
    coarse = max(pixel, max(width, height) * pixel / _ACROSS, slab.thickness / _OF_PARTICLE)
    return reconstruct_tomogram.argv(
        tomograms=job.input.tomograms,
        tomogram=slab.tomogram,
        out=str(folder_of(job)),
        size=(width, height, max(1, round(slab.thickness / pixel))),
        height=round(slab.height / pixel, 1),
        pixel=round(coarse, 2),
        threads=job.threads,
    )


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """The command line of some tomogram."""
    yield (
        step.name,
        reconstruct_tomogram.argv(
            tomograms="tomograms", tomogram="TS", out="out", size=(1, 1, 1), height=0, pixel=1, threads=1
        ),
    )


def _densest(heights: Array, thickness: float) -> float:
    """The middle of a layer of this thickness (Å) that has most of the heights (n) in it."""
    ordered = np.sort(heights)
    within = np.searchsorted(ordered, ordered + thickness, side="right") - np.arange(len(ordered))
    first = int(np.argmax(within))
    return float(ordered[first] + ordered[first + within[first] - 1]) / 2


def _row(tomograms: str, tomogram: str) -> dict[str, str]:
    columns = star.columns(tomograms, "global", ["rlnTomoName", PIXEL, *SIZE])
    at = columns["rlnTomoName"].index(tomogram)
    return {label: values[at] for label, values in columns.items()}


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    yield size.need("maps", sizes.files(sizes.MRC_HEADER + 4 * _ACROSS**2 * _OF_PARTICLE) + sizes.tables(3))


STEP = Step("tomogram", "Tomogram", command, dry_run, space, last=SLAB)
