"""How bodies of a multi-body refinement moved, iteration by iteration: whether they settle, or drift away.

In RELION 5.0.1 each iteration on 2D stacks adds about the distance of a body from the particle's centre to its offsets,
in all particles alike, and it exits with 0. A body that the consensus shows where it is can be elsewhere in single
particles, but not, by as much as was searched, in all of them alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stacycle.decisions.decision import Decision
from stacycle.errors import UserError
from stacycle.files import job_folder, star
from stacycle.files.star_labels import ANGLES
from stacycle.inputs.orientations import to_rotation

OFFSETS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
_STILL = to_rotation([0.0, 90.0, 0.0])  # the angles of a body that has not turned
_STEADILY, _STILL_GROWS = 3, 0.25  # iterations that show a drift, and its last growth beside the first
_MOSTLY = 0.5  # of the offsets is what particles have in common in a drift
_RANGE, _STEP = "rlnOffsetRange", "rlnOffsetStep"


@dataclass(frozen=True)
class Motion:
    """A body after an iteration, against the consensus. Offsets in Å: `offset` of a particle (rms), `together` what
    all particles have in common, in their own axes, `changed` (rms) since the iteration before, nan if that is not
    there, `searched` the range of the search, `reach` the farthest that one search goes. `turn` in degrees (rms)."""

    iteration: int
    body: str
    offset: float
    together: float
    changed: float
    searched: float
    reach: float
    turn: float


def of_run(folder: str | Path, names: Sequence[str]) -> list[Motion]:
    """The motions of the bodies in each iteration of a run. UserError if there is none, or a table is missing."""
    found, before = list[Motion](), dict[str, tuple[int, NDArray[np.floating]]]()
    paths = sorted(Path(folder).glob(job_folder.every_iteration("data.star")))
    for path in paths:
        number = job_folder.iteration_of(path)
        sampling = path.with_name(job_folder.iteration(number, "sampling.star"))
        if number == 0 or not sampling.exists():
            continue
        tables, (reached, step) = star.read(path), _searched(sampling)
        axes = to_rotation(star.table(path, tables, "particles", ANGLES)[ANGLES])
        for body, name in enumerate(names, 1):
            table = star.table(path, tables, f"images_body_{body}", [*OFFSETS, *ANGLES])
            offsets = np.array(table[OFFSETS], float)
            last, earlier = before.get(name, (0, np.zeros_like(offsets)))
            changed = _rms(offsets - earlier) if last == number - 1 else np.nan
            together = float(np.linalg.norm(axes.inv().apply(offsets).mean(axis=0)))
            turn = _turn(to_rotation(table[ANGLES]))
            limits = reached, reached + step / 2
            found.append(Motion(number, name, _rms(offsets), together, changed, *limits, turn))
            before[name] = number, offsets
    if not found:
        raise UserError(f"{folder}: no iteration of bodies is there", "run it again")
    return found


def refuse_drift(folder: str | Path, motions: Sequence[Motion], pixel: float) -> None:
    """UserError if a body drifts away (`pixel` in Å): in all particles alike it lies farther from the consensus than
    was searched, or more than a pixel and steadily farther; or it changed by more than a search can."""
    by_body: dict[str, list[Motion]] = {}
    for one in motions:
        by_body.setdefault(one.body, []).append(one)
    faults = [(run[-1], fault) for run in by_body.values() if (fault := _fault(run, pixel))]
    if faults:
        last, fault = max(faults, key=lambda found: found[0].offset)
        problem = (
            f"{folder}: the body {last.body} drifts: after iteration {last.iteration} its offsets are "
            f"{last.offset:.3g} Å (rms), {fault}"
        )
        cure = f"do not use it; focus on the body instead: parts: [{last.body}] (docs: States and parts)"
        raise UserError(problem, cure)


def _fault(run: Sequence[Motion], pixel: float) -> str:
    """What is wrong with the motions of one body, for a sentence; "" if nothing is."""
    last, searched, growth = run[-1], run[0].searched, np.diff([0.0, *(one.together for one in run)])
    if last.together > searched:
        return f"{last.together:.3g} Å in all particles alike, which is beyond the {searched:.3g} Å that were searched"
    if far := next((one for one in run if one.changed > one.reach), None):
        change = f"they changed by {far.changed:.3g} Å in iteration {far.iteration}"
        return f"and {change}, where {far.searched:.3g} Å were searched"
    grows = len(run) >= _STEADILY and (growth > 0).all() and growth[-1] > _STILL_GROWS * growth[0]
    if grows and last.together > max(pixel, _MOSTLY * last.offset):
        grew = f"which grew in each iteration, beyond a pixel of {pixel:.3g} Å"
        return f"{last.together:.3g} Å in all particles alike, {grew}"
    return ""


def summary(motions: Sequence[Motion]) -> Decision:
    """What the bodies did, of a run in which none drifts."""
    iteration = motions[-1].iteration
    last = [one for one in motions if one.iteration == iteration]
    moves = (f"{one.body} by {one.offset:.3g} Å and {one.turn:.2g} degrees" for one in last)
    table = pd.DataFrame([vars(one) for one in motions]).drop(columns="reach")
    return Decision(
        question="Multi-body refinement",
        choice={"iteration": iteration},
        by="rule",
        reason=(
            f"After {iteration} iterations bodies move against the consensus (rms): {', '.join(moves)}; none drifts."
        ),
        candidates=table.round(2),
    )


def _searched(sampling: Path) -> tuple[float, float]:
    """Range and step in Å of the search for offsets of an iteration."""
    table = star.columns(sampling, "sampling_general", [_RANGE, _STEP])
    return float(table[_RANGE][0]), float(table[_STEP][0])


def _turn(turned: Rotation) -> float:
    """The turn of a body in degrees (rms), of its angles."""
    return float(np.rad2deg(np.sqrt((((turned * _STILL.inv()).magnitude()) ** 2).mean())))


def _rms(vectors: NDArray[np.floating]) -> float:
    """The rms length of (n, 3) vectors."""
    return float(np.sqrt((vectors**2).sum(axis=1).mean()))
