"""RELION 5: particles, tomograms, trajectories and their optimisation set as they are, with copies of the tilt series;
and, if asked for, a file of particles per tomogram with the list of them that RELION's import of coordinates reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from stacycle.errors import UserError
from stacycle.exports.export import Export, ExportAsked, Exported, Particles
from stacycle.files import star
from stacycle.files.job_folder import OPTIMISATION_SET, PARTICLES, TOMOGRAMS
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.safe_names import is_plain_path
from stacycle.files.star_labels import CORNER, SERIES
from stacycle.inputs.merge import OF_OLD_IMAGES

_TRAJECTORIES = "motion.star"
_LIST = "by_tomogram.star"


def make(particles: Particles, asked: ExportAsked) -> Exported:
    """The files of the state, which name each other by paths from the project folder. UserError for a folder that
    RELION could not use."""
    if not is_plain_path(str(asked.folder)):
        raise UserError(
            f"--to {asked.folder}: is no folder below the project folder", "give one, as export/relion"
        )
    state = particles.state
    tomograms = star.read(state.tomograms, {"global": []})
    series = tomograms["global"]
    texts = {PARTICLES: Path(state.particles).read_text()}
    own = {name: f"tilt_series/{name}.star" for name in series.rlnTomoName}
    for path, name in zip(series[SERIES], series.rlnTomoName, strict=True):
        texts[own[name]] = Path(path).read_text()
    series[SERIES] = series.rlnTomoName.map(lambda name: str(asked.folder / own[name]))
    texts[TOMOGRAMS] = star.to_text(tomograms)
    moved = OptimisationSet(str(asked.folder / PARTICLES), str(asked.folder / TOMOGRAMS))
    if state.trajectories:
        texts[_TRAJECTORIES] = Path(state.trajectories).read_text()
        moved = replace(moved, trajectories=str(asked.folder / _TRAJECTORIES))
    texts[OPTIMISATION_SET] = moved.to_text()
    if asked.split:
        texts |= _by_tomogram(star.read(state.particles, {"particles": []})["particles"], asked.folder)
    return Exported(texts, "images stay where they are, at their paths from the project folder")


def _by_tomogram(table: pd.DataFrame, folder: Path) -> dict[str, str]:
    """A file per tomogram, and the list of them. Each has one table, for RELION reads the first of a file alone, and no
    columns that belong to images extracted before."""
    table = table.drop(columns=list(OF_OLD_IMAGES - {*CORNER}), errors="ignore")
    tables = {f"by_tomogram/{name}.star": rows for name, rows in table.groupby("rlnTomoName", sort=False)}
    names = [rows.rlnTomoName.iloc[0] for rows in tables.values()]
    files = [str(folder / path) for path in tables]
    listed = pd.DataFrame({"rlnTomoName": names, "rlnTomoImportParticleFile": files})
    return {path: star.to_text({"particles": rows}) for path, rows in tables.items()} | {
        _LIST: star.to_text({"": listed})
    }


EXPORT = Export("relion", frozenset({"split"}), make)
