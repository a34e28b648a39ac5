"""When a classification without alignment can end before its last iteration, and what is said of one that did."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from stacycle.decisions.iteration import LEVEL, class3d_iteration, class3d_leeway, is_quiet
from stacycle.decisions.variant import LOCKED
from stacycle.files import job_folder, relion_output
from stacycle.files.atomic import read_json

LEAST = 0.02  # of the particles
AS_BEFORE = 3  # times what moved in the last five iterations
AT_REST = (
    0.002  # change of the probability of a particle's class (Pmax) in an iteration, mean of all particles
)


def in_vain(folder: Path, iteration: int, least: int = 0) -> str:
    """Why iterations after this one would not change which one `class3d_iteration` takes; "" if they might, or if it
    comes before the `least`.

    They might if in the last five iterations the classes were not quiet, or their probabilities not at rest. If they
    were, another is taken only once more particles than `class3d_leeway` are in other classes: it must be three times
    as many as moved in those five iterations, and 2 %. While next to none have left the classes that chance gave them,
    all may still do so, however quiet it is.
    """
    run = [it for it in relion_output.iterations(folder, maps=False) if it.number <= iteration]
    if iteration < least or not is_quiet(run) or relion_output.moved(folder, iteration) < LOCKED:
        return ""
    unlike = relion_output.unlike_last(folder, [it.number for it in run if it.number > 1])
    before = max(2, iteration - LEVEL)
    leeway, lately = class3d_leeway(run, unlike), unlike[before]
    if leeway < max(LEAST, AS_BEFORE * lately) or not _stir(folder, before, iteration) < AT_REST:  # or nan
        return ""
    chosen = class3d_iteration(run, unlike_last=unlike).choice["iteration"]
    return (
        f"{lately:.1%} of the particles moved to another class in the last {LEVEL} iterations, and {leeway:.1%} would "
        f"have to before another iteration than {chosen} were taken"
    )


def _stir(folder: Path, first: int, last: int) -> float:
    """The largest mean change of Pmax in an iteration after `first`, up to `last`; nan where it is not known."""
    probabilities = [
        relion_output.assignments(folder, number).set_index("particle")["pmax"]
        for number in range(first, last + 1)
    ]
    return float(np.max([(after - before).abs().mean() for before, after in pairwise(probabilities)]))


def told(folder: Path) -> str:
    """What is said of a run that ended before its last iteration, in a sentence; "" of one that did not."""
    record = read_json(folder / job_folder.HOW_FAR)
    left = record.get("limit", 0) - record.get("iterations", 0)
    if left <= 0:
        return ""
    saved = f", which saved about {duration(left * each)}" if (each := record.get("seconds_each")) else ""
    return f"The run was stopped at iteration {record['iterations']} of {record['limit']}{saved}: {record['why']}."


def duration(seconds: float) -> str:
    """Hours and minutes, or seconds of less than a minute: `1:05 h`, `40 s`."""
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h" if seconds >= 60 else f"{seconds:.0f} s"
