"""What the clean-up removed from a folder, as its `removed.json` notes: a missing file can be explained.

Three kinds of files can be removed, none of which a rule declares: maps of superseded iterations, extracted stacks, and
the data and weight maps of averages.
"""

from __future__ import annotations

import re
from pathlib import Path

from stacycle.files import job_folder
from stacycle.files.atomic import read_json

# The names of the files of a kind; the kinds are keys of the config.
NAMES = {
    "iterations": r"run_it(\d{3})_(half[12]_)?class\d{3}(_unfil)?(_angdist)?\.(mrc|bild)",
    "stacks": r"\d+_stack2d\.mrcs",
    "parts": r"(data|weight)_(merged|half1|half2)\.mrc",
}


def explain_missing(path: str | Path) -> str:
    """Why a file of results/ is not there and how it is made again, in a sentence; "" if it was not removed here."""
    path = Path(path)
    kind = next((kind for kind, name in NAMES.items() if re.fullmatch(name, path.name)), "")
    folder = next((one for one in path.parents if kind in noted(one)), None)
    if path.exists() or folder is None:
        return ""
    again, instead = _made_by(folder, kind), ""
    if kind == "iterations" and again.name != job_folder.FINAL_DATA:
        left = sorted({job_folder.iteration_of(one) for one in present(folder, kind)})
        instead = f", or choose an iteration whose maps are there ({', '.join(map(str, left))})"
    return (
        f"{path} was removed when its round was finished, as the config's keep.{kind} asks; to have it again: "
        f"stacycle redo {again}{instead}."
    )


def present(folder: Path, kind: str) -> list[Path]:
    """The files of a kind that are in a folder, but for symbolic links."""
    pattern = "Subtomograms/*/*" if kind == "stacks" else "*"
    name = re.compile(NAMES[kind])
    found = (path for path in folder.glob(pattern) if name.fullmatch(path.name))
    return sorted(path for path in found if not path.is_symlink())


def noted(folder: Path) -> dict[str, dict]:
    """What was removed from a folder, by kind: numbers of `files` and `bytes`, and whether it is `done`."""
    return read_json(folder / job_folder.REMOVED)


def _made_by(folder: Path, kind: str) -> Path:
    """The output by which Snakemake knows the job of a folder."""
    if kind == "stacks":
        return folder / job_folder.PARTICLES
    if kind == "parts":
        return folder / job_folder.MERGED
    final = folder / job_folder.FINAL_DATA
    return (
        final if final.exists() else max(folder.glob(job_folder.every_iteration("data.star")), default=final)
    )
