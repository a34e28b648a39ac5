"""What of a folder of results is worth seeing in 3D, and `view.cxc`, which shows it in ChimeraX."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stacycle.decisions.decision import read_decision
from stacycle.decisions.half_maps import sphere
from stacycle.decisions.mask import otsu_level
from stacycle.errors import UserError
from stacycle.files import job_folder, mrc, relion_output
from stacycle.files.atomic import write_text
from stacycle.jobs import record
from stacycle.jobs.log import LOGGER
from stacycle.programs.command import Command
from stacycle.provenance.identity import record_of
from stacycle.report.chimerax import DENSITY, OVER_MAP, REJECTED, Shown, view
from stacycle.report.final_names import VIEW

_CLASSES = ("#6fa8dc", "#e69f00", "#5bb98c", "#cc79a7", "#f0e442", "#56b4e9", "#d55e00")
_INSIDE = 0.5  # of a mask is inside
_NOISE = 3.0  # standard deviations of it are above most of it


@dataclass(frozen=True)
class View:
    """What a folder shows: maps with a title, tiled or upon each other."""

    title: str
    maps: list[Shown]
    tiled: bool = False


def view_file(folder: str | Path) -> Path | None:
    """Write `view.cxc`, with which ChimeraX shows the results in a folder (`results/ROUND/STEP`, or results/final), and
    return it; None if there is no map in it that can be shown. OSError if the folder cannot be written."""
    folder = Path(folder)
    try:
        shown = next((one for make in _MAKERS if (one := make(folder))), None)
    except (UserError, ValueError, KeyError):
        return None  # damaged, which others say
    if shown is None:
        return None
    write_text(folder / VIEW, view(shown.title, shown.maps, folder, shown.tiled))
    return folder / VIEW


def leave_view(folder: str | Path) -> None:
    """As `view_file`, for a job that has ended well: it does not fail for want of a view."""
    try:
        view_file(folder)
    except (OSError, ValueError) as error:
        LOGGER.debug("no %s: %s", VIEW, error)


def level_of(density: str | Path, mask: str | Path | None = None) -> float:
    """The level of a map's surface: where the particle's densities part from the solvent's (Otsu), inside a mask.
    Without one, in the largest sphere, and above the noise outside of it. UserError if a file is damaged."""
    voxels = np.asarray(mrc.voxels(density), np.float32)
    inside = np.asarray(mrc.voxels(mask)) if mask else sphere(len(voxels), 1.0, len(voxels))
    if inside.shape != voxels.shape or not (within := inside > _INSIDE).any():
        return otsu_level(voxels)
    level = otsu_level(voxels[within])
    outside = voxels[inside == 0]
    noise = float(outside.mean() + _NOISE * outside.std()) if mask is None and len(outside) else level
    return max(level, noise)


def _local_resolution(folder: Path) -> View | None:
    """The map filtered by its local resolution, in the colours of that."""
    density, local = folder / "relion_locres_filtered.mrc", folder / "relion_locres.mrc"
    if not (density.is_file() and local.is_file()):
        return None
    choice = read_decision(folder / job_folder.DECISION).choice
    mask = flag_of(folder, "--mask")
    return View(
        "Coloured by local resolution (Å)", [coloured(density, local, level_of(density, mask), choice)]
    )


def coloured(density: Path, local: Path, level: float, choice: dict[str, float], pixel: float = 0) -> Shown:
    """A map in the colours of a map of local resolutions, whose percentiles are a decision's `choice`."""
    from stacycle.report.local_resolution_figures import colour_range

    return Shown(density, level, values=local, between=colour_range(choice), pixel=pixel)


def _postprocessed(folder: Path) -> View | None:
    """A sharpened map, its mask, and the half maps."""
    star = folder / job_folder.POSTPROCESS
    if not star.is_file():
        return None
    result, root = relion_output.fsc(star), _project(folder)
    density, mask = root / result.map, (root / result.mask if result.mask else None)
    if not density.is_file():
        return None
    mask = mask if mask and mask.is_file() else None
    halves = [root / path for path in result.half_maps if path and (root / path).is_file()]
    maps = [Shown(density, level_of(density, mask)), *with_mask(mask), *_hidden(halves, mask)]
    return View(f"Post-processed, {result.resolution:.2f} Å", maps)


def with_mask(mask: Path | None) -> list[Shown]:
    """A mask as it is shown over a map: clear, so that the map is seen through it."""
    return [Shown(mask, _INSIDE, OVER_MAP, clear=0.8)] if mask else []


def _mask(folder: Path) -> View | None:
    """A mask, and the map that it was made of."""
    mask = folder / "mask.mrc"
    if not mask.is_file():
        return None
    density = flag_of(folder, "--i")
    maps = [Shown(density, level_of(density, mask))] if density else []
    return View("The mask over the map that it was made of", [*maps, *with_mask(mask)])


class _Class(NamedTuple):
    number: int
    path: Path


def _classes(folder: Path) -> View | None:
    """All classes beside each other at one level, that of the strongest; those that a selection rejected in grey."""
    decision, kept, source = folder / job_folder.DECISION, None, folder
    if (folder / job_folder.REFERENCE).is_file() and decision.is_file():
        kept = read_decision(decision).choice.get("classes")
        source = _parent(folder) if kept else folder
    table = [one for one in _table(source) if one.path.is_file()]
    if not table:
        return None
    level = max(level_of(one.path) for one in table)
    colours = cycle(_CLASSES)
    shown = [
        Shown(one.path, level, REJECTED if kept and one.number not in kept else next(colours))
        for one in table
    ]
    return View("Classes 1, 2, ... one by one" + ("; rejected ones are grey" if kept else ""), shown, True)


def _table(folder: Path) -> list[_Class]:
    """The classes that a classification chose; of a run without a choice, those of its last iteration."""
    root = _project(folder)
    if (path := folder / "classes.tsv").is_file():
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return [_Class(int(row["class"]), root / row["map"]) for row in rows]
    found = {path: of for path in folder.glob("run_it*_class*.mrc") if (of := job_folder.class_of(path))}
    last = max((number for number, _ in found.values()), default=0)
    return [_Class(of[1], path) for path, of in sorted(found.items()) if of[0] == last]


def _refined(folder: Path) -> View | None:
    """A refined map, or an average: with its half maps, which are hidden, and its mask."""
    names = [
        ("run_class001.mrc", ("run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc")),
        (job_folder.MERGED, job_folder.HALF_MAPS),
        (job_folder.REFERENCE, ()),
    ]
    name, halves = next(((one, two) for one, two in names if (folder / one).is_file()), ("", ()))
    if not name:
        return None
    mask = flag_of(folder, "--solvent_mask")
    half_maps = [folder / half for half in halves if (folder / half).is_file()]
    maps = [Shown(folder / name, level_of(folder / name, mask)), *with_mask(mask), *_hidden(half_maps, mask)]
    return View("The map; its half maps are open and hidden" if half_maps else "The map", maps)


def _chosen(folder: Path) -> View | None:
    """The map that a decision chose: of a variant and its iteration."""
    path = folder / job_folder.DECISION
    choice = read_decision(path).choice if path.is_file() else {}
    variant, iteration = choice.get("variant"), choice.get("iteration")
    if not variant or not iteration:
        return None
    density = folder / str(variant) / job_folder.iteration(iteration, "class001.mrc")
    if not density.is_file():
        return None
    return View(f"{variant}, iteration {iteration}", [Shown(density, level_of(density))])


def _hidden(halves: list[Path], mask: Path | None) -> Iterator[Shown]:
    """Half maps, to be switched on."""
    for path in halves:
        yield replace(Shown(path, level_of(path, mask), DENSITY), hidden=True)


_MAKERS: tuple[Callable[[Path], View | None], ...] = (
    _local_resolution,
    _postprocessed,
    _mask,
    _classes,
    _chosen,
    _refined,
)


def flag_of(folder: Path, flag: str) -> Path | None:
    """The file that a job's command line names by a flag, if it is still there."""
    line = record.read(folder).get("command")
    name = Command.of(shlex.split(line)).get(flag) if line else None
    path = _project(folder) / name if name else None
    return path if path and path.is_file() else None


def _parent(folder: Path) -> Path:
    """The folder of the state that a step started from; its own if it started from none."""
    parent = (record_of(folder) or {}).get("parent")
    return _project(folder) / parent["path"] if parent else folder


def _project(folder: Path) -> Path:
    """The project's folder, from which files in it are named."""
    return next((one.parent for one in (folder, *folder.parents) if one.name == "results"), Path())
