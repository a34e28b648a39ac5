"""Disk: what a run will write, step by step, against what is free; on the safe side where that is not known: no
selection leaves a particle out, and 3D refinement takes as many iterations as it seldom needs."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from stacycle.files.removed import REMOVABLE
from stacycle.recipe import auto
from stacycle.recipe.rounds import Recipe
from stacycle.recipe.step_settings import kind_of
from stacycle.steps.registry import OUTSIDE, all_steps
from stacycle.steps.sizes import Need, Numbers, Sizes

# The keys of the config's `cleanup`, each with the value that frees the most.
LEAST = {kind.key: kind.least for kind in REMOVABLE.values()}


def needed(recipe: Recipe, config: Mapping[str, Any], numbers: Numbers) -> list[Need]:
    """What the steps of a run write under results/, in the order of work. UserError if a box cannot be worked out."""
    steps = all_steps()
    needs = [
        need for name in ("inputs", *OUTSIDE) for need in steps[name].space(Sizes("inputs", numbers), {})
    ]
    last = list(recipe.rounds)[-1]
    half_sets = False
    for name, step in recipe:
        binning, box = (recipe.rounds[name][key] for key in ("binning", "box"))
        box = auto.box(box, config["particle"]["diameter"], numbers.series_pixel * binning)
        image = recipe.settings(name, "extract").get("crop") or box
        size = Sizes(f"{name}/{step}", numbers, binning, image, half_sets, name == last)
        needs += steps[kind_of(step)].space(size, recipe.settings(name, step))
        half_sets = half_sets or steps[kind_of(step)].half_sets
    return needs


def peak(needs: Sequence[Need], settings: Mapping[str, str] | None = None) -> int:
    """The most bytes on disk at any time: what `cleanup` frees of a round is removed once the round is finished and the
    next has extracted its images."""
    highest = current = 0
    rounds = _rounds(needs)
    for before, name in zip(["", *rounds], rounds, strict=False):
        current += sum(need.bytes for need in needs if need.step == f"{name}/extract")
        highest = max(highest, current)
        of_before = [need for need in needs if need.round == before]
        current -= sum(need.bytes for need in of_before if frees(settings, need.freed_by))
        current += sum(need.bytes for need in needs if need.round == name and need.step != f"{name}/extract")
        highest = max(highest, current)
    return highest


def frees(settings: Mapping[str, str] | None, key: str) -> bool:
    """Whether the config's `cleanup` has the files of one of its keys removed."""
    return (settings or {}).get(key, "all") != "all"


def free(folder: str | Path) -> tuple[int, float]:
    """The free bytes and inodes for a user where `folder` is or will be; inf inodes if there is no limit of them. A
    quota is not seen unless the file system reports it as its size."""
    folder = Path(folder).absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize, float(found.f_favail) if found.f_files else math.inf


def used(folder: str | Path) -> tuple[int, int]:
    """The bytes on disk and the number of the files under a folder; hard links count once."""
    total, seen = 0, set()
    for path, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(path, name))
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return total, len(seen)


def size(count: float) -> str:
    """Bytes for people: 1530000 -> 1.5 MB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.5 else f"{count:.1f} {unit}"


def table(needs: Sequence[Need], settings: Mapping[str, str] | None = None) -> str:
    """What each round writes, what of it `cleanup` could free later, the total and the peak, for a terminal."""
    rows = {name: [need for need in needs if need.round == name] for name in _rounds(needs)}
    lines = [[name, *_summed(group)] for name, group in [*rows.items(), ("together", needs)]]
    most, least = peak(needs, settings), peak(needs, LEAST)
    summary = f"At most {size(most)} at a time"
    if least < most:
        keys = ", ".join(f"{key}: {value}" for key, value in LEAST.items())
        summary += f"; {size(least)} with cleanup: {{{keys}}}"
    return f"{aligned([['', 'files', 'space', *LEAST], *lines])}\n{summary}."


def aligned(rows: Sequence[Sequence[str]], to_the_left: Collection[int] = ()) -> str:
    """Rows of cells as text, all columns but those `to_the_left` ending in one line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = enumerate(zip(row, widths, strict=True))
        shown = [cell.ljust(size) if n in to_the_left else cell.rjust(size) for n, (cell, size) in cells]
        lines.append("  ".join(shown).rstrip())
    return "\n".join(lines)


def _rounds(needs: Sequence[Need]) -> list[str]:
    return list(dict.fromkeys(need.round for need in needs))


def _summed(needs: Sequence[Need]) -> list[str]:
    freed = [sum(need.bytes for need in needs if need.freed_by == key) for key in LEAST]
    return [f"{sum(need.files for need in needs):,}", *map(size, [sum(need.bytes for need in needs), *freed])]
