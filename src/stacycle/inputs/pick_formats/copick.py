"""copick's picks: one JSON file for each run, object, user and session, RUN/Picks/USER_SESSION_OBJECT.json.

`location` is in Å from the centre of the first voxel; `transformation_` is a 4 x 4 matrix that turns and moves the
object into the tomogram, and counts unless `trust_orientation` is false.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from stacycle.errors import UserError, some
from stacycle.inputs.findings import Findings
from stacycle.inputs.orientations import to_angles
from stacycle.inputs.pick_formats.pick_format import CORNER, VOXELS, PickFormat, Picks, PicksAsked
from stacycle.inputs.pick_formats.plain_text import read_bytes

_PICKS = "Picks"  # the folder of each run
_PROPER = 1e-3  # by how much a rotation's matrix may be off


def read(asked: PicksAsked, known: tuple[str, ...], findings: Findings) -> list[Picks]:
    """The picks of each file, or of all below a folder if these are of one object, user and session; else UserError."""
    paths = [path for given in asked.paths for path in _files(given, asked.label)]
    findings.files.update(map(str, paths))
    found = [picks for path in paths if (picks := _read_file(path, asked, findings))]
    if not found:
        raise UserError(f"{some(paths, 2)}: hold no point", "is it the right object?", asked.label)
    return found


def _files(path: Path, label: str) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob(f"{_PICKS}/*.json"))
    if not files:
        raise UserError(
            f"{path}: has no {_PICKS}/*.json below it", "give the project's folder, or the files", label
        )
    if len(kinds := sorted({file.stem for file in files})) > 1:
        problem = f"{path}: has picks of several objects, users or sessions ({some(kinds)})"
        raise UserError(problem, f"give those of one: {path}/**/{_PICKS}/{kinds[0]}.json", label)
    return files


def _read_file(path: Path, asked: PicksAsked, findings: Findings) -> Picks | None:
    try:
        said = json.loads(read_bytes(path))
        points = said["points"] or []
        location = np.array([[point["location"][axis] for axis in "xyz"] for point in points], float)
        matrices = np.array([point.get("transformation_") or np.eye(4) for point in points], float)
        score = np.array([point.get("score") or 0 for point in points], float)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: is no file of copick's picks ({error})", "is it the right file?") from None
    if not points:
        return None
    if (unit := said.get("unit", "angstrom")) != "angstrom":
        raise UserError(f"{path}: its positions are in {unit}, not in angstrom", "write them in angstrom")
    if (
        matrices.shape != (len(points), 4, 4)
        or not np.isfinite(matrices).all()
        or not np.isfinite(location).all()
    ):
        raise UserError(f"{path}: has a point without 3 coordinates or a 4 x 4 matrix", "correct it")
    spacing = said.get("voxel_spacing")
    scale = float(spacing) if spacing else 1.0
    name = asked.tomogram or said.get("run_name") or path.parent.parent.name
    return Picks(
        path,
        np.array([name] * len(points), object),
        (location + matrices[:, :3, 3]) / scale,
        VOXELS if spacing else CORNER,
        np.arange(1, len(points) + 1),
        angles=_angles(path, said, matrices[:, :3, :3], findings),
        score=score if np.ptp(score) else None,
        voxel=scale if spacing else None,
    )


def _angles(path: Path, said: dict[str, Any], turns: np.ndarray, findings: Findings) -> np.ndarray | None:
    """(n, 3) RELION's angles of matrices (n, 3, 3); None if they are not meant."""
    if said.get("trust_orientation") is False:
        return None
    if len(turns) > 1 and (turns == np.eye(3)).all():
        what = "all its particles have the matrix of no rotation, so that they are taken for picks without angles"
        findings.warn(f"{path}: {what}", "this is right if they come from a segmentation")
        return None
    improper = np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2)) > _PROPER
    improper |= np.linalg.det(turns) < 0
    if improper.any():
        row = int(np.flatnonzero(improper)[0]) + 1
        problem = f"{path}: the matrix of point {row} is no rotation"
        raise UserError(problem, "correct it, or set trust_orientation: false")
    return to_angles(Rotation.from_matrix(turns))


FORMAT = PickFormat("copick", "picks of copick (.json)", read, (".json",))
