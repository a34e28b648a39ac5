"""Tilt images on disk, read as RELION reads them: the name decides on the format, MRC bytes are signed.

A name is NUMBER@FILE:FORMAT; without a colon the extension is the format. Only MRC images are read.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from staengine.errors import EngineError

HEADER_BYTES = 1024
FOUR_BIT = 101  # SerialEM's mode of two pixels a byte
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", FOUR_BIT: "u1"}
_SWAPPED_FROM = 65536  # a width or mode so large is of the other byte order
_NAME = re.compile(r"(?:([0-9]+)@)?(.*?)(?::([^:]*))?", re.DOTALL)


@dataclass(frozen=True)
class ImageFile:
    """An MRC file of images: width and height (px), number of images, Å per px (0 if unknown), and their encoding."""

    path: str
    nx: int
    ny: int
    sections: int
    pixel: float
    mode: int
    order: str
    start: int  # bytes

    @property
    def bytes(self) -> int:
        """The size of one image."""
        return (
            self.nx * self.ny // 2 if self.mode == FOUR_BIT else self.nx * self.ny * int(MODES[self.mode][1])
        )

    def read(self, section: int) -> NDArray[np.float32]:
        """Image (ny, nx) number `section`, counted from 0."""
        kind = np.dtype(self.order + MODES[self.mode])
        start = self.start + section * self.bytes
        values = np.fromfile(self.path, kind, self.bytes // kind.itemsize, offset=start)
        if self.mode == FOUR_BIT:  # the first pixel of two is the lower half of the byte
            values = np.stack([values & 15, values >> 4], axis=-1).ravel()
        return values.reshape(self.ny, self.nx).astype(np.float32)


def parse_image_name(name: str) -> tuple[int, str]:
    """Section (from 0) and file of an image's name. Raises EngineError if RELION would not read it as MRC."""
    match = _NAME.fullmatch(name)
    assert match  # the pattern matches any text
    number, path, given_format = match.groups()
    extension = path.rpartition(".")[2] if "." in path else ""
    form = (extension if given_format is None else given_format).lower()
    other = [part for part in ("spi", "xmp", "stk", "vol", "bz2", "xz", "zst") if part in form]
    stack = not other and ("mrcs" in form or "st" in form)
    if number and "mrc" in form and not (other or stack):
        raise EngineError(
            f"{name}: images of an MRC stack are numbered in files .mrcs or .st; link or name it as such."
        )
    if not stack and (other or number or not ("mrc" in form or "map" in form)):
        raise EngineError(f"{name}: its name is not that of an MRC image; convert, link or name it as .mrcs.")
    return int(number) - 1 if number else 0, path


def open_images(path: str) -> ImageFile:
    """The header of a file of images, in either byte order. EngineError if it is missing or not readable."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError:
        raise EngineError(f"the tilt images {path} do not exist.") from None
    if len(head) < HEADER_BYTES:
        raise EngineError(f"{path} is cut short, or not an MRC file.")
    found = _parse(path, head, "<")
    if found.nx >= _SWAPPED_FROM or not 0 <= found.mode < _SWAPPED_FROM:
        found = _parse(path, head, ">")
    if min(found.nx, found.ny, found.sections) < 1 or found.start < HEADER_BYTES:
        raise EngineError(f"{path} is not an MRC file, or its header is damaged.")
    if found.mode not in MODES:
        raise EngineError(
            f"{path} holds no real numbers that RELION reads, but MRC mode {found.mode}; convert it."
        )
    if found.mode == FOUR_BIT and (found.nx * found.ny % 2 or found.order == ">"):
        raise EngineError(f"{path} holds numbers of 4 bits of an odd length or byte order; convert it.")
    if Path(path).stat().st_size < found.start + found.sections * found.bytes:
        raise EngineError(f"{path} is cut short, or not an MRC file.")
    return found


def _parse(path: str, head: bytes, order: str) -> ImageFile:
    nx, ny, sections, mode = struct.unpack_from(order + "4i", head)
    mx, width, extended = struct.unpack_from(order + "i8xf48xi", head, 28)
    pixel = width / mx if mx else 0.0
    return ImageFile(path, nx, ny, sections, pixel, mode, order, HEADER_BYTES + extended)
