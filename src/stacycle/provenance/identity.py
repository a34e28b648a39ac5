"""What a state is, by the content of its files; and the record of it, `state.json`, in every folder that holds one.

RELION takes polished particles with unpolished tomograms, or new half maps with an old FSC, without a word. So every
folder that holds a state, or maps of one, has a `state.json`:

- `id`: digest of the state's particles, tomograms (with the tilt series that they name) and trajectories, by content;
- `particles`, `tomograms`, `trajectories`: [path, digest], or null;
- `parent`: {id, path} of the state that the step started from; null for the inputs. Maps have their state's own id;
- `maps`: name -> digest of the maps (or FSC) in the folder that were made of this state; `half_maps`: path -> digest
  of those that an FSC compares;
- `counts`: {in, out, dropped: {reason: number}} of particles, `half_sets`: their numbers in half sets 1 and 2, and
  `in_both`: how many of them are, by their position, the same particle as one in the other half set;
- `resolution` (Å), of a decision; `reference`: {path, id} of the map that a refinement started from.

There is no date in it: the same outcome gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from stacycle.errors import UserError, unreadable
from stacycle.files import content, star
from stacycle.files.job_folder import STATE_FILE
from stacycle.files.optimisation_set import KINDS, OptimisationSet
from stacycle.files.star_labels import SERIES

Record = dict[str, Any]  # what a state.json holds


def identity(files: OptimisationSet) -> Record:
    """`id`, and [path, digest] of particles, tomograms and trajectories. UserError if a file is missing."""
    digests: Record = {
        "particles": [files.particles, digest(files.particles)],
        "tomograms": [files.tomograms, _digest_of_tomograms(files.tomograms)],
        "trajectories": [files.trajectories, digest(files.trajectories)] if files.trajectories else None,
    }
    return {"id": _sha256(json.dumps([digests[kind] and digests[kind][1] for kind in KINDS])), **digests}


def identity_now(record: Record) -> Record:
    """The identity of the files that a record names, as they are now. UserError if one is missing."""
    return identity(OptimisationSet(*(record[kind] and record[kind][0] for kind in KINDS)))


def _digest_of_tomograms(path: str) -> str:
    """Digest of the table with each tilt series' content in the place of its path: where it lies is not what it is."""
    table = star.columns(path, "global", [SERIES])
    table[SERIES] = [digest(series) for series in table[SERIES]]
    return _sha256(json.dumps(table, sort_keys=True))


def digest(path: str | Path) -> str:
    """Digest of what a file holds. UserError if it cannot be read."""
    try:
        return content.digest(path)
    except OSError as error:
        raise unreadable(path, error) from None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def record_of(folder: str | Path) -> Record | None:
    """The record in a folder; None if there is none. UserError if it is damaged."""
    path = Path(folder) / STATE_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if {"id", "parent", "maps", *KINDS} <= record.keys():
            return record
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError):
        pass
    raise UserError(f"{path}: is damaged", cure(path))


def difference(one: Record, other: Record) -> str | None:
    """Which of the three files of two states differ first; None if they are one state."""
    digests = ([record[kind] and record[kind][1] for kind in KINDS] for record in (one, other))
    return next((kind for kind, a, b in zip(KINDS, *digests, strict=True) if a != b), None)


def describe(record: Record, kind: str, other: Record) -> str:
    """What a state has of a kind, in words; `other` is the state that it differs from."""
    if not record[kind]:
        return f"no {kind}"
    earlier = "another version of " if other[kind] and other[kind][0] == record[kind][0] else ""
    return f"{earlier}the {kind} {record[kind][0]}"


def changed(path: str | Path, more: str = "") -> str:
    """The sentence for a file that is not what was recorded."""
    return (
        f"{path}{more} is not what it was when it was recorded ({Path(path).parent}/{STATE_FILE}), so what was made of "
        f"it is of other data; {cure(path)}"
    )


def cure(path: str | Path) -> str:
    """What to do about a result that is not what it was."""
    return f"make it again: stacycle redo {path}"
