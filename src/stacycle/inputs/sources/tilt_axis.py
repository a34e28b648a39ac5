"""Where files other than an alignment say that the tilt axis is: a mirrored map shows in nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from stacycle.files import mrc
from stacycle.inputs.sources.common import read_text

_OTHER = 20.0  # degrees: more than any alignment corrects
_NUMBER = r"[\s=]+(-?\d+(?:\.\d+)?)"
# As it was entered, in etomo's .edf, commands (.com) and align.log.
_ENTERED = re.compile(rf"^\s*(?:RotationAngle|Setup\.ImageRotationA){_NUMBER}", re.MULTILINE)
# SerialEM writes it to titles, and 90° more as RotationAngle; Tomo5 as RotationAngle, for its title is often wrong.
_TITLE = re.compile(rf"Tilt axis angle{_NUMBER}")
_ROTATION = re.compile(rf"^RotationAngle{_NUMBER}", re.MULTILINE)
_TOMO5 = "TiltAxisAngle"


def axes_said(paths: Iterable[Path], stack: Path) -> Iterator[tuple[float, str]]:
    """The tilt axis in degrees by each file that says it, and that file's name.

    `paths` are of etomo's commands and of .mdoc files, which are there; the titles in the stack's header count too.
    """
    for path in paths:
        if (axis := _axis_in(read_text(path), path.suffix == ".mdoc")) is not None:
            yield axis, path.name
    with stack.open("rb") as file:
        titles = file.read(mrc.HEADER_BYTES).decode("latin-1")
    if (axis := _axis_in(titles, True)) is not None:
        yield axis, f"the header of {stack.name}"


def warn_of_other_axis(
    axis: float, where: str, said: float, said_by: str, warn: Callable[[str, str], None]
) -> None:
    """Warn (what, cure) if a tilt axis is not where another file says: one the other way round mirrors the tomogram."""
    if (apart := abs((axis - said + 180) % 360 - 180)) > _OTHER:
        what = f"{where}: the tilt axis is at {axis:.2f}°, but at {said:g}° in {said_by}, {apart:.0f}° apart"
        warn(what, "one axis is wrong: that of another sign or turn mirrors the map")


def _axis_in(text: str, of_microscope: bool) -> float | None:
    if of_microscope:
        found = _TITLE.findall(text) or (_TOMO5 in text and _ROTATION.findall(text))
    else:
        found = _ENTERED.findall(text)
    return float(np.median([float(axis) for axis in found])) if found else None
