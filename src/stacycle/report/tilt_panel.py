"""What a sweep of a cycle changed in the tilt images: their defocus, and where they lie."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import SERIES, SHIFT
from stacycle.report.drawing import BLUE, GREY, Target, drawn
from stacycle.report.plots import Plot, plot
from stacycle.report.project import Project

MOST = 60  # tilt series that are read, from the first to the last: each is a file before and one after
_DEFOCUS = ["rlnDefocusU", "rlnDefocusV"]
_UNCHANGED = 0.01  # Å: less is rounding

Array = NDArray[Any]


def changes(project: Project, before: str, after: str) -> Plot | None:
    """By how much the tilt images' defocus, and their shifts, differ between two states (optimisation sets)."""
    states = [project.read(path, OptimisationSet.read) for path in (before, after)]
    if not all(states) or states[0].tomograms == states[1].tomograms:
        return None
    found = project.read(states[1].tomograms, lambda path: _changed(states[0].tomograms, path))
    if not found:
        return None
    tilts, defocus, shift, read, all_ = found
    draw = []
    if np.abs(defocus).max(initial=0) > _UNCHANGED:
        draw.append(partial(changes_figure, tilts, defocus, "Change of defocus (Å)"))
    if np.abs(shift).max(initial=0) > _UNCHANGED:
        draw.append(partial(changes_figure, tilts, shift, "Change of place (Å)"))
    if not draw:
        return None
    of = f"{read} of {all_} tilt series" if read < all_ else f"{all_} tilt series"
    caption = f"What was changed, by tilt; {of}. Dark: median; light: where 90 % are"
    return plot(caption, (states[0].tomograms, states[1].tomograms), *draw)


def changes_figure(tilts: Array, values: Array, what: str, path: Target) -> None:
    """Changes by tilt angle: the median, and the range of nine in ten; each dot is a tilt image, if there are few."""
    angles = np.round(tilts)
    at = np.unique(angles)
    spread = np.array([np.percentile(values[angles == angle], [5, 50, 95]) for angle in at])
    with drawn(path, 4.6, 2.6) as figure:
        axes = figure.subplots()
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.fill_between(at, spread[:, 0], spread[:, 2], color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(at, spread[:, 1], color=BLUE)
        if len(values) <= 400:
            axes.plot(tilts, values, ".", color=BLUE, markersize=3, alpha=0.6)
        axes.set(xlabel="Tilt (°)", ylabel=what)


def _changed(before: str, after: str) -> tuple[Array, Array, Array, int, int] | None:
    """Of the tilt images of the series that are read: tilt (°), change of mean defocus (Å), and how far each moved (Å)
    beside the mean of its series; how many series were read, of how many."""
    files = [_series(path) for path in (before, after)]
    names = [name for name in files[0] if name in files[1]]
    chosen = [names[round(at)] for at in np.linspace(0, len(names) - 1, min(MOST, len(names)))]
    tilts, defocus, moved = [], [], []
    for name in chosen:
        old, new = (_numbers(file[name], name) for file in files)
        if old.shape != new.shape:
            return None
        tilts.append(new[:, 0])
        defocus.append((new[:, 1:3] - old[:, 1:3]).mean(axis=1))
        shift = new[:, 3:] - old[:, 3:]
        moved.append(np.linalg.norm(shift - shift.mean(axis=0), axis=1))
    if not chosen:
        return None
    return np.concatenate(tilts), np.concatenate(defocus), np.concatenate(moved), len(chosen), len(names)


def _series(tomograms: str) -> dict[str, str]:
    """The file of each tilt series by its name."""
    columns = star.columns(tomograms, "global", ["rlnTomoName", SERIES])
    return dict(zip(columns["rlnTomoName"], columns[SERIES], strict=True))


def _numbers(path: str, name: str) -> Array:
    """(n, 5) Tilt, defocus U and V, shifts along x and y of the images of a series."""
    labels = ["rlnTomoYTilt", *_DEFOCUS, *SHIFT]
    columns = star.columns(path, name, labels)
    return np.array([columns[label] for label in labels], float).T
