"""Slices of maps as grey images of the page: small PNG files of as many pixels as there are voxels, with lines over
them, a scale bar and words that the page sets."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stacycle.files import mrc

DIRECTIONS = ("XY", "XZ", "YZ")  # of central slices; arrays are (z, y, x)
_LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)  # of scale bars, in Å
_GREYS = 64  # noise in more of them takes more bytes than it is worth
_MOST = 320  # pixels of a side

Array = NDArray[Any]
Range = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """An outline over an image: the path of an SVG in pixels, and its class in report.css."""

    path: str
    kind: str


@dataclass(frozen=True)
class Image:
    """One grey image: a PNG in base64 of `size` pixels a side, its name, and lines over it."""

    png: str
    size: int
    name: str = ""
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class ScaleBar:
    """A bar: its length in Å, and its share of an image's width in percent."""

    length: int
    share: float


@dataclass(frozen=True)
class Slices:
    """Central slices of a map side by side, the files that they are of, and what the lines over them mean."""

    images: list[Image]
    bar: ScaleBar | None
    caption: str
    files: tuple[str, ...] = ()
    key: tuple[tuple[str, str], ...] = ()  # kind of line, meaning
    kind: str = field(default="slices", init=False)


def central(path: str | Path) -> tuple[list[Array], float]:
    """XY, XZ and YZ through the centre of a map as float32 (n, n), and the pixel size in Å; the rest of the map is not
    read (bin1 maps are large). UserError if it is damaged."""
    volume = mrc.voxels(path)
    z, y, x = (n // 2 for n in volume.shape)
    slices = (volume[z], volume[:, y], volume[:, :, x])
    return [np.array(image, np.float32) for image in slices], mrc.header(path).pixel


def slices(
    density: str | Path, caption: str, mask: str | Path | None = None, key: Sequence[tuple[str, str]] = ()
) -> Slices:
    """The three central slices of a map; over them the outlines of a mask at 0.5, and where its soft edge ends."""
    images, pixel = central(density)
    weights = central(mask)[0] if mask else [np.zeros((1, 1))] * 3
    scale = grey_range(images)
    made = [
        Image(png(image, scale), len(image), name, _outlines(weight))
        for name, image, weight in zip(DIRECTIONS, images, weights, strict=True)
    ]
    files = tuple(str(path) for path in (density, mask) if path)
    return Slices(made, scale_bar(len(images[0]), pixel), caption, files, tuple(key))


def grey_range(images: Sequence[Array]) -> Range:
    """The values that are black and white: of nearly all pixels."""
    low, high = np.percentile(np.concatenate([image.ravel() for image in images]), [0.5, 99.8])
    return float(low), float(high)


def png(image: Array, scale: Range) -> str:
    """A grey PNG in base64 of an image (n, n), whose first row is at the bottom."""
    from PIL import Image as Pillow

    low, high = scale
    level = np.clip((image[::-1] - low) / max(high - low, 1e-30), 0, 1) * (_GREYS - 1)
    grey = np.rint(level) * (255 / (_GREYS - 1))
    picture = Pillow.fromarray(grey.astype(np.uint8), "L")
    if max(picture.size) > _MOST:
        picture = picture.resize((_MOST, _MOST), Pillow.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def coloured_png(image: Array) -> str:
    """A PNG in base64 of an image (n, n, 3), red, green and blue from 0 to 1, whose first row is at the bottom."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(np.rint(image[::-1] * 255).astype(np.uint8), "RGB")
    if max(picture.size) > _MOST:
        picture = picture.resize((_MOST, _MOST), Pillow.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return smaller(file.getvalue())


def smaller(picture: bytes) -> str:
    """A coloured PNG in base64 with a palette in place of all colours: a third of the bytes."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    opened = Pillow.open(io.BytesIO(picture)).convert("RGB")
    opened.quantize(128, dither=Pillow.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def scale_bar(box: int, pixel: float) -> ScaleBar | None:
    """A bar of a round length, about a quarter of a box (px of `pixel` Å); None if the pixel size is not known."""
    if pixel <= 0:
        return None
    wanted = box * pixel / 4
    length = max(x for x in _LENGTHS if x <= max(1, wanted))
    return ScaleBar(length, 100 * length / (box * pixel))


def outline(image: Array, level: float, kind: str) -> Line | None:
    """Where an image (n, n) crosses a level; None if it does not."""
    from contourpy import contour_generator

    if min(image.shape) < 2:
        return None
    found: Any = contour_generator(z=image[::-1]).lines(level)  # lists of points (x, y)
    path = "".join("M" + "L".join(f"{x + 0.5:.1f} {y + 0.5:.1f}" for x, y in line) for line in found)
    return Line(path, kind) if path else None


def _outlines(weight: Array) -> tuple[Line, ...]:
    return tuple(
        line for level, kind in ((0.5, "mask"), (0.01, "edge")) if (line := outline(weight, level, kind))
    )
