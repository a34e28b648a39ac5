"""Particles from step to step: none is new, lost without a reason, in another half set, or in both of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stacycle.errors import ProgramFailed
from stacycle.files import star
from stacycle.files.star import Columns
from stacycle.files.star_labels import CENTRED, ORIGINS, PARTICLE_NAME, PIXEL, SUBSET, TURNS
from stacycle.provenance.identity import Record

if TYPE_CHECKING:  # a job that keeps its result does not wait for them
    import numpy as np

# Two particles nearer than this are one that was picked twice: in pixels of the unbinned tilt series, a pixel at bin 4.
NEAR = 4.0
# More pairs than FEW, and than MANY of the particles, with one in each half set make the FSC worthless.
FEW, MANY = 5, 0.01


def add_counts(
    record: Record, before: str, dropped: Mapping[str, int] | str, moved: bool, copies: int = 1
) -> list[str]:
    """Add to a record particles in, out and dropped, the sizes of the half sets, and, if particles have `moved`, how
    many are in both. `dropped` has the number by reason, or the one reason; each particle now has so many `copies`.
    Returns warnings.

    ProgramFailed for what must not be.
    """
    after = record["particles"][0]
    old, new = read(before), read(after)
    lost = copies * count(old) - count(new)
    if isinstance(dropped, str):
        dropped = {dropped: lost} if lost > 0 else {}
    record["counts"] = {"in": count(old), "out": count(new), "dropped": dict(dropped)}
    try:
        if found := list(faults(old, new, before, after, sum(dropped.values()), copies)):
            raise ProgramFailed(" ".join(found))
        if SUBSET not in new:
            return []
        record["half_sets"] = dict(sorted(Counter(map(_half, new[SUBSET])).items()))
        return _look_for_both(record, new) if moved else []
    except (ValueError, OverflowError) as error:
        raise ProgramFailed(f"{after}: a position or half set is not a number ({error})") from None


def _look_for_both(record: Record, particles: Columns) -> list[str]:
    """Record how many particles are in both half sets; returns a warning. ProgramFailed if they are many."""
    path = record["particles"][0]
    distance = NEAR * max(map(float, star.columns(record["tomograms"][0], "global", [PIXEL])[PIXEL]))
    record["in_both"] = pairs = in_both_halves(particles, distance)
    if not pairs:
        return []
    message = (
        f"{pairs} of {count(particles)} particles in {path} lie within {distance:.3g} Å of one in the "
        "other half set: the same particle, picked twice, which makes the FSC look better than it is"
    )
    if too_many(pairs, count(particles)):
        raise ProgramFailed(message, "class3d and select before this step remove one of each pair")
    return [f"{message}."]


def too_many(pairs: int, particles: int) -> bool:
    """Whether so many pairs that are one particle make the FSC worthless."""
    return pairs > max(FEW, MANY * particles)


def faults(
    old: Columns, new: Columns, before: str, after: str, dropped: int, copies: int = 1
) -> Iterator[str]:
    """What no step may do to particles, a sentence each."""
    if count(new) > copies * count(old):
        yield f"{after} has {count(new)} particles, but {before}, which it was made of, only {count(old)}."
    elif lost := copies * count(old) - count(new) - dropped:
        yield f"{lost} of {copies * count(old)} particles of {before} are not in {after}, and nothing says why."
    named = PARTICLE_NAME in old and PARTICLE_NAME in new
    names, names_before = (table[PARTICLE_NAME] if named else _places(table) for table in (new, old))
    if named and len(set(names)) < len(names):
        known = Counter(names_before)
        more = (name for name, n in Counter(names).items() if n > copies * max(1, known[name]))
        if twice := next(more, None):
            yield f"{after} has the particle {twice} twice."
    if named and (strange := set(names).difference(names_before)):
        yield f"{after} has {len(strange)} particles, as {min(strange)}, that {before}, which it was made of, has not."
    if SUBSET in old:
        halves = dict(zip(names_before, map(_half, old[SUBSET]), strict=True))
        halves_now = zip(names, map(_half, new.get(SUBSET, ["0"] * len(names))), strict=True)
        changed = [name for name, half in halves_now if halves.get(name, half) not in (half, 0)]
        if changed:
            yield (
                f"{len(changed)} particles, as {changed[0]}, are in another half set in {after} than in {before}: the "
                "halves are no longer independent, and no resolution from here on is true."
            )


def _places(particles: Columns) -> list[str]:
    """What particles without names are known by before and after an extraction: tomogram and coordinates."""
    at = (map(float, particles[label]) for label in CENTRED)
    rows = zip(particles["rlnTomoName"], *at, strict=True)
    return [f"{name} {x:.1f} {y:.1f} {z:.1f}" for name, x, y, z in rows]


def picked_twice(particles: Columns, distance: float) -> list[int]:
    """The rows (from 0) of particles that are, by their position, the same as one in an earlier row that stays."""
    stays_for = one_of_each(near_pairs(particles, distance)[0], range(count(particles)))
    return [row for row, kept in enumerate(stays_for.tolist()) if kept != row]


def one_of_each(pairs: np.ndarray, best_first: Iterable[int]) -> np.ndarray:
    """For each of n particles the row of the one that stays for it: its own, or that of a better one near it.
    `pairs` (m, 2) are rows of particles near each other, `best_first` all n rows, of which the first stays."""
    import numpy as np

    order = list(best_first)
    stays_for = [-1] * len(order)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    begin = np.searchsorted(both[:, 0], np.arange(len(order) + 1)).tolist()
    near = both[:, 1].tolist()
    for row in order:
        if stays_for[row] < 0:
            stays_for[row] = row
            for other in near[begin[row] : begin[row + 1]]:
                if stays_for[other] < 0:
                    stays_for[other] = row
    return np.array(stays_for, int)


def quality(particles: Mapping[str, Any], labels: Sequence[str]) -> tuple[str, np.ndarray] | None:
    """The first of the columns `labels`, higher being better, that tells a number for each particle: its name and
    values (n). None if there is none."""
    import numpy as np

    for label in labels:
        with suppress(ValueError, TypeError):
            values = np.asarray(particles.get(label, ["none"]), float)
            if np.isfinite(values).all():
                return label, values
    return None


def best_first(values: np.ndarray) -> list[int]:
    """The rows of particles by their quality (n), the best first; of equals the first."""
    import numpy as np

    return [int(row) for row in np.argsort(-values, kind="stable")]


def in_both_halves(particles: Columns, distance: float) -> int:
    """How many pairs of particles nearer than `distance` (Å) have one in each half set."""
    halves = [_half(value) for value in particles[SUBSET]]
    return sum(halves[row] != halves[earlier] for earlier, row in near_pairs(particles, distance)[0].tolist())


def near_pairs(particles: Columns, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of particles of one tomogram at most `distance` (Å) apart.
    Returns their rows from 0 (n, 2), the earlier first, by the later; and the distances (n) in Å."""
    import numpy as np
    from scipy.spatial import cKDTree

    at = positions(particles)
    of_tomogram: dict[str, list[int]] = {}
    for row, tomogram in enumerate(particles["rlnTomoName"]):
        of_tomogram.setdefault(tomogram, []).append(row)
    found = [np.empty((0, 2), int)]
    for rows in map(np.asarray, of_tomogram.values()):
        found.append(np.sort(rows[cKDTree(at[rows]).query_pairs(distance, output_type="ndarray")], axis=1))
    pairs = np.concatenate(found)
    pairs = pairs[np.lexsort(pairs.T)]
    return pairs, np.linalg.norm(at[pairs[:, 0]] - at[pairs[:, 1]], axis=1)


def positions(particles: Columns) -> np.ndarray:
    """Where particles are (n, 3), in Å from the tomogram's centre: coordinate - A_subtomogram · origin."""
    import numpy as np

    def numbers(labels: list[str]) -> np.ndarray:
        none = [0.0] * len(particles[CENTRED[0]])
        return np.array([particles.get(label, none) for label in labels], float)

    x, y, z = numbers(ORIGINS)
    if TURNS[0] in particles:  # RELION's Euler matrix: -rot, -tilt, -psi about Z, Y, Z
        for angle, about_z in zip(np.radians(numbers(TURNS)), (True, False, True), strict=True):
            c, s = np.cos(angle), np.sin(angle)
            x, y, z = (c * x + s * y, c * y - s * x, z) if about_z else (c * x - s * z, y, s * x + c * z)
    at = np.array([particles[label] for label in CENTRED], float)
    return np.stack([at[0] - x, at[1] - y, at[2] - z], axis=1)


def _half(text: str) -> int:
    return int(float(text))


def read(path: str) -> Columns:
    """The columns of a state's particles."""
    return star.columns(path, "particles", ["rlnTomoName", *CENTRED])


def count(particles: Columns) -> int:
    """How many particles a table has."""
    return len(particles["rlnTomoName"])
