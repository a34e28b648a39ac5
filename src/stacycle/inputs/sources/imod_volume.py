"""The volume of a tilt series of IMOD: its size, and the tomogram that IMOD made of it.

`tilt` writes (x, z, y), with z backwards to what its angles mean (tilt.f90: sines of angles are negated);
trimvol -rx turns that to (x, y, z).
"""

from __future__ import annotations

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
    binning = newst.number("BinByFactor") or 1
    x, y = [count * binning for count in newst.numbers("SizeToOutputInXandY")[:2]] or [header.nx, header.ny]
    full, start = tilt.numbers("FULLIMAGE"), tilt.numbers("SUBSETSTART") or [0.0, 0.0]
    for axis, size, middle, first in zip("xy", (x, y), full, start, strict=False):
        if abs(size / 2 + first - middle / 2) > _OFF_CENTRE:
            problem = f"{tilt.path}: SUBSETSTART takes a part of the images off their middle in {axis}"
            raise UserError(problem, "make the aligned stack and the tomogram again of the whole images")
    thickness = tilt.number("THICKNESS") or 0
    found = (even(x), even(y), even(thickness)) if thickness > 0 else None
    return first_known("size", name, asked, (found, f"THICKNESS of {tilt.path.name}"))


def volume_of(name: str, tilt: Command, pixel: float) -> Volume | None:
    """The tomogram: that of trimvol if it is whole, else that of tilt; None if there is none, or if trimvol cut it."""
    found = volume_files(name, tilt)
    if not found:
        return None
    written = found[0]
    voxel = pixel * (tilt.number("IMAGEBINNED") or 1)
    header = mrc.header(written, exact=False)
    x, z, y = header.nx, header.ny, header.sections
    if len(found) == 1:
        return Volume(written, (x, y, z), voxel, axes="xzy", reversed="z")
    path = found[1]
    turned, other = mrc.header(path, exact=False), tilt.path.parent / TRIMVOL
    words = read_text(other).split() if other.is_file() else []
    if (turned.nx, turned.ny, turned.sections) != (x, y, z) or not {"-rx", "-yz"} & set(words):
        return None
    return Volume(path, (x, y, z), voxel, reversed="" if "-rx" in words else "z")


def volume_files(name: str, tilt: Command) -> list[Path]:
    """The tomogram that `tilt` wrote, and that of trimvol behind it; those that are there."""
    folder, said = tilt.path.parent, tilt.text("OutputFile")
    if not said or not (written := folder / said).is_file():
        return []
    others = (folder / f"{name}_rec.mrc", folder / f"{name}.rec")
    return [written, *(path for path in others if path != written and path.is_file())]
