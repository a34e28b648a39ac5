"""Sets of other programs as plain STAR files of RELION 5: one writer for all sources and formats of picks.

What stands in these files is checked like any other set (`input_set.read_set`); images keep their own paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from stacycle.errors import UserError, some
from stacycle.files import safe_names, star
from stacycle.files.job_folder import PARTICLES, TOMOGRAMS
from stacycle.files.star_labels import ANGLES, OPTICS, SERIES, SIZE
from stacycle.inputs import picks
from stacycle.inputs.asked import RELIONS, label_of, picks_of, source_of
from stacycle.inputs.findings import Findings, Taken
from stacycle.inputs.input_set import read_tomograms
from stacycle.inputs.pick_formats.pick_format import PicksAsked
from stacycle.inputs.place_picks import place_picks, tomograms_of
from stacycle.inputs.sources.source import Asked, ImportedSeries
from stacycle.inputs.taken import summed_up
from stacycle.recipe.pick_files import Entry


@dataclass(frozen=True)
class Plain:
    """A set as RELION 5's files: `entry` names them. `origin`: file and row of each particle, if they were converted;
    `without_angles` is how many of them have none, for which 0 is written."""

    entry: dict[str, str]
    origin: pd.DataFrame | None = None
    without_angles: int = 0


@dataclass
class Conversion:
    """Sets turned into STAR files below `folder`, one after the other, each in a folder of its name."""

    folder: Path
    findings: Findings
    _read: dict[Any, tuple[list[ImportedSeries], Path]] = field(default_factory=dict)

    def plain(self, number: int, entry: Entry) -> Plain | None:
        """A set of the config, counted from 1, as it is if it is RELION's own; None if it had a problem."""
        before, here = len(self.findings.problems), self.folder / label_of(number, entry)
        try:
            series = self._series(number, entry, here)
            files = {
                "name": label_of(number, entry),
                "tomograms": entry.get(RELIONS) or str(here / TOMOGRAMS),
            }
            found: Plain | None = Plain(files)
            if entry.get("particles") and len(self.findings.problems) == before:
                found = self._with_picks(number, entry, Plain(files), series, here)
        except UserError as error:
            self.findings.problems.append(error)
        return found if len(self.findings.problems) == before else None

    def _series(self, number: int, entry: Entry, here: Path) -> list[ImportedSeries]:
        """The tilt series of a source, written; none of RELION's own, or if there was a problem."""
        if (of_source := source_of(number, entry)) is None:
            return []
        source, asked = of_source
        if safe_names.has_braces(str(asked.folder)) or not str(asked.folder).isprintable():
            problem = f"{str(asked.folder)!r} has a brace or a control character"
            raise UserError(problem, "rename the file or folder", f"{asked.label}.{source.key}")
        if not asked.folder.exists():  # Scipion's may be a file
            problem = f"{asked.folder} is not there"
            raise UserError(problem, "paths start at the project folder", f"{asked.label}.{source.key}")
        question = source.key, replace(asked, label="")
        if question not in self._read:  # a second set of it, with other picks, has the same tilt series
            before = len(self.findings.problems)
            self.findings.files.update(map(str, source.files(asked)))
            series = source.read(asked, self.findings)
            if len(self.findings.problems) > before:
                return []
            _check_names(series, f"{asked.label}.{source.key}", asked)
            self._read[question] = series, here
            whose = f"{label_of(number, entry)}, {source.title}"
            self.findings.taken += [Taken(whose, kind, said) for kind, said in summed_up(series)]
        series, folder = self._read[question]
        write_tomograms(here / TOMOGRAMS, series, folder)
        return series

    def _with_picks(
        self, number: int, entry: Entry, found: Plain, series: Sequence[ImportedSeries], here: Path
    ) -> Plain | None:
        """The set with its picks, converted unless they are in RELION 5's own format."""
        form, asked = picks_of(number, entry)
        known = [one.name for one in series] or star.column(found.entry["tomograms"], "rlnTomoName")
        if form is None or _is_plain(entry, asked, known):
            given, path = entry["particles"], asked.paths[0]
            file = given if isinstance(given, str) and Path(given) == path else str(path)
            return replace(found, entry=found.entry | {"particles": file})
        before = len(self.findings.problems)
        tomograms = read_tomograms(found.entry["tomograms"], self.findings)
        if len(self.findings.problems) > before:
            return None
        self.findings.files.update(map(str, asked.paths))
        given_picks = form.read(asked, tuple(known), self.findings)
        if len(self.findings.problems) > before:
            return None
        if not sum(len(one.position) for one in given_picks):
            raise UserError(
                f"there are no picks in {some(asked.paths)}", "is it the right file?", asked.label
            )
        frames = tomograms_of(tomograms) | {one.name: one for one in series}
        table = place_picks(given_picks, frames, asked, self.findings)
        if len(self.findings.problems) > before:
            return None
        angles = table.reindex(columns=ANGLES)
        lacking = angles.isna().all(axis=1)
        table[ANGLES] = angles.where(~lacking, 0.0)
        origin = table[["file", "row"]]
        write_particles(here / PARTICLES, table)
        said = f"{len(table)} of {some(asked.paths, 1)}"
        self.findings.taken.append(Taken(f"{label_of(number, entry)}, {form.title}", "picks", said))
        entry_of_it = found.entry | {"particles": str(here / PARTICLES)}
        return replace(found, entry=entry_of_it, origin=origin, without_angles=int(lacking.sum()))


def _is_plain(entry: Entry, asked: PicksAsked, tomograms: Sequence[str]) -> bool:
    """Whether picks are one STAR file that is read as it is."""
    if isinstance(entry["particles"], Mapping) or asked.paths[1:]:
        return False
    try:
        return not picks.is_foreign(star.read(asked.paths[0], oddities=[]), tomograms)
    except UserError:
        return True  # which says what is wrong


def write_tomograms(path: Path, series: Sequence[ImportedSeries], folder: Path) -> None:
    """Write tomograms.star, and its tilt series to `folder`/tilt_series."""
    rows = []
    groups: dict[tuple[float, ...], str] = {}
    for one in series:
        file = folder / "tilt_series" / f"{one.name}.star"
        optics = (one.pixel, one.voltage, one.cs, one.amplitude_contrast)
        rows.append(
            {
                "rlnTomoName": one.name,
                **dict(zip(OPTICS, optics, strict=True)),
                "rlnMicrographOriginalPixelSize": one.pixel,
                "rlnTomoHand": one.hand,
                "rlnOpticsGroupName": groups.setdefault(optics, f"optics{len(groups) + 1}"),
                **dict(zip(SIZE, one.size, strict=True)),
                SERIES: str(file),
            }
        )
        star.write(file, {one.name: one.tilts})
    star.write(path, {"global": pd.DataFrame(rows)})


def write_particles(path: Path, table: pd.DataFrame) -> None:
    """Write particles.star of picks that are placed."""
    star.write(path, {"particles": table.drop(columns=["file", "row"])})


def _check_names(series: Sequence[ImportedSeries], key: str, asked: Asked) -> None:
    """UserError unless there are tilt series, with different names that files and tables can have."""
    names = [one.name for one in series]
    if not names:
        patterns = f" named as {some(asked.include)}" * (asked.include != ("*",))
        raise UserError(
            f"there are no tilt series{patterns} below {asked.folder}", "is it the right folder?", key
        )
    if bad := [name for name in names if not safe_names.is_name(name)]:
        problem = f"RELION cannot use {some(map(repr, bad))} as the name of a tomogram"
        raise UserError(problem, f"rename the files: {safe_names.NAME_RULE}", key)
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{some(sorted(twice))} is the name of several tilt series", "rename one", key)
