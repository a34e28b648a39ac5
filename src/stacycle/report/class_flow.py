"""How particles go from class to class over the iterations of a classification."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from stacycle.files import relion_output
from stacycle.report.drawing import BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, SKY, Target, drawn
from stacycle.report.plots import Plot, plot
from stacycle.report.project import Project

SHOWN = 4  # iterations: each has a data file of all particles, which takes a while to read
_COLOURS = (BLUE, ORANGE, GREEN, RED, PINK, SKY, GREY)
_LEAST = 0.003  # of the particles: a thinner band is not drawn
_BAR = 0.12  # of the distance between two iterations is a column wide

Array = NDArray[Any]


def flow(project: Project, folder: str) -> Plot | None:
    """The classes of particles over the iterations of the variant that a classification chose, up to the one chosen."""
    path, decision = project.of("decisions", folder), project.decision_of(folder)
    if not (path and decision and {"variant", "iteration"} <= set(decision.choice)):
        return None
    run, last = Path(path).parent / str(decision.choice["variant"]), int(decision.choice["iteration"])
    told = [one.number for one in project.read(str(run), partial(relion_output.iterations, maps=False), [])]
    numbers = sorted({at for at in told if 1 <= at <= last})
    if len(numbers) < 2:
        return None
    chosen = [numbers[round(at)] for at in np.linspace(0, len(numbers) - 1, min(SHOWN, len(numbers)))]
    found = {}
    for number in chosen:
        table = project.read(str(run), partial(relion_output.assignments, iteration=number))
        if table is None:
            return None
        found[number] = table.set_index("particle")["class"]
    caption = "Particles by class, from iteration to iteration of the variant chosen"
    return plot(caption, (str(run),), partial(flow_figure, found))


def flow_figure(classes: Mapping[int, pd.Series], path: Target) -> None:
    """Columns of classes for each iteration, particle -> class; between them bands of the particles that go from one to
    the other, in the colour of the class that they come from."""
    numbers = list(classes)
    count = max(int(one.max()) for one in classes.values())
    total = max(map(len, classes.values()))
    with drawn(path, 4.6, 2.9) as figure:
        axes = figure.subplots()
        for at, number in enumerate(numbers):
            _column(axes, at, np.bincount(classes[number], minlength=count + 1)[1:])
        for at, (before, after) in enumerate(pairwise(numbers)):
            _bands(axes, at, moves(classes[before], classes[after], count), _LEAST * total)
        axes.set_xticks(range(len(numbers)), [str(number) for number in numbers])
        axes.set(
            xlabel="Iteration", ylabel="Particles", xlim=(-0.3, len(numbers) - 0.7), ylim=(0, 1.02 * total)
        )
        axes.grid(visible=False)


def moves(before: pd.Series, after: pd.Series, count: int) -> NDArray[np.int64]:
    """(count, count) How many particles are in a class (row) before and in one (column) after."""
    later = after.reindex(before.index)
    both = later.notna().to_numpy()
    place = (before.to_numpy()[both] - 1) * count + later.to_numpy()[both].astype(int) - 1
    return np.bincount(place, minlength=count * count).reshape(count, count)


def _column(axes: Axes, at: float, sizes: Array) -> None:
    bottoms = np.cumsum(sizes) - sizes
    for number, (bottom, size) in enumerate(zip(bottoms, sizes, strict=True)):
        axes.bar(at, size, _BAR, bottom, color=_COLOURS[number % len(_COLOURS)])
        if size > 0.06 * sizes.sum():
            place: dict[str, Any] = {"ha": "right", "va": "center", "color": INK, "fontsize": 8}
            axes.text(at - 0.6 * _BAR, bottom + size / 2, str(number + 1), **place)


def _bands(axes: Axes, at: int, moved: NDArray[np.int64], least: float) -> None:
    leave = np.cumsum(moved.sum(axis=1)) - moved.sum(axis=1)
    arrive = np.cumsum(moved.sum(axis=0)) - moved.sum(axis=0)
    x = np.linspace(at + _BAR / 2, at + 1 - _BAR / 2, 13)
    bend = (1 - np.cos(np.linspace(0, np.pi, 13))) / 2
    for start in range(len(moved)):
        for end in range(len(moved)):
            size = moved[start, end]
            if size > least:
                lower = leave[start] + (arrive[end] - leave[start]) * bend
                colour = _COLOURS[start % len(_COLOURS)]
                axes.fill_between(x, lower, lower + size, color=colour, alpha=0.35, linewidth=0)
            leave[start] += size
            arrive[end] += size
