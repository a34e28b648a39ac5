"""copick's picks: a JSON file for each run below ExperimentRuns, in Å from the centre of the first voxel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from foreign.pick_volume import PickVolume
from foreign.truth import Picks


def write(
    root: Path, picks: Picks, volume: PickVolume, name: str = "ribosome", shifted: bool = False, **fields: Any
) -> Path:
    """The picks of one run; returns the file. `shifted`: part of the position stands in the matrix."""
    apart = np.array([3.0, -2.0, 1.5]) * shifted
    points = []
    for at, turn, score in zip(
        volume.index(picks) * volume.voxel, picks.rotation.as_matrix(), picks.score, strict=True
    ):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = turn, apart
        where = dict(zip("xyz", (at - apart).tolist(), strict=True))
        point = {
            "location": where,
            "transformation_": matrix.tolist(),
            "instance_id": 0,
            "score": float(score),
        }
        points.append(point)
    said = {
        "pickable_object_name": name,
        "user_id": "someone",
        "session_id": "1",
        "run_name": picks.series.name,
        "voxel_spacing": volume.voxel,
        "unit": "angstrom",
        "points": points,
        "trust_orientation": True,
    }
    path = root / "ExperimentRuns" / picks.series.name / "Picks" / f"someone_1_{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**said, **fields}, indent=4))
    return path
