"""The particles that are exported: found among the results, or where the user says, and read in one way for all
formats."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from stacycle.errors import UserError, some, together
from stacycle.exports.export import Particles
from stacycle.files import star
from stacycle.files.atomic import read_json
from stacycle.files.job_folder import OPTIMISATION_SET
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import ANGLES
from stacycle.inputs.findings import Findings
from stacycle.inputs.input_set import read_tomograms
from stacycle.inputs.pick_formats.pick_format import PicksAsked, all_formats
from stacycle.inputs.place_picks import place_picks, tomograms_of
from stacycle.recipe.rounds import INPUTS

_LADDER = "results/ladder.tsv"
_CLASS = "rlnClassNumber"
_SAY_FROM = "let a run end, or say --from, with a job's folder or a STAR file of particles"


def find(start: str | None, tomograms: str | None) -> OptimisationSet:
    """The state to export: that of the last resolution in the report, or of `start`, which is a job's folder, an
    optimisation set, or particles that an optimisation set beside them names, or to which `tomograms` belong.
    UserError if there is none, or more than one."""
    if start is None:
        return OptimisationSet.read(_last_state())
    if tomograms is not None:
        return OptimisationSet(start, tomograms)
    path = Path(start)
    if path.is_dir():
        sets = [one for one in path.glob(f"*{OPTIMISATION_SET}") if not one.name.startswith("run_it")]
        if len(sets) != 1:
            found = some(sorted(one.name for one in sets)) or "no optimisation set"
            raise UserError(f"{path}: has {found}", "give one file that says which particles are meant")
        return OptimisationSet.read(sets[0])
    if any("rlnTomoParticlesFile" in block for _, block in star.blocks(path)):
        return OptimisationSet.read(path)
    beside = [OptimisationSet.read(one) for one in sorted(path.parent.glob(f"*{OPTIMISATION_SET}"))]
    named = [one for one in beside if os.path.realpath(one.particles) == os.path.realpath(path)]
    if not named:
        problem = f"{path}: no optimisation set beside it says which tomograms these particles belong to"
        raise UserError(problem, "say --tomograms, with their tomograms.star")
    return named[0]


def _last_state() -> str:
    try:
        with open(_LADDER, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except FileNotFoundError:
        rows = []
    if not rows or not rows[-1].get("state"):
        raise UserError(f"{_LADDER}: names no finished result", _SAY_FROM)
    return str(rows[-1]["state"])


def read(state: OptimisationSet, include: Sequence[str], findings: Findings) -> Particles:
    """The particles of a state that are in tomograms whose names fit one of the patterns `include`, with warnings in
    the findings. UserError if there are none, or for what is wrong with the files."""
    known = read_tomograms(state.tomograms, findings)
    _raise(findings)
    frames, asked = tomograms_of(known), PicksAsked((Path(state.particles),), "--from")
    found = all_formats()["star"].read(asked, tuple(frames), findings)
    table = place_picks(found, frames, asked, findings)
    _raise(findings)
    if not set(ANGLES) <= set(table):
        raise UserError(f"{state.particles}: has no angles", "refine the particles first")
    if classes := star.column(state.particles, _CLASS):
        table[_CLASS] = [int(classes[row - 1]) for row in table["row"]]
    if include:
        table = table[[any(fnmatchcase(name, one) for one in include) for name in table.rlnTomoName]]
        if table.empty:
            raise UserError(f"no particle is in a tomogram named as {some(include)}", "correct --include")
    return Particles(state, table.reset_index(drop=True), frames, _names_of_user(frames))


def _raise(findings: Findings) -> None:
    if findings.problems:
        raise together(findings.problems)


def _names_of_user(tomograms: Iterable[str]) -> dict[str, str]:
    """The names that tomograms had before sets were merged, by those that they have."""
    sets = read_json(Path(INPUTS, "preflight.json")).get("sets", [])
    before = {new: old for one in sets for old, new in one["renamed"].items()}
    return {name: before.get(name, name) for name in tomograms}
