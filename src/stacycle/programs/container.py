"""RELION in an Apptainer image (`engine.container`): how a program starts inside, and the folders that it sees there.

Of the machine's files a container shows only folders that are bound to it: unless the site's settings say more, the
home folder, /tmp and the folder that it is started in.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.image_files import file_of
from stacycle.files.optimisation_set import KINDS
from stacycle.files.star_labels import SERIES
from stacycle.programs.command import Command

RUNTIMES = ("apptainer", "singularity")
_MPIRUN = {"mpirun", "mpiexec", "orterun"}
_OF_THE_IMAGE = {"usr", "opt", "var", "etc"}


def command(
    engine: Mapping[str, Any], argv: Sequence[str], launcher: Sequence[str] = (), folders: Iterable[str] = ()
) -> list[str]:
    """`argv` as it runs in the image, where `folders` are bound besides the project folder.

    mpirun runs inside and is thus of the program's own MPI, for one node; any other launcher starts a container per
    rank. Apptainer hands on the environment (CUDA_VISIBLE_DEVICES), signals, exit status and open files (locks).
    UserError if there is no Apptainer, no image, or a folder that cannot be bound.
    """
    runtime = next(filter(None, map(shutil.which, RUNTIMES)), None)
    if runtime is None:
        raise UserError(
            "apptainer was not found on the PATH, but engine.container needs it (or singularity)",
            "install it, or load its module before Snakemake is started",
        )
    image = image_file(engine)
    if not image.exists():
        cure = "correct the path, or make the image (`apptainer pull`)"
        raise UserError(f"engine.container: there is no {image}", cure)
    binds = [f"--bind={folder}" for folder in _outermost([os.getcwd(), *folders])]
    nvidia = ["--nv"] * ("--gpu" in argv)
    more = engine.get("container_args") or []
    start = [runtime, "exec", *nvidia, *binds, f"--pwd={os.getcwd()}", *more, str(image)]
    return [*start, *launcher, *argv] if is_mpirun(launcher) else [*launcher, *start, *argv]


def is_mpirun(launcher: Sequence[str]) -> bool:
    """Whether a launcher is mpirun, which starts ranks by itself, and not through a batch system."""
    return any(Path(word).name in _MPIRUN for word in launcher)


def image_file(engine: Mapping[str, Any]) -> Path:
    """The image: a file, or the folder of an image that was unpacked."""
    return Path(engine["container"]).expanduser().absolute()


def folders_of(argv: Sequence[str]) -> set[str]:
    """The folders that a command line of RELION's needs: of the files that it and its STAR files name, and TMPDIR.

    Symbolic links on the way are followed. Of a file system of its own, all is needed: 1,000 tilt series may be in as
    many folders.
    """
    return {_file_system(folder) for folder in set(_needed(Command.of(argv)))}


def _needed(command: Command) -> Iterator[str]:
    state = command.state()
    named = [os.environ.get("TMPDIR", ""), *(getattr(state, kind) or "" for kind in KINDS)]
    for path in (*named, *(value for values in command.flags.values() for value in values)):
        yield from _on_the_way(os.path.abspath(path))
    for series in star.column(state.tomograms, SERIES) if state.tomograms else []:
        images = {file_of(image) for image in star.column(series, "rlnMicrographName")}
        for path in (series, *images):  # tens of thousands, in few folders
            yield from _on_the_way(os.path.dirname(os.path.abspath(path)))
            if os.path.islink(path):
                target = os.path.join(os.path.realpath(os.path.dirname(path)), os.readlink(path))
                yield from _on_the_way(os.path.abspath(target))


@cache
def _on_the_way(path: str) -> tuple[str, ...]:
    """The folder of a path, as far as it is there, and of each symbolic link on the way to it."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    for part in (*reversed(Path(path).parents), Path(path)):
        if part.is_symlink():
            parent = str(part.parent)
            target = os.path.join(parent, os.readlink(part), os.path.relpath(path, part))
            rest = _on_the_way(os.path.abspath(target))
            return (folder if _hides_the_image(parent) else parent, *rest)
    return (folder,)


def _file_system(folder: str) -> str:
    """Where the file system of a folder begins, if that may be bound; else the folder."""
    start = folder
    while not os.path.ismount(start):
        start = os.path.dirname(start)
    return folder if _hides_the_image(start) else start


def _hides_the_image(folder: str) -> bool:
    """Whether the programs of the image may be in there."""
    return folder.split("/")[1] in {"", *_OF_THE_IMAGE}


def _outermost(folders: Iterable[str]) -> list[str]:
    """The folders that are in none of the others. UserError for a name that `--bind` would take apart."""
    found: list[str] = []
    for folder in sorted(set(folders) - {"/"}):
        if re.search(r"[,:\\]|\s$", folder):
            raise UserError(
                f"engine.container: {folder!r} cannot be bound to a container, because of a , : or \\ in its name",
                "rename the folder",
            )
        if not any(folder.startswith(f"{outer}/") for outer in found):
            found.append(folder)
    return found
