"""What the headline is of: its map, and all files that belong to it. One place says which map is the final one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files import job_folder, mrc
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.relion_output import PostProcess
from stacycle.report import viewers
from stacycle.report.final_names import (
    FILTERED,
    FSC,
    HALVES,
    LOCAL,
    MASK,
    MOTION,
    PARTICLES,
    SHARPENED,
    TOMOGRAMS,
    UNSHARPENED,
)
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution, of_whole


@dataclass(frozen=True)
class Item:
    """A file of the final folder: its name there, the result that it is, what that is, and which step left it."""

    name: str
    source: Path
    what: str

    @property
    def step(self) -> str:
        """`bin1/cycle1/reference`."""
        return self.source.parent.as_posix().removeprefix("results/")


@dataclass(frozen=True)
class Final:
    """What the headline is of: its row, what its post-processing says, the state, the files and the map's level."""

    row: MapResolution
    result: PostProcess
    state: OptimisationSet
    items: list[Item]
    level: float

    @property
    def mask(self) -> Path | None:
        """The mask that the FSC was computed in, if it is there."""
        found = self.item(MASK)
        return found.source if found else None

    @property
    def pixel(self) -> float:
        """Å per pixel of the map."""
        return mrc.header(self.result.map).pixel

    def item(self, name: str) -> Item | None:
        """The file of this name, if there is one."""
        return next((one for one in self.items if one.name == name), None)


def of_headline(project: Project, rows: Sequence[MapResolution]) -> Final:
    """What the headline is of. UserError if nothing was post-processed, or its map is not there."""
    whole = of_whole(rows)
    if not whole:
        raise UserError("no map was post-processed yet, so there is no final one", "let the run go on")
    row = whole[-1]
    result = project.fsc(row.postprocess)
    if result is None or not Path(result.map).is_file():
        where = result.map if result else row.where
        raise UserError(f"{where}: the final map is not there", f"make it again: stacycle redo {where}")
    state = OptimisationSet.read(row.state)
    items = [one for one in _items(result, state) if one.source.is_file()]
    mask = result.mask if result.mask and Path(result.mask).is_file() else None
    return Final(row, result, state, items, viewers.level_of(result.map, mask))


def _items(result: PostProcess, state: OptimisationSet) -> Iterator[Item]:
    """The files of a map, whether they are there or not."""
    density, halves = Path(result.map), [Path(path) for path in result.half_maps]
    yield Item(SHARPENED, density, "the map, sharpened and filtered by its FSC")
    yield Item(UNSHARPENED, _whole_of(halves[0]), "the map as it was reconstructed, not sharpened")
    for name, path in zip(HALVES, halves, strict=True):
        yield Item(name, path, "a half map, neither masked nor filtered")
    if result.mask:
        yield Item(MASK, Path(result.mask), "the mask that the FSC was computed in")
    yield Item(FSC, density.with_name("postprocess_fsc.xml"), "the FSC as EMDB takes it")
    yield from _local_resolution(result)
    yield Item(PARTICLES, Path(state.particles), "the particles of the map")
    yield Item(TOMOGRAMS, Path(state.tomograms), "their tomograms; it names the tilt series")
    if state.trajectories:
        yield Item(MOTION, Path(state.trajectories), "how the particles moved")


def _local_resolution(result: PostProcess) -> Iterator[Item]:
    """The local resolution of these half maps, if a step made one."""
    for path in sorted(Path("results").glob("*/local_resolution*/relion_locres.mrc")):
        given = viewers.flag_of(path.parent, "--i")
        if given and given.samefile(result.half_maps[0]):
            yield Item(LOCAL, path, "how far each part reaches (Å)")
            filtered = path.with_name("relion_locres_filtered.mrc")
            yield Item(FILTERED, filtered, "the map, each part filtered by its own resolution")


def _whole_of(half: Path) -> Path:
    """The map of all particles beside a half map."""
    names = {"half1.mrc": job_folder.MERGED, "run_half1_class001_unfil.mrc": "run_class001.mrc"}
    return half.with_name(names.get(half.name, half.name.replace("half1_", "")))


def put(source: Path, path: Path) -> None:
    """Put a file in a place: link it, or copy it where links do not work; in place of what was there, at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(path)  # of two links to one file, POSIX keeps both
    partial.unlink(missing_ok=True)
