"""Pictures of a multi-body refinement: how its bodies moved, and how much each principal component explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from stacycle.report.drawing import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, Target, drawn

_COLOURS = (BLUE, ORANGE, GREEN, RED, PINK, SKY)


def motions_figure(table: pd.DataFrame, explained: Sequence[float], path: Target) -> None:
    """Both of the figures below side by side, or the first alone."""
    with drawn(path, 8.2 if explained else 4.6, 2.8) as figure:
        panels = figure.subplots(1, 2 if explained else 1, squeeze=False)[0]
        _offsets(panels[0], table)
        for right in panels[1:]:
            _components(right, explained)


def offsets_figure(table: pd.DataFrame, path: Target) -> None:
    """Offsets of the bodies by iteration (Å, of the table of `body_motions.summary`); solid (rms), and dashed what all
    particles have in common."""
    with drawn(path, 4.6, 2.8) as figure:
        _offsets(figure.subplots(), table)


def components_figure(explained: Sequence[float], path: Target) -> None:
    """The variance in percent that each principal component explains."""
    with drawn(path, 4.6, 2.8) as figure:
        _components(figure.subplots(), explained)


def _offsets(axes: Axes, table: pd.DataFrame) -> None:
    for number, (body, run) in enumerate(table.groupby("body", sort=False)):
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(run["iteration"], run["offset"], "o-", color=colour, markersize=4, label=str(body))
        axes.plot(run["iteration"], run["together"], "--", color=colour, linewidth=1.2)
    axes.axhline(table["searched"].iloc[0], color=GREY, linewidth=1, linestyle=":")
    axes.set_title("Offsets from the consensus")
    axes.set_xlabel("Iteration; dotted: the search range")
    axes.set_ylabel("Å rms; dashed: in common")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _components(axes: Axes, explained: Sequence[float]) -> None:
    axes.bar(np.arange(1, len(explained) + 1), explained, color=BLUE)
    axes.set_title("Principal components")
    axes.set_xlabel("Component")
    axes.set_ylabel("Variance explained (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
