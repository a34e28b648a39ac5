"""What a program made: linked where Snakemake does not delete it, known by its digest, and put back.

Snakemake deletes the files that a rule declares before it runs the rule's job again. Hard links in `.made/` outlive
that, but share what is written into a file in place; so whatever is put back has to hold what it held at first.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from stacycle.files import content, star
from stacycle.files.image_files import file_of
from stacycle.files.job_folder import HOW_FAR
from stacycle.files.star_labels import SERIES
from stacycle.jobs import record as job_record
from stacycle.programs.program import Program
from stacycle.provenance.identity import cure

LINKS = ".made"
IMAGE = "rlnImageName"
# What a table names that lies in the job's own folder, but for the particles' stacks.
NAMED = (
    *("rlnReferenceImage", SERIES),
    *(f"rlnTomo{kind}File" for kind in ("Particles", "Tomograms", "Trajectories")),
)
KEYS = ("outputs", "beside", "stacks")  # in a job's record


def remember(folder: Path, expected_outputs: Sequence[str | Path], program: Program) -> dict[str, Any]:
    """Link the files that a program made, and describe what it left, for the job's record:

    - `outputs`: name -> size (bytes) and digest of each of `expected_outputs`, and of the tables of earlier iterations;
      none where links do not work;
    - `beside`: name -> digest of the other files in the folder that count: those that tables name, and class maps;
    - `stacks`: digest of the names and sizes of particles' images, which are too many to be read.

    Iterations are those that a decision may choose from; those of an auto-refinement nothing reads, and they are large.
    Their tables are linked, as Snakemake deletes those of the last iteration that is asked for now. Their maps may be
    removed by a cleanup.
    """
    shutil.rmtree(folder / LINKS, ignore_errors=True)
    made: dict[str, dict[str, Any]] = {}
    pattern, asked_for = program.iteration_tables, [Path(path).name for path in expected_outputs]
    has_iterations = pattern is not None and any(
        name == HOW_FAR or pattern.fullmatch(name) for name in asked_for
    )
    tables = _matching(folder, pattern) if has_iterations else []
    for path in dict.fromkeys([*map(Path, expected_outputs), *tables]):
        name = os.path.relpath(path, folder)
        link = folder / LINKS / name
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, link)
        except OSError:
            return {"outputs": {}}
        made[name] = {"size": path.stat().st_size, "digest": content.digest(path)}
    files = [folder / name for name in made]
    others = {name for name in _named(folder, files) if (folder / name).is_file()}
    if has_iterations:
        others |= {path.name for path in _matching(folder, program.iteration_maps)}
    beside = {name: content.digest(folder / name) for name in sorted(others - made.keys())}
    return {"outputs": made, "beside": beside, "stacks": _sizes(folder, files)}


def is_there(
    folder: Path, record: dict[str, Any], expected_outputs: Sequence[str | Path], at: Path | None = None
) -> bool:
    """Whether all of the expected outputs are linked, and what they name is there as well.
    The job's folder is `folder`; its files lie in `at`, if that is another one."""
    at = at or folder
    made = record.get("outputs", {})
    links = {name: at / LINKS / name for name in made}
    return (
        {os.path.relpath(path, folder) for path in expected_outputs} <= made.keys()
        and all(link.is_file() for link in links.values())
        and all((at / name).exists() for name in _named(folder, links.values()) if name not in made)
        and record.get("stacks") in (None, _sizes(folder, links.values(), at))
    )


def altered(folder: Path, record: dict[str, Any], at: Path | None = None) -> list[str]:
    """The files that are not what the program made, though they are there: as they were edited in place.
    They are read whatever their time says, which whoever edits a file can set. Paths are those in `folder`."""
    at = at or folder
    linked = {name: (at / LINKS / name, known["digest"]) for name, known in record.get("outputs", {}).items()}
    beside = {name: (at / name, digest) for name, digest in record.get("beside", {}).items()}
    return [
        str(folder / name)
        for name, (path, digest) in [*linked.items(), *beside.items()]
        if path.is_file() and content.digest(path) != digest
    ]


def replaced(folder: Path, record: dict[str, Any]) -> list[str]:
    """As `altered`, for the files by their own names: what lies there may be another file than the linked one."""
    made = {name: known for name, known in record.get("outputs", {}).items() if (folder / name).is_file()}
    names = [name for name, known in made.items() if content.digest(folder / name) != known["digest"]]
    return sorted({*altered(folder, record), *(str(folder / name) for name in names)})


def altered_outputs(results: str | Path) -> list[tuple[str, str]]:
    """The files of a project's results that are not what a program made: each one's path, and a sentence."""
    found = [
        path
        for folder, record in job_record.of_project(results)
        if record.get("ended_well")
        for path in replaced(folder, record)
    ]
    return [(path, f"{path}: is not what the program made; {cure(path)}") for path in found]


def put_back(folder: Path, record: dict[str, Any], as_new: bool = False) -> None:
    """Put back the files that are linked, if need be `as_new`: as if they had just been made."""
    for name in record.get("outputs", {}):
        path, link = folder / name, folder / LINKS / name
        if link.exists():
            if not (path.exists() and path.samefile(link)):
                path.unlink(missing_ok=True)
                os.link(link, path)
            if as_new:
                os.utime(path)


def _matching(folder: Path, pattern: re.Pattern[str] | None) -> list[Path]:
    """The files of a folder whose name is of a pattern, in order."""
    return sorted(path for path in folder.iterdir() if pattern and pattern.fullmatch(path.name))


def _named(folder: Path, tables: Collection[Path]) -> set[str]:
    """The files in the job's folder, by their names there, that its STAR files name: maps, tilt series, tables."""
    return {name for label in NAMED for name in _inside(folder, tables, label)}


def _sizes(folder: Path, tables: Collection[Path], at: Path | None = None) -> str | None:
    """Digest of the names and sizes of the stacks that the tables name in the job's folder; None if there are none."""
    total, names = hashlib.sha256(), sorted(_inside(folder, tables, IMAGE))
    for name in names:
        try:
            size = os.stat((at or folder) / name).st_size
        except OSError:
            size = -1
        total.update(f"{name} {size}\n".encode())
    return total.hexdigest() if names else None


def _inside(folder: Path, tables: Collection[Path], label: str) -> set[str]:
    within = os.path.normpath(folder) + os.sep
    paths = {
        os.path.normpath(file_of(value))
        for table in tables
        if table.suffix == ".star"
        for value in star.column(table, label)
    }
    return {path.removeprefix(within) for path in paths if path.startswith(within)}
