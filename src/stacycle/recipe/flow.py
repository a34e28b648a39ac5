"""What a step needs from those before it, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass

from stacycle.files.job_folder import OPTIMISATION_SET, PARTICLES, STATE_FILE


@dataclass(frozen=True)
class Flow:
    """What a step needs from those before it, and what it leaves for those after it, by file name in its folder.

    `state` begins with the optimisation set; the other files tell whether it is still the same. What follows a step
    that `decides` depends on what its state holds. `needs` are fields of this class. `of_class`: its map and resolution
    are those of a class, not of all particles. `repeats`: it may stand several times in a round. `turns`: it turns the
    particles' axes, so that earlier maps and masks no longer lie as they do.
    """

    state: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    half_maps: tuple[str, ...] = ()
    resolution: tuple[str, ...] = ()
    accuracy: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    decides: bool = False
    needs: tuple[str, ...] = ()
    of_class: bool = False
    repeats: bool = False
    turns: bool = False


TABLES = (OPTIMISATION_SET, PARTICLES)  # of a state
CHOICE = Flow((*TABLES, STATE_FILE), reference=("reference.mrc",), resolution=(STATE_FILE,), decides=True)
