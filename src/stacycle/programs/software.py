"""Where the programs are: RELION 5 on the PATH, in a folder, in modules or in an image; or the embedded engine."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stacycle import __version__
from stacycle.errors import UserError
from stacycle.programs import container
from stacycle.programs.program import all_programs, of_call

_REFINE = "relion_refine"  # asked for RELION's version, and what it was built to compute on
OLDEST = 5  # the first RELION with 2D stacks of tilt images and optimisation sets as they are used here
_WAYS = (
    "load RELION 5 (for example `module load relion`, or by engine.modules), set engine.bin to the folder of its "
    "programs or engine.container to an image, or engine.kind to embedded (small data, nothing to install)"
)
_WITH_MODULES = str(Path(__file__).with_name("with_modules.sh"))
# For sh; \f separates each answer from what else is printed.
_PATH = r'printf "\f%s\f" "$PATH"'
_WHERE = r'for program do printf "\f%s\n" "$(command -v "$program")"; done'
_HELP = r'for program do printf "\f"; "$program" --help 2>&1; done'
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

    RELION's program is looked up in `engine.bin` or on the PATH, as it is with `engine.modules` loaded or inside
    `engine.container`, and runs there, behind an MPI launcher if there is one. The embedded engine takes the same name
    and flags, and is its own mpirun.
    UserError if modules, image, program or launcher are not found; a program in an image is not looked for.
    """
    at = next(i for i, word in enumerate(argv) if word.startswith("relion_"))
    launcher, program, rest = argv[:at], argv[at], argv[at + 1 :]
    if engine["kind"] == "embedded":
        program_of_engine = [sys.executable, "-m", "staengine"]
        if container.is_mpirun(launcher):
            return [*program_of_engine, "--ranks", launcher[-1], *argv[at:]]
        return [*launcher, *program_of_engine, *argv[at:]]
    if engine.get("container"):
        inside = [_in_image(engine, program), *rest]
        command = container.command(engine, inside, launcher, container.folders_of(argv))
        first = command[0]
    else:
        path = _find(engine, [program]).get(program)
        if path is None:
            raise _not_found(engine, program)
        command = _inside(engine, [*launcher, path, *rest])
        first = [*launcher, path][0]
    if shutil.which(first, path=_path(engine)) is None:
        where = _place({"modules": engine.get("modules")})
        fault = f"{first} was not found {where}, but {program} runs with it"
        raise UserError(fault, "load the MPI that RELION was built with")
    return command


def has_mpirun(engine: Mapping[str, Any]) -> bool:
    """Whether ranks can be started where the programs run: RELION in an image is taken to have its mpirun beside it."""
    if engine["kind"] == "embedded" or engine.get("container"):
        return True
    try:
        return shutil.which("mpirun", path=_path(engine)) is not None
    except UserError:  # the modules cannot be loaded, which whatever runs a program will say
        return True


def all_names() -> list[str]:
    """The names of all programs that a workflow may run."""
    return list(dict.fromkeys(name for program in all_programs() for name in program.executables))


def check(engine: Mapping[str, Any], programs: Sequence[str] = ()) -> str:
    """Name and version of the software, once it is known to be all there and recent enough; else UserError.
    Finding `relion_refine` proves nothing: Debian's and Ubuntu's RELION 3.1.3 has it too."""
    if engine["kind"] == "embedded":
        return f"embedded engine {__version__}"
    programs = programs or all_names()
    found = _find(engine, programs)
    refine = (found if _REFINE in programs else _find(engine, [_REFINE])).get(_REFINE)
    if not (path := refine or next(iter(found.values()), "")):
        raise _not_found(engine, "RELION")
    version = _version(engine, path)[0]
    if int(version.split(".")[0]) < OLDEST:
        raise UserError(f"RELION {version} was found ({path}), but RELION {OLDEST} is needed", _WAYS)
    missing = [program for program in programs if program not in found and not of_call(program).without]
    if missing:
        lacks = f"but {_place(engine)} not its {', '.join(missing)}"
        raise UserError(f"RELION {version} was found ({path}), {lacks}", _WAYS)
    return f"RELION {version}"


def version(engine: Mapping[str, Any]) -> str:
    """The version of the programs that run: `5.0.1-commit-73f0a3`, or `embedded engine 0.2.0`; "" if it is not known.
    Whether all programs are there and recent enough, `check` says."""
    if engine["kind"] == "embedded":
        return f"embedded engine {__version__}"
    try:
        path = _find(engine, [_REFINE]).get(_REFINE)
        return _version(engine, path)[0] if path else ""
    except UserError:
        return ""


def version_and_commit(text: str) -> dict[str, str | None]:
    """Of a version as `version` gives it, the number, and the commit that it was built from if it names one."""
    number, _, commit = text.partition("-commit-")
    return {"version": number or None, "commit": commit or None}


def files(engine: Mapping[str, Any], programs: Sequence[str]) -> list[str]:
    """The files that a change of the software would change: programs, image, or the embedded engine's modules.
    UserError if `engine.modules` cannot be loaded."""
    if engine["kind"] == "embedded":
        spec = find_spec("staengine")
        folders = spec.submodule_search_locations if spec else None
        return [str(path) for folder in folders or [] for path in sorted(Path(folder).rglob("*.py"))]
    if engine.get("container"):
        return [str(container.image_file(engine))]
    return list(_find(engine, programs).values())


def known_flags(engine: Mapping[str, Any], programs: Sequence[str]) -> dict[str, list[str]]:
    """The flags that each program lists in its `--help`, but for those that are not there; all are asked at once."""
    if engine["kind"] == "embedded":
        found, ask = {program: program for program in programs}, [sys.executable, "-c", _ALL_HELP]
    else:
        found, ask = _find(engine, programs), _inside(engine, ["/bin/sh", "-c", _HELP, "sh"])
    said = dict(zip(found, _say([*ask, *found.values()]).split("\f")[1:], strict=False))
    return {program: re.findall(r"^\s*(--\w+)", said.get(program, ""), re.MULTILINE) for program in found}


def accelerator(engine: Mapping[str, Any], program: str = _REFINE) -> str:
    """What RELION was built to compute on, by its `--version`: CUDA, HIP, SYCL (GPUs), VECTOR or "" (CPU)."""
    path = _find(engine, [program]).get(program)
    match = re.search(r"(\w+)-ACC=", _version(engine, path)[1]) if path else None
    return match[1] if match else ""


def leaders(argv: Sequence[str]) -> int:
    """How many of an MPI program's processes take themselves for the first: 1, or all if the MPI is another one's.
    0 if the program does not say. UserError with the launcher's words if it does not start them."""
    said = _say(argv)
    if not re.search(r"version:?\s*\d", said):
        raise UserError(f"{shlex.join(argv)} did not run ({_gist(said)})")
    return said.count("Using Point-to-Point MPI Blocksize")  # printed by the first process alone


def _find(engine: Mapping[str, Any], programs: Sequence[str]) -> dict[str, str]:
    """The paths of those programs that are there. UserError if modules or image fail."""
    if engine.get("container"):
        words = [_in_image(engine, program) for program in programs]
        said = _say(_inside(engine, ["/bin/sh", "-c", _WHERE, "sh", *words]))
        lines = [after.partition("\n")[0] for after in said.split("\f")[1:]]
        if not lines:
            raise UserError(f"engine.container: {engine['container']} does not start ({_gist(said)})", _WAYS)
        return {program: line for program, line in zip(programs, lines, strict=False) if line}
    folder = engine.get("bin")
    where = str(Path(folder).expanduser()) if folder else _path(engine)
    found = {program: shutil.which(program, path=where) for program in programs}
    # absolute, so that no mpirun takes it for one of its options
    return {program: str(Path(path).absolute()) for program, path in found.items() if path}


def _in_image(engine: Mapping[str, Any], program: str) -> str:
    return str(Path(engine["bin"]) / program) if engine.get("bin") else program


def _inside(engine: Mapping[str, Any], argv: Sequence[str]) -> list[str]:
    """`argv` with the modules loaded, or in the image, if the config names any."""
    if engine.get("container"):
        return container.command(engine, argv)
    modules = _modules(engine)
    return ["/bin/bash", _WITH_MODULES, str(len(modules)), *modules, *argv] if modules else list(argv)


def _modules(engine: Mapping[str, Any]) -> tuple[str, ...]:
    named = engine.get("modules") or []
    return (named,) if isinstance(named, str) else tuple(named)


def _path(engine: Mapping[str, Any]) -> str | None:
    """The PATH with the modules loaded; None, which stands for this process's own, without any."""
    modules = _modules(engine)
    return _loaded(modules)[0] if modules else None


@cache
def _loaded(modules: tuple[str, ...]) -> tuple[str, str]:
    """The PATH with these modules loaded, and what was said meanwhile. UserError if they cannot be loaded."""
    before, *found = _say(_inside({"modules": modules}, ["/bin/sh", "-c", _PATH])).split("\f")
    if not found:
        fault = f"engine.modules: {' '.join(modules)} cannot be loaded ({_gist(before)})"
        raise UserError(fault, "see what `module avail` lists")
    return found[0], before + found[1]


def _not_found(engine: Mapping[str, Any], what: str) -> UserError:
    modules = _modules(engine)  # older module commands only talk about a module that they do not know
    said = _loaded(modules)[1] if modules else ""
    return UserError(f"{what} was not found {_place(engine)}{f' ({_gist(said)})' if said else ''}", _WAYS)


def _place(engine: Mapping[str, Any]) -> str:
    where = f"in engine.bin, {engine['bin']}" if engine.get("bin") else "on the PATH"
    if engine.get("container"):
        return f"{where} of engine.container, {engine['container']}"
    modules = _modules(engine)
    return f"{where} with engine.modules, {' '.join(modules)}" if modules else where


def _version(engine: Mapping[str, Any], path: str) -> tuple[str, str]:
    """`5.0.1-commit-73f0a3`, and all that the program says about its version."""
    said = _say(_inside(engine, [path, "--version"]))
    if match := re.search(r"version:?\s*(\d+\.\S+)", said):
        return match[1], said
    first = next(iter(said.strip().splitlines()), "nothing")
    raise UserError(f"{path} --version does not tell RELION's version (it said: {first})", _WAYS)


def _gist(said: str) -> str:
    """The first words of what a program said, on one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip(" -")]
    return " ".join(lines[:3]) or "it said nothing"


def _say(argv: Sequence[str]) -> str:
    """What a program says within two minutes, or why it does not run."""
    try:
        run = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=120
        )
        return run.stdout + run.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
