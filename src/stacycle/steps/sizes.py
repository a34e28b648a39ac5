"""Sizes on disk of what steps write, and which of it can be removed later.

Those of tables and plots are what RELION 5.0.1 writes per particle, tilt image or direction, measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stacycle.files.removed import Removable

IMAGES = "stacks"  # what a scratch folder holds, one round at a time
MRC_HEADER = 1024  # bytes
_BLOCK = 4096  # bytes by which a file grows on disk
_ROW = 310  # bytes of a row of particles, and 2 for each tilt
_TILT = 200  # bytes of a row of a tilt series
_TABLE = 10_000  # bytes of a STAR file that does not grow
_SHELL = 110  # bytes per class and shell of a model.star
_DIRECTION = 27  # bytes per direction of a sampling.star; half of that in a model.star
_PLOTS = 300_000  # bytes of the plots of a tomogram in CTF refinement or polishing


@dataclass(frozen=True)
class Numbers:
    """What the inputs hold: `visible_tilts` is the median per particle, `series_pixel` the unbinned pixel in Å,
    `tilts` the number of tilt images of all tomograms together, `unknown_hands` how many sets look for their hand."""

    particles: int
    visible_tilts: float
    series_pixel: float
    tomograms: int
    tilts: int
    unknown_hands: int = 0


@dataclass(frozen=True)
class Need:
    """One kind of files of a step (`bin4/extract`): `bytes` on disk and number of `files`, together, and the key of
    the config's `cleanup` (`stacks`) that can have them removed once their round is finished; "" if they stay."""

    step: str
    what: str
    bytes: int
    files: int
    freed_by: str = ""

    @property
    def round(self) -> str:
        """The round of the step; `inputs` before the first."""
        return self.step.partition("/")[0]


@dataclass(frozen=True)
class Files:
    """`files` files of `bytes` together; sums and multiples of them know only that."""

    bytes: int
    files: int

    def __add__(self, other: Files) -> Files:
        return Files(self.bytes + other.bytes, self.files + other.files)

    def __mul__(self, times: int) -> Files:
        return Files(self.bytes * times, self.files * times)


def files(each: float, count: int = 1) -> Files:
    """Files of `each` bytes."""
    return Files(count * math.ceil(each / _BLOCK) * _BLOCK, count)


def maps(count: int, box: int) -> Files:
    """Maps of `box` px."""
    return files(MRC_HEADER + 4 * box**3, count)


def tables(count: int) -> Files:
    """STAR files that do not grow with the data."""
    return files(_TABLE, count)


def plots(count: int = 1) -> Files:
    """The plots of so many tomograms."""
    return files(_PLOTS, count)


@dataclass(frozen=True)
class Sizes:
    """What the sizes of a step (`bin4/extract`) follow from; its particles' images have `image` px. `half_sets`: they
    are in two half sets; `last_round`: nothing is extracted after it."""

    step: str
    numbers: Numbers
    binning: int = 1
    image: int = 0
    half_sets: bool = False
    last_round: bool = False

    def need(self, what: str, files: Files, removable: Removable | None = None) -> Need:
        """Files of this step, which can be `removable` later."""
        return Need(self.step, what, files.bytes, files.files, removable.key if removable else "")

    def rows(self) -> Files:
        """A table of all particles."""
        return files(self.numbers.particles * (_ROW + 2 * self.tilts()))

    def tilts(self) -> float:
        """Tilt images per tomogram."""
        return self.numbers.tilts / max(1, self.numbers.tomograms)

    def tilt_series(self) -> Files:
        """The tables of all tilt series."""
        return files(_TILT * self.tilts(), self.numbers.tomograms)

    def iteration(self, order: int | None = None, classes: int = 1, models: int = 1) -> Files:
        """The tables of an iteration; `order` is the HEALPix order of its angles, if any are searched."""
        directions = 0 if order is None else 12 * 4**order
        model = _TABLE + classes * (_SHELL * self.image / 2 + _DIRECTION * directions / 2)
        sampling = files(_TABLE + _DIRECTION * directions)
        return self.rows() + sampling + files(model, models) + tables(2)
