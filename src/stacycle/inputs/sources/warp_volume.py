"""The volume of a tilt series of Warp: its size, and the tomogram that Warp made of it.

A tomogram's first voxel is the volume's corner, and its size is the even one nearest to the volume's: the middle of the
volume need not be that of the tomogram (Warp e321344, WarpLib/TiltSeries/TiltSeries.ReconstructFull.cs).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stacycle.files import mrc
from stacycle.inputs.sources import warp_xml
from stacycle.inputs.sources.common import even, first_known
from stacycle.inputs.sources.source import Asked, Volume
from stacycle.inputs.sources.warp_xml import Array, WarpSeries

Edges = tuple[float, float, float]  # of a volume, in Å
SETTINGS = ("warp_tiltseries.settings", "previous.settings")  # of WarpTools and of Warp 1.0


@dataclass(frozen=True)
class Frame:
    """RELION's tomogram, whose corner is that of Warp's volume, as positions count from there in Warp's files.

    `size` in px, with `where` it is from; `middle` (3): its middle from that of Warp's volume, in Å; `volume`: the
    tomogram that Warp made, if there is one alone.
    """

    size: tuple[int, int, int]
    where: str
    middle: Array
    volume: Volume | None


def frame_of(name: str, warp: WarpSeries, asked: Asked, pixel: float) -> Frame:
    """The tomogram of a tilt series. UserError if no file tells its size, nor the set."""
    found = volumes(name, warp.path)
    header = mrc.header(found[0], exact=False) if len(found) == 1 else None
    physical = [(warp.volume, f"VolumeDimensionsAngstrom of {warp.path.name}"), *_from_settings(asked)]
    if header:
        x, y, z = (count * header.pixel for count in (header.nx, header.ny, header.sections))
        physical.append(((x, y, z), found[0].name))
    sizes = [(edges and _in_pixels(edges, pixel), where) for edges, where in physical]
    size, where = first_known("size", name, asked, *sizes)
    own = np.array(size) * pixel
    edges = np.array(next((edges for edges, _ in physical if edges), own))
    volume = None
    if header:
        shape = (header.nx, header.ny, header.sections)
        volume = Volume(found[0], shape, header.pixel, anchor="corner")
    return Frame(size, where, (own - edges) / 2, volume)


def _in_pixels(edges: Edges, pixel: float) -> tuple[int, int, int]:
    x, y, z = (even(edge / pixel) for edge in edges)
    return x, y, z


def _from_settings(asked: Asked) -> list[tuple[Edges | None, str]]:
    """The volume's edges in Å by the project's settings, if it has any."""
    for name in SETTINGS:
        if (path := asked.folder / name).is_file():
            pixel = warp_xml.parameters(path, "Import").get("PixelSize", "")
            tomogram = warp_xml.parameters(path, "Tomo")
            try:
                x, y, z = (float(tomogram[f"Dimensions{axis}"]) * float(pixel) for axis in "XYZ")
            except (KeyError, ValueError):
                return [(None, name)]
            return [((x, y, z), name)]
    return []


def volumes(name: str, xml: Path) -> list[Path]:
    """The tomograms that Warp reconstructed of a tilt series, at one voxel size or several."""
    pattern = re.compile(re.escape(name) + r"_\d+\.\d+Apx\.mrc")
    return sorted(
        path for path in (xml.parent / "reconstruction").glob("*.mrc") if pattern.fullmatch(path.name)
    )
