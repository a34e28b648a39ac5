"""A microscope's .mdoc file of a tilt series: in which order its images were taken.

Its angles are the stage's. Its axis is not taken (tilt_axis.py compares it), nor its doses, for they are often wrong:
Tomo5 turns the axis in its title, and writes an exposure that falls with the tilt.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stacycle.errors import UserError, some
from stacycle.inputs.sources.common import Array, float_of, read_text

_SAME_ANGLE = 0.1  # degrees, between a .rawtlt of two decimals and the .mdoc
_DATES = ("%d-%b-%y", "%d-%b-%Y", "%Y-%b-%d", "%Y/%m/%d", "%Y-%m-%d")


@dataclass(frozen=True)
class Mdoc:
    """The images of a tilt series, a value per section of the file: `angles` of the stage in degrees, `order` from 0 in
    which they were taken, by `how`. `voltage` in kV, `exposure` (median) in e/Å²; None if they are not there."""

    path: Path
    angles: Array
    order: NDArray[np.integer]
    how: str
    voltage: float | None
    exposure: float | None

    def order_of(self, angles: Array) -> NDArray[np.integer]:
        """(n): the order of images by their angles (n) in degrees. UserError unless each is one section's alone."""
        apart = np.abs(angles[:, None] - self.angles[None])
        close = apart < _SAME_ANGLE
        if len(angles) == len(self.angles) and close.diagonal().all():
            return self.order
        for view, found in enumerate(close.sum(1), 1):
            if found != 1:
                problem = (
                    f"{self.path}: has {found} images at {angles[view - 1]:.2f}°, the angle of view {view}"
                )
                raise UserError(problem, "is it the file of this tilt series, and is NAME.rawtlt there?")
        which = close.argmax(1)
        if len(set(which)) < len(which):
            problem = f"{self.path}: has fewer images than the tilt series at some angles"
            raise UserError(problem, "is it the file of this tilt series?")
        return self.order[which]


def read(path: Path) -> Mdoc:
    """A .mdoc file. UserError if it has no tilt series, or if nothing tells the order of its images."""
    shared, sections = _split(read_text(path))
    if not sections or not all("TiltAngle" in section for section in sections):
        raise UserError(f"{path}: has no TiltAngle for each image", "is it the .mdoc file of a tilt series?")
    angles = np.array([_number(path, section, "TiltAngle") for section in sections])
    if all(section.get("DateTime") for section in sections):
        keys, how = [_time(path, section["DateTime"]) for section in sections], "DateTime"
    elif all("PriorRecordDose" in section for section in sections):
        keys, how = [_number(path, section, "PriorRecordDose") for section in sections], "PriorRecordDose"
    else:
        keys, how = [float(number) for number in range(len(sections))], "ZValue"
        if len(angles) > 2 and len({*np.sign(np.diff(angles))}) == 1:
            problem = f"{path}: has no DateTime, and its images are sorted by angle"
            raise UserError(problem, "give the .mdoc file of the acquisition, with DateTime")
    if len(set(keys)) < len(keys):
        twice = some({key for key in keys if keys.count(key) > 1}, 2)
        raise UserError(f"{path}: has the same {how} twice ({twice})", "the order of the images is not known")
    exposures = [_number(path, section, "ExposureDose") for section in sections if "ExposureDose" in section]
    exposure = float(np.median(exposures)) if exposures and np.median(exposures) > 0 else None
    voltage = _number(path, shared, "Voltage") if "Voltage" in shared else None
    return Mdoc(path, angles, np.argsort(np.argsort(np.array(keys))), how, voltage, exposure)


def _split(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """What holds of all images, and what of each: those after [ZValue = N], or [FrameSet = 0] of files of one image."""
    shared: dict[str, str] = {}
    sections: list[dict[str, str]] = []
    of = shared
    for line in text.splitlines():
        key, equals, value = (part.strip() for part in line.strip(" \t[]").partition("="))
        if line.strip().startswith("["):
            if key in ("ZValue", "FrameSet"):
                of = {}
                sections.append(of)
        elif equals:
            of[key] = value
    return shared, sections


def _number(path: Path, section: dict[str, str], key: str) -> float:
    value = float_of(section[key].partition(" ")[0])
    if value is None or not np.isfinite(value):
        raise UserError(f"{path}: {key} = {section[key]!r} is no number", "correct it")
    return value


def _time(path: Path, text: str) -> float:
    """Seconds; years have two digits or four."""
    for form in (f"{date} %H:%M:%S" for date in _DATES):
        try:
            return (datetime.strptime(" ".join(text.split()), form) - datetime(1970, 1, 1)).total_seconds()
        except ValueError:
            continue
    raise UserError(f"{path}: DateTime = {text!r} is no time", "correct it, as in 30-Nov-2015 15:14:20")
