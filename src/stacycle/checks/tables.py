"""The tables of a state, read once; and what every check asks of a column: rows, numbers, unique names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from stacycle.errors import UserError
from stacycle.files import mrc, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star import Columns
from stacycle.files.star_labels import PIXEL, SERIES, SIZE, TILT

_ABOVE_0 = {"rlnVoltage", PIXEL, "rlnImagePixelSize", *SIZE}


@dataclass(frozen=True)
class StateFiles:
    """The files of a state: particles, tomograms and, after polishing, trajectories. Each is read when asked for."""

    particles_file: str
    tomograms_file: str
    trajectories_file: str | None

    @classmethod
    def of(cls, files: OptimisationSet) -> StateFiles:
        """The files that an optimisation set names."""
        return cls(files.particles, files.tomograms, files.trajectories)

    @cached_property
    def particles(self) -> Columns:
        """The particles' columns. UserError without any row."""
        return filled(self.particles_file, "particles", ["rlnTomoName"])

    @cached_property
    def optics(self) -> Columns:
        """The optics groups' columns; empty for picks, which have none."""
        if "optics" not in dict(star.blocks(self.particles_file)):
            return {}
        return filled(self.particles_file, "optics", ["rlnOpticsGroup"])

    @cached_property
    def tomograms(self) -> Columns:
        """The tomograms' columns."""
        return filled(self.tomograms_file, "global", ["rlnTomoName", PIXEL, SERIES])

    @cached_property
    def series(self) -> dict[str, tuple[str, Columns]]:
        """Of each tomogram, its tilt series' STAR file and columns, a row per tilt."""
        names, files = (self.tomograms[label] for label in ("rlnTomoName", SERIES))
        labels = ["rlnMicrographName", *TILT]
        return {name: (file, filled(file, name, labels)) for name, file in zip(names, files, strict=True)}

    @property
    def series_pixel(self) -> float:
        """Å per px of the tilt series."""
        check_numbers(self.tomograms_file, self.tomograms, [PIXEL])
        return float(self.tomograms[PIXEL][0])

    @property
    def in_3d(self) -> bool:
        """Whether the particles' images are pseudo-subtomograms, not 2D stacks."""
        return "3" in self.optics.get("rlnImageDimensionality", [])

    @property
    def box_and_pixel(self) -> tuple[int, float]:
        """Box (px) and pixel size (Å) of the particles' images. UserError if optics groups have none, or several."""
        labels = ["rlnImageSize", "rlnImagePixelSize"]
        if not set(labels) <= set(self.optics):
            fault = "table data_optics tells no box and pixel size"
            raise UserError(f"{self.particles_file}: {fault}", "extract the particles first")
        check_numbers(self.particles_file, self.optics, labels)
        boxes, pixels = (set(map(float, self.optics[label])) for label in labels)
        if len(boxes) > 1 or len(pixels) > 1:
            fault = "its optics groups differ in box or pixel size"
            raise UserError(f"{self.particles_file}: {fault}", "extract all alike")
        return int(boxes.pop()), pixels.pop()


def filled(path: str, name: str, labels: Collection[str] = ()) -> Columns:
    """The columns of a table, which must have rows and these labels. UserError if not."""
    table = star.columns(path, name, labels)
    if not next(iter(table.values()), []):
        raise UserError(f"{path}: table data_{name} has no row", "was it written completely?")
    return table


def check_numbers(path: str, table: Columns, labels: Iterable[str]) -> None:
    """UserError if a value of one of these columns, where the table has it, is no finite number, or must be above 0."""
    for label in labels:
        least, kind = (0.0, "a number above 0") if label in _ABOVE_0 else (-math.inf, "a finite number")
        values = enumerate(table.get(label, []), 1)
        if bad := next(((row, value) for row, value in values if not _is_number(value, least)), None):
            fault = f"{label} is {bad[1] or 'empty'} in row {bad[0]}, not {kind}"
            raise UserError(f"{path}: {fault}", "correct it or make it again")


def check_once(path: str, table: Columns, label: str) -> None:
    """UserError if a name is in that column twice."""
    values = table.get(label, [])
    if len(set(values)) < len(values):
        twice = next(value for value, count in Counter(values).items() if count > 1)
        raise UserError(f"{path}: {label} {twice} stands there twice", "remove one of the two rows")


def is_zero(values: Iterable[str]) -> bool:
    """Whether all of these are numbers, and 0."""
    return all(_is_number(value) and float(value) == 0 for value in values)


def same_pixel(size: float, other: float) -> bool:
    """Whether two pixel sizes (Å) are the same, but for rounding."""
    return math.isclose(size, other, rel_tol=mrc.SAME_PIXEL)


def _is_number(value: str, least: float = -math.inf) -> bool:
    try:
        return least < float(value) < math.inf
    except ValueError:
        return False
