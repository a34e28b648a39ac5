"""What all figures share: colours (Okabe and Ito's, safe for the colour-blind), style, and the PNG file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8F98"
PINK, SKY = "#CC79A7", "#56B4E9"
INK = "#1F2430"
DPI = 150
Target = str | Path | IO[bytes]  # where a figure goes
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#E4E6EA",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "image.cmap": "gray",
}


@contextmanager
def drawn(path: Target, width: float, height: float, layout: str | None = "constrained") -> Iterator[Figure]:
    """An empty figure of this size in inches, written to `path` as PNG when it has been drawn on."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout=layout, facecolor="white")  # type: ignore[arg-type]
        yield figure
        save(figure, path)


def save(figure: Figure, path: Target) -> None:
    """Write a figure as PNG: the same bytes each time."""
    if isinstance(path, str | Path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, format="png", metadata={"Software": None})
