"""The folders of RELION's project: one for each job, of links to what lies in the results' folder, under a number that
it keeps; and links that let the paths in STAR files begin there as they do in the project's folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stacycle.files.earlier_results import is_aside
from stacycle.relion_project.found import ABORTED, FAILED, SUCCEEDED, Job
from stacycle.relion_project.kinds import KINDS

FOLDER = "relion"  # in results/
JOB_STAR, NOTE, JOB_PIPELINE = "job.star", "note.txt", "job_pipeline.star"
MARKERS = {
    SUCCEEDED: "RELION_JOB_EXIT_SUCCESS",
    FAILED: "RELION_JOB_EXIT_FAILURE",
    ABORTED: "RELION_JOB_EXIT_ABORTED",
}
_OF = ".results"  # in a job's folder: of which folder in results/ it is
_WRITTEN = {JOB_STAR, NOTE, JOB_PIPELINE, _OF, *MARKERS.values()}
_JOB = re.compile(r"job(\d{3,})")
_OWN = re.compile(r"^\.|\.(json|cxc)$|_shares$")


@dataclass(frozen=True)
class Names:
    """What RELION calls the jobs: `TYPE/jobNNN/` by folder, and their aliases; `new` are those that had none yet."""

    of_folder: Mapping[str, str]
    alias: Mapping[str, str]
    new: frozenset[str]

    def file(self, path: str) -> str:
        """A file's name in RELION's project; as it is if no job left it."""
        for parent in Path(path).parents:
            if name := self.of_folder.get(str(parent)):
                return name + Path(path).relative_to(parent).as_posix()
        return path

    def process(self, path: str) -> str:
        """The job that left a file; "" if none did."""
        return next((name for one in Path(path).parents if (name := self.of_folder.get(str(one)))), "")


def link_project(results: Path, folder: Path) -> None:
    """Link what lies in the project's folder and in results/, so that paths may begin here; of folders that RELION
    keeps jobs in, each entry by itself."""
    types = {kind.folder for kind in KINDS}
    here = Path.cwd().resolve()
    is_within = results.resolve().parent == here  # results/ may be a link to another disk
    for entry in _entries(Path()):
        if entry.name in types and entry.is_dir():
            for below in _entries(entry):
                _link(folder / entry.name / below.name, (Path("../../..") if is_within else here) / below)
        elif entry.resolve() != results.resolve() and not entry.name.endswith("_pipeline.star"):
            _link(folder / entry.name, (Path("../..") if is_within else here) / entry)
    for entry in _entries(results):
        if entry.name != FOLDER:
            _link(folder / results.name / entry.name, Path("../..") / entry.name)


def name_jobs(jobs: Sequence[Job], folder: Path, least: int) -> Names:
    """A folder and an alias for each job; those of jobs that are gone go. A new one gets the next number, `least` at
    least."""
    there = {(_inside(job.folder), job.kind.folder): job.folder for job in jobs}
    names: dict[str, str] = {}
    highest = least - 1
    for path in _in_types(folder):
        if not (match := _JOB.fullmatch(path.name)):
            continue
        highest = max(highest, int(match[1]))
        if not (of := _of(path)):
            continue
        if owner := there.get((of, path.parent.name)):
            names[owner] = f"{path.parent.name}/{path.name}/"
        else:
            _remove(path)
    new = frozenset(job.folder for job in jobs if job.folder not in names)
    for job in jobs:
        if job.folder in new:
            highest += 1
            names[job.folder] = f"{job.kind.folder}/job{highest:03d}/"
            made = folder / names[job.folder]
            made.mkdir(parents=True)
            (made / _OF).write_text(_inside(job.folder))
    aliases = {job.folder: f"{job.kind.folder}/{alias_of(job.folder)}/" for job in jobs}
    for owner, alias in aliases.items():
        path, target = folder / alias.rstrip("/"), Path(names[owner]).name
        if path.is_symlink() and os.readlink(path) != target:
            path.unlink()
        _link(path, Path(target))
    _remove_aliases(folder)
    return Names(names, aliases, new)


def alias_of(folder: str) -> str:
    """The alias of a job: `bin4_class3d_T1_K2` of results/bin4/class3d/T1_K2."""
    alias = _inside(folder).replace("/", "_")
    return f"sta_{alias}" if alias.startswith("job") else alias  # as RELION asks of an alias


def fill(source: Path, folder: Path) -> None:
    """Link what lies in a job's folder of the results, but for stacycle's own records, which would be found twice.
    Links to what is gone go."""
    up = Path("../../..") / _inside(str(source))
    names = {
        entry.name for entry in os.scandir(source) if not _OWN.search(entry.name) and not is_aside(entry.name)
    }
    there = {entry.name: entry.is_symlink() for entry in os.scandir(folder)}
    for name in sorted(names - there.keys()):
        (folder / name).symlink_to(up / name)
    for name, is_link in there.items():
        if is_link and name not in names:
            (folder / name).unlink()


def is_of_gui(folder: Path) -> bool:
    """Whether a job's folder is one that somebody ran in RELION's GUI here."""
    return folder.is_dir() and not folder.is_symlink() and not (folder / _OF).is_file()


def _inside(folder: str) -> str:
    """A folder from results/: `bin4/refine3d`."""
    return Path(*Path(folder).parts[1:]).as_posix()


def _of(folder: Path) -> str:
    """The folder in results/ that a job's folder is of; "" if it is the user's own."""
    try:
        return "" if folder.is_symlink() else (folder / _OF).read_text()
    except OSError:
        return ""


def _remove(folder: Path) -> None:
    """Remove a job's folder, but for what somebody put there."""
    for path in folder.iterdir():
        if path.is_symlink() or path.name in _WRITTEN:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _remove_aliases(folder: Path) -> None:
    """Remove aliases of jobs that are gone."""
    for path in _in_types(folder):
        if path.is_symlink() and _JOB.fullmatch(os.readlink(path)) and not path.exists():
            path.unlink()


def _in_types(folder: Path) -> list[Path]:
    """What lies in the folders of RELION's kinds of jobs: never in those of the user, which are links."""
    types = [folder / name for name in dict.fromkeys(kind.folder for kind in KINDS)]
    return [path for one in types if one.is_dir() and not one.is_symlink() for path in sorted(one.iterdir())]


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _link(path: Path, target: Path) -> None:
    """A symbolic link, unless something is there already."""
    if not os.path.lexists(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
