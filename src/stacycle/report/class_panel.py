"""The classes of a classification on the page: all of them fully visible, to be kept or rejected by click."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isinf, isnan
from pathlib import Path
from typing import Any

import pandas as pd

from stacycle.report import images
from stacycle.report.config_line import config_line
from stacycle.report.images import Image, ScaleBar
from stacycle.report.project import Project


@dataclass(frozen=True)
class OneClass:
    """A class: its central slices, whether it was kept, and what is told of it."""

    number: int
    particles: int
    kept: bool
    images: list[Image]
    told: list[str]
    file: str


@dataclass(frozen=True)
class Classes:
    """The classes that a selection chose from, and the line of the config that chooses others, at its `@`."""

    classes: list[OneClass]
    bar: ScaleBar | None
    line: str
    caption: str
    files: tuple[str, ...] = ()
    kind: str = field(default="classes", init=False)


def classes(project: Project, folder: str) -> Classes | None:
    """The classes of a selection `ROUND/STEP`, as far as their maps are still there."""
    path, decision = project.of("decisions", folder), project.decision_of(folder)
    if not (path and decision) or not {"class", "n", "fraction", "kept", "map"} <= set(decision.candidates):
        return None
    rows = [row for _, row in decision.candidates.iterrows() if Path(row["map"]).is_file()]
    read = [project.read(row["map"], images.central) for row in rows]
    found = [(row, *one) for row, one in zip(rows, read, strict=True) if one]
    if not found:
        return None
    # One greyscale for all, so that a weak class looks weak.
    scale = images.grey_range([image for _, three, _ in found for image in three])
    shown = [_one(row, three, scale) for row, three, _ in found]
    _, three, pixel = found[0]
    key = f"rounds.{folder.replace('/', '.')}.classes"
    caption = (
        "Central slices (XY, XZ, YZ) of every class, in one greyscale. Click a class to keep or reject it."
    )
    return Classes(shown, images.scale_bar(len(three[0]), pixel), config_line(key, "@"), caption, (path,))


def _one(row: pd.Series, three: Sequence[Any], scale: images.Range) -> OneClass:
    named = zip(images.DIRECTIONS, three, strict=True)
    slices = [Image(images.png(image, scale), len(image), name) for name, image in named]
    told = [
        f"{row['n']:,} particles ({row['fraction']:.0%})",
        f"resolution {_number(row['resolution'])} Å",
        f"rotations ± {_number(row['accuracy_rotations'])}°",
        f"shifts ± {_number(row['accuracy_translations'])} Å",
    ]
    told += [f"like consensus {row['likeness']:.0%}"] if "likeness" in row else []
    return OneClass(int(row["class"]), int(row["n"]), bool(row["kept"]), slices, told, str(row["map"]))


def _number(value: float) -> str:
    return "∞" if isinf(value) else "–" if isnan(value) else f"{value:.1f}"
