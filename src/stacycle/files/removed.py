"""What the clean-up removed from a folder, as its `removed.json` notes: a missing file can be explained.

Three kinds of files can be removed, none of which a rule declares: maps of superseded iterations, extracted stacks, and
the data and weight maps of averages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacycle.files import job_folder
from stacycle.files.atomic import read_json


@dataclass(frozen=True)
class Removable:
    """Files that nobody needs once their round is finished, and that no rule declares.

    `key` is that of the config's `cleanup`, `least` its value that frees them. `names` match the files, in a job's
    folder or in the folders below it that `within` names; `made_with` is the output by which Snakemake knows the job.
    """

    key: str
    least: str
    names: str
    made_with: str
    within: str = "*"


ITERATIONS = Removable(
    "iterations",
    "needed",
    r"run_it(\d{3})_(half[12]_)?(class|body)\d{3}(_unfil)?(_angdist)?\.(mrc|bild)",
    job_folder.FINAL_DATA,
)
STACKS = Removable(
    "stacks",
    "current",
    r"\d+_(stack2d\.mrcs|data\.mrc|weights\.mrc)",
    job_folder.PARTICLES,
    "Subtomograms/*/*",
)
PARTS = Removable("parts", "needed", r"(data|weight)_(merged|half1|half2)\.mrc", job_folder.MERGED)
REMOVABLE = {kind.key: kind for kind in (ITERATIONS, STACKS, PARTS)}


def explain_missing(path: str | Path) -> str:
    """Why a file of results/ is not there and how it is made again, in a sentence; "" if it was not removed here."""
    path = Path(path)
    kind = next((kind for kind in REMOVABLE.values() if re.fullmatch(kind.names, path.name)), None)
    folder = next((one for one in path.parents if kind and kind.key in noted(one)), None)
    if path.exists() or not (kind and folder):
        return ""
    again, instead = _made_by(folder, kind), ""
    if kind is ITERATIONS and again.name != job_folder.FINAL_DATA:
        left = sorted({job_folder.iteration_of(one) for one in present(folder, kind)})
        instead = f", or choose an iteration whose maps are there ({', '.join(map(str, left))})"
    return (
        f"{path} was removed when its round was finished, as the config's cleanup.{kind.key} asks; to have it again: "
        f"stacycle redo {again}{instead}."
    )


def present(folder: Path, kind: Removable) -> list[Path]:
    """The files of a kind that are in a folder, but for symbolic links."""
    name = re.compile(kind.names)
    found = (path for path in folder.glob(kind.within) if name.fullmatch(path.name))
    return sorted(path for path in found if not path.is_symlink())


def noted(folder: Path) -> dict[str, dict[str, Any]]:
    """What was removed from a folder, by kind: numbers of `files` and `bytes`, and whether it is `done`."""
    return read_json(folder / job_folder.REMOVED)


def _made_by(folder: Path, kind: Removable) -> Path:
    """The output by which Snakemake knows the job of a folder."""
    final = folder / kind.made_with
    if kind is not ITERATIONS or final.exists():
        return final
    return max(folder.glob(job_folder.every_iteration("data.star")), default=final)
