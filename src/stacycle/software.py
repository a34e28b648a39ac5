"""Where the programs are: RELION 5 on the PATH or in a folder, or the embedded engine under its names."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stacycle import __version__
from stacycle.errors import UserError

PROGRAMS = (
    "relion_refine",
    "relion_tomo_subtomo",
    "relion_tomo_reconstruct_particle",
    "relion_refine_mpi",
    "relion_mask_create",
    "relion_postprocess",
    "relion_tomo_refine_ctf",
    "relion_tomo_align",
)
OLDEST = 5  # the first RELION with 2D stacks of tilt images and optimisation sets as they are used here
_WAYS = (
    "load RELION 5 (for example `module load relion`), set engine.bin to the folder of its programs, "
    "or set engine.kind to embedded (small data, nothing to install)"
)


def resolve(engine: Mapping[str, Any], argv: Sequence[str]) -> list[str]:
    """The command that really runs for one of RELION's, by the config's section `engine`.

    RELION's program is looked up in `engine.bin` or on the PATH, behind an MPI launcher if there is one;
    the embedded engine takes the same name and flags, as one process. UserError if it is not found.
    """
    at = next(i for i, word in enumerate(argv) if word.startswith("relion_"))
    if engine["kind"] == "embedded":
        return [sys.executable, "-m", "staengine", *argv[at:]]
    path = _find(engine, argv[at])
    if path is None:
        raise UserError(f"{argv[at]} was not found {_place(engine)}; {_WAYS}.")
    return [*argv[:at], path, *argv[at + 1 :]]


def check(engine: Mapping[str, Any], programs: Sequence[str] = PROGRAMS) -> str:
    """Name and version of the software, once it is known to be all there and recent enough; else UserError.

    Finding `relion_refine` proves nothing: Debian's and Ubuntu's RELION 3.1.3 has it too.
    """
    if engine["kind"] == "embedded":
        return f"embedded engine {__version__}"
    found = {program: path for program in programs if (path := _find(engine, program))}
    if not found:
        raise UserError(f"RELION was not found {_place(engine)}; {_WAYS}.")
    path = next(iter(found.values()))
    version = _version(path)
    if int(version.split(".")[0]) < OLDEST:
        raise UserError(f"RELION {version} was found ({path}), but RELION {OLDEST} is needed; {_WAYS}.")
    missing = [program for program in programs if program not in found]
    if missing:
        lacks = f"but {_place(engine)} not its {', '.join(missing)}"
        raise UserError(f"RELION {version} was found ({path}), {lacks}; {_WAYS}.")
    return f"RELION {version}"


def _find(engine: Mapping[str, Any], program: str) -> str | None:
    folder = engine.get("bin")
    return shutil.which(program, path=str(Path(folder).expanduser()) if folder else None)


def _place(engine: Mapping[str, Any]) -> str:
    return f"in engine.bin, {engine['bin']}" if engine.get("bin") else "on the PATH"


def _version(path: str) -> str:
    """`5.0.1-commit-73f0a3`, as the program tells it."""
    try:
        run = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False)
        said = run.stdout + run.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if match := re.search(r"version:?\s*(\d+\.\S+)", said):
        return match[1]
    first = next(iter(said.strip().splitlines()), "nothing")
    raise UserError(f"{path} --version does not tell RELION's version (it said: {first}); {_WAYS}.")
