"""One set of tomograms and picks, read and checked in full before anything runs: all mistakes are listed at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from stacycle.checks.tomograms import check_tomograms
from stacycle.errors import UserError, some
from stacycle.files import safe_names, star
from stacycle.files.image_files import file_of
from stacycle.files.star_labels import ANGLES, CENTRED, CORNER, SERIES, SIZE, TOMOGRAM
from stacycle.inputs import picks
from stacycle.inputs.findings import Findings
from stacycle.inputs.series import OLD_STACK, Series, make_numeric, read_series, refuse_gaps, rows_where

_OLD_COUNT = "rlnTomoFrameCount"  # RELION 4's, with OLD_STACK
_TEXT = {"rlnTomoName", SERIES}


def _no_particles() -> pd.DataFrame:
    return pd.DataFrame(columns=["rlnTomoName", *CENTRED, *ANGLES, "file", "row"])


@dataclass
class InputSet:
    """One set as it was read; `particles` also have the columns `file` and `row` that they came from."""

    label: str
    tomograms_file: str
    particles_file: str
    tomograms: pd.DataFrame = field(default_factory=pd.DataFrame)
    particles: pd.DataFrame = field(default_factory=_no_particles)
    series: dict[str, Series] = field(default_factory=dict)


def read_set(number: int, entry: Mapping[str, str], findings: Findings) -> InputSet | None:
    """A set in RELION's files with all that can be checked without the others; None if it had a problem. Without
    `particles` it has none."""
    before = len(findings.problems)
    given = entry.get("particles", "")
    inputs = InputSet(entry.get("name") or f"set{number}", entry["tomograms"], given)
    _check_entry(number, entry, inputs.label, findings)
    if len(findings.problems) > before:
        return None
    inputs.tomograms = read_tomograms(inputs.tomograms_file, findings)
    doubts = check_tomograms(inputs.tomograms_file, inputs.tomograms)
    tomograms_are_good = len(findings.problems) == before and not any(doubt.refused for doubt in doubts)
    if given:
        _read_picks(inputs, findings)
    if tomograms_are_good:
        if len(inputs.particles):
            picks.check_picks(given, inputs.particles, inputs.tomograms_file, inputs.tomograms, findings)
        read = {str(row.rlnTomoName): read_series(row, findings) for row in inputs.tomograms.itertuples()}
        inputs.series = {name: series for name, series in read.items() if series}
        shapes = {name: series.shape for name, series in inputs.series.items()}
        doubts = check_tomograms(inputs.tomograms_file, inputs.tomograms, shapes)
        _check_stacks(inputs, findings)
        inputs.tomograms = inputs.tomograms.drop(columns=[OLD_STACK, _OLD_COUNT], errors="ignore")
    findings.doubts += doubts
    return inputs if tomograms_are_good and len(findings.problems) == before else None


def _read_picks(inputs: InputSet, findings: Findings) -> None:
    """The particles of a set, empty if there was a problem, with the columns `file` and `row`."""
    file = inputs.particles_file
    known = list(inputs.tomograms["rlnTomoName"]) if "rlnTomoName" in inputs.tomograms else []
    table = _read_table(file, lambda path, table: picks.check_format(path, table, known), findings)
    inputs.particles = table.assign(file=file, row=np.arange(1, len(table) + 1))


def read_tomograms(path: str, findings: Findings) -> pd.DataFrame:
    """The table of a tomograms.star with its numbers and names checked; empty if it is none."""
    table = _read_table(path, _check_format, findings)
    if not table.empty:
        _check_tomograms(path, table, findings)
    return table


def tilt_series_of(tomograms: str | Path) -> list[str]:
    """The tilt-series STAR files that a tomograms.star names and that are there; none if it is unreadable."""
    table = _read_table(tomograms, _check_format, Findings())
    named = (path for path in table.get(SERIES, []) if not safe_names.has_braces(path))
    return [path for path in named if os.path.isfile(path)]


def _read_table(
    path: str | Path, check_format: Callable[[str, pd.DataFrame], None], findings: Findings
) -> pd.DataFrame:
    """The table of a file that names tomograms, whatever its name; empty if there was a problem. A comment or blank
    line between rows does no harm: what is read here is written anew."""
    findings.files.add(str(path))
    oddities: list[str] = []
    try:
        tables = list(star.read(path, oddities=oddities).values())
        table = next((one for one in tables if "rlnTomoName" in one), tables[-1])
        check_format(str(path), table)
        refuse_gaps(str(path), table, _TEXT & set(table))
        _refuse_unwritable(str(path), table, findings)
    except UserError as error:
        findings.problems.append(error)
        return pd.DataFrame()
    for oddity in oddities:
        findings.mended(oddity, str(path))
    return table.copy()


def _check_entry(number: int, entry: Mapping[str, str], label: str, findings: Findings) -> None:
    for key in entry.keys() & {"tomograms", "particles"}:
        if safe_names.has_braces(entry[key]) or not entry[key].isprintable():
            problem = f"{entry[key]!r} has a brace or a control character"
            findings.refuse(problem, "rename the file or folder", f"inputs.{number}.{key}")
    if not safe_names.is_name(label):
        problem = f"{label!r} cannot be part of file names"
        findings.refuse(problem, safe_names.NAME_RULE, f"inputs.{number}.name")


def _check_format(path: str, table: pd.DataFrame) -> None:
    """UserError, naming the format and the cure, unless this is a list of tomograms as RELION 5 writes it."""
    if "rlnTomoName" not in table:
        if "rlnTomoYTilt" in table or "rlnMicrographPreExposure" in table:
            problem = f"{path}: is a tilt series, not a list of tomograms"
            raise UserError(problem, "give the tomograms.star that names it")
        raise UserError(f"{path}: has no table with a column rlnTomoName", "is it the right file?")
    if SERIES not in table:
        if OLD_STACK in table or _OLD_COUNT in table:
            stack = f" ({table[OLD_STACK].iloc[0]})" if OLD_STACK in table and len(table) else ""
            kind = f"of RELION 4 or WarpTools, without tilt series that RELION 5 could extract from{stack}"
            cure = "give the folder of the program that aligned them instead, such as warp:, or align them in RELION 5"
            raise UserError(f"{path}: is {kind}", cure)
        if {*CENTRED, *CORNER, *ANGLES} & set(table):
            problem = f"{path}: holds particles, not tomograms"
            raise UserError(problem, "give the tomograms.star they were picked in")
        raise UserError(f"{path}: has no column {SERIES}", "give the tomograms.star of a RELION 5 project")
    missing = [column for column in TOMOGRAM if column not in table]
    if set(SIZE) & set(missing):
        problem = f"{path}: has no column {', '.join(missing)}: its tomograms are not reconstructed yet"
        cure = "give the tomograms.star of their reconstruction, or add the sizes in px of the tilt series"
        raise UserError(problem, cure)
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}", "add it")


def _refuse_unwritable(path: str, table: pd.DataFrame, findings: Findings) -> None:
    """Text that a STAR file cannot hold, or that another program reads as something else."""
    for column in table.select_dtypes(exclude="number"):
        texts = table[column].astype(str)
        if (bad := texts.str.contains(safe_names.NOT_IN_STAR)).any():
            where = f"{rows_where(bad)} ({some(texts[bad], 1)!r})"
            problem = f"{path}: {column} has a quote, a leading # or a control character in {where}"
            findings.refuse(problem, "rename it")


def _check_tomograms(path: str, table: pd.DataFrame, findings: Findings) -> None:
    make_numeric(table, TOMOGRAM, path, findings)
    if (twice := table.rlnTomoName.duplicated()).any():
        findings.refuse(f"{path}: {some(table.rlnTomoName[twice])} stands there twice", "remove one")
    for column, good, kind, rule in (
        ("rlnTomoName", safe_names.is_name, "tomogram", safe_names.NAME_RULE),
        ("rlnOpticsGroupName", safe_names.is_label, "optics group", safe_names.LABEL_RULE),
    ):
        if bad := [name for name in table.get(column, pd.Series()).unique() if not good(name)]:
            problem = f"{path}: RELION cannot use {kind} {some(map(repr, bad))} as a name"
            findings.refuse(problem, f"rename it: {rule}")
    if "rlnOpticsGroupName" in table:
        _check_optics(path, table, findings)


def _check_optics(path: str, table: pd.DataFrame, findings: Findings) -> None:
    """RELION takes what an optics group has from its first tomogram alone, in silence."""
    for group, of_group in table.groupby("rlnOpticsGroupName", sort=False):
        for label in ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"):
            if len(values := of_group[label].unique()) > 1:
                seen = f"{label} {some(map('{:g}'.format, values))}, of which RELION takes the first for all"
                problem = f"{path}: the tomograms of optics group {group} have {seen}"
                cure = "correct it, or give them groups of their own (rlnOpticsGroupName)"
                findings.refuse(problem, cure)


def _check_stacks(inputs: InputSet, findings: Findings) -> None:
    """RELION takes the stack of RELION 4's column, in its own order, whatever the tilt series names."""
    if OLD_STACK not in inputs.tomograms:
        return
    for name, stack in zip(inputs.tomograms.rlnTomoName, inputs.tomograms[OLD_STACK], strict=True):
        images = inputs.series[name].images if name in inputs.series else []
        wanted = os.path.realpath(file_of(str(stack)))
        if other := [image.file for image in images if os.path.realpath(image.file) != wanted]:
            problem = f"{OLD_STACK} of {name} is {stack}, but its tilt series names {other[0]}"
            findings.refuse(f"{inputs.tomograms_file}: {problem}", "remove the column, or correct it")
            return
