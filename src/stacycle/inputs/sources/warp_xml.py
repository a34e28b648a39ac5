"""The XML file that Warp keeps of a tilt series: its lists, a value per tilt, and its grids of values.

Warp 1.0 writes UTF-16, WarpTools UTF-8 with a byte order mark: the bytes are parsed, which say what they are
(Warp, WarpLib/TiltSeries/TiltSeries.cs, LoadMeta and SaveMeta).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from stacycle.errors import UserError, unreadable

Array = NDArray[np.floating]
_SMALL = 1e-6  # what differs by less is the same: Å, degrees, µm
_GRIDS = ("GridCTF", "GridMovement", "GridVolumeWarp", "GridAngle")  # that are used, by the first letters
_NO_DEPTH = 1.0  # Å: what ts_import_alignments leaves as the volume's z
_COMPLETE = "was it written completely?"


@dataclass(frozen=True)
class Grid:
    """Values (time, z, y, x) at equal steps, from the first of each axis to its last; `name` is the element's.

    Warp has a Duration for times of the volume's warp alone; the Depth of all others goes along the tilts.
    """

    name: str
    values: Array

    @property
    def varies(self) -> bool:
        """Whether it differs from place to place."""
        flat = self.values.reshape(len(self.values), -1)
        return bool((np.ptp(flat, axis=1) > _SMALL).any())

    @property
    def is_zero(self) -> bool:
        return bool((np.abs(self.values) < _SMALL).all())

    def at_centre(self, when: Array) -> Array:
        """(n): the value in the middle of space, at times (n) from 0 to 1; interpolated linearly."""
        middle = self.values
        for _ in range(3):
            last = (middle.shape[-1] - 1) / 2
            middle = (middle[..., int(np.floor(last))] + middle[..., int(np.ceil(last))]) / 2
        return np.interp(when, np.linspace(0, 1, len(middle)) if len(middle) > 1 else [0.0], middle)


@dataclass(frozen=True)
class WarpSeries:
    """What Warp knows of a tilt series with n tilts.

    `angles`, `axis` and `level` (x, y) in degrees, `dose` in e/Å² before each, `offset` (n, 2) and `volume` in Å, None
    where it is unset; `parameters` are those of the CTF.
    """

    path: Path
    angles: Array
    dose: Array
    used: NDArray[np.bool_]
    axis: Array
    offset: Array
    movies: list[str]
    inverted: bool
    deselected: bool
    level: tuple[float, float]
    magnified: bool
    volume: tuple[float, float, float] | None
    parameters: Mapping[str, str]
    grids: Mapping[str, Grid]

    def parameter(self, name: str) -> float | None:
        """A number of the CTF's parameters; None if it is not there."""
        try:
            return float(self.parameters[name])
        except (KeyError, ValueError):
            return None

    def per_tilt(self, name: str) -> Array:
        """(n): the values of a grid that goes along the tilts, as those of movement and CTF do, in its middle; 0
        without it."""
        count = len(self.angles)
        return self.grids[name].at_centre(np.linspace(0, 1, count)) if name in self.grids else np.zeros(count)

    def per_dose(self, name: str) -> Array:
        """(n): the values of a grid that goes along the exposure, as those of the volume's warp do; 0 without it."""
        if name not in self.grids:
            return np.zeros(len(self.angles))
        spread = np.ptp(self.dose) or 1.0
        return self.grids[name].at_centre((self.dose - self.dose.min()) / spread)


def is_series(path: Path) -> bool:
    """Whether an XML file is a tilt series', not a movie's; True as well if it is damaged, which `read` reports."""
    try:
        with path.open("rb") as file:
            for _, element in ElementTree.iterparse(file, ["start"]):
                return element.tag == "TiltSeries"
    except (OSError, ElementTree.ParseError, ValueError):
        pass
    return True


def read(path: Path) -> WarpSeries:
    """A tilt series' file. UserError if it is damaged, or if its lists have different lengths."""
    root = _root(path)
    angles = _numbers(path, root, "Angles")
    if angles is None:
        raise UserError(f"{path}: has no Angles", "is it the file of a tilt series that Warp has processed?")
    count = len(angles)

    def listed(tag: str, default: float | None = None) -> Array:
        found = _numbers(path, root, tag)
        if found is None and default is None:
            raise UserError(f"{path}: has no {tag}", "was the tilt series aligned in Warp?")
        found = np.full(count, default) if found is None else found
        if len(found) != count:
            raise UserError(f"{path}: has {len(found)} values of {tag}, but {count} Angles", _COMPLETE)
        if not np.isfinite(found).all():
            row = int(np.flatnonzero(~np.isfinite(found))[0]) + 1
            raise UserError(f"{path}: value {row} of {tag} is no number", "align the tilt series again")
        return found

    used = [_is_true(path, "UseTilt", word) for word in _words(root, "UseTilt")] or [True] * count
    movies = [word.strip() for word in _lines(root, "MoviePath")]
    for tag, values in (("UseTilt", used), ("MoviePath", movies or used)):
        if len(values) != count:
            raise UserError(f"{path}: has {len(values)} values of {tag}, but {count} Angles", _COMPLETE)
    volume = _attribute(path, root, "VolumeDimensionsAngstrom", [0.0])
    level = [_attribute(path, root, f"LevelAngle{axis}", [0.0])[0] for axis in "XY"]
    return WarpSeries(
        path,
        angles=listed("Angles"),
        dose=listed("Dose"),
        used=np.array(used),
        axis=listed("AxisAngle"),
        offset=np.stack([listed(f"AxisOffset{axis}") for axis in "XY"], 1),
        movies=movies,
        inverted=_is_true(path, "AreAnglesInverted", root.get("AreAnglesInverted")),
        deselected=_is_true(path, "UnselectManual", root.get("UnselectManual")),
        level=(level[0], level[1]),
        magnified=_is_magnified(_attribute(path, root, "MagnificationCorrection", [1.0, 0.0, 0.0, 1.0])),
        volume=(volume[0], volume[1], volume[2]) if len(volume) == 3 and min(volume) > _NO_DEPTH else None,
        parameters={one.get("Name", ""): one.get("Value", "") for one in root.findall("CTF/Param")},
        grids={one.tag: _grid(path, one, count) for one in root if one.tag.startswith(_GRIDS)},
    )


def parameters(path: Path, section: str) -> dict[str, str]:
    """The parameters of a section of a .settings file of Warp."""
    return {one.get("Name", ""): one.get("Value", "") for one in _root(path).findall(f"{section}/Param")}


def _root(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path}: is no complete XML file ({error})", _COMPLETE) from None


def _lines(root: ElementTree.Element, tag: str) -> list[str]:
    text = (root.findtext(tag) or "").strip()
    return text.splitlines() if text else []


def _words(root: ElementTree.Element, tag: str) -> list[str]:
    return (root.findtext(tag) or "").split()


def _numbers(path: Path, root: ElementTree.Element, tag: str) -> Array | None:
    if root.find(tag) is None:
        return None
    return _floats(path, tag, _words(root, tag))


def _floats(path: Path, what: str, words: list[str]) -> Array:
    try:
        return np.array([float(word) for word in words])
    except ValueError as error:
        raise UserError(f"{path}: {what} has a value that is no number ({error})", "correct it") from None


def _is_true(path: Path, name: str, word: str | None) -> bool:
    """Whether a word is True, not False, or nothing or null, as Warp knows what is unset. UserError if another."""
    if (word or "null").lower() not in ("true", "false", "null"):
        raise UserError(f"{path}: {name} is {word!r}, not True or False", "correct it")
    return (word or "").lower() == "true"


def _attribute(path: Path, root: ElementTree.Element, name: str, default: list[float]) -> list[float]:
    return list(_floats(path, name, root.get(name, "").replace(",", " ").split())) or default


def _is_magnified(matrix: list[float]) -> bool:
    """Whether a correction of magnification changes anything: a 2x2 matrix, or Warp 1.0's scales and an angle."""
    nothing = [1.0, 0.0, 0.0, 1.0] if len(matrix) == 4 else [1.0, 1.0]
    return bool(np.abs(np.subtract(matrix[: len(nothing)], nothing)).max() > 1e-5)


def _grid(path: Path, element: ElementTree.Element, count: int) -> Grid:
    """A grid as (time, z, y, x); nodes that are not there are 0, as Warp takes them."""
    try:
        shape = [int(element.get(size, "1")) for size in ("Duration", "Depth", "Height", "Width")]
        values = np.zeros(shape)
        for node in element.findall("Node"):
            where = tuple(int(node.get(axis, "0")) for axis in "WZYX")
            values[where] = float(node.get("Value", ""))
            if min(where) < 0 or not np.isfinite(values[where]):
                raise ValueError("not in the grid, or no number")
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: {element.tag} has a wrong node or size ({error})", _COMPLETE) from None
    if element.tag.startswith("GridCTF") and shape[1] not in (1, count):
        problem = f"{path}: {element.tag} has {shape[1]} values, but there are {count} Angles"
        raise UserError(problem, "estimate the CTF again in Warp")
    return Grid(
        element.tag, values if "Duration" in element.attrib else values.reshape(shape[1], 1, *shape[2:])
    )
