"""Maps and stacks: their MRC headers and voxels, and the checks that they are complete and fit each other."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stacycle.errors import UserError, unreadable
from stacycle.files.removed import explain_missing

if TYPE_CHECKING:
    import numpy as np

HEADER_BYTES = 1024
FOUR_BIT = "4-bit"  # two pixels a byte, which NumPy has no name for
# The modes that RELION reads, as NumPy calls the voxels: MRC2014's real ones, 12 in half precision, SerialEM's 101.
VOXELS = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 101: FOUR_BIT}
# nx, ny, nz, mode, mx, cell width (Å) and size of the extended header, with the bytes between them left out.
_FIELDS = "4i 12x i 8x f 48x i"
LARGEST = 1e15  # that a voxel can be: its square must not overflow in single precision
# Pixel sizes that differ by less are the same: headers hold boxes in Å in single precision.
SAME_PIXEL = 1e-3


class Header(NamedTuple):
    """What an MRC header says: size in px, sections, Å/px, and how and where (in bytes) the voxels are kept."""

    nx: int
    ny: int
    sections: int
    pixel: float
    voxel: str
    start: int

    @property
    def shape(self) -> tuple[int, int]:
        """The size of an image, (y, x)."""
        return self.ny, self.nx

    @property
    def bytes(self) -> int:
        """The size of the whole file."""
        bits = 4 if self.voxel.endswith(FOUR_BIT) else 8 * int(self.voxel[-1])
        return self.start + self.nx * self.ny * self.sections * bits // 8


def header(path: str | Path, exact: bool = True) -> Header:
    """The header of an MRC file of either byte order. UserError if it is none, or if the file's size does not fit it.

    With `exact` off, as for a microscope's images, a file may be longer than its header says.
    The machine stamp is not looked at, as RELION does not: it is wrong in many files that are read well.
    """
    try:
        file = os.open(path, os.O_RDONLY)  # 50,000 stacks are opened: without a buffer, it takes half as long
        try:
            start, size = os.read(file, HEADER_BYTES), os.fstat(file).st_size
        finally:
            os.close(file)
    except (OSError, ValueError) as error:
        raise UserError(explain_missing(path) or str(unreadable(path, error, "an MRC map"))) from None
    found = parse(start)
    if found is None:
        raise UserError(f"{path}: cannot be read as an MRC map (its header is damaged)", "make it again")
    if size < found.bytes or (exact and size > found.bytes):
        fault = "is cut short" if size < found.bytes else "is longer than its header says"
        raise UserError(f"{path}: {fault}, {size} of {found.bytes} bytes", "make or copy it again")
    return found


def parse(start: bytes) -> Header | None:
    """The header that a file begins with, in either byte order; None if it makes no sense."""
    return next((read for order in "<>" if (read := _header(start, order))), None)


def unread_mode(start: bytes) -> int | None:
    """The MRC mode of a file that would have a header, but for a mode that RELION does not read; else None."""
    if parse(start) or len(start) < HEADER_BYTES:
        return None
    for order in "<>":
        mode = struct.unpack_from(order + "i", start, 12)[0]
        if 0 <= mode < 1 << 10 and _header(start, order, mode):
            return mode
    return None


def _header(start: bytes, order: str, taken: int | None = None) -> Header | None:
    """The header in that byte order; None if it makes no sense in it. `taken` is one more mode than VOXELS has."""
    if len(start) < HEADER_BYTES:
        return None
    nx, ny, sections, mode, mx, width, extended = struct.unpack_from(order + _FIELDS, start)
    if mode not in VOXELS and mode != taken:
        return None
    if not (0 < nx < 1 << 20 and 0 < ny < 1 << 20 and sections > 0 and extended >= 0):
        return None
    voxel = order + VOXELS.get(mode, "i1")
    return Header(nx, ny, sections, width / mx if mx > 0 else 0.0, voxel, HEADER_BYTES + extended)


def voxels(path: str | Path) -> np.ndarray:
    """The voxels of a map as (z, y, x), read when they are looked at. UserError if the file is damaged."""
    import numpy as np

    found = header(path)
    if found.voxel.endswith(FOUR_BIT):
        raise UserError(f"{path}: holds numbers of 4 bits, which no map has", "convert it (newstack -mode 2)")
    return np.memmap(path, found.voxel, "r", found.start, (found.sections, found.ny, found.nx))


def write_map(path: str | Path, values: np.ndarray, pixel: float) -> None:
    """Write a map (z, y, x) of `pixel` Å, and its folder if need be, complete or not at all."""
    import mrcfile
    import numpy as np

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    mrcfile.write(partial, values.astype(np.float32), voxel_size=pixel, overwrite=True)
    partial.replace(path)


def check_values(path: str | Path, empty: bool = False) -> None:
    """UserError if voxels of a map are nan, infinite or absurdly large, or all the same.
    A map may be `empty`, with all voxels 0, if it is of a class that lost all its particles."""
    import numpy as np

    values = voxels(path)
    low, high = float(values.min()), float(values.max())  # both are nan if one voxel is
    if not max(-low, high) < LARGEST:
        count = int((~(np.abs(values.astype(np.float32)) < LARGEST)).sum())
        raise UserError(f"{path}: {count} of its {values.size} voxels are no finite numbers", "make it again")
    if low == high and not (empty and low == 0):
        raise UserError(f"{path}: all its voxels are {low:g}, it shows nothing", "make it again")


def check_sections(path: str | Path) -> None:
    """UserError if an image of a stack has nan or infinite pixels, or only equal ones, in its middle row.
    Extracted images are filtered in Fourier space, which spreads a nan over the whole image."""
    import numpy as np

    images = voxels(path)
    spread = np.ptp(images[:, images.shape[1] // 2].astype(np.float32), axis=1)
    if len(bad := np.flatnonzero(~(np.isfinite(spread) & (spread > 0)))):
        raise UserError(
            f"{path}: image {bad[0] + 1} shows nothing or has pixels that are no finite numbers",
            "look at its tilt in the tilt series",
        )


def check_mask_values(mask: str | Path) -> None:
    """UserError unless a mask's values lie within 0..1 and it lets something through, but not everything."""
    values = voxels(mask)
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        fault = f"its values run from {low:g} to {high:g}, but a mask's lie within 0..1"
        raise UserError(f"{mask}: {fault}", "make it again")
    if high < 0.5:
        raise UserError(f"{mask}: the mask is empty, its largest value is {high:g}", "lower the threshold")
    if low > 0.5:
        raise UserError(f"{mask}: the mask is full, its smallest value is {low:g}", "raise the threshold")


def check_mask(mask: str, map: str) -> None:
    """UserError if a mask has another box or pixel size than the map."""
    check_same(mask, map, "make the mask from a map of that box and pixel size")


def check_same(path: str, other: str, cure: str) -> None:
    """UserError if two maps differ in box or pixel size."""
    check_size(path, *box_and_pixel(other), f"{other} has", cure)


def check_size(path: str, box: int, pixel: float, whose: str, cure: str) -> None:
    """UserError if a map has not this box (px) and pixel size (Å): those that `whose` ("the particles have")."""
    found_box, found_pixel = box_and_pixel(path)
    if found_box != box or not math.isclose(found_pixel, pixel, rel_tol=SAME_PIXEL):
        found = f"{found_box} px of {found_pixel:.4g} Å"
        raise UserError(f"{path}: {found}, but {whose} {box} px of {pixel:.4g} Å", cure)


def box_and_known_pixel(path: str | Path) -> tuple[int, float]:
    """As `box_and_pixel`, of a map of one's own; UserError, too, if its header tells no pixel size."""
    box, pixel = box_and_pixel(path)
    if pixel <= 0:
        raise UserError(
            f"{path}: its header tells no pixel size", "write it there (relion_image_handler --angpix)"
        )
    return box, pixel


def box_and_pixel(path: str | Path) -> tuple[int, float]:
    """Box in px and pixel size in Å of a map; UserError if it is not one, is cut short or is no cube."""
    found = header(path)
    if not found.nx == found.ny == found.sections:
        size = f"{found.nx} x {found.ny} x {found.sections} px"
        raise UserError(f"{path}: is {size}, but a map is a cube", "check the path")
    return found.nx, found.pixel
