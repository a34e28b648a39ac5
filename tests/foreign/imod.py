"""The files that IMOD's etomo writes of a tilt series.

IMOD's own convention (man pages of newstack and tilt, tilt.f90): the aligned image is the raw one transformed by
x' = A x + d about the middles, and a point of the volume (x, yy, zz) from its middle, zz along the rows of the file of
`tilt`, is seen in it at

    x' = x cos b + yy sin a sin b - zz cos a sin b        b = angle of .tlt + OFFSET
    y' = yy cos a + zz sin a                               a = angle of .xtilt - XAXISTILT

Half pixels are left out, as in the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from foreign.truth import Array, Series, write_mrc, write_stack


@dataclass
class Etomo:
    """How etomo's folder is made of the truth.

    `version` of the .defocus file, 2 (plain) or 3; `offset`: the angle that tilt.com adds; `magnified` by which the
    images are stretched; `mdoc`: whether the microscope's file is there, else the exposures stand beside the angles;
    `tilt_entries` are further lines of tilt.com, `x_tilt` degrees in .xtilt.
    """

    folder: Path
    version: int = 3
    offset: float = 0.0
    magnified: float = 1.0
    mdoc: bool = True
    binning: int = 4
    x_tilt: float = 0.0
    rotation: float | None = None  # degrees, of the axis, as it was entered; None: the true one
    tilt_entries: dict[str, str] = field(default_factory=dict)
    other_entries: dict[str, str] = field(default_factory=dict)  # of newst.com

    def file(self, series: Series, ending: str) -> Path:
        return self.folder / f"{series.name}{ending}"


def seen_by_imod(
    etomo: Etomo, series: Series, points: Array, shift: tuple[float, float], x_axis_tilt: float
) -> Array:
    """(n, k, 2) px in the raw images: where points (k, 3) px from the corner of IMOD's volume, turned by trimvol -rx,
    are seen; SHIFT x and z move the volume's contents."""
    x, yy, z = (points - np.array(series.size) / 2).T
    x, zz = x - shift[0], -z - shift[1]
    a = np.radians(etomo.x_tilt - x_axis_tilt)
    seen = []
    for tilt, axis, moved in zip(series.tilt, series.axis, series.shift, strict=True):
        b = np.radians(tilt)
        aligned = np.array(
            [
                x * np.cos(b) + yy * np.sin(a) * np.sin(b) - zz * np.cos(a) * np.sin(b),
                yy * np.cos(a) + zz * np.sin(a),
            ]
        )
        matrix, d = transform(axis, moved)
        seen.append(np.linalg.solve(matrix, aligned - d[:, None]).T + np.array(series.image) / 2)
    return np.array(seen)


def transform(axis: float, shift: Array, magnified: float = 1.0) -> tuple[Array, Array]:
    """A and d of .xf, for an image whose axis is at `axis` degrees and whose middle is moved by `shift` px."""
    c, s = np.cos(np.radians(axis)), np.sin(np.radians(axis))
    matrix = magnified * np.array([[c, s], [-s, c]])
    return matrix, -matrix @ shift


def write(etomo: Etomo, series: Series) -> None:
    """A folder after the final alignment, with the CTF and the commands of the reconstruction."""
    folder = etomo.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_stack(etomo.file(series, ".st"), series)
    lines = []
    for axis, shift in zip(series.axis, series.shift, strict=True):
        matrix, d = transform(axis, shift, etomo.magnified)
        lines.append(
            "".join(f"{value:12.7f}" for value in matrix.ravel()) + "".join(f"{value:12.3f}" for value in d)
        )
    etomo.file(series, ".xf").write_text("\n".join(lines) + "\n")
    prior = [f"  {series.exposure[i]:.2f}" * (not etomo.mdoc) for i in range(len(series.tilt))]
    for ending, angles in ((".rawtlt", series.stage), (".tlt", series.tilt - etomo.offset)):
        rows = [f"{angle:7.2f}{last}\n" for angle, last in zip(angles, prior, strict=True)]
        etomo.file(series, ending).write_text("".join(rows))
    etomo.file(series, ".xtilt").write_text(f"{etomo.x_tilt:7.2f}\n" * len(series.tilt))
    _write_commands(etomo, series)
    _write_defocus(etomo, series)
    if etomo.mdoc:
        write_mdoc(etomo.file(series, ".st.mdoc"), series)


def write_volume(etomo: Etomo, series: Series, trimmed: str = "") -> None:
    """The tomogram of `tilt` (x, z, y), and that of trimvol behind it if it is asked for by -rx or -yz."""
    x, y, z = (count // etomo.binning for count in series.size)
    voxel = series.pixel * etomo.binning
    write_mrc(etomo.file(series, "_full_rec.mrc"), np.zeros((y, z, x), np.float32), voxel)
    if trimmed:
        write_mrc(etomo.file(series, "_rec.mrc"), np.zeros((z, y, x), np.float32), voxel)
        command = f"$trimvol {trimmed} -f {series.name}_full_rec.mrc {series.name}_rec.mrc\n"
        (etomo.folder / "trimvol.com").write_text(command)


def write_mdoc(
    path: Path, series: Series, times: bool = True, is_sorted: bool = False, year: str = "%y"
) -> None:
    """SerialEM's file: a section per image, in the order of acquisition or, if it is sorted, of angles."""
    start = datetime(2024, 11, 30, 23, 58, 3)
    lines = [
        f"PixelSpacing = {series.pixel}",
        f"Voltage = {series.voltage:g}",
        f"ImageFile = {series.name}.st",
        "",
        "[T = SerialEM: Digitized on a microscope]",
        "",
    ]
    for number, index in enumerate(np.argsort(series.stage if is_sorted else series.order)):
        when = start + timedelta(seconds=41 * int(series.order[index]))
        lines += [
            f"[ZValue = {number}]",
            f"TiltAngle = {series.stage[index] + 0.0012:.6g}",
            "ExposureDose = 1.71",
        ]
        lines += ["DateTime = " + when.strftime(f"%d-%b-{year}  %H:%M:%S")] * times + [""]
    path.write_text("\n".join(lines))


def _write_commands(etomo: Etomo, series: Series) -> None:
    name, binning = series.name, etomo.binning
    aligned = [count // binning for count in series.size[:2]]
    dark, excluded = (",".join(map(str, np.flatnonzero(mask) + 1)) for mask in (series.dark, series.excluded))
    tilt = {
        "InputProjections": f"{name}_ali.mrc",
        "OutputFile": f"{name}_full_rec.mrc",
        "IMAGEBINNED": str(binning),
        "TILTFILE": f"{name}.tlt",
        "XTILTFILE": f"{name}.xtilt",
        "THICKNESS": str(series.size[2]),
        "RADIAL": "0.35 0.035",
        "XAXISTILT": "0.0",
        "FULLIMAGE": f"{series.image[0]} {series.image[1]}",
        "SUBSETSTART": f"{(series.image[0] - series.size[0]) // 2} {(series.image[1] - series.size[1]) // 2}",
        "OFFSET": f"{etomo.offset:.2f}",
        "SHIFT": "0.0 0.0",
    }
    if dark:
        tilt["EXCLUDELIST2"] = dark
    newst = {
        "InputFile": f"{name}.st",
        "TransformFile": f"{name}.xf",
        "SizeToOutputInXandY": f"{aligned[0]},{aligned[1]}",
        "OffsetsInXandY": "0.0,0.0",
        "BinByFactor": str(binning),
    }
    align = {"ModelFile": f"{name}.fid", "ExcludeList": excluded} if excluded else {}
    ctf = {
        "Voltage": f"{series.voltage:.0f}",
        "SphericalAberration": str(series.cs),
        "AmplitudeContrast": str(series.amplitude_contrast),
    }
    for program, entries in (
        ("tilt", tilt | etomo.tilt_entries),
        ("newst", newst | etomo.other_entries),
        ("align", align),
        ("ctfplotter", ctf),
    ):
        lines = [f"# a comment of {program}", f"${program} -StandardInput"]
        lines += [
            f"{key}\t{value}" if program == "newst" else f"{key} {value}" for key, value in entries.items()
        ]
        (etomo.folder / f"{program}.com").write_text(
            "\n".join([*lines, "$if (-e ./savework) ./savework", ""])
        )
    properties = ["#Wed May 07 21:10:58 CEST 2025", f"Setup.DatasetName={name}", "Setup.AxisType=Single Axis"]
    entered = np.median(series.axis) if etomo.rotation is None else etomo.rotation
    properties.append(f"Setup.ImageRotationA={entered:.1f}")
    properties.append(f"Setup.AxisA.ExcludeProjections={excluded}")
    etomo.file(series, ".edf").write_text("\n".join(properties) + "\n")


def _write_defocus(etomo: Etomo, series: Series) -> None:
    """In nm: of version 2 the mean of U and V, of version 3 all; nothing of views that are excluded."""
    lines = [] if etomo.version == 2 else ["5\t0\t0.0\t0.0\t0.0\t3"]
    for index in np.flatnonzero(~series.excluded):
        view, angle = index + 1, series.tilt[index]
        u, v, azimuth = series.defocus[index]
        start = f"{view}\t{view}\t{angle:.2f}\t{angle:.2f}\t"
        if etomo.version == 2:
            lines.append(f"{start}{(u + v) / 20:7.0f}" + "   2" * (not lines))
        else:
            lines.append(f"{start}{u / 10:9.1f}\t{v / 10:9.1f}\t{azimuth:7.2f}\t{series.phase[index]:9.2f}")
    etomo.file(series, ".defocus").write_text("\n".join(lines) + "\n")
