"""What a program made: linked where Snakemake does not delete it, known by its digest, and put back.

Snakemake deletes the files that a rule declares before it runs the rule's job again. Hard links in `.made/` outlive
that, but share what is written into a file in place; so whatever is put back has to hold what it held at first.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stacycle.files import content, star
from stacycle.files.star_labels import SERIES

LINKS = ".made"
IMAGE = "rlnImageName"
# What a table names that lies in the job's own folder, but for the particles' stacks.
NAMED = (
    *("rlnReferenceImage", SERIES),
    *(f"rlnTomo{kind}File" for kind in ("Particles", "Tomograms", "Trajectories")),
)
# The iterations that a decision may choose from. Those of an auto-refinement nothing reads: they are large, too.
# Their tables are linked, as Snakemake deletes those of the last iteration that is asked for now. Maps may be removed.
TABLES = re.compile(r"run_it\d{3,}_\w+\.star")
MAPS = re.compile(r"run_it\d{3,}_class\d{3}\.mrc")


def remember(folder: Path, makes: Sequence[str | Path]) -> dict[str, Any]:
    """Link the files that a program made, and describe what it left, for the job's record:

    - `made`: name -> size (bytes) and digest of each of `makes`, and of the tables of earlier iterations; none where
      links do not work;
    - `beside`: name -> digest of the other files in the folder that count: those that tables name, and class maps;
    - `stacks`: digest of the names and sizes of particles' images, which are too many to be read.
    """
    shutil.rmtree(folder / LINKS, ignore_errors=True)
    made: dict[str, dict[str, Any]] = {}
    for path in dict.fromkeys([*map(Path, makes), *_iterations(folder, makes, TABLES)]):
        name = os.path.relpath(path, folder)
        link = folder / LINKS / name
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, link)
        except OSError:
            return {"made": {}}
        made[name] = {"size": path.stat().st_size, "digest": content.digest(path)}
    tables = [folder / name for name in made]
    others = {name for name in _named(folder, tables) if (folder / name).is_file()}
    others |= {path.name for path in _iterations(folder, makes, MAPS)}
    beside = {name: content.digest(folder / name) for name in sorted(others - made.keys())}
    return {"made": made, "beside": beside, "stacks": _sizes(folder, tables)}


def is_there(
    folder: Path, record: dict[str, Any], makes: Sequence[str | Path], at: Path | None = None
) -> bool:
    """Whether all of `makes` are linked, and what they name is there as well.

    The job's folder is `folder`; its files lie in `at`, if that is another one.
    """
    at = at or folder
    made = record.get("made", {})
    links = {name: at / LINKS / name for name in made}
    return (
        {os.path.relpath(path, folder) for path in makes} <= made.keys()
        and all(link.is_file() for link in links.values())
        and all((at / name).exists() for name in _named(folder, links.values()) if name not in made)
        and record.get("stacks") in (None, _sizes(folder, links.values(), at))
    )


def altered(folder: Path, record: dict[str, Any], at: Path | None = None) -> list[str]:
    """The files that are not what the program made, though they are there: as they were edited in place.

    They are read whatever their time says, which whoever edits a file can set. Paths are those in `folder`.
    """
    at = at or folder
    found = [
        name
        for name, known in record.get("made", {}).items()
        if (link := at / LINKS / name).is_file() and not _is(link, known)
    ]
    found += [
        name
        for name, digest in record.get("beside", {}).items()
        if (at / name).is_file() and content.digest(at / name) != digest
    ]
    return [str(folder / name) for name in found]


def replaced(folder: Path, record: dict[str, Any]) -> list[str]:
    """As `altered`, for the files by their own names: what lies there may be another file than the linked one."""
    made = {name: known for name, known in record.get("made", {}).items() if (folder / name).is_file()}
    names = [name for name, known in made.items() if not _is(folder / name, known)]
    return sorted({*altered(folder, record), *(str(folder / name) for name in names)})


def put_back(folder: Path, record: dict[str, Any], as_new: bool = False) -> None:
    """Put back the files that are linked, if need be `as_new`: as if they had just been made."""
    for name in record.get("made", {}):
        path, link = folder / name, folder / LINKS / name
        if link.exists():
            if not (path.exists() and path.samefile(link)):
                path.unlink(missing_ok=True)
                os.link(link, path)
            if as_new:
                os.utime(path)


def _iterations(folder: Path, makes: Sequence[str | Path], kind: re.Pattern) -> list[Path]:
    """The files of a kind of the iterations of a run that ends with one, in order."""
    if not any(TABLES.fullmatch(Path(path).name) for path in makes):
        return []
    return sorted(path for path in folder.glob("run_it*") if kind.fullmatch(path.name))


def _is(path: Path, known: int | dict[str, Any]) -> bool:
    """Whether a file is what was recorded of it; earlier versions recorded its size alone."""
    if isinstance(known, int):
        return path.stat().st_size == known
    return content.digest(path) == known["digest"]


def _named(folder: Path, tables: Iterator[Path] | Sequence[Path] | Any) -> set[str]:
    """The files in the job's folder, by their names there, that its STAR files name: maps, tilt series, tables."""
    return {name for label in NAMED for name in _inside(folder, tables, label)}


def _sizes(folder: Path, tables: Any, at: Path | None = None) -> str | None:
    """Digest of the names and sizes of the stacks that the tables name in the job's folder; None if there are none."""
    total, any_there = hashlib.sha256(), False
    for name in sorted(_inside(folder, tables, IMAGE)):
        any_there = True
        try:
            size = os.stat((at or folder) / name).st_size
        except OSError:
            size = -1
        total.update(f"{name} {size}\n".encode())
    return total.hexdigest() if any_there else None


def _inside(folder: Path, tables: Any, label: str) -> set[str]:
    within = os.path.normpath(folder) + os.sep
    paths = {
        os.path.normpath(value.rpartition("@")[2])
        for table in tables
        if table.suffix == ".star"
        for value in star.column(table, label)
    }
    return {path.removeprefix(within) for path in paths if path.startswith(within)}
