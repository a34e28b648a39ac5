"""The files that Warp 1.0 and WarpTools write of a tilt series (Warp e321344, WarpLib/TiltSeries, WarpTools/Commands).

Warp's own convention, for a position p in Å from the volume's corner:

    q = Euler(0, angle + level y, -axis) RotateX(level x) (p + warp - volume/2) + offset - movement + image/2
    defocus = GridCTF + z', or GridCTF - z' if AreAnglesInverted

with angle = -tilt of the stage, as ts_import writes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foreign.truth import Array, Series, image_of, write_mrc, write_stack


@dataclass
class WarpProject:
    """How a project of Warp is made of the truth; `folder` is the project's.

    `level` x and y in degrees, `movement` (2) and `warp` (3) in Å, the same for all tilts; `turned` by IMOD's angle
    offset in degrees, which is in the XML file alone. `stack` gives a stack instead of averages.
    """

    folder: Path
    old: bool = False  # Warp 1.0
    level: tuple[float, float] = (0.0, 0.0)
    movement: tuple[float, float] = (0.0, 0.0)
    warp: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turned: float = 0.0
    stack: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    grids: dict[str, Array] = field(default_factory=dict)  # (time, z, y, x) in place of the usual ones

    @property
    def tomostars(self) -> Path:
        return self.folder if self.old else self.folder / "tomostar"

    @property
    def processing(self) -> Path:
        return self.folder if self.old else self.folder / "warp_tiltseries"

    @property
    def frames(self) -> Path:
        return self.folder if self.old else self.folder / "warp_frameseries"

    def xml(self, name: str) -> Path:
        return self.processing / f"{name}.xml"

    def tomostar(self, name: str) -> Path:
        return self.tomostars / f"{name}.tomostar"


def euler(tilt: float, psi: float) -> Array:
    """Matrix3.Euler of Warp with rot 0, for angles in degrees."""
    cb, sb = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    cg, sg = np.cos(np.radians(psi)), np.sin(np.radians(psi))
    return np.array([[cg * cb, sg, -cg * sb], [-sg * cb, cg, sg * sb], [sb, 0, cb]])


def rotate_x(angle: float) -> Array:
    """Matrix3.RotateX of Warp, which lists its columns."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def imported_tilts(series: Series) -> NDArray[np.integer]:
    """The images that ts_import lists: those that are not dark."""
    return np.flatnonzero(~series.dark)


def write(project: WarpProject, series: Series) -> None:
    """A tilt series' .tomostar, XML file and images."""
    which = imported_tilts(series)
    movies = [f"{series.name}_{series.order[i]:03.0f}_{series.stage[i]:.2f}_EER" for i in which]
    if project.stack:
        stack = project.processing / "tiltstack" / series.name / f"{series.name}.st"
        write_stack(stack, series, series.kept)
    else:
        _write_averages(project, series, which, movies)
    _write_tomostar(project, series, which, movies)
    project.processing.mkdir(parents=True, exist_ok=True)
    text = _xml(project, series, which, movies)
    coding, mark = ("utf-16-le", b"\xff\xfe") if project.old else ("utf-8", b"\xef\xbb\xbf")
    project.xml(series.name).write_bytes(mark + text.encode(coding))


def write_volume(project: WarpProject, series: Series, voxel: float) -> Path:
    """A tomogram of zeros as ts_reconstruct writes it: with even sizes, from the volume's corner."""
    shape = [2 * round(count * series.pixel / voxel / 2) for count in series.size]
    path = project.processing / "reconstruction" / f"{series.name}_{voxel:.2f}Apx.mrc"
    write_mrc(path, np.zeros(shape[::-1], np.float32), voxel)
    return path


def _write_averages(
    project: WarpProject, series: Series, which: NDArray[np.integer], movies: list[str]
) -> None:
    for index, movie in zip(which, movies, strict=True):
        write_mrc(project.frames / "average" / f"{movie}.mrc", image_of(series, int(index)), series.pixel)


def _write_tomostar(
    project: WarpProject, series: Series, which: NDArray[np.integer], movies: list[str]
) -> None:
    prefix = "" if project.old else "../warp_frameseries/"
    labels = ["wrpMovieName", "wrpAngleTilt", "wrpAxisAngle", "wrpDose", "wrpAverageIntensity"]
    lines = ["", "data_", "", "loop_", *(f"_{label} #{number}" for number, label in enumerate(labels, 1))]
    for index, movie in zip(which, movies, strict=True):
        dose = np.float32(series.exposure[index])
        lines.append(
            f"  {prefix}{movie}.eer  {-series.stage[index]:.2f}  {series.axis[index]:.3f}  {dose}  1.2"
        )
    project.tomostars.mkdir(parents=True, exist_ok=True)
    project.tomostar(series.name).write_text("\n".join(lines) + "\n")


def _xml(project: WarpProject, series: Series, which: NDArray[np.integer], movies: list[str]) -> str:
    angles = -series.tilt[which] - project.level[1] + project.turned
    offsets, heights = [], []
    for index, angle in zip(which, angles - project.turned, strict=True):
        matrix = euler(angle + project.level[1], -series.axis[index]) @ rotate_x(project.level[0])
        moved = matrix @ project.warp
        offsets.append(series.shift[index] * series.pixel - moved[:2] + project.movement)
        heights.append(moved[2])
    sign = -1 if series.hand < 0 else 1  # of z' in the defocus: minus if the angles are inverted
    middle = (series.defocus[which, 0] + series.defocus[which, 1]) / 2 - sign * np.array(heights)
    per_tilt = {
        "GridCTF": middle * 1e-4,
        "GridCTFDefocusDelta": (series.defocus[which, 0] - series.defocus[which, 1]) * 1e-4,
        "GridCTFDefocusAngle": series.defocus[which, 2],
        "GridCTFPhase": series.phase[which] / 180,
    }
    grids = {name: values.reshape(1, -1, 1, 1) for name, values in per_tilt.items()}
    for names, values in (
        (("GridMovementX", "GridMovementY"), project.movement),
        (("GridVolumeWarpX", "GridVolumeWarpY", "GridVolumeWarpZ"), project.warp),
        (("GridAngleX", "GridAngleY", "GridAngleZ"), (0, 0, 0)),
    ):
        grids |= {name: np.full((1, 1, 1, 1), value) for name, value in zip(names, values, strict=True)}
    lists = {
        "Angles": angles,
        "Dose": series.exposure[which],
        "UseTilt": ~series.excluded[which],
        "AxisAngle": series.axis[which],
        "AxisOffsetX": np.array(offsets)[:, 0],
        "AxisOffsetY": np.array(offsets)[:, 1],
        "MoviePath": [f"{'' if project.old else '../warp_frameseries/'}{movie}.eer" for movie in movies],
    }
    attributes = {
        "AreAnglesInverted": str(series.hand < 0),
        "PlaneNormal": "0.01, -0.02, 0.99",
        "Bfactor": "0",
        "MagnificationCorrection": "1, 1, 0" if project.old else "1, 0, 0, 1",
        "UnselectManual": "",
    }
    if not project.old:
        volume = [_single(count * series.pixel) for count in series.size]
        attributes |= {
            "LevelAngleX": _single(project.level[0]),
            "LevelAngleY": _single(project.level[1]),
            "VolumeDimensionsAngstrom": ", ".join(volume),
        }
    said = " ".join(f'{key}="{value}"' for key, value in (attributes | project.attributes).items())
    coding = "utf-16" if project.old else "utf-8"
    parts = [f'<?xml version="1.0" encoding="{coding}"?>\n<TiltSeries {said}>']
    parts += [f"\t<{tag}>" + "\n".join(map(_single, values)) + f"</{tag}>" for tag, values in lists.items()]
    parts.append(_parameters(series))
    parts += [_grid(name, values) for name, values in (grids | project.grids).items()]
    return "\n".join([*parts, "</TiltSeries>"])


def _single(value: object) -> str:
    """A number as C# prints one of single precision; words as they are."""
    if isinstance(value, (str, bool, np.bool_)):
        return str(value)
    return str(np.float32(value))


def _parameters(series: Series) -> str:
    values = {
        "PixelSize": "1.0",  # of the fit of the CTF
        "Amplitude": series.amplitude_contrast,
        "Defocus": "1.0",
        "Voltage": series.voltage,
        "Cs": series.cs,
    }
    lines = [f'\t\t<Param Name="{name}" Value="{value}" />' for name, value in values.items()]
    return "\n".join(["\t<CTF>", *lines, "\t</CTF>"])


def _grid(name: str, values: Array) -> str:
    time, depth, height, width = values.shape
    last = (
        f' Duration="{time}"' if name.startswith("GridVolumeWarp") else ' MarginX="0" MarginY="0" MarginZ="0"'
    )
    lines = [f'\t<{name} Width="{width}" Height="{height}" Depth="{depth}"{last}>']
    for (w, z, y, x), value in np.ndenumerate(values):
        when = f' W="{w}"' if name.startswith("GridVolumeWarp") else ""
        lines.append(f'\t\t<Node X="{x}" Y="{y}" Z="{z}"{when} Value="{_single(value)}" />')
    return "\n".join([*lines, f"\t</{name}>"])
