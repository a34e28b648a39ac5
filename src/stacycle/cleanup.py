"""The clean-up: what a finished round no longer needs is removed, as far as the config's `keep` allows.

Three kinds of files can go, none of which a rule declares: maps of superseded iterations, extracted stacks, and the
data and weight maps of averages. Tables stay, so that the report, the decisions and their overrides go on working;
so do each run's maps of its last complete iteration, from which it can be continued, and of those that a decision
took or would take. What goes from a folder is noted there first, in `removed.json`: a missing file can be explained.

Whoever only asks for names does not wait for pandas: what reads tables is imported where it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files import job_folder
from stacycle.files.atomic import write_json
from stacycle.files.removed import noted, present
from stacycle.jobs import history
from stacycle.preflight import disk
from stacycle.recipe.rounds import Recipe, variants

# The folders of a round that hold each kind of files, a key of `keep`.
_FOLDERS = {
    "iterations": ("align/*", "class3d/*", "refine3d*"),
    "stacks": ("extract*",),
    "parts": ("reconstruct*", "cycle*/reference*", "cycle*/*/*/reconstruct*"),
}
# What each step leaves when it has ended.
_LAST = {
    "extract": f"extract/{job_folder.PARTICLES}",
    "reconstruct": f"reconstruct/{job_folder.MERGED}",
    "align": f"align/{job_folder.DECISION}",
    "class3d": f"class3d/{job_folder.DECISION}",
    "select": f"select/{job_folder.DECISION}",
    "mask": f"mask/{job_folder.DECISION}",
    "refine3d": f"refine3d/{job_folder.FINAL_DATA}",
    "postprocess": f"postprocess/{job_folder.POSTPROCESS}",
}


@dataclass(frozen=True)
class Removal:
    """Files of one kind, a key of `keep`, that can go from a folder, and what that frees in bytes."""

    folder: Path
    kind: str
    files: tuple[Path, ...]
    bytes: int

    def __str__(self) -> str:
        return f"{self.folder}: {len(self.files):,} files of {self.kind}, {disk.size(self.bytes)}"


def targets(recipe: Recipe, keep: Mapping[str, str]) -> list[str]:
    """The files that the clean-up of each round writes; none if `keep` keeps everything."""
    freed = any(disk.frees(keep, f"keep.{kind}") for kind in _FOLDERS)
    return [f"results/{round_}/tidy.json" for round_ in recipe.rounds] if freed else []


def finished(recipe: Recipe, round_: str) -> list[str]:
    """The files that are there when nothing more will be made of a round's stacks and maps.

    They are those that its steps end with, and the particles that the next round has extracted.
    """
    names = list(recipe.rounds)
    following = names[names.index(round_) + 1 :][:1]
    files = [f"{round_}/{_LAST[step]}" for name, step in recipe if name == round_ and step in _LAST]
    if recipe.has(round_, "cycle"):
        files += [f"{round_}/{cycle}/{sweep}/{job_folder.DECISION}" for cycle, sweep in recipe.sweeps(round_)]
    return [f"results/{file}" for file in [*files, *(f"{name}/{_LAST['extract']}" for name in following)]]


def plan(recipe: Recipe, keep: Mapping[str, str], round_: str) -> list[Removal]:
    """What can go of a round, folder by folder; nothing is removed. UserError if the round is not finished."""
    missing = [path for path in finished(recipe, round_) if not Path(path).exists()]
    if missing:
        raise UserError(
            f"{missing[0]} is not there: {round_} is not finished, so nothing of it can be removed."
        )
    found = [
        _removal(recipe, round_, folder, kind)
        for kind, patterns in _FOLDERS.items()
        if disk.frees(keep, f"keep.{kind}")
        for pattern in patterns
        for folder in sorted(Path("results", round_).glob(pattern))
    ]
    return [one for one in found if one.files]


def remove(removal: Removal) -> None:
    """Note what goes, then let it go. If interrupted, the next `plan` has the rest."""
    note, before = removal.folder / job_folder.REMOVED, noted(removal.folder)
    known = before.get(removal.kind, {"files": 0, "bytes": 0, "done": True})
    if known["done"]:  # else this is the rest of what was noted before
        known = {"files": known["files"] + len(removal.files), "bytes": known["bytes"] + removal.bytes}
    write_json(note, before | {removal.kind: known | {"done": False}})
    try:
        for path in removal.files:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{error.filename}: cannot be removed ({error.strerror}), as the config's keep.{removal.kind} asks; "
            "see whose it is, or set that to all."
        ) from None
    write_json(note, before | {removal.kind: known | {"done": True}})


def removed(round_: str) -> dict[str, dict[str, int]]:
    """What is gone of a round by now: kind -> number of `files`, `bytes`."""
    gone: dict[str, dict[str, int]] = {}
    for note in Path("results", round_).rglob(job_folder.REMOVED):
        for kind, one in noted(note.parent).items():
            total = gone.setdefault(kind, {"files": 0, "bytes": 0})
            for key in total:
                total[key] += one[key]
    return gone


def _removal(recipe: Recipe, round_: str, folder: Path, kind: str) -> Removal:
    aside = history.is_aside(folder)
    files = present(folder, kind)
    if kind == "stacks" and not aside and round_ == list(recipe.rounds)[-1]:
        files = []
    if kind == "iterations" and files:
        going = _superseded(recipe, round_, folder, aside)
        files = [path for path in files if job_folder.iteration_of(path) in going]
    sizes = {path: status for path in files if (status := path.lstat()).st_nlink == 1}
    return Removal(folder, kind, tuple(sizes), sum(status.st_blocks * 512 for status in sizes.values()))


def _superseded(recipe: Recipe, round_: str, folder: Path, aside: bool) -> set[int]:
    """The iterations of a run before its last complete one that no decision took, takes or would take."""
    from stacycle.files import relion_output

    complete = relion_output.iterations(folder)
    earlier = set(range(complete[-1].number)) if complete else set()
    if aside or folder.name == "refine3d":
        return earlier
    step = folder.parent.name
    settings = recipe.settings(round_, step) if recipe.has(round_, step) else {"T": []}
    if folder.name not in variants(settings):
        return set()  # the config no longer names this run, but may do so again
    return earlier - _candidates(folder, step, settings["iteration"])


def _candidates(folder: Path, step: str, by_config: int | str) -> set[int | str]:
    """The iterations of a run that the decision took, that its rule takes, and that the config asks for."""
    from stacycle.decisions import align_iteration, class3d_iteration, read_decision
    from stacycle.files import relion_output

    choice = read_decision(folder.parent / job_folder.DECISION).choice
    run = relion_output.iterations(folder, maps=False)
    if step == "align":
        by_rule = align_iteration(run)
    else:
        by_rule = class3d_iteration(
            run, unlike_last=relion_output.unlike_last(folder, [one.number for one in run if one.number > 1])
        )
    return {by_rule.choice["iteration"], choice["iteration"], by_config}
