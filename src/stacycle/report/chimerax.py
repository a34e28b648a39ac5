"""ChimeraX's commands that show maps: a view is a text of commands, `view.cxc`, which names files from its own folder.

ChimeraX goes to the folder of a command file before it runs its commands.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stacycle.files import mrc

# ColorBrewer's RdYlBu, safe for the colour-blind: fine is blue, coarse red.
COLOURS = ("#2c7bb6", "#abd9e9", "#ffffbf", "#fdae61", "#d7191c")
DENSITY, REJECTED, OVER_MAP = "#6fa8dc", "#b7b7b7", "#e69f00"


@dataclass(frozen=True)
class Shown:
    """A map as it is shown: `level` of its surface; `hidden` if it is open but not seen; `clear` from 0 to 1; `values`
    that colour it (a map of local resolutions in Å) from which to which; `pixel` in Å, by default what its header says.
    """

    path: Path
    level: float
    colour: str = DENSITY
    clear: float = 0
    hidden: bool = False
    values: Path | None = None
    between: tuple[float, float] = (0, 0)
    pixel: float = 0


def view(title: str, maps: Sequence[Shown], folder: Path, tiled: bool = False) -> str:
    """The commands that show maps, in the file `folder`/view.cxc; `tiled` beside each other, else upon each other."""
    lines = [f"# {title}", "set bgColor white"]
    coloured: list[tuple[int, Shown]] = []
    for number, shown in enumerate(maps, 1):
        lines += [f"open {quoted(shown.path, folder)} id {number}"]
        size = f" voxelSize {pixel:.6g}" if (pixel := shown.pixel or mrc.header(shown.path).pixel) > 0 else ""
        clear = f" transparency {shown.clear:g}" if shown.clear else ""
        style = f"style surface step 1 level {shown.level:.5g} color {shown.colour}"
        lines += [f"volume #{number}{size} {style}{clear}"]
        if shown.hidden:
            lines += [f"volume #{number} hide"]
        coloured += [(number, shown)] if shown.values else []
    for more, (number, shown) in enumerate(coloured, len(maps) + 1):
        assert shown.values is not None
        lines += [f"open {quoted(shown.values, folder)} id {more}", f"volume #{more} hide"]
        lines += coloured_by(number, more, shown.between)
    lines += ["tile"] * tiled + ["lighting soft", "view"]
    return "\n".join(lines) + "\n"


def coloured_by(number: int, values: int, between: tuple[float, float]) -> list[str]:
    """The commands that colour a model by the values of another one, and show what a colour means."""
    stops = [f"{value:.4g}" for value in np.linspace(*between, len(COLOURS))]
    palette = ":".join(f"{stop},{colour}" for stop, colour in zip(stops, COLOURS, strict=True))
    key = " ".join(f"{colour}:{stop}" for stop, colour in zip(stops, COLOURS, strict=True))
    return [f"color sample #{number} map #{values} palette {palette}", f"key {key}"]


def quoted(path: Path, folder: Path) -> str:
    """A file's name from a folder, in quotes: it may have blanks."""
    name = Path(os.path.relpath(path, folder)).as_posix()
    return f"'{name}'" if '"' in name else f'"{name}"'
