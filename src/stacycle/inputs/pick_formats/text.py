"""Text with x, y, z in a line, as napari, ArtiaX, crYOLO (COORDS) and many scripts write it: one tomogram in each file.

The config says whether they count in px, voxels of the volume with the first being 0, or in angstrom from its corner.
Six columns are taken as RELION's import takes them: rlnTomoSubtomogramRot, Tilt and Psi, with rlnAngleTilt 90 (RELION
5.0.1, src/jaz/tomography/apps/import_coordinates.cpp).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stacycle.errors import UserError
from stacycle.inputs.findings import Findings
from stacycle.inputs.orientations import to_angles, to_rotation
from stacycle.inputs.pick_formats.pick_format import CORNER, VOXELS, PickFormat, Picks, PicksAsked
from stacycle.inputs.pick_formats.plain_text import numbers, read_words

_UNITS = {"px": VOXELS, "angstrom": CORNER}
_NAPARI = ["axis-0", "axis-1", "axis-2"]  # z, y, x
_ANGLES = {"rot", "tilt", "psi", "phi", "theta", "the", "tdrot", "narot"}


def read(asked: PicksAsked, known: tuple[str, ...], findings: Findings) -> list[Picks]:
    """The picks of each file. UserError if one has other columns, or if their unit is not said."""
    if asked.unit not in _UNITS:
        problem = "text does not say what its numbers count in"
        raise UserError(problem, "say unit: px or unit: angstrom", f"{asked.label}.unit")
    findings.files.update(map(str, asked.paths))
    return [_read_file(path, asked, findings) for path in asked.paths]


def _read_file(path: Path, asked: PicksAsked, findings: Findings) -> Picks:
    if path.suffix.lower() in (".cbox", ".star"):
        cure = (
            "give the files in its folder COORDS"
            if path.suffix.lower() == ".cbox"
            else "give it without text:"
        )
        raise UserError(f"{path}: is no text with x, y, z in a line", cure)
    lines = read_words(path)
    columns = [0, 1, 2]
    if lines and (header := [word.strip('"').lower() for word in lines[0][1]]) and not _is_number(header[0]):
        columns = _columns(path, header)
        lines = lines[1:]
    if not lines:
        raise UserError(f"{path}: holds no position", "was it written completely?")
    has_header = columns != [0, 1, 2] or lines[0][0] > 1
    widths = {len(words) for _, words in lines}
    if len(widths) > 1 or min(widths) <= max(columns) or (not has_header and widths not in ({3}, {6})):
        wanted = "3 columns (x y z), or 6 with RELION's angles"
        odd = next(line for line, words in lines if len(words) == max(widths))
        raise UserError(f"{path}: has {max(widths)} columns in line {odd}, not {wanted}", "leave others out")
    table = np.array([numbers(path, line, words) for line, words in lines])
    angles = None
    if table.shape[1] == 6 and not has_header:
        angles = to_angles(to_rotation(table[:, 3:]) * to_rotation([0, 90, 0]))
        findings.warn(
            f"{path}: its six columns are taken as RELION's import takes them, as rlnTomoSubtomogramRot, Tilt and"
            " Psi with rlnAngleTilt 90",
            "if they are rlnAngleRot, Tilt and Psi, write them into a STAR file",
        )
    name = asked.tomogram or path.name
    row = np.array([line for line, _ in lines])
    tomogram = np.array([name] * len(table), object)
    return Picks(path, tomogram, table[:, columns], _UNITS[str(asked.unit)], row, angles=angles)


def _columns(path: Path, header: list[str]) -> list[int]:
    """Where x, y and z stand by the names of the columns: napari's are those of the array, z first."""
    if turns := [name for name in header if name.removeprefix("angle") in _ANGLES]:
        problem = (
            f"{path}: has columns {', '.join(turns)}, of which text does not say how they turn a particle"
        )
        raise UserError(
            problem, "write them into a STAR file as rlnAngleRot, Tilt and Psi, or leave them out"
        )
    for names in (["x", "y", "z"], _NAPARI[::-1]):
        if set(names) <= set(header):
            return [header.index(name) for name in names]
    problem = f"{path}: its first line names the columns {', '.join(header[:6])}, not x, y, z"
    raise UserError(problem, "rename them, or leave that line out")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


FORMAT = PickFormat("text", "text with x, y, z in a line", read, (".coords", ".csv", ".xyz"))
