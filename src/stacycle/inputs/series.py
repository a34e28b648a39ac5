"""A tilt series of the inputs: its STAR file and its images, checked before anything runs.

Images are judged by name, header and file size; of each series a few bytes are read, to find two that show the same.
What RELION would not read, though nothing has to be decided, is mended in a copy: line ends, comments, names of images.
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

from stacycle.checks.doubts import Doubt
from stacycle.checks.tilt_series import check_series
from stacycle.checks.tomograms import Summary, summarise
from stacycle.errors import UserError, rows_of, some
from stacycle.files import image_files, safe_names, star
from stacycle.files.image_files import STACK, ImageFile, ImageName
from stacycle.files.star_labels import PIXEL, SERIES, TILT
from stacycle.inputs.findings import Findings

NAME = "rlnMicrographName"
# RELION 4's; where it is given, RELION 5 takes this stack, whatever rlnMicrographName says.
OLD_STACK = "rlnTomoTiltSeriesName"
_OPTIONAL = ("rlnTomoXTilt", "rlnCtfScalefactor", "rlnPhaseShift", "rlnTomoNominalStageTiltAngle")
_PROJECTIONS = [f"rlnTomoProj{axis}" for axis in "XYZW"]  # likewise, instead of angles and shifts
SAME_PIXEL = 0.01  # relative difference up to which the pixel size of a header is taken for the STAR file's
_SAMPLE = 4096  # bytes of an image that are compared
_FEW = 16  # values of four bytes: images with no more in the sample show nothing
_MOST_PAIRS = 4  # of tilt series with the same images that get a sentence each


@dataclass(frozen=True)
class Series:
    """A tilt series' table, the name that this has in its file, the size of its images in px, (y, x).

    `images` is a row's image each; `linked` are the files that RELION could read only by another name; `mended` is
    whether it could not read the STAR file as it is. `sample` tells the pixels of one image from those of others, "" if
    they show nothing.
    """

    table: pd.DataFrame
    name: str
    shape: tuple[int, int]
    images: list[ImageName]
    linked: frozenset[str]
    mended: bool
    sample: str
    summary: Summary  # what it is compared with the others by


def read_series(tomogram: Any, findings: Findings) -> Series | None:
    """The tilt series of a row of the tomograms' table, with its images checked; None if unusable."""
    path, wanted = getattr(tomogram, SERIES), tomogram.rlnTomoName
    findings.files.add(path)
    oddities: list[str] = []
    try:
        tables = star.read(path, oddities=oddities)
        name = wanted if wanted in tables else next(iter(tables))
        if name != wanted and len(tables) > 1:
            raise UserError(f"{path}: has no table data_{wanted} (found: {some(tables)})")
        table = tables[name].copy()
        if NAME not in table and hasattr(tomogram, OLD_STACK):
            table[NAME] = [f"{i + 1}@{getattr(tomogram, OLD_STACK)}" for i in range(len(table))]
            oddities.append(f"no column {NAME}")
        _check_columns(path, table)
    except UserError as error:
        cures = filter(None, [error.cure, _right_from_elsewhere(path)])
        findings.refuse(f"{error.problem} (tilt series of {wanted})", ". ".join(cures))
        return None
    make_numeric(table, [label for label in (*TILT, *_OPTIONAL) if label in table], path, findings)
    given = [image_files.parse_image_name(image) for image in table[NAME]]
    plain = [image_files.renamed(image, image.file) for image in given]
    if plain != list(table[NAME]):
        oddities.append("images have their format behind their names")
    images = [image_files.parse_image_name(image) for image in plain]
    files = {file: image_files.look(file) for file in dict.fromkeys(image.file for image in images)}
    findings.files.update(files)
    pixel = getattr(tomogram, PIXEL)
    linked = _check_images(wanted, path, images, files, pixel, findings)
    if linked:
        oddities.append(f"images are linked as .{STACK}, by which RELION reads them")
    for oddity in oddities:
        findings.mended(oddity, path)
    headers = [file.header for file in files.values() if file and file.header]
    shape = headers[0].shape if headers else (0, 0)
    numbers = {str(label): table[label].to_numpy() for label in table}
    findings.doubts += check_series(wanted, path, numbers, shape, pixel)
    sample = _sample(images[len(images) // 2], files)
    summary = summarise(wanted, numbers, shape)
    return Series(table, name, shape, images, linked, bool(oddities), sample, summary)


def _check_columns(path: str, table: pd.DataFrame) -> None:
    """UserError unless a tilt series is aligned, and in RELION 5's way."""
    if old := [label for label in _PROJECTIONS if label in table]:
        problem = f"has matrices of RELION 4 ({some(old)}), which RELION 5 takes instead of angles and shifts"
        cure = "give the folder of the program that aligned them, align them in RELION 5, or remove these columns"
        raise UserError(f"{path}: {problem}", cure)
    missing = [label for label in (*TILT, NAME) if label not in table]
    problem = f"{path}: has no column {', '.join(missing)}"
    if "rlnTomoYTilt" in missing:
        cure = "give the files of the alignment, or of the reconstruction of tomograms after it"
        raise UserError(f"{problem}: the tilt series is not aligned yet", cure)
    if {"rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"} & set(missing):
        raise UserError(f"{problem}: its CTF was not estimated", "give files of a later job")
    if missing:
        raise UserError(problem, "add it")
    refuse_gaps(path, table, [NAME])


def refuse_gaps(path: str, table: pd.DataFrame, columns: Iterable[str]) -> None:
    """UserError for a table without a row, or without a value in one of these columns of names."""
    if table.empty:
        raise UserError(f"{path}: its table has no row", "was it written completely?")
    for column in columns:
        if (absent := table[column].astype(str).str.strip().isin(safe_names.ABSENT)).any():
            raise UserError(f"{path}: has no {column} in {rows_where(absent)}", "correct or remove it")


def _right_from_elsewhere(path: str) -> str:
    folder = next((folder for folder in Path.cwd().parents if os.path.exists(folder / path)), None)
    return f"It is right from {folder}: is that the project folder?" if folder else ""


def _check_images(
    series: str,
    path: str,
    images: list[ImageName],
    files: Mapping[str, ImageFile | None],
    pixel: float,
    findings: Findings,
) -> frozenset[str]:
    """Note what is wrong with a tilt series' images, once per kind of fault; returns the files to be linked."""
    faults: dict[tuple[str, str], list[str]] = {}
    linked: set[str] = set()

    def tell(file: str, fault: str, cure: str) -> None:
        listed = faults.setdefault((fault, cure), [])
        if file not in listed:
            listed.append(file)

    shape = next((file.header.shape for file in files.values() if file and file.header), (0, 0))
    real = {file: os.path.realpath(file) for file in files}
    first: dict[tuple[str, int], int] = {}
    for row, image in enumerate(images, 1):
        file, known = image.file, files[image.file]
        if fault := image_files.fault_of_name(image):
            tell(file, fault.fault, fault.cure)
            continue
        if fault := image_files.fault_of_format(image, known):
            if not fault.format:
                tell(file, fault.fault, fault.cure)
                continue
            linked.add(file)
        number = 1 if image.number is None else image.number
        if (other := first.setdefault((real[file], number), row)) != row:
            said = f"{number} stands there twice, in rows {other} and {row}"
            tell(file, said, "remove one of the two rows")
        if known and (header := known.header):
            if known.size < header.bytes:
                tell(file, f"is cut short, {known.size} of {header.bytes} bytes", "copy it again")
            if header.shape != shape:
                tell(file, "has another size than the first", "RELION needs one size")
            if number > header.sections:
                tell(file, f"has only {header.sections} tilts", "correct one")
            if header.pixel not in (0, 1) and abs(header.pixel - pixel) > SAME_PIXEL * pixel:
                said = f"has {header.pixel:g} Å/px in its header, but {pixel:g} in the STAR file"
                tell(file, said, "correct the wrong one")
    for (said, cure), listed in faults.items():
        shown = f"{listed[0]} (and {len(listed) - 1} more)" if len(listed) > 1 else listed[0]
        findings.doubts.append(Doubt(True, f"image {said}", path, series, f"image {shown} {said}", cure))
    unset = [name for name, known in files.items() if known and known.header and known.header.pixel in (0, 1)]
    if unset and pixel != 1:
        said, cure = "has no pixel size in its header", f"{pixel:g} Å is taken from the STAR file"
        findings.doubts.append(Doubt(False, said, path, series, f"image {unset[0]} {said}", cure))
    return frozenset(linked)


def linked_as(series: Series, tomogram: str, folder: Path) -> list[str]:
    """The names of a tilt series' images, by links in `folder` where RELION would not read them by their own."""
    links: dict[str, str] = {}
    for number, file in enumerate(sorted(series.linked), 1):
        link = folder / f"{tomogram}{f'/{number}' if len(series.linked) > 1 else ''}.{STACK}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        absolute = folder.is_absolute() or os.path.isabs(file)
        link.symlink_to(os.path.abspath(file) if absolute else os.path.relpath(file, link.parent))
        links[file] = str(link)
    return [image_files.renamed(image, links.get(image.file, image.file)) for image in series.images]


def _sample(image: ImageName, files: Mapping[str, ImageFile | None]) -> str:
    """A digest of the pixels in the middle of an image; "" if they show nothing or cannot be read."""
    known = files[image.file]
    if not known or not known.header:
        return ""
    header, number = known.header, image.number or 1
    each = (header.bytes - header.start) // header.sections
    try:
        with open(image.file, "rb") as file:
            file.seek(header.start + (number - 1) * each + max(0, each // 2 - _SAMPLE // 2))
            pixels = file.read(min(_SAMPLE, each))
    except OSError:
        return ""
    words = np.unique(np.frombuffer(pixels[: len(pixels) // 4 * 4], "u4"))
    return hashlib.sha256(pixels).hexdigest() if len(words) > _FEW else ""


def refuse_same_images(series: Mapping[str, Series], files: Mapping[str, str], findings: Findings) -> None:
    """Problems for tomograms that name the same images, whose particles would be in both half maps: their FSC would
    mean nothing. `files` tells the STAR file of each."""
    first_with: dict[Any, str] = {}
    pairs: dict[tuple[str, str], list[str]] = {}
    for name, one in series.items():
        real = {file: os.path.realpath(file) for file in {image.file for image in one.images}}
        of_one = {(real[image.file], image.number or 1): image.file for image in one.images}
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
            stacks = (series[one].images[0].file for one in (other, name))
            what = f"images with the same pixels, {' and '.join(stacks)}"
        problem = f"{other} and {name} have {what}, in {files[other]} and {files[name]}"
        twice = "every particle would be there twice, in both half maps"
        findings.refuse(f"{problem}: {twice}", "correct one, or give its tomogram once")
    if (more := len(pairs) - _MOST_PAIRS) > 0:
        findings.refuse(f"... and {more} more pairs of tilt series have the same images")


def make_numeric(table: pd.DataFrame, columns: Iterable[str], path: str, findings: Findings) -> None:
    """Columns as numbers, and a problem for each value that is none."""
    columns = list(columns)
    values = table[columns]
    if all(kind.kind in "if" for kind in values.dtypes) and np.isfinite(values.to_numpy(float)).all():
        return
    for column in columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            table[column] = pd.to_numeric(table[column], errors="coerce")
        if (bad := ~np.isfinite(table[column])).any():
            findings.refuse(f"{path}: {column} is not a number in {rows_where(bad)}", "correct or remove it")


def rows_where(which: pd.Series | np.ndarray) -> str:
    """The rows that a mask selects, counted from 1 as in the file."""
    return rows_of((np.flatnonzero(which) + 1).tolist())
