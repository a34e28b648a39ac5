"""relion_flex_analyse: principal components of how bodies move against each other, and maps along them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files import bodies, mrc, star
from stacycle.programs import shared
from stacycle.programs.program import Program
from stacycle.programs.task import Task

PER_BODY = 6  # three angles and three offsets
_EXPLAINS = re.compile(r"Component (\d+) explains (\S+?)% of variance")


def argv(*, model: str, data: str, bodies: str, out: str, components: int) -> list[str]:
    """Analyse the end of a multi-body refinement, with maps along so many principal components."""
    return shared.line(
        ["relion_flex_analyse", "--PCA_orient", "--model", model, "--data", data, "--bodies", bodies],
        ["--o", out, "--do_maps", "--k", components],
    )


def enough(particles: int, bodies: int) -> bool:
    """Whether there are so many particles that the program runs."""
    return particles >= PER_BODY * bodies


def explained(lines: Iterable[str]) -> list[float]:
    """How much of the variance each principal component explains, in percent, by what the program said."""
    return [float(found[2]) for line in lines if (found := _EXPLAINS.search(line))]


def _check_particles(task: Task) -> None:
    path, count = task.get("--data"), len(bodies.masks(task.get("--bodies")))
    particles = len(star.columns(path, "particles", ["rlnTomoName"])["rlnTomoName"])
    if not enough(particles, count):
        problem = f"{path}: {particles} particles are too few for the principal components of {count} bodies"
        raise UserError(problem, f"take at least {PER_BODY * count}")


def _check_components(task: Task) -> None:
    """All eigenvectors, and the maps along those that were asked for."""
    out, count = task.get("--o"), len(bodies.masks(task.get("--bodies")))
    path = f"{out}_eigenvectors.dat"
    try:
        rows = Path(path).read_text().splitlines()[1:]
    except OSError:
        rows = []
    if len(rows) != PER_BODY * count or any(len(row.split()) != PER_BODY * count for row in rows):
        raise UserError(f"{path}: does not hold {PER_BODY * count} eigenvectors", "run it again")
    for component in range(1, int(task.get("--k")) + 1):
        maps = sorted(Path(out).parent.glob(f"{Path(out).name}_component{component:03d}_bin*.mrc"))
        if not maps:
            raise UserError(f"{out}_component{component:03d}_bin001.mrc: is not there", "run it again")
        for one in maps:
            mrc.check_values(one)


PROGRAM = Program("relion_flex_analyse", input_checks=(_check_particles,), output_checks=(_check_components,))
