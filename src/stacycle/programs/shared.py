"""What the modules of RELION's programs share: how an argument list is put together, checks, and how they continue.

Builders of argument lists take keywords named as in `config/config.yaml`, with what is `auto` there worked out
(`stacycle.recipe`). File names are relative to the project folder, where RELION must be started.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stacycle.checks import maps
from stacycle.checks.complete import is_complete
from stacycle.files.job_folder import OPTIMISATION_SET
from stacycle.programs.command import Command
from stacycle.programs.program import Continuation, Program, StateFlags
from stacycle.programs.task import Task
from stacycle.recipe import auto
from stacycle.recipe.geometry import number

Part = list[Any] | bool  # of a command line: words, or False
_UNFINISHED = "--only_do_unfinished"


def line(*parts: Part) -> list[str]:
    """Join the parts; one that is false, or a flag whose value is None, is left out."""
    kept = [part for part in parts if isinstance(part, list) and part and part[-1] is not None]
    return [number(item) if isinstance(item, float) else str(item) for part in kept for item in part]


def folder_name(path: str) -> str:
    """A folder as RELION's --o takes it, with a slash at its end."""
    return path.rstrip("/") + "/"


def compared_with(
    *, state: str, half_maps: Sequence[str], mask: str, postprocess: str, out: str, box: int
) -> list[Any]:
    """What CTF refinement and polishing compare the particles with; `box` (px) is that for estimation."""
    references = ["--ref1", half_maps[0], "--ref2", half_maps[1], "--mask", mask, "--fsc", postprocess]
    return ["--i", state, *references, "--theme", "classic", "--o", folder_name(out), "--b", box]


def check_half_maps(task: Task) -> None:
    """Both half maps, and the mask that fits them."""
    maps.check_half_maps(*task.half_maps, task.command.get("--mask"))


def check_references(task: Task) -> None:
    """The half maps, mask and FSC that tilt series are compared with, and the box for it."""
    check_half_maps(task)
    first, _ = task.half_maps
    maps.check_unbinned(first, task.files)
    maps.check_fsc(task.get("--fsc"), first)
    if box := task.command.get("--b"):
        auto.estimation_box(int(box), first, "--b")


def go_on_unfinished(command: Command, folder: Path, engine: str) -> Continuation:
    """Continue with the tomograms that are not done; what a cut-off run left of others is removed."""
    argv = [*command.argv, _UNFINISHED]
    return Continuation(argv, start="unfinished tomograms", remove=cut_off(command, folder))


def cut_off(command: Command, folder: Path) -> list[Path]:
    """The files by which a tomography program would take a tomogram for done that is not."""
    marker = command.record.completion_marker
    assert marker is not None
    beside = [other for other, flag in marker.beside.items() if not flag or flag in command.flags]
    before, after = Path(marker.file).name.split("*")
    found = set()
    for path in folder.glob(marker.file):
        name = path.name.removeprefix(before).removesuffix(after)
        files = [path, *(folder / other.replace("*", name) for other in beside)]
        if not all(map(is_complete, files)):
            found |= {path for path in files if path.exists()}
    for other in beside:
        found |= {path for path in folder.glob(other) if not is_complete(path)}
    return sorted(found)


# What the tomography programs have in common: a state in, a state out, and how they go on.
TOMOGRAPHY = Program(
    "",
    state_flags=StateFlags("--i", "--p", "--t", "--mot"),
    optimisation_set=lambda _, folder: folder / OPTIMISATION_SET,
    ignored_flags=frozenset({"--theme", _UNFINISHED}),
    continue_flag=_UNFINISHED,
    go_on=go_on_unfinished,
)
