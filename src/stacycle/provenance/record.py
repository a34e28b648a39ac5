"""After a program or a decision: the record of the state that it made, `state.json` (see `identity`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from stacycle.errors import ProgramFailed, UserError
from stacycle.files import star
from stacycle.files.atomic import write_json
from stacycle.files.job_folder import OPTIMISATION_SET, STATE_FILE
from stacycle.files.optimisation_set import KINDS, OptimisationSet
from stacycle.programs.command import Command
from stacycle.provenance import origin, particles
from stacycle.provenance.identity import Record, cure, describe, digest, identity, record_of

_KEPT_BY_DECISIONS = ("tomograms", "trajectories")


def of_program(command: Command, folder: str | Path) -> list[str]:
    """Write the `state.json` of what a program has made in `folder`; returns warnings, a sentence each.
    ProgramFailed if it lost particles without a reason, changed half sets, or changed what it must not."""
    folder, program = Path(folder), command.record
    record = _describe(command, folder)
    if record is None:
        return []
    notes: list[str] = []
    if program.optimisation_set:
        with star.without_garbage_collection():
            start = command.state().particles
            notes = particles.add_counts(record, start, program.may_drop or {}, program.moves_particles)
    if reference := command.get("--ref"):
        of_reference = record_of(Path(reference).parent)
        record["reference"] = {"path": reference, "id": of_reference and of_reference["id"]}
    write_json(folder / STATE_FILE, record)
    return notes


def of_decision(
    folder: str | Path,
    start: str | Path | None = None,
    maps: Sequence[str] = (),
    resolution: float = math.nan,
    dropped: Mapping[str, int] | None = None,
    kept: Sequence[str] = _KEPT_BY_DECISIONS,
    accuracy: Sequence[float] = (),
    copies: int = 1,
) -> None:
    """Write `state.json` for the optimisation set and `maps` in `folder`, of a decision or (no `start`) the inputs.

    `start` is the folder of the state that it was made from, `dropped` how many particles fewer it has, by reason,
    `kept` the kinds of files that are still the same, `accuracy` that of the angles in degrees and of the positions
    in Å, `copies` how many rows each particle has of one before. As a small file that Snakemake compares by content,
    it shows whether a decision made again came to the same state: if so, nothing after it is done again. UserError as
    `of_program`.
    """
    folder = Path(folder)
    files = OptimisationSet.read(folder / OPTIMISATION_SET)
    record = identity(files) | {"parent": None, "maps": {name: digest(folder / name) for name in maps}}
    if start is not None:
        before = record_of(start)
        if before is None:
            raise UserError(f"{start}: no {STATE_FILE} tells what it was made of", cure(start))
        record["parent"] = {"id": before["id"], "path": str(start)}
        _must_be_as_before(record, before, kept, str(folder))
        particles.add_counts(record, before["particles"][0], dropped or {}, moved=False, copies=copies)
    record["resolution"] = resolution if math.isfinite(resolution) else None
    if accuracy:
        record["accuracy"] = [*accuracy]
    write_json(folder / STATE_FILE, record)


def of_map(path: str | Path, source: str | Path) -> None:
    """Write the `state.json` of a map that was worked out from another, if that one has any."""
    path, start = Path(path), Path(source).parent
    if before := record_of(start):
        write_json(path.with_name(STATE_FILE), _of_maps(before, start, [path]))


def adopt(optimisation_set: str | Path) -> Record:
    """Record a state that was brought by hand: whoever calls this says that its files belong together."""
    record = identity(OptimisationSet.read(optimisation_set))
    record |= {"parent": None, "maps": {}, "adopted": True}
    write_json(Path(optimisation_set).with_name(STATE_FILE), record)
    return record


def start_folder(folder: str | Path) -> Path:
    """The folder of the state that a run in `folder` started from. UserError if no record says so."""
    record = record_of(folder)
    if record is None or record["parent"] is None:
        raise UserError(f"{folder}: no {STATE_FILE} tells what the run started from", cure(folder))
    return Path(record["parent"]["path"])


def _describe(command: Command, folder: Path) -> Record | None:
    """The record of what a program made, but for what needs the particles to be read; None if it makes no state."""
    program = command.record
    if program.made_of_map:
        start = Path(command.get("--i") or "").parent
        if (before := record_of(start)) is None:
            return None
    elif found := origin.start_of(command):
        start, before = found
    else:
        return None
    if program.optimisation_set:
        record = identity(OptimisationSet.read(program.optimisation_set(command, folder)))
        _must_be_as_before(record, before, program.must_not_change, command.program)
    else:
        record = {}
    out = command.get("--o") or ""
    start_of_name = "" if out.endswith("/") else Path(out).name
    made = [path for end in program.maps for path in sorted(folder.glob(start_of_name + end))]
    record = _of_maps(before, start, made) | record
    if program.made_of_map and all(halves := command.half_maps()):
        record["half_maps"] = {path: digest(path) for path in halves}
    return record


def _of_maps(before: Record, start: Path, made: Sequence[Path]) -> Record:
    """The record of maps of a state, whose own record is `before`, in `start`."""
    return {key: before[key] for key in ("id", *KINDS)} | {
        "parent": {"id": before["id"], "path": str(start)},
        "maps": {path.name: digest(path) for path in made},
    }


def _must_be_as_before(record: Record, before: Record, kinds: Sequence[str], who: str) -> None:
    """ProgramFailed if a state is not as the one before it in these kinds, or has no trajectories any more."""
    lost = before["trajectories"] and not record["trajectories"]
    for kind in {*kinds, "trajectories"} if lost else kinds:
        if (record[kind] and record[kind][1]) != (before[kind] and before[kind][1]):
            made_of, given = describe(record, kind, before), describe(before, kind, record)
            fault = f"{who} went on with {made_of}, but was given {given}"
            raise ProgramFailed(fault, "do not use what it made, and run it again")
