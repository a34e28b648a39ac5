"""Local resolutions as the page shows them: slices in their colours, and a histogram in the same ones."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stacycle.decisions.decision import Decision
from stacycle.decisions.local_resolution import inside
from stacycle.files import mrc
from stacycle.jobs import record as job_record
from stacycle.programs.command import Command
from stacycle.report import images
from stacycle.report import local_resolution_figures as figures
from stacycle.report.images import DIRECTIONS, Image, Slices
from stacycle.report.plots import Plot, plot
from stacycle.report.project import Project

Array = NDArray[Any]


class _Made(NamedTuple):
    """What a step left: its decision, the two maps (files), local resolutions and the voxels that count (n, n, n)."""

    decision: Decision
    filtered: str
    map: str
    local: Array
    within: Array


def slices(project: Project, folder: str) -> Slices | None:
    """Central slices of the locally filtered map, inside the mask in the colours of local resolutions; None if files
    are gone."""

    def drawn(made: _Made) -> Slices:
        shown, pixel = images.central(made.filtered)
        colours = figures.colour_range(made.decision.choice)
        coloured = figures.coloured(shown, made.local, made.within, colours)
        pictures = [
            Image(images.coloured_png(one), len(one), name)
            for one, name in zip(coloured, DIRECTIONS, strict=True)
        ]
        caption = (
            "Central slices of the locally filtered map; inside the mask in the colours of the histogram"
        )
        bar = images.scale_bar(len(shown[0]), pixel)
        return Slices(
            pictures, bar, f"{caption}, {colours[0]:g} to {colours[1]:g} Å", (made.filtered, made.map)
        )

    return project.read(*_read(project, folder, drawn))


def histogram(project: Project, folder: str) -> Plot | None:
    """A histogram of local resolutions inside the mask; None if files are gone."""

    def drawn(made: _Made) -> Plot:
        colours = figures.colour_range(made.decision.choice)
        values = np.asarray(made.local, np.float32)[made.within]
        draw = partial(figures.histogram_figure, values, made.decision.numbers, colours)
        return plot("Local resolutions inside the mask", (made.map,), draw)

    return project.read(*_read(project, folder, drawn))


def _read(project: Project, folder: str, drawn: Any) -> tuple[str | None, Any]:
    """The map of local resolutions of a step, if all that it is drawn from is there, and what draws it."""
    path, decision = project.of("decisions", folder), project.decision_of(folder)
    if not (path and decision):
        return None, drawn
    step = Path(path).parent
    filtered, local = step / "relion_locres_filtered.mrc", step / "relion_locres.mrc"
    command = Command.of(shlex.split(job_record.read(step).get("command") or "relion_postprocess"))
    mask = command.get("--mask")
    if not all(one.is_file() for one in (filtered, local, *([Path(mask)] if mask else []))):
        return None, drawn

    def read(name: str) -> Any:
        box, pixel = mrc.box_and_pixel(name)
        diameter = float((project.config.get("particle") or {}).get("diameter") or box * pixel)
        within = inside(mrc.voxels(mask) if mask else None, box, pixel, diameter)
        return drawn(_Made(decision, str(filtered), name, mrc.voxels(name), within))

    return str(local), read
