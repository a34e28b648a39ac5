"""Cleanup: remove what a finished round no longer needs, as far as the config's `cleanup` asks for it.

What can go are the kinds of `files.removed`. Tables stay, so that the report, the decisions and their overrides still
work; so do each run's maps of its last complete iteration, from which it can be continued, and of those that a
decision took or would take. Names alone do not need pandas: what reads tables is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files import job_folder
from stacycle.files.atomic import write_json
from stacycle.files.earlier_results import is_aside
from stacycle.files.removed import ITERATIONS, REMOVABLE, STACKS, Removable, noted, present
from stacycle.preflight import disk
from stacycle.recipe.rounds import Recipe
from stacycle.recipe.step_settings import kind_of
from stacycle.recipe.variants import variants
from stacycle.steps.registry import all_steps


@dataclass(frozen=True)
class Removal:
    """Files of one kind that can go from a folder, and what that frees in bytes."""

    folder: Path
    kind: Removable
    files: tuple[Path, ...]
    bytes: int

    def __str__(self) -> str:
        return f"{self.folder}: {len(self.files):,} files of {self.kind.key}, {disk.size(self.bytes)}"


def targets(recipe: Recipe, settings: Mapping[str, str]) -> list[str]:
    """The records of cleaned-up rounds; none if `cleanup` keeps everything."""
    freed = any(disk.frees(settings, kind) for kind in REMOVABLE)
    return [f"results/{round_}/cleanup.json" for round_ in recipe.rounds] if freed else []


def finished(recipe: Recipe, round_: str) -> list[str]:
    """The files after which nothing more is made of a round's stacks and maps: each step ends with one, and the next
    round has extracted its own particles."""
    names = list(recipe.rounds)
    following = names[names.index(round_) + 1 :][:1]
    last = {name: step.last for name, step in all_steps().items() if step.last}
    steps = [step for step in recipe.rounds[round_]["steps"] if kind_of(step) in last]
    files = [f"{round_}/{step}/{last[kind_of(step)]}" for step in steps]
    compared = [Path(folder) for folder in recipe.poses_compared()]
    files += [f"{round_}/{one.name}/{job_folder.DECISION}" for one in compared if one.parent.name == round_]
    if recipe.has(round_, "cycle"):
        files += [f"{round_}/{cycle}/{sweep}/{job_folder.DECISION}" for cycle, sweep in recipe.sweeps(round_)]
    return [
        f"results/{file}" for file in [*files, *(f"{name}/extract/{last['extract']}" for name in following)]
    ]


def removals(recipe: Recipe, settings: Mapping[str, str], round_: str) -> list[Removal]:
    """What can go of a round, folder by folder; nothing is removed. UserError if the round is not finished."""
    if missing := [path for path in finished(recipe, round_) if not Path(path).exists()]:
        unfinished = f"{round_} is not finished, so nothing of it can be removed"
        raise UserError(f"{missing[0]} is not there: {unfinished}")
    found = [
        _removal(recipe, round_, folder, kind)
        for step in all_steps().values()
        for kind, patterns in step.removable.items()
        if disk.frees(settings, kind.key)
        for pattern in patterns
        for folder in sorted(Path("results", round_).glob(pattern))
    ]
    return [one for one in found if one.files]


def remove(removal: Removal) -> None:
    """Record what is removed, then remove it. If interrupted, the next `removals` have the rest."""
    path, record, key = removal.folder / job_folder.REMOVED, noted(removal.folder), removal.kind.key
    total = record.get(key, {"files": 0, "bytes": 0, "done": True})
    if total["done"]:  # else this is the rest of what was recorded before
        total = {"files": total["files"] + len(removal.files), "bytes": total["bytes"] + removal.bytes}
    write_json(path, record | {key: total | {"done": False}})
    try:
        for file in removal.files:
            file.unlink(missing_ok=True)
    except OSError as error:
        problem = f"cannot be removed ({error.strerror}), as the config's cleanup.{key} asks"
        raise UserError(f"{error.filename}: {problem}", "see whose it is, or set that to all") from None
    write_json(path, record | {key: total | {"done": True}})


def removed(round_: str) -> dict[str, dict[str, int]]:
    """What has been removed of a round by now: kind -> number of `files`, `bytes`."""
    gone: dict[str, dict[str, int]] = {}
    for path in Path("results", round_).rglob(job_folder.REMOVED):
        for kind, recorded in noted(path.parent).items():
            total = gone.setdefault(kind, {"files": 0, "bytes": 0})
            for key in total:
                total[key] += recorded[key]
    return gone


def _removal(recipe: Recipe, round_: str, folder: Path, kind: Removable) -> Removal:
    aside = is_aside(folder)
    stays = kind is STACKS and not aside and round_ == list(recipe.rounds)[-1]
    files = [] if stays else present(folder, kind)
    if kind is ITERATIONS and files:
        going = _superseded(recipe, round_, folder, aside)
        files = [path for path in files if job_folder.iteration_of(path) in going]
    sizes = {path: status for path in files if (status := path.lstat()).st_nlink == 1}
    return Removal(folder, kind, tuple(sizes), sum(status.st_blocks * 512 for status in sizes.values()))


def _superseded(recipe: Recipe, round_: str, folder: Path, aside: bool) -> set[int]:
    """The iterations of a run before its last complete one that no decision took, takes or would take."""
    from stacycle.files import relion_output

    complete = relion_output.iterations(folder)
    earlier = set(range(complete[-1].number)) if complete else set()
    if aside or folder.parent == Path("results", round_):  # the step's only run, which no decision reads
        return earlier
    step = folder.parent.name
    settings = recipe.settings(round_, step) if recipe.has(round_, step) else {"T": []}
    if folder.name not in variants(settings):
        return set()  # the config no longer names this run, but may do so again
    return earlier - _candidates(folder, step, settings["iteration"])


def _candidates(folder: Path, step: str, by_config: int | str) -> set[int | str]:
    """The iterations of a run that the decision took, that its rule takes, and that the config asks for."""
    from stacycle.decisions.decision import read_decision
    from stacycle.decisions.iteration import align_iteration, class3d_iteration
    from stacycle.files import relion_output

    choice = read_decision(folder.parent / job_folder.DECISION).choice
    run = relion_output.iterations(folder, maps=False)
    if step == "align":
        by_rule = align_iteration(run)
    else:
        later = [one.number for one in run if one.number > 1]
        by_rule = class3d_iteration(run, unlike_last=relion_output.unlike_last(folder, later))
    return {by_rule.choice["iteration"], choice["iteration"], by_config}
