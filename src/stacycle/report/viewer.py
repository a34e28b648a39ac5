"""The maps that the page shows as surfaces: the last one, and that of each round before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stacycle.files import mrc
from stacycle.files.job_folder import DECISION
from stacycle.recipe.step_settings import kind_of
from stacycle.report import still, volume
from stacycle.report.chimerax import COLOURS
from stacycle.report.local_resolution_figures import colour_range
from stacycle.report.plots import for_scripts
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution, of_whole
from stacycle.report.volume import Volume

_COLOURED = "relion_locres_filtered.mrc", "relion_locres.mrc"


@dataclass(frozen=True)
class Surfaces:
    """Maps to be shown as surfaces, the last one first; a still of that, a PNG in base64; the page's data as JSON."""

    maps: list[Volume]
    still: str
    data: str
    colours: tuple[str, ...] = COLOURS
    kind: str = field(default="surface", init=False)


def surfaces(project: Project, rows: Sequence[MapResolution]) -> Surfaces | None:
    """The maps of the whole particle that a run ends its rounds with; coloured where a round has local resolutions."""
    whole = [row for row in of_whole(rows) if Path(row.map).is_file()]
    maps: list[Volume] = []
    for name in dict.fromkeys(row.round for row in reversed(whole)):
        most = volume.FEWER if maps else volume.MOST
        maps += _of_round(project, [row for row in whole if row.round == name], most)
    if not maps:
        return None
    told = [
        {
            key: getattr(one, key)
            for key in ("data", "shape", "low", "high", "level", "voxel", "files", "local")
        }
        | {"palette": COLOURS, "range": one.colours}
        for one in maps
    ]
    picture = still.png(still.shaded(maps[0].sampled, maps[0].level))
    return Surfaces(maps, picture, for_scripts(told))


def _of_round(project: Project, rows: Sequence[MapResolution], most: int) -> list[Volume]:
    """The last map of a round's rows, and those that are filtered by local resolution: before it, if of its box; of at
    most so many voxels a side."""
    row = rows[-1]
    name = f"{row.where}, {row.resolution:.2f} Å"
    plain = project.read(row.map, lambda path: volume.packed(name, path, _mask(row), most=most))
    found, ends = [plain] if plain else [], mrc.header(row.map).nx
    steps: Any = next((one["steps"] for one in project.rounds if one["name"] == row.round), ())
    for step in (step for step in steps if kind_of(step) == "local_resolution"):
        folder = Path(f"results/{row.round}/{step}")
        decision = project.decided.get(f"{folder}/{DECISION}")
        filtered, local = (str(folder / name) for name in _COLOURED)
        if decision and Path(filtered).is_file() and Path(local).is_file():
            box = mrc.header(filtered).nx
            masks = (mask for one in reversed(rows) if (mask := _mask(one)))
            mask = next((one for one in masks if mrc.header(one).nx == box), None)
            draw = partial(volume.packed, f"{row.round}, filtered by local resolution", filtered, mask)
            made = project.read(local, partial(draw, colours=colour_range(decision.choice), most=most))
            found.insert(0 if box == ends else len(found), made)
    return [one for one in found if one]


def _mask(row: MapResolution) -> str | None:
    return row.mask if Path(row.mask).is_file() else None
