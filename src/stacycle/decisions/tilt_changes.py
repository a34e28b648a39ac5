"""What a CTF refinement or a polishing changed in the tilt series and the particles, to see whether it is plausible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.errors import UserError
from stacycle.files import star, trajectories
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import CENTRED, PARTICLE_NAME, SERIES, SHIFT
from stacycle.provenance import particles

FAR = 6.0  # robust standard deviations from its neighbours: such a tilt is counted
STEPS = {"defocus": 50.0, "shift": 0.5}  # Å; the smallest deviation that is taken for one
NEIGHBOURS = 2  # tilts on either side
ROUNDING = 1e-3  # of numbers written in different formats: no change

_ANGLES = ["rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot"]
_DEFOCUS = ["rlnDefocusU", "rlnDefocusV"]
_NUMBERS, _SCALE = [*_ANGLES, *SHIFT, *_DEFOCUS], "rlnCtfScalefactor"

Tilts = dict[str, NDArray[np.floating]]  # numbers of a tilt series, by label
Pair = tuple[Tilts, Tilts]  # before and after


def changes(before: OptimisationSet, after: OptimisationSet) -> dict[str, float]:
    """How much the state changed, over all tilt series; only what changed at all is named.

    Å: `defocus_mean`, `defocus_rms`, `defocus_largest`, `astigmatism_rms` (change of U - V), `shift_rms` and
    `shift_largest` (about each series' mean: a common shift moves the tomogram), `particle_rms` (about each
    tomogram's mean), `motion_largest` (of trajectories that are new). Degrees: `angle_largest`. Numbers:
    `scale_min`, `scale_max` (after), `defocus_outliers` and `shift_outliers` (tilts whose change is far from
    that of their neighbours). UserError if tilt series, tilts or particles are not the same ones.
    """
    pairs = _series(before.tomograms, after.tomograms)
    found = _defocus(pairs) | _scale(pairs) | _alignment(pairs)
    if after.particles != before.particles:
        found |= {"particle_rms": _particle_move(before.particles, after.particles)}
    if after.trajectories and after.trajectories != before.trajectories:
        found |= {"motion_largest": _largest_motion(after.trajectories)}
    return {name: value for name, value in found.items() if abs(value) > ROUNDING}


def _defocus(pairs: Sequence[Pair]) -> dict[str, float]:
    changed = [_moved(pair, _DEFOCUS) for pair in pairs]
    mean = np.concatenate([change.mean(axis=1) for change in changed])
    return {
        "defocus_mean": float(mean.mean()),
        "defocus_rms": _rms(mean),
        "defocus_largest": float(np.abs(mean).max()),
        "astigmatism_rms": _rms(np.concatenate([change[:, 0] - change[:, 1] for change in changed])),
        "defocus_outliers": sum(_outliers(change.mean(axis=1), "defocus") for change in changed),
    }


def _scale(pairs: Sequence[Pair]) -> dict[str, float]:
    if not all(_SCALE in after for _, after in pairs):
        return {}
    scale = np.concatenate([after[_SCALE] for _, after in pairs])
    old = np.concatenate([before.get(_SCALE, np.ones(len(after[_SCALE]))) for before, after in pairs])
    if np.abs(scale - old).max() <= ROUNDING:
        return {}
    return {"scale_min": float(scale.min()), "scale_max": float(scale.max())}


def _alignment(pairs: Sequence[Pair]) -> dict[str, float]:
    shifts = [_moved(pair, SHIFT) for pair in pairs]
    moved = [shift - shift.mean(axis=0) for shift in shifts]
    sizes = np.linalg.norm(np.concatenate(moved), axis=1)
    return {
        "shift_rms": _rms(sizes),
        "shift_largest": float(sizes.max()),
        "angle_largest": float(max(np.abs(_moved(pair, _ANGLES)).max() for pair in pairs)),
        "shift_outliers": sum(_outliers(move, "shift") for move in moved),
    }


def _outliers(change: NDArray[Any], kind: str) -> int:
    """Tilts (rows, in the order of their angles) whose change is far from the median of their neighbours'."""
    change = change.reshape(len(change), -1)
    far, inner = np.zeros(len(change)), range(NEIGHBOURS, len(change) - NEIGHBOURS)
    if inner:
        steps = (step for step in range(-NEIGHBOURS, NEIGHBOURS + 1) if step)
        around = [change[inner.start + step : inner.stop + step] for step in steps]
        far[inner] = np.linalg.norm(change[inner] - np.median(around, axis=0), axis=1)
    for row in set(range(len(change))).difference(inner):
        near = [i for i in range(row - NEIGHBOURS, row + NEIGHBOURS + 1) if 0 <= i < len(change) and i != row]
        far[row] = np.linalg.norm(change[row] - np.median(change[near], axis=0)) if near else 0.0
    return int((far > FAR * max(1.4826 * np.median(far), STEPS[kind])).sum())


def _particle_move(before: str, after: str) -> float:
    """Å rms, about the mean of each tomogram."""
    old, new = _positions(before), _positions(after)
    if set(old.index) != set(new.index):
        raise UserError(f"{after}: does not hold the particles of {before}", "they cannot be compared")
    moves = new[CENTRED] - old[CENTRED]
    about_mean = moves - moves.groupby(new["rlnTomoName"]).transform("mean")
    return _rms(np.linalg.norm(about_mean.to_numpy(), axis=1))


def _positions(path: str) -> pd.DataFrame:
    """Tomogram and refined position (Å) of each particle, by its name."""
    table = star.columns(path, "particles", ["rlnTomoName", PARTICLE_NAME, *CENTRED])
    found = pd.DataFrame(particles.positions(table), columns=CENTRED, index=table[PARTICLE_NAME])
    return found.assign(rlnTomoName=table["rlnTomoName"])


def _largest_motion(path: str) -> float:
    """Å, of any particle in any tilt."""
    try:
        parts = trajectories.all_shifts(path)
        return max((float(np.linalg.norm(shifts, axis=1).max(initial=0.0)) for shifts in parts), default=0.0)
    except ValueError as error:
        fault = f"{path}: cannot be read as trajectories ({error})"
        raise UserError(fault, "run the polishing again") from None


def _series(before: str, after: str) -> list[Pair]:
    """Each tilt series before and after, in the order of the tilt angles."""
    old, new = _tomograms(before), _tomograms(after)
    if old.keys() != new.keys():
        raise UserError(f"{after}: does not hold the tilt series of {before}", "they cannot be compared")
    pairs = []
    for name, path in new.items():
        (tilts, first), (tilts_now, second) = _tilts(old[name], name), _tilts(path, name)
        if set(tilts) != set(tilts_now):
            raise UserError(f"{path}: does not hold the tilts of {old[name]}", "they cannot be compared")
        order = np.argsort(first["rlnTomoYTilt"], kind="stable")
        row_of = {tilt: row for row, tilt in enumerate(tilts_now)}
        order_now = [row_of[tilts[row]] for row in order]
        pairs.append(
            (
                {label: values[order] for label, values in first.items()},
                {label: values[order_now] for label, values in second.items()},
            )
        )
    return pairs


def _tomograms(path: str) -> dict[str, str]:
    """The STAR file of each tilt series, by its name."""
    table = star.columns(path, "global", ["rlnTomoName", SERIES])
    return dict(zip(table["rlnTomoName"], table[SERIES], strict=True))


def _tilts(path: str, name: str) -> tuple[list[str], Tilts]:
    """The images of a tilt series, and its numbers. There may be a thousand series: without pandas."""
    table = star.columns(path, name, ["rlnMicrographName", *_NUMBERS])
    numbers = {label: np.array(table[label], float) for label in (*_NUMBERS, _SCALE) if label in table}
    return table["rlnMicrographName"], numbers


def _moved(pair: Pair, labels: list[str]) -> NDArray[Any]:
    """The change (tilts, labels)."""
    return np.stack([pair[1][label] - pair[0][label] for label in labels], axis=1)


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(values**2)))
