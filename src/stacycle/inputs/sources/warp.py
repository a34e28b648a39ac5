"""Tilt series of Warp 1.0 and WarpTools: NAME.tomostar says which images there are, NAME.xml how they are aligned.

Warp sees a position p (Å, from the volume's corner) at

    q = Rz(axis) Ry(-(angle + level y)) Rx(level x) (p + warp - volume/2) + offset - movement + image/2

and at the defocus GridCTF + z' or, if AreAnglesInverted, GridCTF - z' (Warp e321344, WarpLib/TiltSeries/TiltSeries.cs,
GetPositionInAllTilts; WarpLib/Tools/Matrix3.cs). What varies over the volume, RELION cannot hold: its middle is taken.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from stacycle.errors import UserError, some
from stacycle.files import mrc, star
from stacycle.inputs.findings import Findings
from stacycle.inputs.sources import warp_xml
from stacycle.inputs.sources.common import (
    first_known,
    is_included,
    numbers_in,
    numbers_of_images,
    pixel_of,
)
from stacycle.inputs.sources.source import Asked, ImportedSeries, Source
from stacycle.inputs.sources.tilt_axis import warn_of_other_axis
from stacycle.inputs.sources.warp_volume import SETTINGS, Frame, frame_of, volumes
from stacycle.inputs.sources.warp_xml import Array, WarpSeries

_MICROMETRE = 1e4  # Å
_MOVIES = "warp_frameseries"  # WarpTools' own name of the folder
_SAME_DOSE = 0.01  # e/Å²
_REFINED_BY = 3.0  # degrees: the most that an alignment changes the angle of one tilt against the others
_WARPS = ("GridVolumeWarpX", "GridVolumeWarpY", "GridVolumeWarpZ")
_MOVEMENTS = ("GridMovementX", "GridMovementY")
_TURNS = ("GridAngleX", "GridAngleY", "GridAngleZ")


@dataclass(frozen=True)
class _Files:
    """The files of a tilt series below the folder; `xml` has one if the tilt series was processed."""

    name: str
    tomostar: Path
    xml: list[Path]


@dataclass(frozen=True)
class _Images:
    """The images that are used, by their names for RELION; `first` is the file of the first."""

    names: list[str]
    first: Path
    header: mrc.Header


def read(asked: Asked, findings: Findings) -> list[ImportedSeries]:
    """All tilt series below the folder that Warp has aligned and the set includes; problems are in the findings."""
    series = []
    for files in _find(asked):
        if not files.xml:
            what = (
                f"{files.tomostar}: is left out, for Warp has not processed it: there is no {files.name}.xml"
            )
            findings.warn(what, f"does {asked.folder} hold the folder of the tilt series' XML files?")
            continue
        try:
            found = _read_series(files, asked, findings)
        except UserError as error:
            findings.problems.append(error)
            continue
        series += [found] if found else []
    return series


def files(asked: Asked) -> list[Path]:
    """The tables of the tilt series, the first image of each, and their tomograms."""
    found = [path for name in SETTINGS if (path := asked.folder / name).is_file()]
    for one in _find(asked):
        found += [one.tomostar, *one.xml]
        if not one.xml:
            continue
        try:
            warp = warp_xml.read(_only_xml(one))
            found += [
                _images(one, warp, list(_imported(one, warp).wrpMovieName)).first,
                *volumes(one.name, warp.path),
            ]
        except UserError:
            continue  # `read` tells it
    return found


def _find(asked: Asked) -> list[_Files]:
    """The tilt series in the folder and the folders in it, by name. UserError if there is none."""
    tomostars = [path for pattern in ("*.tomostar", "*/*.tomostar") for path in asked.folder.glob(pattern)]
    places = [asked.folder, *sorted(path for path in asked.folder.glob("*") if path.is_dir())]
    found: dict[str, _Files] = {}
    for path in sorted(tomostars):
        name = path.name.removesuffix(".tomostar")
        if name in found:
            problem = f"{found[name].tomostar} and {path} are the same tilt series"
            raise UserError(problem, "give the folder of one project of Warp", f"{asked.label}.warp")
        beside = [xml for place in places if (xml := place / f"{name}.xml").is_file()]
        found[name] = _Files(name, path, [xml for xml in beside if warp_xml.is_series(xml)])
    if not found:
        problem = f"{asked.folder}: has no .tomostar file, nor has any folder in it"
        cure = "give the folder of Warp's project, which holds those of the .tomostar and .xml files"
        raise UserError(problem, cure, f"{asked.label}.warp")
    chosen = [one for name, one in found.items() if is_included(name, asked)]
    if not chosen:
        problem = f"{asked.folder}: has no tilt series called {some(asked.include)} ({some(found)})"
        raise UserError(problem, "correct the names", f"{asked.label}.include")
    return chosen


def _only_xml(files: _Files) -> Path:
    if len(files.xml) > 1:
        problem = f"{some(files.xml)} are all the tilt series {files.name}"
        raise UserError(problem, "move all but one to a folder elsewhere")
    return files.xml[0]


def _read_series(files: _Files, asked: Asked, findings: Findings) -> ImportedSeries | None:
    """A tilt series; None if it was deselected in Warp. UserError if something is wrong with it."""
    warp = warp_xml.read(_only_xml(files))
    path, name = warp.path, files.name
    if warp.deselected:
        findings.warn(f"{path}: is left out, for it was deselected in Warp", "select it there to use it")
        return None
    imported = _imported(files, warp)
    images = _images(files, warp, list(imported.wrpMovieName))
    _refuse_unprocessed(warp)
    _warn_of_lost(warp, findings)
    axis = float(np.median(warp.axis[warp.used]))
    if "wrpAxisAngle" in imported:
        said = float(imported.wrpAxisAngle.median())
        warn_of_other_axis(axis, str(path), said, files.tomostar.name, findings.warn)
    header = images.header
    pixel, pixel_from = pixel_of(name, asked, images.first, header)
    frame = frame_of(name, warp, asked, pixel)
    voltage, voltage_from = first_known("voltage", name, asked, (warp.parameter("Voltage"), path.name))
    cs, cs_from = first_known("cs", name, asked, (warp.parameter("Cs"), path.name))
    contrast, contrast_from = first_known(
        "amplitude_contrast", name, asked, (warp.parameter("Amplitude"), path.name)
    )
    exposure, dose = _exposures(files, warp, asked)
    hand = asked.hand or (-1 if warp.inverted else 1)
    inverted = f"AreAnglesInverted is {warp.inverted} in {path.name}"
    if asked.hand is None and not asked.hand_is_open and not warp.inverted:
        what = f"{path}: rlnTomoHand is 1, for {inverted}, as it is too where nobody looked"
        findings.warn(what, f"did ts_defocus_hand look? Its --set_flip means -1; else set {asked.label}.hand")
    used = warp.used
    angles = imported.wrpAngleTilt.to_numpy(float)
    tilts = _tilts(warp, frame, angles, exposure, hand, header, pixel).loc[used].reset_index(drop=True)
    tilts.insert(0, "rlnMicrographName", images.names)
    offsets = "offsets, movement and warp of the volume"
    dropped = [f"{number}" for number in np.flatnonzero(~used) + 1]
    taken = {
        "axis": f"{axis:.2f}°, AxisAngle of {path.name}",
        "hand": f"{hand}, {inverted if asked.hand is None else f'{asked.label}.hand ({inverted})'}",
        "dose": dose,
        "size": f"{' × '.join(map(str, frame.size))} px, {frame.where}",
        "pixel": f"{pixel:g} Å, {pixel_from}",
        "voltage": f"{voltage:g} kV, {voltage_from}",
        "cs": f"{cs:g} mm, {cs_from}",
        "amplitude_contrast": f"{contrast:g}, {contrast_from}",
        "dropped": f"tilts {some(dropped, 8)}, UseTilt of {path.name}" if dropped else "none",
        "offsets": f"{offsets}; level {warp.level[0]:g}°, {warp.level[1]:g}°, all of {path.name}",
    }
    return ImportedSeries(name, tilts, pixel, frame.size, hand, voltage, cs, contrast, frame.volume, taken)


def _imported(files: _Files, warp: WarpSeries) -> pd.DataFrame:
    """The .tomostar file: each tilt's movie, relative to that file, its angles before the alignment, and its exposure.

    UserError unless this and the XML file tell of the same tilts.
    """
    tomostar, count = files.tomostar, len(warp.angles)
    table = next(iter(star.read(tomostar, oddities=[]).values()))
    if not {"wrpMovieName", "wrpAngleTilt", "wrpDose"} <= set(table):
        raise UserError(
            f"{tomostar}: has no columns wrpMovieName, wrpAngleTilt and wrpDose", "import it again"
        )
    for label in ("wrpAngleTilt", "wrpDose", "wrpAxisAngle"):
        if label in table:
            numbers_in(tomostar, table, label)
    if len(table) != count:
        problem = f"{tomostar}: has {len(table)} tilts, but {warp.path} has {count}"
        raise UserError(problem, "remove the XML file of an earlier import and align the tilt series again")
    movies = [str(movie).replace("\\", "/") for movie in table.wrpMovieName]
    # An alignment imported from IMOD turns all angles by an offset, and refines each.
    offset = np.median(warp.angles - table.wrpAngleTilt.to_numpy(float))
    for label, values, most in (
        ("wrpAngleTilt", warp.angles - offset, _REFINED_BY),
        ("wrpDose", warp.dose, _SAME_DOSE),
    ):
        if (apart := warp.used & (np.abs(table[label].to_numpy(float) - values) > most)).any():
            row = int(np.flatnonzero(apart)[0])
            what = (
                f"{label} of row {row + 1} is {table[label].iloc[row]:g}, but {values[row]:g} in {warp.path}"
            )
            raise UserError(f"{tomostar}: {what}", "which of the two is right? Import and align it again")
    if warp.movies and (
        other := [row for row in range(count) if _stem(warp.movies[row]) != _stem(movies[row])]
    ):
        what = f"row {other[0] + 1} is {_stem(movies[other[0]])}, but {_stem(warp.movies[other[0]])} in {warp.path}"
        raise UserError(f"{tomostar}: {what}", "which of the two is right? Import and align it again")
    return table.assign(wrpMovieName=movies)


def _stem(movie: str) -> str:
    return os.path.splitext(movie.replace("\\", "/").rsplit("/", 1)[-1])[0]


def _images(files: _Files, warp: WarpSeries, movies: list[str]) -> _Images:
    """The averages of the used tilts' movies, or else the stack of all. UserError if there is neither."""
    used = np.flatnonzero(warp.used)
    if not len(used):
        raise UserError(
            f"{warp.path}: UseTilt is False for all tilts", "leave the tilt series out by `include`"
        )
    averages = [_average(files.tomostar.parent, movies[index]) for index in used]
    missing = [path for path in averages if not path.is_file()]
    if not missing:
        return _Images([str(path) for path in averages], averages[0], mrc.header(averages[0], exact=False))
    stack = warp.path.parent / "tiltstack" / files.name / f"{files.name}.st"
    if not stack.is_file():
        problem = f"{missing[0]}: is missing ({len(missing)} of {len(used)} images of {files.name}), and so is {stack}"
        raise UserError(problem, "keep the folder `average` of Warp's movies, or write stacks by ts_stack")
    header = mrc.header(stack, exact=False)
    if header.sections not in (len(used), len(movies)):
        found = f"{header.sections} images, but {warp.path} has {len(movies)} tilts, {len(used)} of them used"
        raise UserError(f"{stack}: has {found}", "write it again by ts_stack")
    numbers = range(1, len(used) + 1) if header.sections == len(used) else used + 1
    return _Images([f"{number}@{stack}" for number in numbers], stack, header)


def _average(folder: Path, movie: str) -> Path:
    """The average of a movie that a .tomostar file in `folder` names: beside it, or where WarpTools puts averages."""
    name = f"average/{_stem(movie)}.mrc"
    beside, processed = (folder / movie).parent / name, folder.parent / _MOVIES / name
    return Path(os.path.normpath(processed if processed.is_file() and not beside.is_file() else beside))


def _refuse_unprocessed(warp: WarpSeries) -> None:
    """UserError unless the tilt series is aligned and its CTF is known."""
    path = warp.path
    moved = any(warp.per_tilt(name).any() for name in _MOVEMENTS)
    if not (warp.offset.any() or moved) and len(warp.angles) > 1:
        problem = f"{path}: all AxisOffsetX and Y are 0, as before any alignment"
        raise UserError(
            problem, "align the tilt series, by ts_aretomo, ts_etomo_patches or ts_import_alignments"
        )
    if not (warp.per_tilt("GridCTF")[warp.used] > 0).all():
        row = int(np.flatnonzero(warp.used & ~(warp.per_tilt("GridCTF") > 0))[0])
        problem = f"{path}: the defocus of tilt {row + 1} is {warp.per_tilt('GridCTF')[row]:g} µm in GridCTF"
        raise UserError(problem, "estimate the CTF by ts_ctf")


def _warn_of_lost(warp: WarpSeries, findings: Findings) -> None:
    """Warnings of what RELION cannot hold."""
    varying = [name for name in (*_MOVEMENTS, *_WARPS) if name in warp.grids and warp.grids[name].varies]
    if varying:
        lost = (
            f"{some(varying, 5)} differ from place to place, which RELION cannot hold: their middle is taken"
        )
        findings.warn(f"{warp.path}: {lost}", "frame alignment (relion_tomo_align) can find the rest again")
    if turned := [name for name in _TURNS if name in warp.grids and not warp.grids[name].is_zero]:
        findings.warn(
            f"{warp.path}: {some(turned)} turn the particles of each tilt, which RELION cannot hold"
        )
    if warp.magnified:
        findings.warn(f"{warp.path}: MagnificationCorrection is not 1, which RELION cannot hold")


def _exposures(files: _Files, warp: WarpSeries, asked: Asked) -> tuple[Array, str]:
    """(n) e/Å² before each image, and where they are from. UserError if the order of the images is not known."""
    number = (
        numbers_of_images(warp.dose, str(warp.path))
        if asked.dose is not None or not warp.dose.any()
        else None
    )
    if number is None:
        return warp.dose, f"up to {warp.dose.max():g} e/Å² before the last image, Dose of {warp.path.name}"
    dose = asked.dose or 0.0
    return dose * number, f"{dose:g} e/Å² per image, {asked.label}.dose; order by Dose of {warp.path.name}"


def _tilts(
    warp: WarpSeries,
    frame: Frame,
    angles: Array,
    exposure: Array,
    hand: int,
    header: mrc.Header,
    pixel: float,
) -> pd.DataFrame:
    """RELION's columns, a row for each tilt. `angles`: Warp's before the alignment, minus those of the stage."""
    y_tilt = -(warp.angles + warp.level[1])
    x_tilt = np.full(len(y_tilt), warp.level[0])
    turn = Rotation.from_euler("ZYX", np.stack([warp.axis, y_tilt, x_tilt], 1), degrees=True).as_matrix()
    warped = np.stack([warp.per_dose(name) for name in _WARPS], 1) + frame.middle
    moved = np.einsum("nij,nj->ni", turn, warped)
    shift = warp.offset - np.stack([warp.per_tilt(name) for name in _MOVEMENTS], 1) + moved[:, :2]
    # Warp's middle of an image of an odd size is between two pixels, RELION's is the lower one
    shift += np.array([header.nx % 2, header.ny % 2]) / 2 * pixel
    defocus = warp.per_tilt("GridCTF") * _MICROMETRE + hand * moved[:, 2]
    delta = warp.per_tilt("GridCTFDefocusDelta") * _MICROMETRE / 2
    tilts = pd.DataFrame(
        {
            "rlnMicrographPreExposure": exposure,
            "rlnTomoNominalStageTiltAngle": -angles,
            "rlnTomoXTilt": x_tilt,
            "rlnTomoYTilt": y_tilt,
            "rlnTomoZRot": warp.axis,
            "rlnTomoXShiftAngst": shift[:, 0],
            "rlnTomoYShiftAngst": shift[:, 1],
            "rlnDefocusU": defocus + delta,
            "rlnDefocusV": defocus - delta,
            "rlnDefocusAngle": warp.per_tilt("GridCTFDefocusAngle"),
        }
    )
    if (phase := warp.per_tilt("GridCTFPhase") * 180).any():
        tilts["rlnPhaseShift"] = phase
    return tilts


SOURCE = Source("warp", "Warp and WarpTools", read, files)
