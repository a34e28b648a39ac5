"""Names and formats of tilt images, as RELION 5.0.1 takes them: by what the name says, whatever the file holds.

A name is `NUMBER@FILE:FORMAT`. The number and the format may be missing; RELION then takes the extension for the
format, and reads a file of no format that it knows as SPIDER. So a good file can have a name that RELION cannot read
it by, and bytes and 4-bit pixels can mean something else to RELION than to the program that wrote them.
"""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from stacycle.files import mrc, safe_names

if TYPE_CHECKING:
    import numpy as np

STACK = "mrcs"  # the format that RELION reads a numbered MRC image by, and one image too
_NUMBERED = re.compile(r"([0-9]*)@(.*)", re.DOTALL)
_FORMAT = re.compile(r"(.*):([A-Za-z0-9]+)", re.DOTALL)

# How RELION chooses a file's reader: the first row of which a part is in the format.
_READERS = [
    (("spi", "xmp", "stk", "vol"), "SPIDER"),
    (("bz2", "xz", "zst"), "compressed"),
    (("mrcs", "st"), "stack"),
    (("tif",), "TIFF"),
    (("mrc", "map"), "map"),
    (("img", "hed"), "IMAGIC"),
    (("dm",), "Digital Micrograph"),
    (("eer", "ecc"), "EER"),
]
# How files of other formats begin.
_BEGINNINGS = [
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF"),
    (rb"\x89HDF\r\n", "HDF5"),
    (rb"\x1f\x8b", "gzip"),
    (rb"BZh[1-9]1AY", "bzip2"),
    (rb"\xfd7zXZ\0", "xz"),
    (rb"\x28\xb5\x2f\xfd", "zstd"),
    (rb"\0\0\0[\3\4].{4}(?:.{4})?\0\0\0[\0\1]", "Digital Micrograph"),
    (rb"\x89PNG", "PNG"),
    (rb"\xff\xd8\xff", "JPEG"),
]
_UNPACKED_BY = {"gzip": "gunzip", "bzip2": "bunzip2", "xz": "unxz", "zstd": "unzstd"}
_COMPLEX, _COLOURS = (3, 4), 16  # MRC modes
_IMOD, _SIGNED = 1146047817, 1  # IMOD's stamp, and the flag beside it that its bytes are signed
_LARGEST_SIGNED = 127
# Pairs of neighbours with one below 128 and one not: so many show whether bytes are signed ...
_FEWEST_PAIRS, _ROWS = 50, 64
# ... by how far they are apart: signed bytes are near each other across 0 (255 and 0), unsigned ones across 128.
_NEAR = 110


class ImageName(NamedTuple):
    """`3@TS.mrc:mrcs` is image 3, counted from 1, of TS.mrc, read as `mrcs`; `number` is None without an @."""

    number: int | None
    file: str
    format: str


class Fault(NamedTuple):
    """Why RELION cannot read an image, or would read another; `format` is the one by which it could, if there is."""

    fault: str
    cure: str
    format: str = ""


NOT_THERE = Fault("is missing or no MRC file", "paths start at the project folder")


class ImageFile(NamedTuple):
    """What is known of a file of images: its header if it is an MRC file, and why RELION cannot use it if so."""

    header: mrc.Header | None
    size: int  # bytes
    content: str  # MRC, or another format
    fault: Fault | None


# Names


def parse_image_name(name: str) -> ImageName:
    """Number, file and format of an image's name, as RELION takes it apart.

    A colon in the path, which RELION takes for the beginning of a format, stays in `file`; `fault_of_name` reports it.
    """
    numbered = _NUMBERED.fullmatch(name)
    number, file = numbered.groups() if numbered else (None, name)
    form = file.rpartition(".")[2] if "." in file else ""
    if said := _FORMAT.fullmatch(file):
        file, form = said.groups()
    return ImageName(None if number is None else int(number or 0), file, form.lower())


def file_of(name: str) -> str:
    """The file of an image's name."""
    return parse_image_name(name).file


def reader_of(name: ImageName) -> str:
    """What RELION reads an image by: `stack`, `map` (MRC both), or the name of another format."""
    known = (reader for parts, reader in _READERS if any(part in name.format for part in parts))
    return next(known, "SPIDER")


def renamed(name: ImageName, file: str, form: str = "") -> str:
    """The name of the same image in a file that is called otherwise, or read by another format."""
    number = "" if name.number is None else f"{name.number}@"
    return f"{number}{file}{f':{form}' * bool(form)}"


def fault_of_name(name: ImageName) -> Fault | None:
    """Why RELION cannot find the file of this name, or takes another image than it says."""
    if not safe_names.is_image(name.file):
        fault = "has a : # % @ or control character in its path, which RELION takes apart"
        return Fault(fault, "rename or link it")
    if name.number == 0:
        return Fault("has the number 0, but images are counted from 1", "correct the number")
    return None


# Files


def look(path: str) -> ImageFile | None:
    """What a file of images holds, by its header and, of bytes, some rows; None if it cannot be opened."""
    try:
        with open(path, "rb") as file:
            start, size = file.read(mrc.HEADER_BYTES), os.fstat(file.fileno()).st_size
    except (OSError, ValueError):
        return None
    content = next((name for begins, name in _BEGINNINGS if re.match(begins, start, re.DOTALL)), "MRC")
    header = mrc.parse(start) if content == "MRC" else None
    fault = _fault_of_content(content) or _fault_of_mode(mrc.unread_mode(start)) if header is None else None
    if header and size >= header.bytes:
        fault = _fault_of_numbers(path, start, header)
    return ImageFile(header, size, content, fault)


def _fault_of_content(content: str) -> Fault | None:
    if content == "MRC":
        return None
    if content in _UNPACKED_BY:
        return Fault(f"is compressed ({content})", f"unpack it ({_UNPACKED_BY[content]})")
    convert = "tif2mrc" if content == "TIFF" else "dm2mrc" if content.startswith("Digital") else "e2proc2d.py"
    return Fault(f"is a {content} file, not an MRC one", f"convert it to MRC ({convert})")


def _fault_of_mode(mode: int | None) -> Fault | None:
    if mode is None:
        return None
    what = "colours" if mode == _COLOURS else "a Fourier transform" if mode in _COMPLEX else "numbers"
    cure = "transform it back" if mode in _COMPLEX else "convert it (newstack -mode 2)"
    return Fault(f"holds {what} of MRC mode {mode}, which RELION does not read", cure)


def _fault_of_numbers(path: str, start: bytes, header: mrc.Header) -> Fault | None:
    """Why RELION reads other numbers than a complete file holds."""
    convert = "convert it (newstack -mode 1)"
    if header.voxel.endswith(mrc.FOUR_BIT):
        if header.nx % 2:
            return Fault("holds numbers of 4 bits in rows of an odd length, which RELION misreads", convert)
        if header.voxel[0] == ">":
            return Fault("holds numbers of 4 bits in big-endian order, which RELION does not read", convert)
    if header.voxel.endswith("i1") and _are_unsigned(path, start, header):
        return Fault("holds unsigned bytes, which RELION reads as signed", convert)
    return None


def _are_unsigned(path: str, start: bytes, header: mrc.Header) -> bool:
    """Whether bytes (MRC mode 0) are unsigned: by IMOD's stamp, the header's range, or some rows of the images."""
    order = header.voxel[0]
    low, high = struct.unpack_from(order + "2f", start, 76)
    stamp, flags = struct.unpack_from(order + "2i", start, 152)
    if stamp == _IMOD:
        return not flags & _SIGNED
    if low < 0 <= high <= _LARGEST_SIGNED:
        return False
    if 0 <= low <= _LARGEST_SIGNED < high:
        return True
    return _look_unsigned(_some_rows(path, header))  # the header has no range, or one that does not decide


def _some_rows(path: str, header: mrc.Header) -> np.ndarray:
    """Rows (n, x) from the middle of the first, middle and last image, as unsigned bytes."""
    import numpy as np

    images = np.memmap(path, np.uint8, "r", header.start, (header.sections, header.ny, header.nx))
    first = max(0, (header.ny - _ROWS) // 2)
    which = sorted({0, header.sections // 2, header.sections - 1})
    return np.concatenate([images[section, first : first + _ROWS] for section in which])


def _look_unsigned(rows: np.ndarray) -> bool:
    """Whether neighbours in rows (n, x) of bytes fit each other as unsigned numbers better than as signed ones."""
    import numpy as np

    left, right = rows[:, :-1].astype(np.int16), rows[:, 1:].astype(np.int16)
    apart = np.abs(left - right)[(left > _LARGEST_SIGNED) != (right > _LARGEST_SIGNED)]
    return len(apart) >= _FEWEST_PAIRS and float(apart.mean()) < _NEAR


# An image in a file


def fault_of_format(name: ImageName, file: ImageFile | None) -> Fault | None:
    """Why RELION does not read this image from this file, with the format by which it could if only that is wrong."""
    if file is None:
        return NOT_THERE
    if file.fault:
        return file.fault
    if file.header is None:
        return NOT_THERE
    reader = reader_of(name)
    if reader == "stack" or (reader == "map" and name.number is None):
        if name.number is None and file.header.sections > 1:
            return Fault(
                f"is a stack of {file.header.sections} images and has no number, so that RELION takes the first",
                f"say which image, as in 1@{name.file}",
            )
        return None
    cure = f"link it as {linked_name(name.file)}"
    if reader == "map":
        return Fault("is numbered, but RELION reads a numbered image only from .mrcs or .st", cure, STACK)
    return Fault(f"is an MRC file, but RELION reads it as {reader} by its name", cure, STACK)


def linked_name(file: str) -> str:
    """What a link to this file must be called, without its folder, for RELION to read its images."""
    stem, dot, extension = os.path.basename(file).rpartition(".")
    known = dot and re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,6}", extension)
    return f"{stem if known else os.path.basename(file)}.{STACK}"
