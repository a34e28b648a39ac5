"""Before a program: the state that it starts from, and whether its inputs belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files.job_folder import STATE_FILE
from stacycle.files.optimisation_set import KINDS, OptimisationSet
from stacycle.programs.command import Command
from stacycle.provenance.identity import (
    Record,
    changed,
    cure,
    describe,
    difference,
    digest,
    identity,
    record_of,
)


def check(command: Command) -> None:
    """UserError if the inputs of a command line do not belong together: which, where from, and what to do."""
    halves = command.half_maps()
    if start := start_of(command):
        if all(halves):
            named = command.optimisation_set or command.state().particles
            _check_references(named, start[1], halves, command.get("--fsc") or "")
    elif all(halves):
        _same_state(halves[0], _record_of_map(halves[0]), halves)


def check_maps(optimisation_set: str, halves: Sequence[str], fsc: str) -> Path:
    """UserError unless the half maps were made of this state, and the FSC is theirs. Returns the state's folder."""
    folder, state = _find(OptimisationSet.read(optimisation_set), optimisation_set)
    _check_references(optimisation_set, state, halves, fsc)
    return folder


def start_of(command: Command) -> tuple[Path, Record] | None:
    """The folder and record of the state that a command starts from; None if it takes none.
    UserError if it is none that was recorded."""
    files = command.state()
    if not (files.particles and files.tomograms):
        return None
    return _find(files, command.optimisation_set or files.particles)


def _check_references(named: str, state: Record, halves: Sequence[str], fsc: str) -> None:
    _same_state(named, state, [*halves, fsc] if fsc else halves)
    if fsc:
        record = _record_of_map(fsc)
        compared = (record.get("half_maps") or record["maps"]).values()
        if not all(digest(path) in compared for path in halves):
            fault = f"{fsc} is not the FSC of {halves[0]} and {halves[1]}, though of the same state"
            raise UserError(fault, "post-process these half maps, and give that postprocess.star")


def _same_state(named: str, state: Record, maps: Sequence[str]) -> None:
    """UserError unless the maps, half 1 and half 2 first, were made of this state, which `named` is."""
    for path, half in zip(maps, ("half1", "half2"), strict=False):
        if half not in Path(path).name:
            raise UserError(f"{path} was given as the map of {half}, which its name denies", "give that one")
    for path in maps:
        of_map = _record_of_map(path)
        if kind := difference(state, of_map):
            made_with = f"{describe(of_map, kind, state)}, not {describe(state, kind, of_map)}"
            fault = f"{path} does not belong to {named}: it was made with {made_with}"
            raise UserError(fault, "reconstruct and post-process that state, and give these files")


def _record_of_map(path: str) -> Record:
    """The record of what a map or FSC was made of. UserError if there is none, or the file is not what it was."""
    folder, name = Path(path).parent, Path(path).name
    record = record_of(folder)
    if record is None or name not in record["maps"]:
        fault = f"no {STATE_FILE} beside it tells which particles and tomograms it was made of"
        again = f"if it is the workflow's, {cure(path)}"
        raise UserError(f"{path}: {fault}; {again}", "else give one that the workflow made")
    if digest(path) != record["maps"][name]:
        raise UserError(changed(path))
    return record


def _find(files: OptimisationSet, named: str) -> tuple[Path, Record]:
    """The folder and record of a state, beside one of its files. UserError if there is none."""
    now = identity(files)
    paths = [named, files.particles, files.tomograms, files.trajectories]
    others = []
    for folder in dict.fromkeys(Path(path).parent for path in paths if path):
        if record := record_of(folder):
            if record["id"] == now["id"]:
                return folder, record
            others.append((folder, record))
    raise UserError(_why_not(now, named, others))


def _why_not(now: Record, named: str, others: list[tuple[Path, Record]]) -> str:
    """Why this is none of the states that were recorded beside its files, and what to do."""
    for _, record in others:
        for kind in KINDS:
            if record[kind] and now[kind] and record[kind][0] == now[kind][0] and record[kind] != now[kind]:
                return changed(now[kind][0], " (or a tilt series that it names)" * (kind == "tomograms"))
    particles, digest_of_particles = now["particles"]
    like = [(folder, record) for folder, record in others if record["particles"][1] == digest_of_particles]
    if not like:
        brought = named if named != particles else "OPTIMISATION_SET.star (with these files)"
        return (
            f"{particles}: no {STATE_FILE} tells which tomograms these particles belong to; if they belong "
            f"to {now['tomograms'][0]}, say so by: stacycle adopt {brought}"
        )
    folder, record = min(like, key=lambda one: sum(one[1][kind] != now[kind] for kind in KINDS))
    kind = difference(record, now) or "tomograms"
    return (
        f"{particles} and {describe(now, kind, record)} do not belong together: in {folder} these particles "
        f"were made with {describe(record, kind, now)}; give one optimisation set, such as that of {folder}."
    )
