"""Disk: what a run will write, step by step, against what is free.

Sizes of images and maps follow from boxes and counts. Those of tables and plots are what RELION 5.0.1 writes per
particle, tilt image or direction, measured; they matter little beside the images. Where a number is not known before
the run, the larger one is taken: no selection leaves a particle out, and 3D refinement takes `REFINE_ITERATIONS`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stacycle.recipe import auto, geometry
from stacycle.recipe.rounds import SWEEPS, Recipe, variants

REFINE_ITERATIONS = 15  # 3D refinement ends by itself, seldom later than this
# The keys of the config's `cleanup`, each with the value that frees the most.
LEAST = {"iterations": "needed", "stacks": "current", "parts": "needed"}
ITERATIONS, STACKS, PARTS = (f"cleanup.{key}" for key in LEAST)
IMAGES = "2D stacks"  # what a scratch folder holds, one round at a time

_BLOCK = 4096  # bytes by which a file grows on disk
_MRC_HEADER = 1024  # bytes
_ROW = 310  # bytes of a row of particles, and 2 for each tilt
_TILT = 200  # bytes of a row of a tilt series
_TABLE = 10_000  # bytes of a STAR file that does not grow
_SHELL = 110  # bytes per class and shell of a model.star
_DIRECTION = 27  # bytes per direction of a sampling.star; half of that in a model.star
_TRACK = 700  # bytes per particle and tilt that fitted motion leaves: two tables, three plots and their page
_PLOTS = 300_000  # bytes of the plots of a tomogram in CTF refinement or polishing


@dataclass(frozen=True)
class Numbers:
    """What the inputs tell: `visible_tilts` is the median per particle, `series_pixel` the unbinned pixel in Å,
    `tilts` the number of tilt images of all tomograms together."""

    particles: int
    visible_tilts: float
    series_pixel: float
    tomograms: int
    tilts: int


@dataclass(frozen=True)
class Need:
    """One kind of files of a step (`bin4/extract`): `bytes` on disk and number of `files`, together, and the key of
    the config (`cleanup.stacks`) that can have them removed once their round is finished; "" if they stay."""

    step: str
    what: str
    bytes: int
    files: int
    freed_by: str = ""

    @property
    def round(self) -> str:
        """The round of the step; `inputs` before the first."""
        return self.step.partition("/")[0]


def needed(recipe: Recipe, config: Mapping[str, Any], numbers: Numbers) -> list[Need]:
    """What the steps of a run write under results/, in the order of work.

    `config` is the validated config that `recipe` was made of. UserError if a box cannot be worked out.
    """
    needs = list(_Step("inputs", numbers).inputs())
    last = list(recipe.rounds)[-1]
    half_sets = False
    for name, step in recipe:
        binning, box = (recipe.rounds[name][key] for key in ("binning", "box"))
        box = auto.box(box, config["particle"]["diameter"], numbers.series_pixel * binning)
        image = recipe.settings(name, "extract").get("crop") or box
        one = _Step(f"{name}/{step}", numbers, binning, image, half_sets, name == last)
        needs += getattr(one, step)(recipe.settings(name, step))
        half_sets = half_sets or step == "refine3d"
    return needs


def peak(needs: Sequence[Need], keep: Mapping[str, str] | None = None) -> int:
    """The most bytes that there are at a time.

    What `cleanup` frees of a round goes when the round is finished and the next has extracted its images.
    """
    highest = now = 0
    rounds = _rounds(needs)
    for before, name in zip(["", *rounds], rounds, strict=False):
        now += sum(need.bytes for need in needs if need.step == f"{name}/extract")
        highest = max(highest, now)
        now -= sum(need.bytes for need in needs if need.round == before and frees(keep, need.freed_by))
        now += sum(need.bytes for need in needs if need.round == name and need.step != f"{name}/extract")
        highest = max(highest, now)
    return highest


def frees(keep: Mapping[str, str] | None, key: str) -> bool:
    """Whether the config's `cleanup` has the files of a key (`cleanup.stacks`) removed."""
    return bool(key) and (keep or {}).get(key.removeprefix("cleanup."), "all") != "all"


def free(folder: str | Path) -> tuple[int, float]:
    """The free bytes and inodes for a user where `folder` is or will be; inf inodes if there is no limit of them.

    A quota is not seen unless the file system reports it as its size.
    """
    folder = Path(folder).absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize, float(found.f_favail) if found.f_files else math.inf


def used(folder: str | Path) -> tuple[int, int]:
    """The bytes on disk and the number of the files under a folder; hard links count once."""
    total, seen = 0, set()
    for path, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(path, name))
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return total, len(seen)


def size(count: float) -> str:
    """Bytes for people: 1530000 -> 1.5 MB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.5 else f"{count:.1f} {unit}"


def table(needs: Sequence[Need], keep: Mapping[str, str] | None = None) -> str:
    """What each round writes, what of it `cleanup` could free later, the total and the peak, as lines of text."""
    columns = ["files", "space", *LEAST]
    rows = {name: [need for need in needs if need.round == name] for name in _rounds(needs)}
    lines = [["", *columns], *([name, *_summed(some)] for name, some in [*rows.items(), ("together", needs)])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    most, least = peak(needs, keep), peak(needs, LEAST)
    told = f"At most {size(most)} at a time" + (
        f"; {size(least)} with cleanup: {{{', '.join(f'{key}: {value}' for key, value in LEAST.items())}}}"
        if least < most
        else ""
    )
    return "\n".join([*shown, f"{told}."])


def _rounds(needs: Sequence[Need]) -> list[str]:
    return list(dict.fromkeys(need.round for need in needs))


def _summed(needs: Sequence[Need]) -> list[str]:
    """The cells of a line of the table."""
    freed = [sum(need.bytes for need in needs if need.freed_by == f"cleanup.{key}") for key in LEAST]
    return [f"{sum(need.files for need in needs):,}", *map(size, [sum(need.bytes for need in needs), *freed])]


# ---------------------------------------------------------------- what each step writes


@dataclass(frozen=True)
class _Files:
    """`count` files of `each` bytes; sums and multiples of them know only how much they take together."""

    bytes: int
    files: int

    @classmethod
    def of(cls, each: float, count: int = 1) -> _Files:
        return cls(count * math.ceil(each / _BLOCK) * _BLOCK, count)

    def __add__(self, other: _Files) -> _Files:
        return _Files(self.bytes + other.bytes, self.files + other.files)

    def __mul__(self, times: int) -> _Files:
        return _Files(self.bytes * times, self.files * times)


def _maps(count: int, box: int) -> _Files:
    return _Files.of(_MRC_HEADER + 4 * box**3, count)


@dataclass(frozen=True)
class _Step:
    """A step whose particles' images have `image` px; one method per kind, which takes the step's settings.

    `half_sets`: the particles are in two half sets; `last_round`: nothing is extracted after it.
    """

    step: str
    numbers: Numbers
    binning: int = 1
    image: int = 0
    half_sets: bool = False
    last_round: bool = False

    def inputs(self) -> Iterator[Need]:
        yield self._need("tables", self._rows() + self._tilt_series() + _Files.of(_TABLE, 3))

    def extract(self, settings: dict[str, Any]) -> Iterator[Need]:
        pixels = self.numbers.visible_tilts * self.image**2
        stack = _MRC_HEADER + pixels * (2 if settings["float16"] else 4)
        stacks = _Files.of(stack, self.numbers.particles)
        yield self._need(IMAGES, stacks, "" if self.last_round else STACKS)
        yield self._need("tables", self._rows() + _Files.of(_TABLE, 2))

    def reconstruct(self, settings: dict[str, Any]) -> Iterator[Need]:
        yield from self._reconstruction(self.image)

    def align(self, settings: dict[str, Any]) -> Iterator[Need]:
        order = geometry.healpix_order(settings["sampling"])
        yield from self._classification(settings, order)
        yield self._need("reference", _maps(1, self.image))

    def class3d(self, settings: dict[str, Any]) -> Iterator[Need]:
        yield from self._classification(settings)

    def select(self, settings: dict[str, Any]) -> Iterator[Need]:
        state = self._rows() + _Files.of(_TABLE, 4) + _Files.of(_PLOTS)
        yield self._need("reference and tables", _maps(1, self.image) + state)

    def mask(self, settings: dict[str, Any]) -> Iterator[Need]:
        yield self._need("mask", _maps(1, self.image) + _Files.of(_TABLE, 2))

    def refine3d(self, settings: dict[str, Any]) -> Iterator[Need]:
        maps = _maps(4, self.image)  # filtered and unfiltered, of each half
        order = max(5, geometry.healpix_order(settings["sampling"]) + 1)  # it goes to finer angles by itself
        tables = self._iteration(order, models=2) * (REFINE_ITERATIONS + 1)
        yield self._need("maps of iterations", maps * (REFINE_ITERATIONS - 1), ITERATIONS)
        yield self._need("maps and tables", maps + tables + _maps(3, self.image) + self._iteration(order))

    def postprocess(self, settings: dict[str, Any]) -> Iterator[Need]:
        yield self._need("maps", self._postprocessed(self.image))

    def cycle(self, settings: dict[str, Any]) -> Iterator[Need]:
        box = auto.unbinned_box(settings["box"], self.image, self.binning)
        one = [*self._reconstruction(box), self._need("maps", self._postprocessed(box))]
        swept = [name for name in SWEEPS if settings[name]]
        found = [*one, self._need("maps", _maps(1 + 3 * len(swept), box))]  # mask; what each sweep keeps
        for sweep in swept:
            for variant in settings[sweep].values():
                found += [*one, self._need("tables", self._refined_tilts(sweep, variant))]
        for need in found:
            yield replace(need, bytes=need.bytes * settings["repeat"], files=need.files * settings["repeat"])

    # ------------------------------------------------------------ what steps share

    def _need(self, what: str, files: _Files, freed_by: str = "") -> Need:
        return Need(self.step, what, files.bytes, files.files, freed_by)

    def _rows(self) -> _Files:
        """A table of all particles."""
        return _Files.of(self.numbers.particles * (_ROW + 2 * self._tilts()))

    def _tilts(self) -> float:
        """Tilt images per tomogram."""
        return self.numbers.tilts / max(1, self.numbers.tomograms)

    def _tilt_series(self) -> _Files:
        return _Files.of(_TILT * self._tilts(), self.numbers.tomograms)

    def _classification(self, settings: dict[str, Any], order: int | None = None) -> Iterator[Need]:
        for _, classes in variants(settings).values():
            maps, iterations = _maps(int(classes), self.image), settings["iterations"]
            tables = self._iteration(order, int(classes)) * (iterations + 1)
            yield self._need("maps of iterations", maps * max(0, iterations - 1), ITERATIONS)
            yield self._need("maps and tables", maps * min(2, iterations + 1) + tables)
        yield self._need("tables", self._rows() + _Files.of(_TABLE, 4))

    def _iteration(self, order: int | None = None, classes: int = 1, models: int = 1) -> _Files:
        """The tables of an iteration; `order` is the HEALPix order of its angles, if any are looked for."""
        directions = 0 if order is None else 12 * 4**order
        model = _TABLE + classes * (_SHELL * self.image / 2 + _DIRECTION * directions / 2)
        sampling = _Files.of(_TABLE + _DIRECTION * directions)
        return self._rows() + sampling + _Files.of(model, models) + _Files.of(_TABLE, 2)

    def _reconstruction(self, box: int) -> list[Need]:
        maps = _maps(3 if self.half_sets else 1, box)
        return [self._need("maps", maps), self._need("data and weight maps", maps * 2, PARTS)]

    def _postprocessed(self, box: int) -> _Files:
        return _maps(2, box) + _Files.of(_TABLE, 5) + _Files.of(_PLOTS)

    def _refined_tilts(self, sweep: str, settings: dict[str, Any]) -> _Files:
        """What CTF refinement or polishing leaves."""
        files = self._tilt_series() + _Files.of(_PLOTS, self.numbers.tomograms) + _Files.of(_TABLE, 4)
        if sweep == "polish":
            files += self._rows()
            if settings["motion"]:
                files += _Files.of(_TRACK * self._tilts() * self.numbers.particles)
        return files
