"""Tilt series aligned in IMOD's etomo: a folder each, with NAME.xf, NAME.tlt, NAME.defocus and the stack.

An aligned image is the raw one turned by A and shifted by d, about the middle, as NAME.xf says. In it, `tilt` sees a
voxel (x, y, z) of the volume, from its middle and with z against the rows of the file (as after trimvol -rx), at

    Ry(tlt + OFFSET) Rx(xtilt - XAXISTILT) (x - SHIFT x, y, z + SHIFT z)

(IMOD, tilt.f90: sinBeta and sinAlpha are negated, XAXISTILT is subtracted; `zz` runs with the rows of the file.) So
ZRot = atan2(A12, A11), and the image is shifted by -A⁻¹d. IMOD turns about (N - 1)/2 and RELION about N/2; as in
RELION's and Scipion's import, this half pixel is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stacycle.errors import UserError, rows_of, some
from stacycle.files import mrc
from stacycle.inputs.findings import Findings
from stacycle.inputs.sources import mdoc
from stacycle.inputs.sources.common import (
    Array,
    first_known,
    numbers_of_images,
    pixel_of,
    read_numbers,
)
from stacycle.inputs.sources.imod_files import (
    Transforms,
    parse_list,
    read_defocus,
    read_transforms,
)
from stacycle.inputs.sources.imod_folder import Etomo, find, refuse_others
from stacycle.inputs.sources.imod_volume import TRIMVOL, size_of, volume_files, volume_of
from stacycle.inputs.sources.source import Asked, ImportedSeries, Source
from stacycle.inputs.sources.tilt_axis import axes_said, warn_of_other_axis

_LARGE_X_TILT = 0.5  # degrees
_EXCLUDED = (("tilt.com", ("EXCLUDELIST", "EXCLUDELIST2")), ("align.com", ("ExcludeList",)))


@dataclass(frozen=True)
class _Views:
    """Of each of n views of the raw stack, in its order: transforms, angles in degrees, and whether it is used."""

    transforms: Transforms
    tilt: Array
    stage: Array
    x_tilt: Array
    used: NDArray[np.bool_]
    excluded_by: str


def read(asked: Asked, findings: Findings) -> list[ImportedSeries]:
    """All tilt series in the folder, or in the folders in it, that the set includes; problems are in the findings."""
    series = []
    unsaid: dict[str, str] = {}
    for etomo in find(asked):
        try:
            series.append(_read_series(etomo, asked, findings))
        except UserError as error:
            findings.problems.append(error)
            continue
        if not any(axes_said(etomo.of_axis, etomo.stack)):
            unsaid[etomo.name] = series[-1].taken["axis"]
    if unsaid:
        taken = next(iter(unsaid.values()))
        elsewhere = ".edf, align.com, .mdoc and the stack's header do not"
        what = f"{taken} alone says the tilt axis of {some(unsaid)}; {elsewhere}"
        cure = "compare it with the microscope's: one of the other sign mirrors the map, which nothing else shows"
        findings.warn(what, cure)
    return series


def files(asked: Asked) -> list[Path]:
    """The files of the alignments, the raw stacks and the tomograms."""
    found: list[Path] = []
    for etomo in find(asked):
        commands = [one.path for one in (etomo.tilt, etomo.newst, etomo.align, etomo.ctf)]
        tables = [etomo.file(ending) for ending in (".edf", ".xf", ".tlt", ".rawtlt", ".xtilt", ".defocus")]
        volumes = volume_files(etomo.name, etomo.tilt)
        found += [
            *commands,
            *tables,
            *etomo.of_axis,
            etomo.stack,
            *volumes,
            etomo.folder / TRIMVOL,
        ]
    return [path for path in dict.fromkeys(found) if path.is_file()]


def _read_series(etomo: Etomo, asked: Asked, findings: Findings) -> ImportedSeries:
    name = etomo.name
    refuse_others(etomo)
    stack = etomo.stack
    if not stack.is_file():
        raise UserError(f"{stack}: is missing", f"keep the raw stack beside {name}.xf")
    header = mrc.header(stack, exact=False)
    views = _views(etomo, header.sections)
    _warn_of_lost(etomo, views, findings)
    pixel, pixel_from = pixel_of(name, asked, stack, header)
    size, size_from = size_of(name, asked, header, etomo.tilt, etomo.newst)
    number, order_from, notes = _order(etomo, views)
    said = {"voltage": "Voltage", "cs": "SphericalAberration", "amplitude_contrast": "AmplitudeContrast"}
    optics = {}
    for key, entry in said.items():
        found = [(etomo.ctf.number(entry), etomo.ctf.path.name)]
        found += [(notes.voltage, notes.path.name)] if notes and key == "voltage" else []
        optics[key] = first_known(key, name, asked, *found)
    dose = _dose(etomo, asked, notes)
    hand = asked.hand or -1
    defocus_file, used = etomo.file(".defocus"), views.used
    tilts = _tilts(etomo, views, dose * number, hand, pixel, findings)
    tilts.insert(0, "rlnMicrographName", [f"{view}@{stack}" for view in range(1, header.sections + 1)])
    offset, shift = etomo.tilt.number("OFFSET") or 0.0, etomo.tilt.numbers("SHIFT") or [0.0]
    against = np.median(views.tilt - views.stage)
    dropped = [str(view) for view in np.flatnonzero(~used) + 1]
    taken = {
        "axis": f"{np.median(views.transforms.axis[used]):.2f}°, {name}.xf",
        "hand": f"{hand}, {f'{asked.label}.hand' if asked.hand else 'the usual one: no file of IMOD says it'}",
        "dose": f"{dose:g} e/Å² per image, {asked.label}.dose; order by {order_from}",
        "defocus": defocus_file.name,
        "size": f"{' × '.join(map(str, size))} px, {size_from}",
        "pixel": f"{pixel:g} Å, {pixel_from}",
        "voltage": "{:g} kV, {}".format(*optics["voltage"]),
        "cs": "{:g} mm, {}".format(*optics["cs"]),
        "amplitude_contrast": "{:g}, {}".format(*optics["amplitude_contrast"]),
        "dropped": f"views {some(dropped, 8)}, {views.excluded_by}" if dropped else "none",
        "offsets": (
            f"angles {against:+.2f}° against the stage, OFFSET {offset:g}° among them; x tilt "
            f"{np.median(views.x_tilt):.2f}°; SHIFT {', '.join(f'{value:g}' for value in shift)} px"
        ),
    }
    chosen = tilts.loc[used].reset_index(drop=True)
    volume = volume_of(name, header, etomo.tilt, etomo.newst, pixel)
    (voltage, _), (cs, _), (contrast, _) = optics.values()
    return ImportedSeries(name, chosen, pixel, size, hand, voltage, cs, contrast, volume, taken)


def _views(etomo: Etomo, sections: int) -> _Views:
    """What the files say of each view. UserError unless all tell of as many as the stack has sections."""
    transforms = read_transforms(etomo.file(".xf"))
    tables = {".tlt": read_numbers(etomo.file(".tlt"), 1)[:, 0]}
    if etomo.file(".rawtlt").is_file():
        tables[".rawtlt"] = read_numbers(etomo.file(".rawtlt"), 1)[:, 0]
    if etomo.tilt.text("XTILTFILE") or (not etomo.tilt.entries and etomo.file(".xtilt").is_file()):
        tables[".xtilt"] = read_numbers(etomo.file(".xtilt"), 1)[:, 0]
    for ending, count in (
        (".xf", len(transforms.shift)),
        *((key, len(values)) for key, values in tables.items()),
    ):
        if count != sections:
            problem = f"{etomo.file(ending)}: has {count} lines, but {etomo.stack.name} has {sections} images"
            raise UserError(problem, "keep the stack that was aligned: excludeviews takes views out of it")
    lists = {file: getattr(etomo, file.removesuffix(".com")).lists(*keys) for file, keys in _EXCLUDED}
    projections = etomo.properties.get("Setup.AxisA.ExcludeProjections", "")
    lists[f"{etomo.name}.edf"] = set(parse_list(etomo.file(".edf"), projections))
    for file, views in lists.items():
        if views and not 1 <= min(views) <= max(views) <= sections:
            problem = f"{etomo.folder / file}: excludes view {max(views)}, but there are {sections}"
            raise UserError(problem, "correct the list")
    excluded = set().union(*lists.values())
    used = ~np.isin(np.arange(1, sections + 1), list(excluded))
    if not used.any():
        raise UserError(
            f"{etomo.folder}: all views of {etomo.name} are excluded", "leave it out by `include`"
        )
    none = np.zeros(sections)
    return _Views(
        transforms,
        tilt=tables[".tlt"] + (etomo.tilt.number("OFFSET") or 0),
        stage=tables.get(".rawtlt", tables[".tlt"]),
        x_tilt=tables.get(".xtilt", none) - (etomo.tilt.number("XAXISTILT") or 0),
        used=used,
        excluded_by=" and ".join(file for file, views in lists.items() if views),
    )


def _warn_of_lost(etomo: Etomo, views: _Views, findings: Findings) -> None:
    """Warnings of what RELION cannot hold, or holds otherwise."""
    transforms = views.transforms
    axis = float(np.median(transforms.axis[views.used]))
    for said, said_by in axes_said(etomo.of_axis, etomo.stack):
        warn_of_other_axis(axis, str(transforms.path), said, said_by, findings.warn)
    if (skewed := transforms.skewed & views.used).any():
        where = rows_of(np.flatnonzero(skewed) + 1)
        findings.warn(f"{transforms.path}: {where} magnifies or skews the image, which RELION cannot hold")
    if transforms.coarse:
        what = f"{transforms.path}: has so few decimals that the axis is known to 0.03° only, 1 px at 2000 px"
        findings.warn(what, "of AreTomo, give its own folder as `aretomo3`")
    if not etomo.tilt.entries:
        lost = "so that OFFSET, SHIFT, XAXISTILT and EXCLUDELIST are not known"
        findings.warn(
            f"{etomo.tilt.path}: is not there or empty, {lost}", "put it there, unless it has none of them"
        )
    for key, what in (("LOCALFILE", "local alignments"), ("ZFACTORFILE", "factors of z")):
        if file := etomo.tilt.text(key):
            cure = "frame alignment (relion_tomo_align) can find the rest again"
            findings.warn(f"{etomo.tilt.path}: has {what} ({file}), which RELION cannot hold", cure)
    if (largest := np.abs(views.x_tilt[views.used]).max()) > _LARGE_X_TILT:
        what = f"{etomo.folder}: rlnTomoXTilt is up to {largest:.2f}°, .xtilt minus XAXISTILT as `tilt` turns by it"
        findings.warn(
            what, "RELION's own import writes 0: picks of a tomogram that RELION made would not fit"
        )


def _order(etomo: Etomo, views: _Views) -> tuple[NDArray[np.integer], str, mdoc.Mdoc | None]:
    """(n): how many images were taken before each view, where that is from, and the .mdoc file if there is one.

    By the .mdoc file, or a second column of exposures beside the angles. UserError if neither is there.
    """
    if etomo.mdocs:
        notes = mdoc.read(etomo.mdocs[0])
        return notes.order_of(views.stage), f"{notes.how} of {notes.path.name}", notes
    for ending in (".rawtlt", ".tlt"):
        path = etomo.file(ending)
        table = read_numbers(path, 1) if path.is_file() else np.zeros((1, 1))
        if table.shape[1] > 1:
            number = numbers_of_images(table[:, 1] - table[:, 1].min(), f"{path}, column 2")
            return number, f"column 2 of {path.name}", None
    problem = f"{etomo.folder}: no file says in which order the images of {etomo.name} were taken"
    raise UserError(problem, f"put the microscope's file there, as {etomo.stack.name}.mdoc")


def _dose(etomo: Etomo, asked: Asked, notes: mdoc.Mdoc | None) -> float:
    """e/Å² per image. UserError if the set does not say it."""
    if asked.dose is not None:
        return float(asked.dose)
    said = f" ({notes.path.name} has {notes.exposure:g}, often wrong)" if notes and notes.exposure else ""
    problem = f"the dose of {etomo.name} is not known: no file of IMOD says it{said}"
    raise UserError(problem, "set it, in e/Å² per image", f"{asked.label}.dose")


def _tilts(
    etomo: Etomo, views: _Views, exposure: Array, hand: int, pixel: float, findings: Findings
) -> pd.DataFrame:
    """RELION's columns, a row for each view. UserError if a used view has no defocus."""
    path, axis = etomo.file(".defocus"), views.transforms.axis
    if not path.is_file():
        raise UserError(f"{path}: is missing", "estimate the CTF by ctfplotter, and save it")
    defocus = read_defocus(path, len(axis))
    if (absent := np.isnan(defocus.values[:, 0]) & views.used).any():
        problem = f"{path}: says nothing of views {some(np.flatnonzero(absent) + 1)}"
        raise UserError(problem, "estimate their CTF, or exclude them")
    if defocus.ranges:
        findings.warn(
            f"{path}: was fitted to several views at once: each has the defocus between those of the ranges"
        )
    turn = Rotation.from_euler("ZYX", np.stack([axis, views.tilt, views.x_tilt], 1), degrees=True).as_matrix()
    x, z = [*etomo.tilt.numbers("SHIFT"), 0.0, 0.0][:2]
    moved = turn @ [-x, 0.0, z]  # px: where the middle of the volume is
    shift = (views.transforms.offset + moved[:, :2]) * pixel
    u, v, angle, phase = defocus.values.T
    tilts = pd.DataFrame(
        {
            "rlnMicrographPreExposure": exposure,
            "rlnTomoNominalStageTiltAngle": views.stage,
            "rlnTomoXTilt": views.x_tilt,
            "rlnTomoYTilt": views.tilt,
            "rlnTomoZRot": axis,
            "rlnTomoXShiftAngst": shift[:, 0],
            "rlnTomoYShiftAngst": shift[:, 1],
            "rlnDefocusU": u + hand * pixel * moved[:, 2],
            "rlnDefocusV": v + hand * pixel * moved[:, 2],
            "rlnDefocusAngle": angle,
        }
    )
    if phase[views.used].any():
        tilts["rlnPhaseShift"] = phase
    return tilts


SOURCE = Source("imod", "IMOD's etomo", read, files)
