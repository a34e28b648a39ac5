"""Where the programs are: RELION 5 on the PATH or in a folder, or the embedded engine under its names."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
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
_ALL_HELP = """
import contextlib, sys
from staengine.__main__ import main
for program in sys.argv[1:]:
    print(end="\\f")
    with contextlib.suppress(SystemExit):
        main([program, "--help"])
"""


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
    version = _version(path)[0]
    if int(version.split(".")[0]) < OLDEST:
        raise UserError(f"RELION {version} was found ({path}), but RELION {OLDEST} is needed; {_WAYS}.")
    missing = [program for program in programs if program not in found]
    if missing:
        lacks = f"but {_place(engine)} not its {', '.join(missing)}"
        raise UserError(f"RELION {version} was found ({path}), {lacks}; {_WAYS}.")
    return f"RELION {version}"


def files(engine: Mapping[str, Any], programs: Sequence[str]) -> list[str]:
    """The files that a change of the software would change: the programs, or the embedded engine's modules."""
    if engine["kind"] == "embedded":
        spec = find_spec("staengine")
        folders = spec.submodule_search_locations if spec else None
        return [str(path) for folder in folders or [] for path in sorted(Path(folder).glob("*.py"))]
    return [path for program in programs if (path := _find(engine, program))]


def known_flags(engine: Mapping[str, Any], programs: Sequence[str]) -> dict[str, list[str]]:
    """The flags that each program tells in its `--help`; none if it tells nothing."""
    if engine["kind"] == "embedded":  # in one process: its modules take a second to load
        said = dict(
            zip(programs, _say([sys.executable, "-c", _ALL_HELP, *programs]).split("\f")[1:], strict=False)
        )
    else:
        said = {program: _say(resolve(engine, [program, "--help"])) for program in programs}
    return {program: re.findall(r"^\s*(--\w+)", said.get(program, ""), re.MULTILINE) for program in programs}


def accelerator(engine: Mapping[str, Any], program: str = "relion_refine") -> str:
    """What RELION was built to compute on, as its `--version` tells: CUDA, HIP, SYCL (GPUs), VECTOR or "" (CPU)."""
    path = _find(engine, program)
    match = re.search(r"(\w+)-ACC=", _version(path)[1]) if path else None
    return match[1] if match else ""


def leaders(argv: Sequence[str]) -> int:
    """How many of an MPI program's processes take themselves for the first: 1, or all if the MPI is another one's.

    0 if the program does not tell. UserError with the launcher's words if it does not start them.
    """
    said = _say(argv)
    if not re.search(r"version:?\s*\d", said):
        words = [line.strip() for line in said.splitlines() if line.strip(" -")]
        raise UserError(f"{shlex.join(argv)} did not run ({' '.join(words[:3]) or 'it said nothing'})")
    return said.count("Using Point-to-Point MPI Blocksize")  # printed by the first process alone


def _find(engine: Mapping[str, Any], program: str) -> str | None:
    folder = engine.get("bin")
    path = shutil.which(program, path=str(Path(folder).expanduser()) if folder else None)
    return path and str(Path(path).absolute())  # no mpirun takes it for one of its options


def _place(engine: Mapping[str, Any]) -> str:
    return f"in engine.bin, {engine['bin']}" if engine.get("bin") else "on the PATH"


def _version(path: str) -> tuple[str, str]:
    """`5.0.1-commit-73f0a3`, and all that the program says about its version."""
    said = _say([path, "--version"])
    if match := re.search(r"version:?\s*(\d+\.\S+)", said):
        return match[1], said
    first = next(iter(said.strip().splitlines()), "nothing")
    raise UserError(f"{path} --version does not tell RELION's version (it said: {first}); {_WAYS}.")


def _say(argv: Sequence[str]) -> str:
    """What a program says within a minute, or why it does not run."""
    try:
        run = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
        return run.stdout + run.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
