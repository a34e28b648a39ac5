"""Symmetry expansion: a copy of each particle for every rotation of its point group, to look at one subunit of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stacycle.files import star
from stacycle.files.job_folder import OPTIMISATION_SET, PARTICLES
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs import particle_symmetry_expand
from stacycle.provenance import record
from stacycle.recipe.geometry import turns_of_group
from stacycle.steps import sizes
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, folder_of

_USUAL = 12  # copies, where the group is the round's


def group_of(job: Any) -> str:
    """The point group that a job's particles are expanded by."""
    asked: str = job.params.settings["symmetry"]
    return str(job.params.symmetry) if asked == "auto" else asked


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Copy the particles of a state."""
    return particle_symmetry_expand.argv(
        particles=reader.files(job.input.state[0]).particles,
        out=str(folder_of(job) / "copies" / PARTICLES),
        symmetry=group_of(job),
    )


def write_state(state: str | Path, copies: str | Path, folder: str | Path, group: str) -> None:
    """Write the copies of a state's particles as a state of their own."""
    folder, files = Path(folder), OptimisationSet.read(state)
    star.write(folder / PARTICLES, star.read(copies))
    made = OptimisationSet(str(folder / PARTICLES), files.tomograms, files.trajectories)
    made.write(folder / OPTIMISATION_SET)
    record.of_decision(folder, Path(state).parent, copies=turns_of_group(group))


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    asked = settings["symmetry"]
    copies = _USUAL if asked == "auto" else turns_of_group(asked)
    yield size.need("tables", size.rows() * (2 * copies) + sizes.tables(2))


STEP = Step("expand", "Symmetry expansion", command, space=space, last=OPTIMISATION_SET)
