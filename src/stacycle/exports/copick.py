"""copick: a JSON file of picks for each tomogram, ExperimentRuns/RUN/Picks/USER_SESSION_OBJECT.json.

The inverse of `inputs.pick_formats.copick`: Å from the centre of the first voxel, and a 4 x 4 matrix that turns the
particle into the tomogram.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd

from stacycle.errors import UserError
from stacycle.exports.export import Export, ExportAsked, Exported, Particles
from stacycle.files.star_labels import ANGLES
from stacycle.inputs.orientations import to_rotation
from stacycle.inputs.place_picks import SCORE

_USER, _SESSION = "stacycle", "1"
_NAME = re.compile(r"[A-Za-z0-9.+-]+")  # copick takes others out, and _ stands between the three names


def make(particles: Particles, asked: ExportAsked) -> Exported:
    """A file for each tomogram. UserError without an object, or if copick could not have its name."""
    if not asked.object or not _NAME.fullmatch(asked.object):
        problem = "copick wants the object's name as its config has it, of letters, digits and - . +"
        raise UserError(problem, "say --object NAME")
    table = particles.table
    matrices = np.tile(np.eye(4), (len(table), 1, 1))
    matrices[:, :3, :3] = to_rotation(table[ANGLES]).as_matrix()
    at = particles.from_corner(asked)
    score = table[SCORE] if SCORE in table else pd.Series(1.0, table.index)
    texts, rows_of = {}, table.groupby("rlnTomoName").indices
    for name, run in particles.names_of_user.items():
        points = [
            {
                "location": dict(zip("xyz", at[row].tolist(), strict=True)),
                "transformation_": matrices[row].tolist(),
                "instance_id": 0,
                "score": float(score[row]),
            }
            for row in rows_of[name]
        ]
        picks = {
            "pickable_object_name": asked.object,
            "user_id": _USER,
            "session_id": _SESSION,
            "run_name": run,
            "voxel_spacing": asked.pixel,
            "unit": "angstrom",
            "points": points,
            "trust_orientation": True,
        }
        path = f"ExperimentRuns/{run}/Picks/{_USER}_{_SESSION}_{asked.object}.json"
        texts[path] = json.dumps(picks, indent=1) + "\n"
    return Exported(texts, "positions in Å from the centre of the first voxel")


EXPORT = Export("copick", frozenset({"pixel", "size", "object", "include"}), make)
