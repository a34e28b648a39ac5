"""The volume of a tilt series of IMOD: its size, and the tomogram that IMOD made of it.

`tilt` writes (x, z, y), with z backwards to what its angles mean (tilt.f90: sines of angles are negated);
trimvol -rx turns that to (x, y, z).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.inputs.sources.common import even, first_known, read_text
from stacycle.inputs.sources.imod_files import Command
from stacycle.inputs.sources.source import Asked, Volume

TRIMVOL = "trimvol.com"
_OFF_CENTRE = 8.0  # px: up to which an aligned stack may be off the middle, by binning


def size_of(
    name: str, asked: Asked, header: mrc.Header, tilt: Command, newst: Command
) -> tuple[tuple[int, int, int], str]:
    """The tomogram's size x, y, z in unbinned px, and where it is from.

    x and y are those of the aligned images, or of the raw ones that `header` is of. UserError if THICKNESS is not
    known, or if the aligned images have another middle than the raw ones.
    """
    if any(newst.numbers("OffsetsInXandY")):
        problem = (
            f"{newst.path}: OffsetsInXandY is not 0, so that the volume has another middle than the images"
        )
        raise UserError(problem, "make the aligned stack again without it")
    if len(offset := tilt.numbers("OFFSET")) > 1 and offset[1]:
        problem = f"{tilt.path}: OFFSET shifts the tilt axis by {offset[1]:g} px, which is not understood"
        raise UserError(problem, "align the tilt series again without it")
    x, y, thickness = _extent(header, tilt, newst)
    full, start = tilt.numbers("FULLIMAGE"), tilt.numbers("SUBSETSTART") or [0.0, 0.0]
    for axis, size, middle, first in zip("xy", (x, y), full, start, strict=False):
        if abs(size / 2 + first - middle / 2) > _OFF_CENTRE:
            problem = f"{tilt.path}: SUBSETSTART takes a part of the images off their middle in {axis}"
            raise UserError(problem, "make the aligned stack and the tomogram again of the whole images")
    if len(slices := tilt.numbers("SLICE")) > 1 and abs((slices[0] + slices[1] + 1 - y) / 2) > _OFF_CENTRE:
        problem = f"{tilt.path}: SLICE takes a part of the tomogram off its middle in y"
        raise UserError(problem, "make the tomogram again whole")
    found = (even(x), even(y), even(thickness)) if thickness > 0 else None
    return first_known("size", name, asked, (found, f"THICKNESS of {tilt.path.name}"))


def _extent(header: mrc.Header, tilt: Command, newst: Command) -> tuple[float, float, float]:
    """x, y and z in unbinned px by the commands; z is 0 if they do not say it. UserError if they are damaged."""
    across, binning = newst.numbers("SizeToOutputInXandY"), newst.number("BinByFactor") or 1
    if len(across) not in (0, 2):
        raise UserError(f"{newst.path}: SizeToOutputInXandY is not two numbers", "correct it")
    x, y = [count * binning for count in across] or [header.nx, header.ny]
    return x, y, tilt.number("THICKNESS") or 0


def volume_of(name: str, header: mrc.Header, tilt: Command, newst: Command, pixel: float) -> Volume | None:
    """The tomogram: that of trimvol if it is whole, else that of `tilt`, which has the other as its part; None if there
    is none. `header` is that of the raw images."""
    found, written = volume_files(name, tilt), _written(name, tilt)
    if not found:
        return None
    binning = tilt.number("IMAGEBINNED") or 1
    if written in found:
        own = mrc.header(written, exact=False)
        shape, off = (own.nx, own.sections, own.ny), 0
    else:  # removed, as etomo does when it cleans up
        x, y, z = (round(count / binning) for count in _extent(header, tilt, newst))
        shape, off = (x, y, z), 1
    whole = Volume(written, shape, pixel * binning, axes="xzy", reversed="z")
    if found == [written]:
        return whole
    path, other = found[-1], tilt.path.parent / TRIMVOL
    turned = mrc.header(path, exact=False)
    words = read_text(other).split() if other.is_file() else []
    sizes = (turned.nx, turned.ny, turned.sections)
    if any(abs(a - b) > off for a, b in zip(sizes, shape, strict=True)) or not {"-rx", "-yz"} & set(words):
        return replace(whole, part=path)
    return Volume(path, sizes, whole.voxel, reversed="" if "-rx" in words else "z")


def volume_files(name: str, tilt: Command) -> list[Path]:
    """The tomogram that `tilt` wrote, and one of trimvol behind it; those that are there."""
    written = _written(name, tilt)
    others = (tilt.path.parent / f"{name}{ending}" for ending in ("_rec.mrc", ".rec"))
    trimmed = [path for path in others if path != written and path.is_file()][:1]
    return [path for path in (written, *trimmed) if path.is_file()] if tilt.entries else []


def _written(name: str, tilt: Command) -> Path:
    return tilt.path.parent / (tilt.text("OutputFile") or f"{name}_full_rec.mrc")
