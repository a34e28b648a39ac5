"""Pictures of maps as files: central slices of one map, and of all classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stacycle.report.drawing import BLUE, INK, RED, Target, drawn
from stacycle.report.images import DIRECTIONS, central

_COLUMN, _LABELS, _BAND = 1.75, 0.3, 6.5  # inches: a class, the labels at the left, a row of classes


def class_montage(classes: pd.DataFrame, path: Target, columns: int = 6) -> None:
    """Central slices in three directions of every class map, with size, resolution and accuracy under each.

    `classes` is the table of `relion_output.classes`; with a column `kept`, each is framed and called as it was
    judged, and all are as well to be seen. One greyscale for all, so that a weak class looks weak.
    """
    slices = [central(name)[0] for name in classes["map"]]
    pixel = central(classes["map"].iloc[0])[1]
    pixels = np.concatenate([image.ravel() for three in slices for image in three])
    grey = {"vmin": np.percentile(pixels, 0.5), "vmax": np.percentile(pixels, 99.8)}
    columns = min(columns, len(classes))
    bands, width = -(-len(classes) // columns), _COLUMN * columns + _LABELS
    with drawn(path, width, _BAND * bands, layout=None) as figure:
        for band, block in enumerate(figure.subfigures(bands, 1, squeeze=False)[:, 0]):
            grid = block.subplots(3, columns, squeeze=False)
            block.subplots_adjust(_LABELS / width, 0.19, 0.99, 0.94, wspace=0.08, hspace=0.05)
            for axes, direction in zip(grid[:, 0], DIRECTIONS, strict=True):
                axes.set_ylabel(direction)
            for column, three in enumerate(grid.T):
                index = band * columns + column
                if index < len(classes):
                    _class(three, slices[index], classes.iloc[index], grey)
                    scale_bar(three[0], len(slices[index][0]), pixel)
                else:
                    for axes in three:
                        axes.set_axis_off()


def slices_figure(density: str | Path, path: Target) -> None:
    """The three central slices of a map."""
    with drawn(path, 8.4, 3.1) as figure:
        _three_slices(figure, density)


def _three_slices(figure: Figure, density: str | Path) -> None:
    """The central slices of a map side by side, with a scale bar in the first."""
    images, pixel_size = central(density)
    low, high = np.percentile(images, [0.5, 99.9])
    for axes, name, image in zip(figure.subplots(1, 3), DIRECTIONS, images, strict=True):
        show(axes, image, vmin=low, vmax=high)
        axes.set_title(name)
    scale_bar(figure.axes[0], len(images[0]), pixel_size)


def _class(three: np.ndarray, slices: list[np.ndarray], row: pd.Series, grey: dict[str, float]) -> None:
    """One class of the montage, in its three axes from top to bottom."""
    kept = row.get("kept")  # None where nothing was judged
    judged, colour = ("", INK) if kept is None else (" · kept", BLUE) if kept else (" · rejected", RED)
    for axes, image in zip(three, slices, strict=True):
        show(axes, image, **grey)
        for spine in axes.spines.values():
            style = "--" if colour == RED else "-"
            spine.set(visible=True, color=colour, linewidth=1 if kept is None else 2.5, linestyle=style)
    three[0].set_title(f"class {row['class']}{judged}", loc="center", fontsize=9, color=colour)
    lines = [
        f"{row['n']} particles ({row['fraction']:.0%})",
        f"resolution {_number(row['resolution'])} Å",
        f"rotations ± {_number(row['accuracy_rotations'])}°",
        f"shifts ± {_number(row['accuracy_translations'])} Å",
    ]
    if "likeness" in row:
        lines.append(f"like consensus {row['likeness']:.0%}")
    three[-1].set_xlabel("\n".join(lines), fontsize=8.5, linespacing=1.35)


def show(axes: Axes, image: np.ndarray, **options: Any) -> None:
    """An image without axes."""
    axes.imshow(image, **{"origin": "lower", "interpolation": "bicubic"} | options)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def scale_bar(axes: Axes, box: int, pixel_size: float, colour: str = "white") -> None:
    """A bar of a round length, about a quarter of the box."""
    if pixel_size <= 0:
        return
    wanted = box * pixel_size / 4
    length = max(x for x in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if x <= max(1, wanted))
    start = box * 0.06
    axes.plot([start, start + length / pixel_size], [box * 0.07] * 2, color=colour, linewidth=3)
    axes.text(start, box * 0.1, f"{length} Å", color=colour, fontsize=8)


def _number(value: float) -> str:
    return "∞" if np.isinf(value) else "–" if np.isnan(value) else f"{value:.1f}"
