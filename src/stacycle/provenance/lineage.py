"""Lineage: which particles, tomograms and trajectories belong together, and which maps were made of them.

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

There is no date in it: the same outcome gives the same bytes. `check` refuses what does not belong together,
`record` writes what a program has made, `write` what a decision has, and `audit` looks at a whole project.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacycle.errors import ProgramFailed, UserError
from stacycle.files import content, star
from stacycle.files.atomic import write_json
from stacycle.files.star import KINDS, OptimisationSet
from stacycle.files.star_labels import CENTRED, ORIGINS, PIXEL, SERIES, TURNS
from stacycle.jobs import history
from stacycle.programs.command import Command
from stacycle.recipe.rounds import STATE_FILE

if TYPE_CHECKING:
    import numpy as np

Record = dict[str, Any]  # what a state.json holds

NAME, SUBSET = "rlnTomoParticleName", "rlnRandomSubset"
# The programs that make a state, and what of it they must leave as it was.
UNCHANGED: dict[str, tuple[str, ...]] = {
    "relion_tomo_subtomo": ("tomograms",),
    "relion_refine": ("tomograms", "trajectories"),
    "relion_tomo_refine_ctf": ("particles", "trajectories"),
    "relion_tomo_align": (),
}
DROPS = {
    "relion_tomo_subtomo": "seen in too few tilt images"
}  # the only program that may drop particles, and why
RECONSTRUCT, POSTPROCESS, MASK = (
    "relion_tomo_reconstruct_particle",
    "relion_postprocess",
    "relion_mask_create",
)
# The maps (and FSC) of each program that others take, by what follows the name or folder given as --o.
MAPS = {
    "relion_refine": ("_half[12]_class001_unfil.mrc", "_class001.mrc"),
    RECONSTRUCT: ("half[12].mrc", "merged.mrc"),
    POSTPROCESS: (".star", ".mrc", "_masked.mrc"),
    MASK: ("",),
}
# Two particles nearer than this are one that was picked twice: in pixels of the unbinned tilt series, a pixel at bin 4.
NEAR = 4.0
# More pairs than FEW, and than MANY of the particles, with one in each half set make the FSC worthless.
FEW, MANY = 5, 0.01
HALVES = ("half1", "half2")
SLACK = 2.0  # seconds between a file's time and that of the job's record


# ------------------------------------------------------------ before a program


def check(command: Command) -> None:
    """UserError if the inputs of a command line do not belong together: which, where from, and what to do."""
    if command.kind == POSTPROCESS:
        halves = command.half_maps()
        _same_state(halves[0], _made(halves[0]), halves)
    elif (start := _start(command)) and "--ref1" in command.flags:
        named = command.optimisation_set or command.get("--p") or ""
        _check_references(named, start[1], command.half_maps(), command.get("--fsc") or "")


def check_maps(optimisation_set: str, halves: Sequence[str], fsc: str) -> Path:
    """UserError unless the half maps were made of this state, and the FSC is theirs. Returns the state's folder."""
    folder, state = _find(star.read_optimisation_set(optimisation_set), optimisation_set)
    _check_references(optimisation_set, state, halves, fsc)
    return folder


def _check_references(named: str, state: Record, halves: Sequence[str], fsc: str) -> None:
    _same_state(named, state, [*halves, fsc] if fsc else halves)
    if fsc:
        known = _made(fsc)
        measured = known.get("half_maps") or known["maps"]
        if not all(any(_holds(path, one) for one in measured.values()) for path in halves):
            raise UserError(
                f"{fsc} is not the FSC of {halves[0]} and {halves[1]}, though of the same state",
                "post-process these half maps, and give that postprocess.star",
            )


def _same_state(named: str, state: Record, maps: Sequence[str]) -> None:
    """UserError unless the maps, half 1 and half 2 first, were made of this state, which `named` is."""
    for path, half in zip(maps, HALVES, strict=False):
        if half not in Path(path).name:
            raise UserError(f"{path} was given as the map of {half}, which its name denies", "give that one")
    for path in maps:
        if kind := _difference(state, of_map := _made(path)):
            raise UserError(
                (
                    f"{path} does not belong to {named}: it was made with {_named(of_map, kind, state)}, not "
                    f"{_named(state, kind, of_map)}"
                ),
                "reconstruct and post-process that state, and give these files",
            )


def _made(path: str | Path) -> Record:
    """The record of what a map or FSC was made of. UserError if there is none, or the file is not what it was."""
    path = Path(path)
    known = record_of(path.parent)
    if known is None or path.name not in known["maps"]:
        raise UserError(
            (
                f"{path}: no {STATE_FILE} beside it tells which particles and tomograms it was made of; if it is the "
                f"workflow's, {cure(path)}"
            ),
            "else give one that the workflow made",
        )
    if not _holds(path, known["maps"][path.name]):
        raise _changed(path)
    return known


def _start(command: Command) -> tuple[Path, Record] | None:
    """The folder and record of the state that a command starts from; None if it starts from none.

    UserError if it is none that was recorded.
    """
    if command.kind not in (*UNCHANGED, RECONSTRUCT):
        return None
    files = command.state()
    if not (files.particles and files.tomograms):
        return None
    return _find(files, command.optimisation_set or files.particles)


def _find(files: OptimisationSet, named: str) -> tuple[Path, Record]:
    now = identity(files)
    paths = [named, files.particles, files.tomograms, files.trajectories]
    folders = dict.fromkeys(Path(path).parent for path in paths if path)
    others = []
    for folder in folders:
        if record := record_of(folder):
            if record["id"] == now["id"]:
                return folder, record
            others.append((folder, record))
    raise _why_not(now, named, others)


def _why_not(now: Record, named: str, known: list[tuple[Path, Record]]) -> UserError:
    """Why this is none of the states that were recorded beside its files, and what to do."""
    for _, record in known:
        for kind in KINDS:
            if record[kind] and now[kind] and record[kind][0] == now[kind][0] and record[kind] != now[kind]:
                return _changed(now[kind][0], " (or a tilt series that it names)" * (kind == "tomograms"))
    like = [(folder, record) for folder, record in known if record["particles"][1] == now["particles"][1]]
    if not like:
        return UserError(
            f"{now['particles'][0]}: no {STATE_FILE} tells which tomograms these particles belong to",
            f"if they belong to {now['tomograms'][0]}, say so by: stacycle adopt "
            f"{_set_for(named, now['particles'][0])}",
        )
    folder, record = min(like, key=lambda one: sum(one[1][kind] != now[kind] for kind in KINDS))
    kind = _difference(record, now) or "tomograms"
    return UserError(
        f"{now['particles'][0]} and {_named(now, kind, record)} do not belong together: in {folder} these particles "
        f"were made with {_named(record, kind, now)}",
        f"give one optimisation set, such as that of {folder}",
    )


def _set_for(named: str, particles: str) -> str:
    return named if named != particles else "OPTIMISATION_SET.star (with these files)"


def _difference(one: Record, other: Record) -> str | None:
    """Which of the three files of two states differ first; None if they are one state."""
    digests = ([record[kind] and record[kind][1] for kind in KINDS] for record in (one, other))
    return next((kind for kind, a, b in zip(KINDS, *digests, strict=True) if a != b), None)


def _named(record: Record, kind: str, other: Record) -> str:
    """What a state has of a kind, in words; `other` is the state that it is told apart from."""
    if not record[kind]:
        return f"no {kind}"
    earlier = "another version of " if other[kind] and other[kind][0] == record[kind][0] else ""
    return f"{earlier}the {kind} {record[kind][0]}"


def _changed(path: str | Path, more: str = "") -> UserError:
    return UserError(
        f"{path}{more} is not what it was when it was recorded ({Path(path).parent}/{STATE_FILE}), so what was made of "
        "it is of other data",
        cure(path),
    )


# ------------------------------------------------------------ after a program, and of a decision


def record(command: Command, folder: str | Path) -> list[str]:
    """Write the `state.json` of what a program has made in `folder`; returns what is worth telling, in sentences.

    ProgramFailed if it lost particles without a reason, changed half sets, or changed what it must not.
    """
    folder = Path(folder)
    known = _described(command, folder)
    if known is None:
        return []
    notes: list[str] = []
    if command.kind in UNCHANGED:
        moved = command.kind in ("relion_refine", "relion_tomo_align")
        with _nothing_thrown_away():
            notes = _counted(known, command.state().particles, DROPS.get(command.kind, {}), moved)
    if reference := command.get("--ref"):
        of_reference = record_of(Path(reference).parent)
        known["reference"] = {"path": reference, "id": of_reference and of_reference["id"]}
    write_json(folder / STATE_FILE, known)
    return notes


def write(
    folder: str | Path,
    start: str | Path | None = None,
    maps: Sequence[str] = (),
    resolution: float = math.nan,
    dropped: Mapping[str, int] | None = None,
) -> None:
    """Write `state.json` for the optimisation set and `maps` in `folder`, of a decision or (no `start`) the inputs.

    `start` is the folder of the state that it was made from, `dropped` how many particles fewer it has, by reason.
    As a small file that Snakemake compares by content, it tells whether a decision made again came to the same state:
    if so, nothing after it is done again. UserError as `record`.
    """
    folder = Path(folder)
    files = star.read_optimisation_set(folder / "optimisation_set.star")
    known = identity(files) | {"parent": None, "maps": {name: _digest(folder / name) for name in maps}}
    if start is not None:
        begun = record_of(Path(start))
        if begun is None:
            raise UserError(f"{start}: no {STATE_FILE} tells what it was made of", f"{cure(start)}")
        known["parent"] = {"id": begun["id"], "path": str(start)}
        _must_be_as_before(known, begun, UNCHANGED["relion_refine"], str(folder))
        _counted(known, begun["particles"][0], dropped or {}, moved=False)
    known["resolution"] = resolution if math.isfinite(resolution) else None
    write_json(folder / STATE_FILE, known)


def adopt(optimisation_set: str | Path) -> Record:
    """Record a state that was brought by hand: whoever calls this says that its files belong together."""
    known = identity(star.read_optimisation_set(optimisation_set)) | {
        "parent": None,
        "maps": {},
        "adopted": True,
    }
    write_json(Path(optimisation_set).with_name(STATE_FILE), known)
    return known


def origin(folder: str | Path) -> Path:
    """The folder of the state that a run in `folder` started from."""
    known = record_of(Path(folder))
    if known is None or known["parent"] is None:
        raise UserError(f"{folder}: no {STATE_FILE} tells what the run started from", f"{cure(folder)}")
    return Path(known["parent"]["path"])


def record_of(folder: Path) -> Record | None:
    """The record in a folder, or what it would be in a folder that an older version made; None if there is none."""
    path = folder / STATE_FILE
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if "id" not in known:
            return _of_older_version(folder)
        if {"parent", "maps", *KINDS} <= known.keys():
            return known
    except (ValueError, TypeError):
        pass
    raise UserError(f"{path}: is damaged", f"{cure(path)}")


def _of_older_version(folder: Path) -> Record | None:
    """What belongs together in a folder of a time when nothing was recorded, if nothing in it was touched since.

    The job's own command line, or the optimisation set beside a decision, tells what was made of what; only the time
    of the files can tell that they are still the same. So finished work of an older version is not refused.
    """
    marks = (folder / name for name in ("job.json", "decision.json", "preflight.json"))
    if (mark := next((path for path in marks if path.exists()), None)) is None:
        return None
    try:
        if mark.name == "job.json":
            job = json.loads(mark.read_text(encoding="utf-8"))
            known = _described(Command.of(shlex.split(job["command"])), folder) if job["ended_well"] else None
        else:
            known = identity(star.read_optimisation_set(folder / "optimisation_set.star")) | {"parent": None}
            known["maps"] = {path.name: _digest(path) for path in folder.glob("*.mrc")}
            known["maps"] |= {path.name: _digest(path) for path in folder.glob("postprocess.star")}
    except (UserError, ValueError, KeyError):
        return None
    if known is None:
        return None
    files = [known[kind][0] for kind in KINDS if known[kind]] + [folder / name for name in known["maps"]]
    files += _series(known["tomograms"][0])
    newest = max(Path(path).stat().st_mtime for path in files)
    return known if newest < mark.stat().st_mtime + SLACK else None


def _described(command: Command, folder: Path) -> Record | None:
    """The record of what a program made, but for what needs the particles to be read; None if it makes no state."""
    if command.kind in (POSTPROCESS, MASK):
        start = Path(command.get("--i") or "").parent
        if (begun := record_of(start)) is None:
            return None
    elif found := _start(command):
        start, begun = found
    else:
        return None
    out = command.get("--o") or ""
    if command.kind in UNCHANGED:
        known = identity(star.read_optimisation_set(_set_made(command, folder)))
        _must_be_as_before(known, begun, UNCHANGED[command.kind], command.program)
    else:
        known = {key: begun[key] for key in ("id", *KINDS)}
    start_of = "" if out.endswith("/") else Path(out).name
    made = [path for end in MAPS.get(command.kind, ()) for path in sorted(folder.glob(start_of + end))]
    known |= {
        "parent": {"id": begun["id"], "path": str(start)},
        "maps": {path.name: _digest(path) for path in made},
    }
    if command.kind == POSTPROCESS:
        known["half_maps"] = {path: _digest(path) for path in command.half_maps()}
    return known


def _set_made(command: Command, folder: Path) -> Path:
    """The optimisation set that a program wrote: of a classification, that of its last iteration."""
    if command.kind != "relion_refine":
        return folder / "optimisation_set.star"
    run = Path(command.get("--o") or "").name
    final = folder / f"{run}_optimisation_set.star"
    if "--auto_refine" in command.flags or final.exists():
        return final
    return max(folder.glob(f"{run}_it[0-9][0-9][0-9]_optimisation_set.star"), default=final)


def _must_be_as_before(known: Record, begun: Record, kinds: Sequence[str], who: str) -> None:
    """ProgramFailed if a state is not as the one before it in these kinds, or has no trajectories any more."""
    lost = begun["trajectories"] and not known["trajectories"]
    for kind in {*kinds, "trajectories"} if lost else kinds:
        if (known[kind] and known[kind][1]) != (begun[kind] and begun[kind][1]):
            raise ProgramFailed(
                f"{who} went on with {_named(known, kind, begun)}, but was given {_named(begun, kind, known)}",
                "do not use what it made, and run it again",
            )


# ------------------------------------------------------------ identity by content


def identity(files: OptimisationSet) -> Record:
    """`id`, and [path, digest] of particles, tomograms and trajectories. UserError if a file is missing."""
    told: Record = {
        "particles": [files.particles, _digest(files.particles)],
        "tomograms": [files.tomograms, _digest_of_tomograms(files.tomograms)],
        "trajectories": [files.trajectories, _digest(files.trajectories)] if files.trajectories else None,
    }
    return {"id": _id(told), **told}


def _id(known: Record) -> str:
    return _sha256(json.dumps([known[kind] and known[kind][1] for kind in KINDS]).encode())


def _digest_of_tomograms(path: str) -> str:
    """Digest of the table with each tilt series' content in the place of its path: where it lies is not what it is."""
    table = star.columns(path, "global", [SERIES])
    table[SERIES] = [_digest(series) for series in table[SERIES]]
    return _sha256(json.dumps(table, sort_keys=True).encode())


def _series(tomograms: str) -> list[str]:
    return star.columns(tomograms, "global", [SERIES])[SERIES]


def _digest(path: str | Path) -> str:
    """Digest of what a file holds (`content.digest`)."""
    with _readable(path):
        return content.digest(path)


def _holds(path: str | Path, recorded: str) -> bool:
    """Whether a file holds what it held when this digest was recorded."""
    with _readable(path):
        return content.holds(path, recorded)


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})", "check the path") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ------------------------------------------------------------ particles and half sets


def _counted(known: Record, before: str, dropped: Mapping[str, int] | str, moved: bool) -> list[str]:
    """Add to a record particles in, out and dropped, the sizes of the half sets, and, if particles have `moved`, how
    many are in both. `dropped` has the number by reason, or the one reason. Returns what is worth telling.

    ProgramFailed for what must not be.
    """
    after = known["particles"][0]
    old, new = _particles(before), _particles(after)
    lost = _rows(old) - _rows(new)
    if isinstance(dropped, str):
        dropped = {dropped: lost} if lost > 0 else {}
    known["counts"] = {"in": _rows(old), "out": _rows(new), "dropped": dict(dropped)}
    try:
        if faults := list(_faults(old, new, before, after, sum(dropped.values()))):
            raise ProgramFailed(" ".join(faults))
        if SUBSET not in new:
            return []
        known["half_sets"] = dict(sorted(Counter(map(_half, new[SUBSET])).items()))
        return _look_for_both(known, new) if moved else []
    except (ValueError, OverflowError) as error:
        raise ProgramFailed(f"{after}: a position or half set is not a number ({error})") from None


@contextmanager
def _nothing_thrown_away() -> Iterator[None]:
    """Python looks for garbage after every few hundred new lists: a third of the time for a million texts."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _look_for_both(known: Record, particles: dict[str, list[str]]) -> list[str]:
    """Note how many particles are in both half sets, and tell; ProgramFailed if they are many."""
    distance = NEAR * max(map(float, star.columns(known["tomograms"][0], "global", [PIXEL])[PIXEL]))
    known["in_both"] = count = in_both_halves(particles, distance)
    if not count:
        return []
    told = (
        f"{count} of {_rows(particles)} particles in {known['particles'][0]} lie within {distance:.3g} Å of one in the "
        "other half set: the same particle, picked twice, which makes the FSC look better than it is"
    )
    if too_many(count, _rows(particles)):
        raise ProgramFailed(told, "class3d and select before this step remove one of each pair")
    return [f"{told}."]


def too_many(pairs: int, particles: int) -> bool:
    """Whether so many pairs that are one particle make the FSC worthless."""
    return pairs > max(FEW, MANY * particles)


def _faults(
    old: dict[str, list[str]], new: dict[str, list[str]], before: str, after: str, dropped: int
) -> Iterator[str]:
    """What no step may do to particles, a sentence each."""
    if _rows(new) > _rows(old):
        yield f"{after} has {_rows(new)} particles, but {before}, which it was made of, only {_rows(old)}."
    elif lost := _rows(old) - _rows(new) - dropped:
        yield f"{lost} of {_rows(old)} particles of {before} are not in {after}, and nothing says why."
    named = NAME in old and NAME in new
    names, known = (table[NAME] if named else _places(table) for table in (new, old))
    if named and len(set(names)) < len(names):
        twice = next(name for name, n in Counter(names).items() if n > 1)
        yield f"{after} has the particle {twice} twice."
    if named and (strange := set(names).difference(known)):
        yield f"{after} has {len(strange)} particles, as {min(strange)}, that {before}, which it was made of, has not."
    if SUBSET in old:
        halves = dict(zip(known, map(_half, old[SUBSET]), strict=True))
        now = zip(names, map(_half, new.get(SUBSET, ["0"] * len(names))), strict=True)
        changed = [name for name, half in now if halves.get(name, half) not in (half, 0)]
        if changed:
            yield (
                f"{len(changed)} particles, as {changed[0]}, are in another half set in {after} than in {before}: the "
                "halves are no longer independent, and no resolution from here on is true."
            )


def _places(particles: dict[str, list[str]]) -> list[str]:
    """What tells particles without names apart, before and after an extraction: tomogram and coordinates."""
    at = (map(float, particles[label]) for label in CENTRED)
    return [
        f"{name} {x:.1f} {y:.1f} {z:.1f}" for name, x, y, z in zip(particles["rlnTomoName"], *at, strict=True)
    ]


def picked_twice(particles: dict[str, list[str]], distance: float) -> list[int]:
    """The rows (from 0) of particles that are, by their position, the same as one in an earlier row that stays."""
    gone: set[int] = set()
    for earlier, row in near_pairs(particles, distance)[0].tolist():
        if earlier not in gone:
            gone.add(row)
    return sorted(gone)


def in_both_halves(particles: dict[str, list[str]], distance: float) -> int:
    """How many pairs of particles nearer than `distance` (Å) have one in each half set."""
    halves = [_half(value) for value in particles[SUBSET]]
    return sum(halves[one] != halves[other] for one, other in near_pairs(particles, distance)[0].tolist())


def near_pairs(particles: Mapping[str, Sequence[Any]], distance: float) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of particles of one tomogram at most `distance` (Å) apart.

    Returns their rows from 0 (n, 2), the earlier first, by the later; and the distances (n) in Å.
    """
    import numpy as np
    from scipy.spatial import cKDTree

    at, rows_of = np.array(positions(particles), float).reshape(-1, 3), dict[str, list[int]]()
    for row, tomogram in enumerate(particles["rlnTomoName"]):
        rows_of.setdefault(tomogram, []).append(row)
    found = [np.empty((0, 2), int)]
    for rows in map(np.array, rows_of.values()):
        found.append(np.sort(rows[cKDTree(at[rows]).query_pairs(distance, output_type="ndarray")], axis=1))
    pairs = np.concatenate(found)
    pairs = pairs[np.lexsort(pairs.T)]
    return pairs, np.linalg.norm(at[pairs[:, 0]] - at[pairs[:, 1]], axis=1)


def positions(particles: Mapping[str, Sequence[Any]]) -> list[tuple[float, ...]]:
    """Where particles are, in Å from the tomogram's centre: coordinate - A_subtomogram · origin."""
    at = [map(float, particles[label]) for label in CENTRED]
    if any(label not in particles for label in ORIGINS):
        return list(zip(*at, strict=True))
    origins: Iterable[tuple[float, ...]] = zip(
        *(map(float, particles[label]) for label in ORIGINS), strict=True
    )
    if all(label in particles for label in TURNS):
        turns = zip(*(map(float, particles[label]) for label in TURNS), strict=True)
        origins = (_turned(origin, *turn) for origin, turn in zip(origins, turns, strict=True))
    return [
        (x - a, y - b, z - c) for (x, y, z), (a, b, c) in zip(zip(*at, strict=True), origins, strict=True)
    ]


def _turned(vector: tuple[float, ...], rot: float, tilt: float, psi: float) -> tuple[float, float, float]:
    """RELION's Euler matrix of the angles (degrees) times the vector: turns by -rot, -tilt, -psi about Z, Y, Z."""
    x, y, z = vector
    for angle, about_z in ((rot, True), (tilt, False), (psi, True)):
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        x, y, z = (c * x + s * y, c * y - s * x, z) if about_z else (c * x - s * z, y, s * x + c * z)
    return x, y, z


def _half(text: str) -> int:
    return int(float(text))


def _particles(path: str) -> dict[str, list[str]]:
    return star.columns(path, "particles", ["rlnTomoName", *CENTRED])


def _rows(table: dict[str, list[str]]) -> int:
    return len(next(iter(table.values()), []))


# ------------------------------------------------------------ a whole project


def audit(results: str | Path) -> list[str]:
    """What is wrong in the lineage of a project's results, a sentence each; paths are from the working folder.

    Looks at every `state.json`: that the files are what was recorded, that the parent is there and the state that it
    was, that particles add up, and that none is new, lost without a reason, or in another half set.
    """
    found = sorted(path.parent for path in Path(results).rglob(STATE_FILE))
    return [fault for folder in found if not history.is_aside(folder) for fault in _faults_of_folder(folder)]


def altered(folder: Path) -> list[str]:
    """The files of the state in a folder, and its maps, that are not what was recorded; none if nothing was.

    UserError for a record that is damaged, or a file that is missing.
    """
    if not (folder / STATE_FILE).exists() or (known := record_of(folder)) is None:
        return []
    now = identity(OptimisationSet(*(known[kind] and known[kind][0] for kind in KINDS)))
    own = Path(os.path.normpath(folder))
    found = [
        known[kind][0]
        for kind in KINDS
        if known[kind] and known[kind][1] != now[kind][1] and own in Path(known[kind][0]).parents
    ]
    return found + [
        str(folder / name) for name, digest in known["maps"].items() if not _holds(folder / name, digest)
    ]


def _faults_of_folder(folder: Path) -> Iterator[str]:
    where = folder / STATE_FILE
    try:
        known = record_of(folder)
        if known is None:
            yield f"{where}: says nothing of particles and tomograms."
            return
        now = identity(OptimisationSet(*(known[kind] and known[kind][0] for kind in KINDS)))
        if kind := _difference(known, now):
            yield f"{where}: the {kind} {known[kind][0]} are not what they were; {cure(known[kind][0])}"
        elif known["id"] != now["id"]:
            yield f"{where}: its id is not that of its files; {cure(where)}"
        for name, digest in known["maps"].items():
            if not _holds(folder / name, digest):
                yield f"{where}: {name} is not what it was; {cure(folder / name)}"
        yield from _faults_of_parent(where, known)
    except (UserError, ValueError) as error:
        yield f"{where}: {error}"


def cure(path: str | Path) -> str:
    """What to do about a result that is not what it was."""
    return f"make it again: stacycle redo {path}"


def _faults_of_parent(where: Path, known: Record) -> Iterator[str]:
    if known["parent"] is None:
        return
    parent = record_of(Path(known["parent"]["path"]))
    if parent is None or parent["id"] != known["parent"]["id"]:
        before = known["parent"]["path"]
        yield f"{where}: {before}, which it was made of, is not the state that it was; {cure(where.parent)}"
    elif counts := known.get("counts"):
        old, new = (_particles(one["particles"][0]) for one in (parent, known))
        if (counts["in"], counts["out"]) != (_rows(old), _rows(new)):
            yield f"{where}: says {counts['in']} particles in, {counts['out']} out; it is {_rows(old)}, {_rows(new)}."
        dropped = sum(counts["dropped"].values())
        yield from _faults(old, new, parent["particles"][0], known["particles"][0], dropped)
