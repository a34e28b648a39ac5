"""The audit of a project: whether every state, and every map, is what was recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files.earlier_results import is_aside
from stacycle.files.job_folder import STATE_FILE
from stacycle.files.optimisation_set import KINDS
from stacycle.provenance import particles
from stacycle.provenance.identity import Record, cure, difference, digest, identity_now, record_of


def audit(results: str | Path) -> list[str]:
    """What is wrong in the provenance of a project's results, a sentence each; paths are from the working folder.

    Looks at every `state.json`: that the files are what was recorded, that the parent is there and the state that it
    was, that particles add up, and that none is new, lost without a reason, or in another half set.
    """
    folders = sorted(path.parent for path in Path(results).rglob(STATE_FILE))
    return [fault for folder in folders if not is_aside(folder) for fault in _faults_of_folder(folder)]


def altered(folder: Path) -> list[str]:
    """The files of the state in a folder, and its maps, that are not what was recorded; none if nothing was.
    UserError for a record that is damaged, or a file that is missing."""
    if (record := record_of(folder)) is None:
        return []
    now = identity_now(record)
    own = Path(os.path.normpath(folder))
    files = [
        record[kind][0]
        for kind in KINDS
        if record[kind] and record[kind][1] != now[kind][1] and own in Path(record[kind][0]).parents
    ]
    return files + [str(folder / name) for name in _altered_maps(folder, record)]


def _altered_maps(folder: Path, record: Record) -> list[str]:
    return [name for name, known in record["maps"].items() if digest(folder / name) != known]


def _faults_of_folder(folder: Path) -> Iterator[str]:
    where = folder / STATE_FILE
    try:
        record = record_of(folder)
        assert record is not None
        now = identity_now(record)
        if kind := difference(record, now):
            yield f"{where}: the {kind} {record[kind][0]} are not what they were; {cure(record[kind][0])}"
        elif record["id"] != now["id"]:
            yield f"{where}: its id is not that of its files; {cure(where)}"
        for name in _altered_maps(folder, record):
            yield f"{where}: {name} is not what it was; {cure(folder / name)}"
        yield from _faults_of_parent(where, record)
    except (UserError, ValueError) as error:
        yield f"{where}: {error}"


def _faults_of_parent(where: Path, record: Record) -> Iterator[str]:
    if record["parent"] is None:
        return
    start = record["parent"]["path"]
    parent = record_of(start)
    if parent is None or parent["id"] != record["parent"]["id"]:
        yield f"{where}: {start}, which it was made of, is not the state that it was; {cure(where.parent)}"
    elif counts := record.get("counts"):
        old, new = (particles.read(one["particles"][0]) for one in (parent, record))
        before, after = particles.count(old), particles.count(new)
        if (counts["in"], counts["out"]) != (before, after):
            yield f"{where}: says {counts['in']} particles in, {counts['out']} out; it is {before}, {after}."
        dropped = sum(counts["dropped"].values())
        yield from particles.faults(old, new, parent["particles"][0], record["particles"][0], dropped)
