"""Inputs: one or several sets of tomograms and picks, merged into one with unique names.

A tomogram or optics group whose name an earlier set has gets its set's name in front; a tomogram that two sets share
stays one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stacycle.checks.state import check_state
from stacycle.checks.tomograms import check_together
from stacycle.errors import UserError, some, together
from stacycle.files import star
from stacycle.files.atomic import write_text
from stacycle.files.job_folder import OPTIMISATION_SET, PARTICLES, TOMOGRAMS
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.safe_names import is_name, is_plain_path, written_again_as
from stacycle.files.star_labels import ANGLES, CENTRED, CORNER, PIXEL, SERIES, SIZE
from stacycle.inputs.asked import of_unknown_hand
from stacycle.inputs.converted import Conversion
from stacycle.inputs.findings import Findings, Taken
from stacycle.inputs.input_set import InputSet, read_set
from stacycle.inputs.picked_twice import KEEP_ONE, SCORES, each_once, refuse_duplicates
from stacycle.inputs.picks import SHIFTS
from stacycle.inputs.series import NAME, Series, linked_as, refuse_same_images
from stacycle.provenance import record

# These belong to images extracted, or classes made, before; RELION writes them anew.
OF_OLD_IMAGES = {
    *CORNER,
    *("rlnDetectorPixelSize", "rlnOpticsGroup", "rlnOpticsGroupName", "rlnImageName", "rlnTomoVisibleFrames"),
    *("rlnGroupNumber", "rlnClassNumber", "rlnNormCorrection", "rlnLogLikeliContribution"),
    *("rlnMaxValueProbDistribution", "rlnNrOfSignificantSamples"),
}
RESULTS = "results/inputs"
_MOST_PROBLEMS = 50  # sentences shown at once


@dataclass
class Merged:
    """The merged sets: tables, tilt series by tomogram, and the facts about them."""

    tomograms: pd.DataFrame
    particles: pd.DataFrame
    series: dict[str, Series]
    facts: dict[str, Any]
    has_particles: bool = True

    @cached_property
    def _particles(self) -> str:
        """The particles' file: written to be checked, and to stay."""
        return star.to_text({"particles": self.particles.drop(columns=["file", "row"])})

    def write(self, folder: Path) -> None:
        """Write particles.star (one table: extraction takes the optics groups from the tomograms), tomograms.star,
        optimisation_set.star and, where RELION could not use a tilt series as it is, a copy of it; tomograms alone if
        no set has particles."""
        tomograms = self.tomograms.copy()
        _copy_series(tomograms, self.series, folder)
        star.write(folder / TOMOGRAMS, {"global": tomograms})
        if not self.has_particles:
            return
        write_text(folder / PARTICLES, self._particles)
        state = OptimisationSet(str(folder / PARTICLES), str(folder / TOMOGRAMS))
        state.write(folder / OPTIMISATION_SET)


def read(sets: Sequence[Mapping[str, Any]], findings: Findings, duplicates: str = "refuse") -> Merged | None:
    """Read and check the sets and merge them, leaving no file; None if there is any problem, listed in `findings`.

    Each set is one of the config, with paths from the project folder. `duplicates` is what to do with particles that
    were picked twice: refuse, or keep_one. The checks that each job makes before its program starts are made here as
    well, so that no job refuses what is accepted here. What would be written is named as it will be for RESULTS.
    """
    with tempfile.TemporaryDirectory() as temporary:
        return _read_as_if_in(RESULTS, sets, findings, duplicates, temporary)


def _read_as_if_in(
    folder: str, sets: Sequence[Mapping[str, Any]], findings: Findings, duplicates: str, temporary: str
) -> Merged | None:
    """As `read`; sets of other programs lie in a temporary folder, but are named as they will be in `folder`."""
    merged = _read(sets, findings, duplicates, Path(temporary))
    findings.as_if_in(folder, temporary)
    if merged:
        merged.facts = json.loads(json.dumps(merged.facts).replace(temporary, folder))
        merged.tomograms[SERIES] = merged.tomograms[SERIES].str.replace(temporary, folder, regex=False)
    return merged


def _read(
    sets: Sequence[Mapping[str, Any]], findings: Findings, duplicates: str, folder: Path
) -> Merged | None:
    """As `read`; sets of other programs are written to `folder` as STAR files."""
    conversion = Conversion(folder, findings)
    plain = [conversion.plain(number, entry) for number, entry in enumerate(sets, 1)]
    one_by_one = [
        read_set(number, one.entry, findings) if one else None for number, one in enumerate(plain, 1)
    ]
    for inputs, one in zip(one_by_one, plain, strict=True):
        if inputs and one and one.origin is not None:
            inputs.particles[["file", "row"]] = one.origin
    without_angles = {one.entry["name"]: one.without_angles for one in plain if one and one.without_angles}
    for label, count in without_angles.items():
        problem = f"{count} picks of {label} have no angles, for which 0 is written"
        cure = "the first round needs start: initial_model, or a search everywhere (align: local_range: null)"
        findings.warn(problem, cure)
    pairs, unknown = 0, of_unknown_hand(sets)
    findings.taken += [Taken(label, "hand", "auto: both are compared by the step hand") for label in unknown]
    if sound := [inputs for inputs in one_by_one if inputs]:
        renamed = _make_names_unique(sound, findings)
        tables = [one.tomograms[one.tomograms.is_new].drop(columns="is_new") for one in sound]
        brought = {
            name: one.label for one, table in zip(sound, tables, strict=True) for name in table.rlnTomoName
        }
        tomograms = _common_columns([one.tomograms_file for one in sound], tables, findings)
        series: dict[str, Series] = {}
        for inputs, new in zip(sound, renamed, strict=True):
            series |= {new.get(name, name): one for name, one in inputs.series.items()}
        refuse_same_images(series, dict(zip(tomograms.rlnTomoName, tomograms[SERIES], strict=True)), findings)
        summaries = [x.summary._replace(name=name) for name, x in series.items()]
        findings.doubts += check_together(tomograms, summaries)
        for label in set(unknown) - set(brought.values()) if len(sound) == len(sets) else ():
            problem = f"{label} asks for hand: auto, but all its tomograms are those of an earlier set"
            findings.refuse(problem, "ask for it there")
        particles = _merged_particles(sound, findings)
        if duplicates == KEEP_ONE:
            particles = each_once(particles, tomograms, findings)
        else:
            pairs = refuse_duplicates(particles, tomograms, findings)
    findings.summarise()
    if findings.problems:
        return None
    facts = {
        "particles": len(particles),
        "pixel_size": float(tomograms[PIXEL].median()),
        "near_pairs": pairs,
        "sets": [_facts_of_set(inputs, new) for inputs, new in zip(sound, renamed, strict=True)],
        "tomograms": _facts_of_tomograms(tomograms, particles, series, brought, findings),
        "unknown_hands": unknown,
        "without_angles": without_angles,
        "taken": findings.taken,
        "warnings": list(map(str, findings.warnings)),
    }
    particles = particles.drop(columns=list(OF_OLD_IMAGES), errors="ignore")
    merged = Merged(tomograms, particles, series, facts, any(one.get("particles") for one in sets))
    if merged.has_particles:
        _check_as_a_job_does(merged, findings)
    return None if findings.problems else merged


def merge(
    sets: Sequence[Mapping[str, Any]], out_dir: str | Path, engine: str = "", duplicates: str = "refuse"
) -> dict[str, Any]:
    """Check the sets and merge them into `out_dir` (`Merged.write`); returns the facts that preflight.json has, too,
    with `engine`, the software's name and version. UserError with a sentence per problem."""
    out_dir, findings = Path(out_dir), Findings()
    with tempfile.TemporaryDirectory() as temporary:
        merged = _read_as_if_in(str(out_dir), sets, findings, duplicates, temporary)
        if merged:
            for path in Path(temporary).rglob("*.star"):
                text = path.read_text().replace(temporary, str(out_dir))
                write_text(out_dir / path.relative_to(temporary), text)
    findings.write_pairs()
    if merged is None:
        more = len(findings.problems) - _MOST_PROBLEMS
        rest = [UserError(f"... and {more} more problems")] * (more > 0)
        raise together([*findings.problems[:_MOST_PROBLEMS], *rest])
    facts = {"engine": engine, **merged.facts}
    merged.write(out_dir)
    if merged.has_particles:
        record.of_decision(out_dir)
    (out_dir / "preflight.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return facts


def _check_as_a_job_does(merged: Merged, findings: Findings) -> None:
    """The checks that each job makes before its program starts, on what will be written."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            merged.write(Path(folder))
            check_state(OptimisationSet.read(Path(folder) / OPTIMISATION_SET))
        except UserError as error:
            findings.refuse(error.problem.replace(folder, RESULTS), error.cure)


def describe(facts: Mapping[str, Any]) -> str:
    """The facts in a few lines for the log."""
    tilts = sorted({one["tilts"] for one in facts["tomograms"]})
    summary = (
        f"{facts['particles']} particles in {len(facts['tomograms'])} tomograms of {len(facts['sets'])} "
        f"set{'s' * (len(facts['sets']) > 1)}; {facts['pixel_size']:g} Å/px; "
        f"{tilts[0]}{f' to {tilts[-1]}' * (len(tilts) > 1)} tilts"
    )
    renamed = [f"{old} -> {new}" for one in facts["sets"] for old, new in one["renamed"].items()]
    lines = [f"Renamed, as another set has the name: {some(renamed)}"] if renamed else []
    taken = [f"{whose}: {kind} {said}" for whose, kind, said in facts["taken"]]
    return "\n".join([summary, *lines, *taken, *(f"Warning: {warning}" for warning in facts["warnings"])])


def _make_names_unique(sets: list[InputSet], findings: Findings) -> list[dict[str, str]]:
    """Rename tomograms and optics groups that clash with earlier sets; old -> new tomogram names by set."""
    series_of: dict[str, str] = {}
    groups: set[str] = set()
    renamed = []
    for inputs in sets:
        table = inputs.tomograms
        if "rlnOpticsGroupName" not in table:
            table["rlnOpticsGroupName"] = table.rlnTomoName  # as RELION takes it
        known, file = table.rlnTomoName.map(series_of), table[SERIES].map(os.path.realpath)
        table["is_new"] = known.ne(file)  # not a tomogram that both sets have
        names = {name: f"{inputs.label}_{name}" for name in table.rlnTomoName[known.notna() & table.is_new]}
        own = set(table.rlnOpticsGroupName[table.is_new])
        clashing = {group: f"{inputs.label}_{group}" for group in own & groups}
        table["rlnOpticsGroupName"] = table.rlnOpticsGroupName.replace(clashing)
        for frame in (table, inputs.particles):
            frame["rlnTomoName"] = frame.rlnTomoName.replace(names)
        if taken := [name for name in table.rlnTomoName[table.is_new] if name in series_of]:
            problem = f"{inputs.tomograms_file}: {some(taken)} is a tomogram of another set, too"
            findings.refuse(problem, "give this set a name of its own in the config (inputs: name)")
        groups |= set(table.rlnOpticsGroupName)
        series_of |= dict(zip(table.rlnTomoName, file, strict=True))
        renamed.append(names)
    return renamed


def _merged_particles(sets: list[InputSet], findings: Findings) -> pd.DataFrame:
    """One table of all particles, with the columns that all sets have or that mean zero where absent."""
    old = list(OF_OLD_IMAGES - {*SCORES})
    tables = [inputs.particles.drop(columns=old, errors="ignore") for inputs in sets]
    shifts = [column for column in SHIFTS if any(column in table for table in tables)]
    for table in tables:
        table[[column for column in shifts if column not in table]] = 0.0
        if "rlnTomoParticleName" in table:
            number = table.rlnTomoParticleName.str.split("/").str[-1]
            table["rlnTomoParticleName"] = table.rlnTomoName + "/" + number
    merged = _common_columns([inputs.particles_file for inputs in sets], tables, findings)
    if "rlnTomoParticleName" in merged and (fault := _fault_of_names(merged.rlnTomoParticleName)):
        merged = merged.drop(columns="rlnTomoParticleName")
        problem = f"Particle names (rlnTomoParticleName) are not {fault}"
        findings.warn(problem, "extraction will give new ones")
    first = ["rlnTomoName", *CENTRED, *ANGLES]
    return merged[[*first, *(column for column in merged if column not in first)]]


def _fault_of_names(particles: pd.Series) -> str:
    """What names of particles, TOMOGRAM/NUMBER, are not; RELION gives them to a shell."""
    if particles.duplicated().any():
        return "unique"
    return "" if all(is_name(part) for name in particles for part in name.split("/")) else "fit for files"


def _common_columns(files: list[str], tables: list[pd.DataFrame], findings: Findings) -> pd.DataFrame:
    """The tables in one, with the columns that all have; `files` are theirs."""
    merged = pd.concat(tables, join="inner", ignore_index=True)
    for file, table in zip(files, tables, strict=True):
        if extra := [str(column) for column in table if column not in merged]:
            findings.warn(f"{file}: {', '.join(extra)} left out, as not all sets have it")
    return merged


def _copy_series(tomograms: pd.DataFrame, series: Mapping[str, Series], out_dir: Path) -> None:
    """Copy to `out_dir` the tilt series that RELION could not read as they are or write again by their path."""
    taken: set[str] = set()
    for index, name, path in zip(tomograms.index, tomograms.rlnTomoName, tomograms[SERIES], strict=True):
        again = written_again_as(path)
        one = series[name]
        if one.mended or one.name != name or not is_plain_path(path) or again in taken:
            copy = out_dir / "tilt_series" / f"{name}.star"
            star.write(copy, {name: one.table.assign(**{NAME: linked_as(one, name, copy.parent)})})
            tomograms.loc[index, SERIES] = str(copy)
        taken.add(again)


def _facts_of_set(inputs: InputSet, renamed: dict[str, str]) -> dict[str, Any]:
    return {
        "tomograms_file": inputs.tomograms_file,
        "particles_file": inputs.particles_file,
        "tomograms": len(inputs.tomograms),
        "particles": len(inputs.particles),
        "renamed": renamed,
    }


def _facts_of_tomograms(
    tomograms: pd.DataFrame,
    particles: pd.DataFrame,
    series: Mapping[str, Series],
    brought: Mapping[str, str],
    findings: Findings,
) -> list[dict[str, Any]]:
    """A block for each tomogram; `brought` is the set that it is of."""
    groups = particles.groupby("rlnTomoName")
    positions = {str(name): table[CENTRED].to_numpy(float) for name, table in groups}
    facts, unseen = [], {}
    for row in tomograms.to_dict("records"):
        name = row["rlnTomoName"]
        visible = _visible_tilts(positions.get(name, np.zeros((0, 3))), row[PIXEL], series[name])
        if count := int((visible == 0).sum()):
            unseen[name] = count
        facts.append(
            {
                "name": name,
                "set": brought[name],
                "optics_group": row["rlnOpticsGroupName"],
                "particles": len(visible),
                "tilts": len(series[name].table),
                "visible_tilts": float(np.median(visible)) if len(visible) else None,
                "pixel_size": row[PIXEL],
                "size": [int(row[column]) for column in SIZE],
            }
        )
    empty = [one["name"] for one in facts if not one["particles"]]
    if empty and len(particles):
        findings.warn(f"No particles in {len(empty)} of {len(facts)} tomograms: {some(empty)}")
    if unseen:
        findings.warn(
            f"In no tilt image, so that extraction leaves them out: {sum(unseen.values())} of {len(particles)} "
            f"particles ({some(f'{count} in {name}' for name, count in unseen.items())})"
        )
    return facts


def _visible_tilts(positions: np.ndarray, pixel: float, series: Series) -> np.ndarray:
    """In how many tilt images each particle's centre lies; `positions` (n, 3): Å from the tomogram's centre.

    A position p is seen at Rz(ZRot) Ry(YTilt) Rx(XTilt) p + shift, in Å from the middle of the image.
    """
    from scipy.spatial.transform import Rotation  # slow to import: every Snakefile's start would pay for it

    table = series.table
    x_tilt = table.rlnTomoXTilt if "rlnTomoXTilt" in table else 0 * table.rlnTomoYTilt
    angles = np.column_stack([table.rlnTomoZRot, table.rlnTomoYTilt, x_tilt])
    turns = Rotation.from_euler("ZYX", angles, degrees=True).as_matrix()
    seen = np.einsum("tij,nj->tni", turns[:, :2], positions)
    seen += table[["rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]].to_numpy(float)[:, None]
    half = np.array(series.shape[::-1]) / 2 * pixel
    return (np.abs(seen) < half).all(axis=2).sum(axis=0)
