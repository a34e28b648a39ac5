"""A tilt series of the inputs: its STAR file and its images, checked before anything runs.

Images are judged by header and file size; of each series a few bytes are read, to find two that show the same. What
RELION would not read, though nothing has to be decided, is mended in a copy: line ends, comments, names of images.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stacycle import maps, names, star
from stacycle.errors import UserError, rows_of, some
from stacycle.findings import Findings
from stacycle.labels import PIXEL, SERIES, TILT

NAME = "rlnMicrographName"
STACK = "rlnTomoTiltSeriesName"  # RELION 4's; where it is given, RELION 5 takes this stack and no rlnMicrographName
_PROJECTIONS = [f"rlnTomoProj{axis}" for axis in "XYZW"]  # likewise, instead of angles and shifts
SAME_PIXEL = 0.01  # relative difference up to which the pixel size of a header is taken for the STAR file's
_SAMPLE = 4096  # bytes of an image that are compared
_FEW = 16  # values of four bytes: images with no more in the sample show nothing
_MOST_PAIRS = 4  # of tilt series with the same images that are told one by one


@dataclass(frozen=True)
class Series:
    """A tilt series' table, the name that this has in its file, the size of its images in px, (y, x).

    `images` are (file, number) of each tilt; `sample` tells the pixels of one from those of others, "" if they are all
    alike; `mended` is whether RELION could not read the file as it is.
    """

    table: pd.DataFrame
    name: str
    shape: tuple[int, int]
    images: list[tuple[str, int]]
    sample: str
    mended: bool


def read_series(tomogram: Any, found: Findings) -> Series | None:
    """The tilt series of a row of the tomograms' table, with its images checked; None if unusable."""
    path, wanted = getattr(tomogram, SERIES), tomogram.rlnTomoName
    found.files.add(path)
    oddities: list[str] = []
    try:
        tables = star.read(path, oddities=oddities)
        name = wanted if wanted in tables else next(iter(tables))
        if name != wanted and len(tables) > 1:
            raise UserError(f"{path}: has no table data_{wanted} (found: {some(tables)}).")
        table = tables[name].copy()
        if NAME not in table and hasattr(tomogram, STACK):
            table[NAME] = [f"{i + 1}@{getattr(tomogram, STACK)}" for i in range(len(table))]
            oddities.append(f"no column {NAME}")
        _check_columns(path, table)
    except UserError as error:
        found.problems.append(f"{error}{_right_from_elsewhere(path)} (tilt series of {wanted})")
        return None
    for oddity in oddities:
        found.mended(oddity, path)
    make_numeric(table, [*TILT, *({"rlnTomoXTilt"} & set(table))], path, found)
    images = [names.image(name) for name in table[NAME]]
    _check_once(path, images, found)
    shape, sample = _check_images(path, images, getattr(tomogram, PIXEL), found)
    return Series(table, name, shape, images, sample, bool(oddities))


def _check_columns(path: str, table: pd.DataFrame) -> None:
    """UserError unless a tilt series is aligned, and in RELION 5's way."""
    if old := [label for label in _PROJECTIONS if label in table]:
        raise UserError(
            f"{path}: has matrices of RELION 4 ({some(old)}), which RELION 5 takes instead of angles and shifts; align "
            "the tilt series in RELION 5, AreTomo3 or Scipion, or remove these columns."
        )
    missing = [label for label in (*TILT, NAME) if label not in table]
    if "rlnTomoYTilt" in missing:
        raise UserError(
            f"{path}: has no column {', '.join(missing)}: the tilt series is not aligned yet; give the files of the "
            "alignment, or of the reconstruction of tomograms after it."
        )
    if {"rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"} & set(missing):
        raise UserError(
            f"{path}: has no column {', '.join(missing)}: its CTF was not estimated; give files of a later job."
        )
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; add it.")
    if table.empty:
        raise UserError(f"{path}: its table has no row; was it written completely?")
    if (absent := table[NAME].astype(str).str.strip().isin(names.ABSENT)).any():
        raise UserError(f"{path}: has no {NAME} in {rows_where(absent)}; correct or remove it.")


def _check_once(path: str, images: list[tuple[str, int]], found: Findings) -> None:
    """No image may stand there twice: RELION would take its dose and its pixels twice."""
    seen: dict[tuple[str, int], int] = {}
    for row, (file, number) in enumerate(images, 1):
        first = seen.setdefault((os.path.realpath(file), number), row)
        if first != row:
            found.problems.append(
                f"{path}: image {number}@{file} stands there twice, in rows {first} and {row}; remove one."
            )
            return


def _right_from_elsewhere(path: str) -> str:
    folder = next((folder for folder in Path.cwd().parents if os.path.exists(folder / path)), None)
    return f" It is right from {folder}: is that the project folder?" if folder else ""


def _check_images(
    path: str, images: list[tuple[str, int]], pixel: float, found: Findings
) -> tuple[tuple[int, int], str]:
    """Look at a tilt series' image files, one sentence per kind of fault; the images' (y, x), and a sample of one."""
    headers = {file: _header(file) for file in dict.fromkeys(file for file, _ in images)}
    found.files.update(headers)
    there = {file: known[0] for file, known in headers.items() if known}
    sizes = {file: known[1] for file, known in headers.items() if known}
    shape = next((header.shape for header in there.values()), (0, 0))

    def tell(files: Iterable[str], fault: str, cure: str) -> None:
        if listed := list(files):
            more = f" (and {len(listed) - 1} more)" if len(listed) > 1 else ""
            if header := there.get(listed[0]):
                fault = fault.format(size=sizes[listed[0]], needed=header.bytes, **header._asdict())
            found.problems.append(f"{path}: image {listed[0]}{more} {fault}; {cure}.")

    unset = [file for file, header in there.items() if header.pixel in (0, 1)]
    wrong = [f for f, h in there.items() if abs(h.pixel - pixel) > SAME_PIXEL * pixel and f not in unset]
    tell(
        (f for f in headers if not names.is_image(f)),
        "has a : # % @ or control character in its path, which RELION takes apart",
        "rename or link it",
    )
    tell(
        (f for f in headers if f not in there and names.is_image(f)),
        "is missing or no MRC file",
        "paths start at the project folder",
    )
    tell(
        (f for f, h in there.items() if sizes[f] < h.bytes),
        "is cut short, {size} of {needed} bytes",
        "copy it again",
    )
    tell(
        (f for f, h in there.items() if h.shape != shape),
        "has another size than the first",
        "RELION needs one size",
    )
    tell(
        (f for f, i in images if f in there and i > there[f].sections),
        "has only {sections} tilts",
        "correct one",
    )
    tell(
        wrong, f"has {{pixel:g}} Å/px in its header, but {pixel:g} in the STAR file", "correct the wrong one"
    )
    if unset and pixel != 1:
        found.warnings.append(
            f"{unset[0]}: its header has no pixel size; {pixel:g} Å is taken from the STAR file."
        )
    file, number = images[len(images) // 2]
    return shape, _sample(file, number, there[file]) if file in there else ""


def _header(path: str) -> tuple[maps.Header, int] | None:
    """What the header of an MRC file says, and the file's size in bytes; None if it is missing or none."""
    try:
        with open(path, "rb") as file:
            header = maps.parse(file.read(maps.HEADER_BYTES))
            return (header, os.fstat(file.fileno()).st_size) if header else None
    except (OSError, ValueError):
        return None


def _sample(path: str, number: int, header: maps.Header) -> str:
    """A digest of the pixels in the middle of an image; "" if they are all alike or cannot be read."""
    image = header.ny * header.nx * int(header.voxel[-1])
    try:
        with open(path, "rb") as file:
            file.seek(header.start + (number - 1) * image + max(0, image // 2 - _SAMPLE // 2))
            pixels = file.read(min(_SAMPLE, image))
    except OSError:
        return ""
    words = np.unique(np.frombuffer(pixels[: len(pixels) // 4 * 4], "u4"))
    return hashlib.sha256(pixels).hexdigest() if len(words) > _FEW else ""


def refuse_same_images(series: Mapping[str, Series], files: Mapping[str, str], found: Findings) -> None:
    """Problems for tomograms that name the same images: every particle in them would be there twice.

    Half maps would then share particles, and their FSC would mean nothing. `files` tells the STAR file of each.
    """
    first_with: dict[Any, str] = {}
    pairs: dict[tuple[str, str], list[str]] = {}
    for name, one in series.items():
        of_one = {(os.path.realpath(file), number): file for file, number in one.images}
        for image, file in of_one.items():
            other = first_with.setdefault(image, name)
            if other != name:
                pairs.setdefault((other, name), []).append(file)
        if one.sample and (other := first_with.setdefault(one.sample, name)) != name:
            pairs.setdefault((other, name), [])
    for (other, name), shared in list(pairs.items())[:_MOST_PAIRS]:
        if shared:
            what = f"the same images ({len(shared)} of {len(series[name].images)}), {shared[0]}"
        else:
            what = f"images with the same pixels, {series[other].images[0][0]} and {series[name].images[0][0]}"
        found.problems.append(
            f"{other} and {name} have {what}, in {files[other]} and {files[name]}: every particle would be there twice, "
            "in both half maps; correct one, or give its tomogram once."
        )
    if (more := len(pairs) - _MOST_PAIRS) > 0:
        found.problems.append(f"... and {more} more pairs of tilt series have the same images.")


def make_numeric(table: pd.DataFrame, columns: Iterable[str], path: str, found: Findings) -> None:
    """Columns as numbers, and a problem for each value that is none."""
    for column in columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            table[column] = pd.to_numeric(table[column], errors="coerce")
        if (bad := ~np.isfinite(table[column])).any():
            found.problems.append(
                f"{path}: {column} is not a number in {rows_where(bad)}; correct or remove it."
            )


def rows_where(which: pd.Series | np.ndarray) -> str:
    """The rows that a mask selects, counted from 1 as in the file."""
    return rows_of((np.flatnonzero(which) + 1).tolist())


