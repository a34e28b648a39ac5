"""`results/final/deposit/`: the final map under names that EMDB's form asks for, and tables of what the forms of EMDB
and EMPIAR ask, as far as the project's files say it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stacycle import __version__
from stacycle.errors import UserError
from stacycle.files import mrc, star
from stacycle.files.image_files import file_of
from stacycle.files.star_labels import PIXEL, SERIES
from stacycle.jobs import record
from stacycle.programs.command import Command
from stacycle.report.final_files import Final, put
from stacycle.report.final_names import FSC, HALVES, MASK, SHARPENED, UNSHARPENED
from stacycle.report.project import Project
from stacycle.report.surface_figures import picture_of

FOLDER = "deposit"
OPEN = "to fill in: not known here"
_NAMED = {
    SHARPENED: ("primary_map.mrc", "primary map"),
    UNSHARPENED: ("additional_map_unsharpened.mrc", "additional map"),
    HALVES[0]: ("half_map_1.mrc", "half map"),
    HALVES[1]: ("half_map_2.mrc", "half map"),
    MASK: ("mask_1.mrc", "mask"),
    FSC: ("fsc.xml", "FSC"),
}
_IMAGE, _EMDB, _EMPIAR = f"{FOLDER}/image.png", f"{FOLDER}/emdb.tsv", f"{FOLDER}/empiar.tsv"
_ASKED_OF_PEOPLE = (
    ("sample", "name, source organism, molecular weight"),
    ("specimen", "buffer, grid, vitrification"),
    ("microscope", "model, detector, energy filter, nominal magnification"),
    ("acquisition", "software, tilt scheme, frames per tilt"),
)


def make(project: Project, final: Final, folder: Path) -> dict[str, str]:
    """Link the files into the folder and write the tables; returns what was made: name from `folder` -> what it is."""
    made = {}
    for name, (asked, what) in _NAMED.items():
        if (item := final.item(name)) is not None:
            put(item.source, folder / FOLDER / asked)
            made[f"{FOLDER}/{asked}"] = what
    series = _series(final)
    emdb = pd.DataFrame(_emdb(project, final, series), columns=["asked", "answer", "from"])
    empiar = pd.DataFrame(_empiar(final, series), columns=["image set", "files", "number", "answer"])
    for name, table in ((_EMDB, emdb), (_EMPIAR, empiar)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / name, sep="\t", index=False)
    picture_of(final.result.map, final.level, folder / _IMAGE)
    return made | {
        _IMAGE: "the picture of the entry",
        _EMDB: "what EMDB's form asks, and the answers",
        _EMPIAR: "the same for EMPIAR",
    }


def _emdb(project: Project, final: Final, series: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """What EMDB's form asks: the field, the answer, and the file that says so."""
    row, result = final.row, final.result
    yield "method", "subtomogram averaging", ""
    yield "resolution (Å)", f"{row.resolution:.2f}", row.postprocess
    yield "resolution method", "FSC 0.143 cut-off", row.postprocess
    yield "subtomograms in the map", _number(row.particles), final.state.particles
    if given := project.facts.get("particles"):
        yield "particles picked", str(given), project.preflight or ""
    yield "tomograms with such particles", str(len(series)), final.state.tomograms
    yield "symmetry", _symmetry(final), result.half_maps[0]
    yield "box (px)", f"{row.box} x {row.box} x {row.box}", result.map
    yield "pixel size (Å)", f"{final.pixel:.5g}", result.map
    yield "recommended contour level", f"{final.level:.4g}", result.map
    if np.isfinite(result.bfactor):
        yield "sharpening B-factor (Å²)", f"{result.bfactor:.4g}", row.postprocess
    yield "mask", "yes, and deposited" if final.item(MASK) else "no", result.mask
    yield "software, reconstruction and refinement", _software(project), ""
    yield "software, workflow", f"stacycle {__version__}", ""
    yield from _optics(final, series)
    for field, what in _ASKED_OF_PEOPLE:
        yield field, OPEN, what


def _optics(final: Final, series: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """What the tilt series say of the microscope and of how they were taken."""
    source = final.state.tomograms
    for field, label in (
        ("acceleration voltage (kV)", "rlnVoltage"),
        ("spherical aberration (mm)", "rlnSphericalAberration"),
        ("tilt series' pixel size (Å)", PIXEL),
    ):
        if label in series:
            yield field, _range(series[label].astype(float)), source
    for field, column in (
        ("least tilt (degrees)", "least tilt"),
        ("greatest tilt (degrees)", "greatest tilt"),
        ("tilt images per series", "images"),
        ("dose before the last image (e/Å²)", "dose"),
        ("least defocus (µm)", "least defocus"),
        ("greatest defocus (µm)", "greatest defocus"),
    ):
        if column in series and series[column].notna().any():
            yield field, _range(series[column]), source


def _empiar(final: Final, series: pd.DataFrame) -> Iterator[tuple[str, str, str, str]]:
    """EMPIAR's image sets: the files, how many, and what is asked of them."""
    if "images" in series and len(series):
        pixel = _range(series[PIXEL].astype(float)) if PIXEL in series else OPEN
        files = sorted({file for names in series["files"] for file in names})
        folder = " ".join(sorted({Path(file).parent.as_posix() for file in files}))
        sizes = {_size(file) for file in files} - {""}
        said = f"{pixel} Å per pixel; {', '.join(sorted(sizes)) or OPEN}"
        yield (
            "tilt series (motion-corrected)",
            folder,
            f"{len(files)} files, {int(series['images'].sum())} images",
            said,
        )
    yield "raw frames", OPEN, "", "as the detector wrote them, with gain reference"
    count = _number(final.row.particles)
    yield "particles' metadata", final.state.particles, f"1 file, {count} particles", "STAR file of RELION 5"
    yield (
        "tomograms' metadata",
        final.state.tomograms,
        "1 file, and those that it names",
        "STAR files of RELION 5",
    )


def _size(file: str) -> str:
    """Width and height in px of a stack's images; "" if it cannot be read."""
    try:
        header = mrc.header(file, exact=False)
    except UserError:
        return ""
    return f"{header.nx} x {header.ny} px"


def _series(final: Final) -> pd.DataFrame:
    """The tomograms that have particles of the map, with numbers of their tilt series."""
    used = set(star.column(final.state.particles, "rlnTomoName"))
    table = star.read(final.state.tomograms, {"global": [SERIES]})["global"]
    table = table[table["rlnTomoName"].isin(used)].reset_index(drop=True)
    numbers = pd.DataFrame([_of_series(path) for path in table[SERIES]], index=table.index)
    return pd.concat([table, numbers], axis=1)


def _of_series(path: str) -> dict[str, Any]:
    try:
        (series,) = star.read(path).values()
    except (UserError, ValueError):
        return {"images": np.nan, "files": ()}
    found: dict[str, Any] = {"images": len(series)}
    if "rlnTomoYTilt" in series:
        tilts = series["rlnTomoYTilt"].astype(float)
        found |= {"least tilt": tilts.min(), "greatest tilt": tilts.max()}
    if "rlnMicrographPreExposure" in series:
        found["dose"] = series["rlnMicrographPreExposure"].astype(float).max()
    if "rlnDefocusU" in series:
        defocus = series["rlnDefocusU"].astype(float) / 1e4
        found |= {"least defocus": defocus.min(), "greatest defocus": defocus.max()}
    names = list(series.get("rlnMicrographName", ()))
    return found | {"files": tuple(dict.fromkeys(file_of(name) for name in names))}


def _symmetry(final: Final) -> str:
    """The point group that the map was made with, as the job of its half maps says."""
    line = record.read(Path(final.result.half_maps[0]).parent).get("command")
    return (Command.of(shlex.split(line)).get("--sym") if line else None) or OPEN


def _software(project: Project) -> str:
    names: Sequence[str] = [one if "engine" in one else f"RELION {one}" for one in project.versions]
    return " and ".join(names) or OPEN


def _range(values: pd.Series) -> str:
    """One number, or the least and the greatest of several."""
    low, high = values.min(), values.max()
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _number(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else OPEN
