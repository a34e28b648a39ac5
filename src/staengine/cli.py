"""RELION's command lines and log lines: no flag is abbreviated or ignored, values may start with a dash."""

from __future__ import annotations

import difflib
import keyword
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TextIO

from staengine.errors import AbortError, EngineError

Kind = Literal["switch", "value", "optional_value", "required", "unsupported"]


@dataclass(frozen=True)
class Flag:
    """One flag of a program, described as RELION describes its own.

    `default` is the value without the flag (for "optional_value": with the flag alone; without it the
    result is None). Its type is the value's type; a type in its place means "no default" (None).
    """

    kind: Kind
    default: Any = ""
    help: str = ""

    @property
    def type(self) -> Callable[[str], Any]:
        return self.default if isinstance(self.default, type) else type(self.default)

    @property
    def absent(self) -> Any:
        if self.kind == "switch":
            return False
        return None if self.kind == "optional_value" or isinstance(self.default, type) else self.default


COMMON = {
    "--pipeline_control": Flag("value", "", "folder for RELION_JOB_EXIT_* files, and RELION_JOB_ABORT_NOW"),
    "--theme": Flag("value", "classic", "accepted, no effect"),
    "--version": Flag("switch", help="print the version and exit"),
    "--help": Flag("switch", help="print the flags and exit"),
}


INPUT = {  # input of the tomography programs: see tilt_series.inputs.read_inputs
    "--i": Flag("value", "", "optimisation_set.star"),
    "--p": Flag("value", "", "particles.star"),
    "--t": Flag("value", "", "tomograms.star"),
    "--mot": Flag("value", "", "motion.star"),
}


def no_effect(**defaults: Any) -> dict[str, Flag]:
    """Flags of RELION that are accepted but change nothing here, e.g. `no_effect(pool=1, gpu="")`."""
    return {
        f"--{name}": Flag("switch" if default is False else "value", default, "accepted, no effect")
        for name, default in defaults.items()
    }


def unsupported(*names: str) -> dict[str, Flag]:
    """Flags of RELION that the embedded engine refuses by name."""
    return {name: Flag("unsupported") for name in names}


def parse(program: str, flags: dict[str, Flag], argv: list[str]) -> SimpleNamespace:
    """Parse `argv` into a namespace with one attribute per flag (`--continue` becomes `continue_`).

    Raises EngineError for an unknown or unsupported flag, a flag given twice, a missing required flag or
    value, and a value of the wrong type; SystemExit(0) after `--help` and `--version`.
    """
    flags = flags | COMMON
    values = {name: flag.absent for name, flag in flags.items()}
    given: set[str] = set()
    tokens = list(argv)
    while tokens:
        name = tokens.pop(0)
        flag = flags.get(name)
        if flag is None:
            raise EngineError(f"{program}: {_unknown(name, flags)}")
        if flag.kind == "unsupported":
            raise EngineError(
                f"{program}: the embedded engine does not have {name}; leave it out or use RELION 5."
            )
        if name in given:
            raise EngineError(f"{program}: {name} is given twice.")
        given.add(name)
        if flag.kind == "switch":
            values[name] = True
        elif tokens and not tokens[0].startswith("--"):
            values[name] = _convert(program, name, flag, tokens.pop(0))
        elif flag.kind == "optional_value":
            values[name] = flag.default
        else:
            raise EngineError(f"{program}: {name} needs a value.")
    if values["--help"]:
        print(help_text(program, flags))
        raise SystemExit(0)
    if values["--version"]:
        print(version_text())
        raise SystemExit(0)
    missing = [name for name, flag in flags.items() if flag.kind == "required" and name not in given]
    if missing:
        raise EngineError(f"{program}: {' and '.join(missing)} must be given.")
    return SimpleNamespace(**{_attribute(name): value for name, value in values.items()})


def _attribute(name: str) -> str:
    attribute = name.lstrip("-")
    return f"{attribute}_" if keyword.iskeyword(attribute) else attribute


def _unknown(name: str, flags: dict[str, Flag]) -> str:
    if not name.startswith("--"):
        return f"'{name}' is neither a flag nor the value of one."
    close = difflib.get_close_matches(name, flags, n=1)
    return f"unknown flag {name}{f'; did you mean {close[0]}?' if close else '; see --help.'}"


def _convert(program: str, name: str, flag: Flag, text: str) -> Any:
    try:
        return flag.type(text)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}.get(flag.type, "a value")  # type: ignore[call-overload]
        raise EngineError(f"{program}: {name} needs {wanted}, not '{text}'.") from None


def help_text(program: str, flags: dict[str, Flag]) -> str:
    """All flags that do something, one a line."""
    lines = [f"{program} (embedded engine)"]
    for name, flag in flags.items():
        if flag.kind != "unsupported":
            default = flag.kind == "value" and not isinstance(flag.default, type)
            note = "required" if flag.kind == "required" else f"default {flag.default!r}" if default else ""
            lines.append(f"  {name:<24} {flag.help}{f' ({note})' if note else ''}")
    return "\n".join(lines)


def version_text() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("stacycle")
    except PackageNotFoundError:  # run from a source tree
        number = "0"
    return f"RELION version: staengine {number} (embedded engine)"


def mark_exit(pipeline_control: str, status: int) -> None:
    """Leave RELION_JOB_EXIT_{SUCCESS,ABORTED,FAILURE} in the folder, as RELION's programs do."""
    if pipeline_control:
        word = {0: "SUCCESS", 2: "ABORTED"}.get(status, "FAILURE")
        folder = Path(pipeline_control)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"RELION_JOB_EXIT_{word}").touch()


def stop_if_aborted(pipeline_control: str) -> None:
    """Raise AbortError if RELION_JOB_ABORT_NOW lies in the folder."""
    if pipeline_control and (Path(pipeline_control) / "RELION_JOB_ABORT_NOW").exists():
        raise AbortError("the job was asked to stop (RELION_JOB_ABORT_NOW); finished results are kept.")


def say(text: str, level: int = 0) -> None:
    """A line of the log, indented as RELION's tomo programs do: ` + text`, `    - text`, or further at level 2."""
    print(f"{(' + ', '    - ', ' ' * 9)[level]}{text}", flush=True)


def warn(text: str, level: int = 0) -> None:
    """A warning line: `   !text`, or `      !text` at level 1."""
    print(f"{'   ' * (level + 1)}!{text}", flush=True)


class ProgressBar:
    """RELION's progress bar: 60 columns, redrawn with a carriage return, ended by `yum!` when its block is left.

    `advance` may be called from several threads.
    """

    COLUMNS = 60

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.total, self.stream, self.start = max(total, 1), stream or sys.stdout, time.time()
        self.done, self.drawn, self.lock = 0, -1, threading.Lock()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.advance(self.total - self.done)
            self.stream.write(" yum!\n")
            self.stream.flush()

    def advance(self, steps: int = 1) -> None:
        """Draw that so many more steps are done."""
        with self.lock:
            self.done += steps
            columns = min(self.COLUMNS, self.COLUMNS * self.done // self.total)
            if columns != self.drawn:
                self.drawn = columns
                self._draw(columns)

    def _draw(self, columns: int) -> None:
        seconds = time.time() - self.start
        expected = seconds * self.total / max(self.done, 1)
        unit, scale, digits = ("sec", 1, 0) if expected < 120 else ("min", 60, 2)
        figures = f"{seconds / scale:4.{digits}f}/{expected / scale:4.{digits}f} {unit}"
        ahead = " " * (self.COLUMNS - columns - 4) + "[oo]" if columns <= self.COLUMNS - 4 else ""
        self.stream.write(f'\r{figures} {"." * columns}~~(,_,">{ahead}')
        self.stream.flush()
