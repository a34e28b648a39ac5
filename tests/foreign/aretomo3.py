"""What AreTomo 1, 2 and 3 write of a tilt series, with their decimals: for tests alone.

Formats are those of CSaveAlignFile.cpp, CSaveCtfResults.cpp, CTsPackage.cpp, CAreTomo3Json.cpp, CTsMetrics.cpp
(AreTomo3 2.3.1), CSaveAlnFile.cpp and CSaveCsv.cpp (AreTomo2). Images that the user excluded never reached
AreTomo, though they were acquired and count in the order; dark ones are in the stack, and in DarkFrame lines.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foreign.truth import Array, Series, write_mrc, write_stack

_TITLE = "# AreTomo Alignment / Priims bprmMn"
_CTF_TITLE = (
    "# Columns: #1 micrograph number; #2 - defocus 1 [A]; #3 - defocus 2; #4 - azimuth of astigmatism"
)


@dataclass(frozen=True)
class Run:
    """How AreTomo ran: `program` is 1, 2 or 3; `early` AreTomo3 counts the tilts that it kept, from 0.

    `ctf_rows` "all" or "kept"; `df_hand` None for seven columns, else minus the hand. `session` adds to what
    AreTomo3_Session.json says, None for no such file. `flip` is -FlipVol of a tomogram with binning `bin`, None for
    none. `order`: "tlt", "csv", "mdoc" or "none". `doses` in e/Å² in _TLT.txt. `alpha`, `beta` are offsets in degrees.
    """

    program: int = 3
    early: bool = False
    ctf_rows: str = "all"
    df_hand: int | None = 0
    session: dict | None = None
    metrics: bool = False
    flip: int | None = 1
    bin: float = 4
    order: str = "tlt"
    doses: float | Array | None = None
    alpha: float = 0.0
    beta: float = 0.0
    patches: int = 0
    shuffled: bool = False  # the stack that AreTomo got is in order of acquisition


def write(folder: Path, series: Series, run: Run | None = None) -> Path:
    """The folder of a run with one tilt series; returns the .aln file."""
    run = run or Run(session={})
    folder.mkdir(parents=True, exist_ok=True)
    given = np.flatnonzero(~series.excluded)  # what AreTomo got, by its tilt
    in_stack = given[np.argsort(series.order[given])] if run.shuffled else given
    write_stack(folder / f"{series.name}.mrc", series, in_stack)
    (folder / f"{series.name}.aln").write_text(_alignment(series, run, given, in_stack))
    ctf = folder / f"{series.name}{'_CTF' if run.program == 3 else '_ctf'}.txt"
    ctf.write_text(_ctf(series, run, given if run.ctf_rows == "all" else given[~series.dark[given]]))
    _write_order(folder, series, run, given, in_stack)
    if run.session is not None:
        (folder / "AreTomo3_Session.json").write_text(_session(series, run))
    if run.metrics:
        _write_metrics(folder / "TiltSeries_Metrics.csv", series)
    if run.flip is not None:
        nx, ny, nz = _volume_shape(series, run)
        shape = (ny, nz, nx) if run.flip == 0 else (nz, ny, nx)
        ending = "_Vol.mrc" if run.program == 3 else "_rec.mrc"
        write_mrc(folder / f"{series.name}{ending}", np.zeros(shape, np.float32), voxel_of(series, run))
    return folder / f"{series.name}.aln"


def voxels_of(series: Series, run: Run, points: Array) -> Array:
    """(k, 3): where points (k, 3) px of a tilt series are in the tomogram's file, in voxels along its x, y, z."""
    shape = np.array(_volume_shape(series, run))
    across = _across(series)
    step = np.array([across[0] / shape[0], across[1] / shape[1], across[0] / shape[0]])  # px
    x, y, z = ((points - np.asarray(series.size) / 2) / step + shape / 2).T
    last = shape[2] - 1
    stored = {0: (x, last - z, y), 1: (x, y, z), 2: (x, y, last - z)}
    return np.stack(stored[run.flip or 0], 1)


def voxel_of(series: Series, run: Run) -> float:
    """Å per voxel as the header says: that along y, which need not be that along x (CCorrTomoStack.cpp)."""
    return series.pixel * _across(series)[1] / _volume_shape(series, run)[1]


def _across(series: Series) -> tuple[int, int]:
    """The aligned image, x and y in px: the raw one turned by a quarter if the axis is nearer to x."""
    nx, ny = series.image
    return (ny, nx) if abs(np.sin(np.radians(series.axis[0]))) > 0.707 else (nx, ny)


def _volume_shape(series: Series, run: Run) -> tuple[int, int, int]:
    nx, ny = (int(length / run.bin) // 2 * 2 for length in _across(series))
    return nx, ny, int(series.size[2] / run.bin) // 2 * 2


def _alignment(series: Series, run: Run, given: NDArray[np.integer], in_stack: NDArray[np.integer]) -> str:
    dark = series.dark[given]
    first = 1 if run.program == 3 else 0
    section = {int(image): number + first for number, image in enumerate(in_stack)}
    if run.early:
        section = {int(image): number for number, image in enumerate(given[~dark])}
        section |= {int(given[number]): number for number in np.flatnonzero(dark)}
    kept = given[~dark]
    lines = [_TITLE]
    if run.program == 1:
        lines.append(f"# {len(kept)}  {run.patches}")
    else:
        lines += [
            f"# RawSize = {series.image[0]} {series.image[1]} {len(given)}",
            f"# NumPatches = {run.patches}",
        ]
        for number in np.flatnonzero(dark):
            image = int(given[number])
            lines.append(f"# DarkFrame =  {number:4d} {section[image]:4d} {series.tilt[image]:8.2f}")
    if run.program == 3:
        lines += [f"# AlphaOffset = {run.alpha:8.2f}", f"# BetaOffset = {run.beta:8.2f}", "# Thickness = 40"]
    lines.append(
        "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT"
    )
    for image in map(int, kept):
        x, y = series.shift[image]
        lines.append(
            f"{section[image]:5d}  {series.axis[image]:9.4f}  {1:9.5f}  {x:9.3f}  {y:9.3f}  "
            f"{1:7.2f}  {1:7.2f}  {1:7.2f}  {0:7.2f}  {series.tilt[image]:8.2f}"
        )
    if run.patches:
        lines.append("# Local Alignment")
        rows = [(tilt, patch) for tilt in range(len(kept)) for patch in range(run.patches)]
        lines += [
            f"{tilt:4d} {patch:3d} {-10:8.2f}  {10:8.2f}  {0.5:8.2f}  {-0.5:8.2f}  {1:4.1f}"
            for tilt, patch in rows
        ]
    return "\n".join(lines) + "\n"


def _ctf(series: Series, run: Run, images: NDArray[np.integer]) -> str:
    hand = -series.hand if run.df_hand == 0 else run.df_hand
    lines = [_CTF_TITLE]
    for number, image in enumerate(images, 1):
        largest, least, azimuth = series.defocus[image]
        phase = np.radians(series.phase[image])
        line = f"{number:4d}   {largest:8.2f}  {least:8.2f}  {azimuth:8.2f}  {phase:9.4f}  {0.2:8.4f}  {9.5:8.4f}"
        lines.append(line if hand is None else f"{line}  {hand:3d}")
    return "\n".join(lines) + "\n"


def _write_order(
    folder: Path, series: Series, run: Run, given: NDArray[np.integer], in_stack: NDArray[np.integer]
) -> None:
    by_time = given[np.argsort(series.order[given])]
    if run.order == "tlt":
        doses = np.broadcast_to(0.0 if run.doses is None else run.doses, series.tilt.shape)
        rows = [f"{series.stage[i]:8.2f}  {series.order[i] + 1:4d}  {doses[i]:8.2f}" for i in in_stack]
        (folder / f"{series.name}_TLT.txt").write_text("\n".join(rows) + "\n")
    elif run.order == "csv":
        path = folder / f"{series.name}_Imod" / f"{series.name}_order_list.csv"
        path.parent.mkdir()
        title = ["ImageNumber, TiltAngle"] if run.program == 3 else []
        rows = [f"{number:4d},{series.stage[i] + run.alpha:.2f}" for number, i in enumerate(by_time, 1)]
        path.write_text("\n".join([*title, *rows]) + "\n")
    elif run.order == "mdoc":
        lines = ["PixelSpacing = 1.35", "[T = SerialEM: Tilt axis angle = 84.9, binning = 1]", ""]
        for section, i in enumerate(given):
            time = f"03-Nov-21  {10 + series.order[i] // 60:02d}:{series.order[i] % 60:02d}:17"
            lines += [f"[ZValue = {section}]", f"TiltAngle = {series.stage[i]:.4f}", f"DateTime = {time}", ""]
        (folder / f"{series.name}.mrc.mdoc").write_text("\n".join(lines))


def _session(series: Series, run: Run) -> str:
    parameters = {
        "PixSize": series.pixel,
        "kV": int(series.voltage),
        "Cs": series.cs,
        "Cmd": 0,
        "McBin": 1.0,
        "VolZ": series.size[2],
        "AtBin": [run.bin, 0.0, 0.0],
        "TiltAxis": [round(float(series.axis[0])), 1.0],
        "FlipVol": run.flip if run.flip is not None else 1,
        "AmpContrast": series.amplitude_contrast,
    }
    parameters |= {name: value for name, value in (run.session or {}).items() if name != "version"}
    version = (run.session or {}).get("version", "2.3.1")
    software = {"name": "AreTomo3", "version": f"version {version}, built on Aug. 07, 2026"}
    left = {name: value for name, value in parameters.items() if value is not None}
    return json.dumps({"software": software, "parameters": left})


def _write_metrics(path: Path, series: Series) -> None:
    title = "Tilt_Series,Thickness(Pix),Tilt_Axis,DF_Hand,Pix_Size(A),Cs(nm),Kv,Alpha0,Beta0"
    row = f"{series.name}.mrc, {40:6d}, {series.axis[0]:6.2f}, 1, {series.pixel:5.2f}, {series.cs:.1f}"
    path.write_text(f"{title}\n{row}, {series.voltage:3.0f}, 0.0, 0.0\n")
