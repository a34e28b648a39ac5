"""A plot as the page has it: SVG that takes the page's colours, with its caption, key and files."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from stacycle.report import drawing


@dataclass(frozen=True)
class Key:
    """One line of a key: a colour, whether it is dashed, and what it stands for; `strong` if it was chosen."""

    colour: str
    text: str
    dash: str = "solid"
    strong: bool = False


@dataclass(frozen=True)
class Plot:
    """One or more plots that belong together, each an SVG, and the files that they are drawn from."""

    svgs: list[str]
    caption: str
    files: tuple[str, ...] = ()
    key: tuple[Key, ...] = ()
    kind: str = field(default="plot", init=False)


@dataclass(frozen=True)
class Picture:
    """A picture that a step drew itself: a PNG in base64, and its file."""

    png: str
    caption: str
    files: tuple[str, ...] = ()
    kind: str = field(default="picture", init=False)


def plot(caption: str, files: tuple[str, ...], *draw: Callable[..., None], key: tuple[Key, ...] = ()) -> Plot:
    """A plot of what each `draw` draws, given the open file that it goes to as `path`."""
    key = tuple(replace(one, colour=drawing.THEMED.get(one.colour, one.colour)) for one in key)
    return Plot([_svg(one, caption) for one in draw], caption, files, key)


def for_scripts(value: Any) -> str:
    """A value as JSON that the page's scripts read; it can stand in a script element whatever texts are in it."""
    return json.dumps(value).replace("<", "\\u003c")


def _svg(draw: Callable[..., None], label: str) -> str:
    file = io.BytesIO()
    draw(path=file)
    svg = file.getvalue()
    return drawing.inline(svg, f"s{zlib.crc32(svg):08x}", label)
