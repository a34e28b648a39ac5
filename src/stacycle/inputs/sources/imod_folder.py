"""Folders of etomo: which tilt series are in them, and which files belong to one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stacycle.errors import UserError, some
from stacycle.inputs.sources.common import is_included
from stacycle.inputs.sources.imod_files import Command, read_command, read_properties
from stacycle.inputs.sources.source import Asked

_STACKS = (".st", ".mrc", ".mrcs")
_OF_AXIS = ("align.com", "align.log", "xcorr.com")
_DUAL = "Dual Axis"


@dataclass(frozen=True)
class Etomo:
    """A tilt series' folder, what its commands say, and its stack."""

    name: str
    folder: Path
    tilt: Command
    newst: Command
    align: Command
    ctf: Command
    properties: dict[str, str]

    def file(self, ending: str) -> Path:
        return self.folder / f"{self.name}{ending}"

    @property
    def stack(self) -> Path:
        """The raw stack: that of newst.com, or the one that is there."""
        named = [self.folder / said] if (said := self.newst.text("InputFile")) else []
        beside = [self.file(ending) for ending in _STACKS]
        return next((path for path in (*named, *beside) if path.is_file()), beside[0])

    @property
    def of_axis(self) -> list[Path]:
        """What may say where the tilt axis is, independently of the alignment."""
        commands = (self.folder / name for name in _OF_AXIS)
        return [path for path in (self.file(".edf"), *commands, *self.mdocs) if path.is_file()]

    @property
    def mdocs(self) -> list[Path]:
        names = [self.folder / f"{self.stack.name}.mdoc", *(self.file(f"{e}.mdoc") for e in ("", *_STACKS))]
        return [path for path in dict.fromkeys(names) if path.is_file()]


def find(asked: Asked) -> list[Etomo]:
    """The alignments by name: those with NAME.xf and NAME.tlt. UserError if there is none."""
    found: dict[str, Path] = {}
    for path in sorted((*asked.folder.glob("*.xf"), *asked.folder.glob("*/*.xf"))):
        if not path.with_name(f"{path.stem}.tlt").is_file():
            continue  # one of a step in between
        if path.stem in found:
            problem = f"{found[path.stem]} and {path.parent} both hold a tilt series {path.stem}"
            raise UserError(problem, "move one elsewhere", f"{asked.label}.imod")
        found[path.stem] = path.parent
    if not found:
        problem = f"{asked.folder}: has no NAME.xf beside a NAME.tlt, nor has any folder in it"
        raise UserError(problem, "give etomo's folder, after the final alignment", f"{asked.label}.imod")
    if not (chosen := [name for name in found if is_included(name, asked)]):
        problem = f"{asked.folder}: has no tilt series called {some(asked.include)} ({some(found)})"
        raise UserError(problem, "correct the names", f"{asked.label}.include")
    return [_etomo(name, found[name]) for name in chosen]


def _etomo(name: str, folder: Path) -> Etomo:
    ctf = [path for path in (folder / "ctfplotter.com", folder / "ctfcorrection.com") if path.is_file()]
    return Etomo(
        name,
        folder,
        tilt=read_command(folder / "tilt.com"),
        newst=read_command(folder / "newst.com"),
        align=read_command(folder / "align.com"),
        ctf=read_command(ctf[0] if ctf else folder / "ctfplotter.com"),
        properties=read_properties(folder / f"{name}.edf"),
    )


def refuse_others(etomo: Etomo) -> None:
    """UserError for two axes, and for commands of another tilt series."""
    if etomo.properties.get("Setup.AxisType") == _DUAL or (etomo.folder / "tilta.com").is_file():
        problem = f"{etomo.folder}: is of a tilt series about two axes"
        raise UserError(problem, "align one axis alone in etomo, and give that folder")
    tilt_file = etomo.tilt.text("TILTFILE")
    if tilt_file and Path(tilt_file).name != f"{etomo.name}.tlt":
        problem = f"{etomo.tilt.path}: has TILTFILE {tilt_file}, not {etomo.name}.tlt"
        raise UserError(problem, "give each tilt series a folder of its own, with its tilt.com")
