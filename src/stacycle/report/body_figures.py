"""A picture of a multi-body refinement: how its bodies moved, and how much each principal component explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from stacycle.report.drawing import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, Target, drawn

_COLOURS = (BLUE, ORANGE, GREEN, RED, PINK, SKY)


def motions_figure(table: pd.DataFrame, explained: Sequence[float], path: Target) -> None:
    """Offsets of the bodies by iteration (Å, of the table of `body_motions.summary`); solid (rms), and dashed what all
    particles have in common; beside them the variance in percent that each principal component explains, if known."""
    with drawn(path, 8.2 if explained else 4.6, 2.8) as figure:
        panels = figure.subplots(1, 2 if explained else 1, squeeze=False)[0]
        left = panels[0]
        for number, (body, run) in enumerate(table.groupby("body", sort=False)):
            colour = _COLOURS[number % len(_COLOURS)]
            left.plot(run["iteration"], run["offset"], "o-", color=colour, markersize=4, label=str(body))
            left.plot(run["iteration"], run["together"], "--", color=colour, linewidth=1.2)
        left.axhline(table["searched"].iloc[0], color=GREY, linewidth=1, linestyle=":")
        left.set_title("Offsets from the consensus")
        left.set_xlabel("Iteration; dotted: the search range")
        left.set_ylabel("Å rms; dashed: in common")
        left.set_ylim(bottom=0)
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.legend()
        for right in panels[1:]:
            right.bar(np.arange(1, len(explained) + 1), explained, color=BLUE)
            right.set_title("Principal components")
            right.set_xlabel("Component")
            right.set_ylabel("Variance explained (%)")
            right.xaxis.set_major_locator(MaxNLocator(integer=True))
