"""Tidying: what a finished round no longer needs is removed, as far as the config's `cleanup` allows it.

Three kinds of files can go, none of which a rule declares: maps of superseded iterations, extracted stacks, and the
data and weight maps of averages. Tables stay, so that the report, the decisions and their overrides go on working;
so do each run's maps of its last complete iteration, from which it can be continued, and of those that a decision
took or would take. What goes from a folder is noted there first, in `removed.json`: a missing file can be explained.

Whoever only asks for names does not wait for pandas: what reads tables is imported where it is needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files.atomic import write_json
from stacycle.jobs import history
from stacycle.preflight import disk
from stacycle.recipe.rounds import Recipe, variants

NOTE = "removed.json"
# What is there, by its key in `cleanup`: the files' names, and the folders of a round that hold them.
_NAMES = {
    "iterations": r"run_it(\d{3})_(half[12]_)?class\d{3}(_unfil)?(_angdist)?\.(mrc|bild)",
    "stacks": r"\d+_stack2d\.mrcs",
    "parts": r"(data|weight)_(merged|half1|half2)\.mrc",
}
_FOLDERS = {
    "iterations": ("align/*", "class3d/*", "refine3d*"),
    "stacks": ("extract*",),
    "parts": ("reconstruct*", "cycle*/reference*", "cycle*/*/*/reconstruct*"),
}
# What each step leaves when it has ended.
_LAST = {
    "extract": "extract/particles.star",
    "reconstruct": "reconstruct/merged.mrc",
    "align": "align/decision.json",
    "class3d": "class3d/decision.json",
    "select": "select/decision.json",
    "mask": "mask/decision.json",
    "refine3d": "refine3d/run_data.star",
    "postprocess": "postprocess/postprocess.star",
}


@dataclass(frozen=True)
class Removal:
    """Files of one kind, a key of `cleanup`, that can go from a folder, and what that frees in bytes."""

    folder: Path
    kind: str
    files: tuple[Path, ...]
    bytes: int

    def __str__(self) -> str:
        return f"{self.folder}: {len(self.files):,} files of {self.kind}, {disk.size(self.bytes)}"


def targets(recipe: Recipe, keep: Mapping[str, str]) -> list[str]:
    """What the rounds leave when they have been tidied; nothing if `cleanup` keeps everything."""
    freed = any(disk.frees(keep, f"cleanup.{kind}") for kind in _NAMES)
    return [f"results/{round_}/tidy.json" for round_ in recipe.rounds] if freed else []


def finished(recipe: Recipe, round_: str) -> list[str]:
    """The files that are there when nothing more will be made of a round's stacks and maps.

    They are those that its steps end with, and the particles that the next round has extracted.
    """
    names = list(recipe.rounds)
    following = names[names.index(round_) + 1 :][:1]
    files = [f"{round_}/{_LAST[step]}" for name, step in recipe if name == round_ and step in _LAST]
    if recipe.has(round_, "cycle"):
        files += [f"{round_}/{cycle}/{sweep}/decision.json" for cycle, sweep in recipe.sweeps(round_)]
    return [f"results/{file}" for file in [*files, *(f"{name}/{_LAST['extract']}" for name in following)]]


def plan(recipe: Recipe, keep: Mapping[str, str], round_: str) -> list[Removal]:
    """What can go of a round, folder by folder; nothing is removed. UserError if the round is not finished."""
    missing = [path for path in finished(recipe, round_) if not Path(path).exists()]
    if missing:
        raise UserError(
            f"{missing[0]} is not there: {round_} is not finished, so nothing of it can be removed"
        )
    found = [
        _removal(recipe, round_, folder, kind)
        for kind, patterns in _FOLDERS.items()
        if disk.frees(keep, f"cleanup.{kind}")
        for pattern in patterns
        for folder in sorted(Path("results", round_).glob(pattern))
    ]
    return [one for one in found if one.files]


def remove(removal: Removal) -> None:
    """Note what goes, then let it go. If interrupted, the next `plan` has the rest."""
    note, noted = removal.folder / NOTE, _noted(removal.folder)
    known = noted.get(removal.kind, {"files": 0, "bytes": 0, "done": True})
    if known["done"]:  # else this is the rest of what was noted before
        known = {"files": known["files"] + len(removal.files), "bytes": known["bytes"] + removal.bytes}
    write_json(note, noted | {removal.kind: known | {"done": False}})
    try:
        for path in removal.files:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{error.filename}: cannot be removed ({error.strerror}), as the config's cleanup.{removal.kind} asks",
            "see whose it is, or set that to all",
        ) from None
    write_json(note, noted | {removal.kind: known | {"done": True}})


def removed(round_: str) -> dict[str, dict[str, int]]:
    """What is gone of a round by now: kind -> number of `files`, `bytes`."""
    gone: dict[str, dict[str, int]] = {}
    for note in Path("results", round_).rglob(NOTE):
        for kind, noted in _noted(note.parent).items():
            total = gone.setdefault(kind, {"files": 0, "bytes": 0})
            for key in total:
                total[key] += noted[key]
    return gone


def explain_missing(path: str | Path) -> str:
    """Why a file of results/ is not there and how it is made again, in a sentence; "" if it was not removed here."""
    path = Path(path)
    kind = next((kind for kind, name in _NAMES.items() if re.fullmatch(name, path.name)), "")
    folder = next((one for one in path.parents if kind in _noted(one)), None)
    if path.exists() or folder is None:
        return ""
    again, instead = _made_by(folder, kind), ""
    if kind == "iterations" and again.name != "run_data.star":
        left = sorted({int(one.name[6:9]) for one in _there(folder, kind)})
        instead = f", or choose an iteration whose maps are there ({', '.join(map(str, left))})"
    return (
        f"{path} was removed when its round was finished, as the config's cleanup.{kind} asks; to have it again: "
        f"stacycle redo {again}{instead}."
    )


def _removal(recipe: Recipe, round_: str, folder: Path, kind: str) -> Removal:
    aside = history.is_aside(folder)
    files = _there(folder, kind)
    if kind == "stacks" and not aside and round_ == list(recipe.rounds)[-1]:
        files = []
    if kind == "iterations" and files:
        going = _superseded(recipe, round_, folder, aside)
        files = [path for path in files if int(path.name[6:9]) in going]
    sizes = {path: status for path in files if (status := path.lstat()).st_nlink == 1}
    return Removal(folder, kind, tuple(sizes), sum(status.st_blocks * 512 for status in sizes.values()))


def _there(folder: Path, kind: str) -> list[Path]:
    """The files of a kind in a folder, but for symbolic links."""
    pattern = "Subtomograms/*/*" if kind == "stacks" else "*"
    name = re.compile(_NAMES[kind])
    found = (path for path in folder.glob(pattern) if name.fullmatch(path.name))
    return sorted(path for path in found if not path.is_symlink())


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

    choice = read_decision(folder.parent / "decision.json").choice
    run = relion_output.iterations(folder, maps=False)
    if step == "align":
        by_rule = align_iteration(run)
    else:
        by_rule = class3d_iteration(
            run, unlike_last=relion_output.unlike_last(folder, [one.number for one in run if one.number > 1])
        )
    return {by_rule.choice["iteration"], choice["iteration"], by_config}


def _noted(folder: Path) -> dict[str, dict]:
    note = folder / NOTE
    return json.loads(note.read_text()) if note.exists() else {}


def _made_by(folder: Path, kind: str) -> Path:
    """The output by which Snakemake knows the job of a folder."""
    if kind != "iterations":
        return folder / {"stacks": "particles.star", "parts": "merged.mrc"}[kind]
    final = folder / "run_data.star"
    return final if final.exists() else max(folder.glob("run_it*_data.star"), default=final)
