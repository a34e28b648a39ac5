"""What every source of tilt series is asked and gives: aligned tilt series as RELION 5 means them.

A position p (px of the unbinned tilt series, from the tomogram's corner) is seen at

    q = Rz(ZRot) Ry(YTilt) Rx(XTilt) (p - size/2) + (XShift, YShift)/pixel + image/2

with right-handed active rotations (RELION 5.0.1, src/jaz/tomography/tomogram.cpp). A source works these numbers out of
its program's files; it guesses nothing: what the files do not say it asks of the user, by a UserError with the key.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path

import pandas as pd

from stacycle.inputs import sources
from stacycle.inputs.findings import Findings


@dataclass(frozen=True)
class Asked:
    """What a set of the config says of its source; None where it says nothing.

    `dose` in e/Å² per tilt image, `hand` RELION's rlnTomoHand (1 or -1), `size` x, y, z in unbinned px, `voltage` in
    kV, `cs` in mm, `pixel` in Å, `include` patterns of the names of tilt series. `hand_is_open`: averages with both
    will tell the hand, so that it can be assumed without a warning.
    """

    folder: Path
    label: str = "inputs.1"  # the set's key in the config, for messages
    dose: float | None = None
    hand: int | None = None
    hand_is_open: bool = False
    size: tuple[int, int, int] | None = None
    voltage: float | None = None
    cs: float | None = None
    amplitude_contrast: float | None = None
    pixel: float | None = None
    include: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Volume:
    """The tomogram that a program made of a tilt series, in which picks may have been made.

    `shape`: voxels along RELION's x, y and z; `voxel` in Å, as its header says. `axes`: RELION's axes in the order in
    which the file has them, "xyz" or "xzy"; `reversed`: those that run backwards in the file, such as "z". `cropped`: Å
    per voxel along x, y, z where they are not `voxel`, because binning made the sizes even; see `voxels`. `anchor`:
    what it shares with the tilt series' tomogram if its voxels do not divide that evenly: the "centre", or, as RELION's
    and Warp's own do, the "corner", which is its first voxel's centre. `part`: another volume, made of it in an unknown
    way, in which picks may have been made as well.
    """

    path: Path
    shape: tuple[int, int, int]
    voxel: float
    axes: str = "xyz"
    reversed: str = ""
    cropped: tuple[float, float, float] | None = None
    anchor: str = "centre"
    part: Path | None = None

    @property
    def voxels(self) -> tuple[float, float, float]:
        """Å per voxel along RELION's x, y and z."""
        return self.cropped or (self.voxel, self.voxel, self.voxel)

    @property
    def mirrored(self) -> bool:
        """Whether it shows the particle's mirror image: angles of picks in it mean nothing to RELION."""
        return (len(self.reversed) + (self.axes != "xyz")) % 2 == 1


@dataclass(frozen=True)
class ImportedSeries:
    """A tilt series as RELION 5 takes it.

    `tilts`: a row per image that is used, with RELION's columns: rlnMicrographName (N@path, or the path of one image),
    rlnMicrographPreExposure (e/Å²), rlnTomoNominalStageTiltAngle, rlnTomoXTilt, rlnTomoYTilt, rlnTomoZRot (degrees),
    rlnTomoXShiftAngst, rlnTomoYShiftAngst, rlnDefocusU, rlnDefocusV (Å), rlnDefocusAngle (degrees); rlnPhaseShift
    (degrees) and rlnCtfScalefactor where the program says them.
    `size`: x, y, z of the tomogram in unbinned px, `pixel` in Å. `volume` is None if none is there.
    `taken`: what was taken from where, in the user's words, such as "axis": "84.92°, ROT of TS_01.aln".
    """

    name: str
    tilts: pd.DataFrame
    pixel: float
    size: tuple[int, int, int]
    hand: int
    voltage: float
    cs: float
    amplitude_contrast: float
    volume: Volume | None = None
    taken: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A program that aligns tilt series, by its key in the config.

    `read`: all tilt series below the folder, with warnings in the findings; raises UserError, or notes problems there.
    `files`: all files that `read` reads, tables and headers of images, for Snakemake and for what preflight remembers.
    """

    key: str
    title: str
    read: Callable[[Asked, Findings], list[ImportedSeries]]
    files: Callable[[Asked], list[Path]]


@cache
def all_sources() -> Mapping[str, Source]:
    """The sources by their keys."""
    modules = (
        import_module(f"{sources.__name__}.{found.name}") for found in pkgutil.iter_modules(sources.__path__)
    )
    return {module.SOURCE.key: module.SOURCE for module in modules if hasattr(module, "SOURCE")}
