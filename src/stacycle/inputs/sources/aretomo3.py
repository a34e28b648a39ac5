"""Tilt series aligned by AreTomo3, AreTomo2 or AreTomo 1, which are told apart by their .aln files.

ROT, TILT and TX, TY of an .aln file are RELION's ZRot, YTilt and shifts in px. The IMOD files that AreTomo writes
beside are not read: their matrices have three decimals, a pixel's worth of error at the edge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.errors import UserError, some
from stacycle.files import mrc
from stacycle.inputs.findings import Findings
from stacycle.inputs.sources import aretomo_tables as tables
from stacycle.inputs.sources.aretomo_hand import hand_of
from stacycle.inputs.sources.aretomo_order import Order, exposures_of, read_order, stage_of
from stacycle.inputs.sources.aretomo_volume import size_of, volume_of
from stacycle.inputs.sources.common import is_included
from stacycle.inputs.sources.source import Asked, ImportedSeries, Source
from stacycle.inputs.sources.tilt_axis import axes_said, warn_of_other_axis

T = TypeVar("T")
KEY = "aretomo3"
_RAW = (".mrc", ".mrcs", ".st")
_CTF = ("_CTF.txt", "_ctf.txt")
_VOLUMES = ("_Vol.mrc", "_vol.mrc", "_rec.mrc", ".rec")
# Where the order of acquisition stands; the folder is the one for IMOD.
_ORDERS = (
    "_TLT.txt",
    "_Imod/{}_order_list.csv",
    "_Imod/{}_st_order_list.csv",
    ".mdoc",
    ".mrc.mdoc",
    ".st.mdoc",
)
_SAME_PIXEL = 1e-3
_SAME_TILT = 0.05  # degrees


@dataclass(frozen=True)
class _Files:
    """The files of one tilt series; None for what is not there."""

    name: str
    alignment: Path
    stack: Path | None
    ctf: Path | None
    order: Path | None
    volume: Path | None

    @property
    def folder(self) -> Path:
        return self.alignment.parent

    @property
    def all(self) -> list[Path]:
        shared = (self.folder / name for name in (tables.SESSION, tables.METRICS))
        own = (self.alignment, self.stack, self.ctf, self.order, self.volume)
        return [path for path in (*own, *shared) if path and path.is_file()]


@dataclass
class _Notes:
    """What is told of one tilt series: of `missing`, each has the key that would help."""

    taken: dict[str, str] = field(default_factory=dict)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    missing: list[UserError] = field(default_factory=list)

    def warn(self, what: str, cure: str) -> None:
        self.warnings.append((what, cure))

    def need(self, find: Callable[[], T], otherwise: T) -> T:
        """What `find` finds; if the user has to say it, note that, so that all of this is told at once."""
        try:
            return find()
        except UserError as error:
            if not error.key:
                raise
            self.missing.append(error)
            return otherwise


def read(asked: Asked, findings: Findings) -> list[ImportedSeries]:
    """All tilt series below a folder. What is wrong, or doubtful, in several in the same way is told once."""
    series: list[ImportedSeries] = []
    missing: dict[str, list[UserError]] = {}
    warned: dict[tuple[str, str], list[str]] = {}
    of_all = list(_find(asked))
    if not of_all:
        cure = "give the folder that AreTomo wrote to (-OutDir), and check include"
        raise UserError(f"{asked.folder}: has no .aln file of AreTomo", cure, f"{asked.label}.{KEY}")
    twice = [name for name, count in Counter(files.name for files in of_all).items() if count > 1]
    if twice:
        cure = "leave one out by include, or give the folder of one"
        raise UserError(
            f"{asked.folder}: has several .aln files of {some(twice)}", cure, f"{asked.label}.{KEY}"
        )
    for files in of_all:
        findings.files.update(map(str, files.all))
        notes = _Notes()
        try:
            one = _read_series(files, asked, notes)
            series += [] if notes.missing else [one]
        except UserError as error:
            findings.problems.append(error)
        for fault in notes.missing:
            missing.setdefault(fault.key, []).append(fault)
        for warning in notes.warnings:
            warned.setdefault(warning, []).append(files.name)
    for errors in missing.values():
        more = f" (and of {len(errors) - 1} more)" if len(errors) > 1 else ""
        findings.refuse(errors[0].problem + more, errors[0].cure, errors[0].key)
    for (what, cure), names in warned.items():
        findings.warn(f"{some(names)}: {what}", cure)
    return series


def files(asked: Asked) -> list[Path]:
    """All files that `read` reads."""
    return list(dict.fromkeys(path for one in _find(asked) for path in one.all))


SOURCE = Source(KEY, "AreTomo3 (or AreTomo 1, 2)", read, files)


def _find(asked: Asked) -> Iterator[_Files]:
    for path in sorted(Path(asked.folder).rglob("*.aln")):
        prefix = path.name.removesuffix(".aln")
        stem, dot, ending = prefix.rpartition(".")  # AreTomo2 takes .mrc alone off the stack's name
        name = stem if dot + ending in _RAW else prefix
        if is_included(name, asked):

            def first(endings: tuple[str, ...], start: Path = path, name: str = name) -> Path | None:
                found = (start.parent / (name + ending.format(name)) for ending in endings)
                return next((one for one in found if one.is_file()), None)

            yield _Files(name, path, first(_RAW), first(_CTF), first(_ORDERS), first(_VOLUMES))


def _read_series(files: _Files, asked: Asked, notes: _Notes) -> ImportedSeries:
    """A tilt series, of no use if the notes say that something is missing; UserError if files contradict each other."""
    alignment = tables.read_alignment(files.alignment)
    session, metrics = tables.read_session(files.folder), tables.read_metrics(files.folder, files.name)
    stack, header = _stack_of(files, alignment)
    section, index = tables.place(alignment, header.sections)
    pixel = notes.need(lambda: _pixel_of(asked, stack, header, session, notes), 1.0)
    ctf = _ctf_of(files, index, header.sections)
    order = _order_of(files, header.sections)
    which = index if order.sorted else section - 1
    stage = stage_of(alignment, order, which)
    hand, said, doubt = hand_of(asked, ctf[:, 4], float(np.median(alignment.axis)), session)
    notes.taken["hand"] = f"{hand:+d}, {said}"
    if doubt:
        notes.warnings.append(doubt)
    said_by = [files.order] if files.order and files.order.suffix == ".mdoc" else []
    for axis, where in axes_said(said_by, stack):
        warn_of_other_axis(float(np.median(alignment.axis)), files.alignment.name, axis, where, notes.warn)
    _tell_geometry(alignment, header.sections, section, stage, notes)
    optics = _optics_of(asked, session, metrics, notes)
    volume, doubt = volume_of(files.volume, header, pixel, alignment.axis[0], session)
    notes.warnings += [doubt] if doubt else []
    size, notes.taken["size"] = notes.need(
        lambda: size_of(asked, header, pixel, alignment.axis[0], session, volume), ((0, 0, 0), "")
    )
    exposure, notes.taken["dose"] = notes.need(lambda: exposures_of(asked, order), (order.stage, ""))
    shift = alignment.shift * pixel
    tilts = pd.DataFrame(
        {
            "rlnMicrographName": [f"{number}@{stack}" for number in section],
            "rlnMicrographPreExposure": exposure[which],
            "rlnTomoNominalStageTiltAngle": stage,
            "rlnTomoXTilt": 0.0,
            "rlnTomoYTilt": alignment.tilt,
            "rlnTomoZRot": alignment.axis,
            "rlnTomoXShiftAngst": shift[:, 0],
            "rlnTomoYShiftAngst": shift[:, 1],
            "rlnDefocusU": ctf[:, 0],
            "rlnDefocusV": ctf[:, 1],
            "rlnDefocusAngle": ctf[:, 2],
        }
    )
    if ctf[:, 3].any():
        tilts["rlnPhaseShift"] = ctf[:, 3]
    return ImportedSeries(files.name, tilts, pixel, size, hand, *optics, volume, notes.taken)


def _stack_of(files: _Files, alignment: tables.Alignment) -> tuple[Path, mrc.Header]:
    """The images that were aligned, not moved yet. UserError unless they are there, as many and as large as AreTomo
    says."""
    if files.stack is None:
        problem = f"{files.alignment}: its images are not beside it ({files.name}.mrc, .mrcs or .st)"
        raise UserError(problem, "copy or link the stack that was aligned to there")
    header = mrc.header(files.stack, exact=False)
    if alignment.raw and alignment.raw != (header.nx, header.ny, header.sections):
        has = f"{header.nx} x {header.ny} px, {header.sections} images"
        nx, ny, images = alignment.raw
        problem = (
            f"{files.stack}: has {has}, but RawSize in {files.alignment} is {nx} x {ny} px, {images} images"
        )
        raise UserError(problem, "give the stack that was aligned, not what AreTomo made of it")
    return files.stack, header


def _pixel_of(asked: Asked, stack: Path, header: mrc.Header, session: tables.Session, notes: _Notes) -> float:
    """Å/px of the images. The header counts: it has AreTomo3's binning (McBin) in it."""
    known = round(header.pixel, 6) if header.pixel not in (0, 1) else None
    if asked.pixel is not None:
        if known and abs(known - asked.pixel) > _SAME_PIXEL * known:
            said = (
                f"the header of the images says {known:g} Å/px, but {asked.pixel:g} is taken from the config"
            )
            notes.warnings.append((said, "is pixel that of the tilt images, unbinned?"))
        notes.taken["pixel"] = f"{asked.pixel:g} Å, of the config"
        return asked.pixel
    read_in, binning = session.number("PixSize"), session.number("McBin") or 1.0
    made = [read_in, read_in * binning] if read_in else []
    key = f"{asked.label}.pixel"
    if known is None and not made:
        problem = f"{stack}: has no pixel size in its header"
        raise UserError(problem, "give that of the tilt images in Å as pixel", key)
    if known and made and min(abs(known - one) for one in made) > _SAME_PIXEL * known:
        said = f"has {known:g} Å/px in its header, but {session.path} says {made[-1]:g} (PixSize x McBin)"
        raise UserError(f"{stack}: {said}", "give the right one in Å as pixel", key)
    pixel = known or made[-1]
    notes.taken["pixel"] = (
        f"{pixel:g} Å, {f'header of {stack.name}' if known else 'PixSize x McBin of the session'}"
    )
    return pixel


def _ctf_of(files: _Files, index: NDArray[np.integer], images: int) -> NDArray[np.floating]:
    """The CTF of each tilt that was kept, (k, 5). AreTomo3 writes a row for each image of the stack since 1.0.10,
    AreTomo2 for each tilt that it kept, both in order of the tilt."""
    if files.ctf is None:
        problem = f"{files.alignment}: has no {files.name}_CTF.txt beside it: its CTF was not estimated"
        raise UserError(problem, "run AreTomo with -Cs, -kV and -AmpContrast, or copy that file")
    ctf = tables.read_ctf(files.ctf)
    if len(ctf) not in (len(index), images):
        counts = f"{len(ctf)} rows, but {files.alignment} has {len(index)} tilts of {images} images"
        raise UserError(f"{files.ctf}: has {counts}", "give the files of one run of AreTomo")
    ctf = ctf[index] if len(ctf) == images else ctf
    if (bad := (ctf[:, :2] <= 0).any(axis=1)).any():
        rows = some((index if images == len(ctf) else np.arange(len(ctf)))[bad] + 1)
        raise UserError(f"{files.ctf}: has no defocus in row {rows}", "estimate the CTF again")
    if len(set(ctf[:, 4])) > 1:
        raise UserError(
            f"{files.ctf}: its dfHand is not the same in all rows", "give the file as AreTomo wrote it"
        )
    return ctf


def _order_of(files: _Files, images: int) -> Order:
    """When each image of the stack was acquired."""
    if files.order is None:
        problem = (
            f"{files.alignment}: has nothing beside it that says in which order its images were acquired"
        )
        raise UserError(problem, f"copy {files.name}_TLT.txt or the series' .mdoc to there")
    order = read_order(files.order)
    if len(order.acquired) != images:
        problem = (
            f"{files.order}: has {len(order.acquired)} images, but the stack of {files.name} has {images}"
        )
        raise UserError(problem, f"remove it, and give {files.name}_TLT.txt or the series' .mdoc")
    return order


def _tell_geometry(
    alignment: tables.Alignment,
    images: int,
    section: NDArray[np.integer],
    stage: NDArray[np.floating],
    notes: _Notes,
) -> None:
    name, offset = alignment.path.name, float(np.median(alignment.tilt - stage))
    notes.taken["program"] = f"{alignment.program}, by {name}"
    notes.taken["axis"] = f"{np.median(alignment.axis):.2f}°, ROT of {name}"
    dropped = sorted(set(range(1, images + 1)) - set(section.tolist()))
    notes.taken["dropped"] = f"images {some(dropped)} (dark)" if dropped else "none"
    if alignment.alpha or alignment.beta:
        offsets = f"AlphaOffset {alignment.alpha or 0:g}°, which TILT has in it"
        unused = (
            f"; BetaOffset {alignment.beta:g}° is of the CTF alone, and not taken" if alignment.beta else ""
        )
        notes.taken["offsets"] = offsets + unused
    elif alignment.alpha is None and abs(offset) > _SAME_TILT:
        notes.taken["offsets"] = f"{offset:.2f}°, TILT of {name} against the stage (-TiltCor)"
    if alignment.patches:
        said = f"its local alignment ({alignment.patches} patches) is left out, which RELION cannot hold"
        notes.warnings.append((said, "polish the particles (align) to make up for it"))


def _optics_of(
    asked: Asked, session: tables.Session, metrics: dict[str, float], notes: _Notes
) -> tuple[float, float, float]:
    """kV, mm and amplitude contrast."""

    def find(key: str, unit: str, parameter: str, column: str) -> float:
        sources = (
            (getattr(asked, key), "of the config"),
            (session.number(parameter), f"{parameter} of {tables.SESSION}"),
            (metrics.get(column), f"{column} of {tables.METRICS}"),
        )
        for value, origin in sources:
            if value is not None:
                notes.taken[key] = f"{value:g}{unit}, {origin}"
                return float(value)
        problem = f"the files of AreTomo in {asked.folder} do not say {key.replace('_', ' ')}"
        raise UserError(problem, f"give it{f' in{unit}' if unit else ''} as {key}", f"{asked.label}.{key}")

    return (
        notes.need(lambda: find("voltage", " kV", "kV", "Kv"), 0.0),
        notes.need(lambda: find("cs", " mm", "Cs", "Cs(nm)"), 0.0),  # mm, whatever its name says
        notes.need(lambda: find("amplitude_contrast", "", "AmpContrast", ""), 0.0),
    )
