"""relion_particle_symmetry_expand: each particle once for every rotation of a point group.

The copies of a particle are consecutive, itself first. Everything but the three angles is repeated, rlnRandomSubset and
names too, so that copies stay in one half set.
"""

from __future__ import annotations

import numpy as np

from staengine import cli
from staengine.errors import EngineError
from staengine.numerics import symmetry
from staengine.numerics.euler import euler_angles, euler_matrix
from staengine.tilt_series.star import (
    ANGLES,
    loop_of,
    read_star,
    require_columns,
    require_numbers,
    write_star,
)

PROGRAM = "relion_particle_symmetry_expand"
FLAGS = {
    "--i": cli.Flag("required", "", "particles.star"),
    "--o": cli.Flag("value", "expanded.star", "output particles.star"),
    "--sym": cli.Flag("value", "C1", "point group"),
    **cli.unsupported("--helix", "--twist", "--rise", "--angpix", "--asu", "--frac_sampling", "--frac_range"),
    **cli.unsupported("--ignore_optics"),
}


def main(argv: list[str]) -> int:
    flags = cli.parse(PROGRAM, FLAGS, argv)
    operators = symmetry.rotations(flags.sym)
    tables = read_star(flags.i)
    particles = loop_of(tables, "particles", flags.i)
    require_columns(particles, ANGLES, flags.i, "particles")
    require_numbers(particles, ANGLES, flags.i, "particles")
    if particles.empty:
        raise EngineError(f"{flags.i}: table data_particles is empty.")
    rotations = euler_matrix(*(particles[label].to_numpy(float) for label in ANGLES))
    turned = np.einsum("nij,sjk->nsik", rotations, operators)
    angles = euler_angles(turned.reshape(-1, 3, 3)).reshape(len(particles), -1, 3)
    angles[:, 0] = particles[ANGLES].to_numpy(float)
    expanded = particles.loc[particles.index.repeat(len(operators))].reset_index(drop=True)
    expanded[ANGLES] = angles.reshape(-1, 3)
    write_star(tables | {"particles": expanded}, flags.o)
    print(f" Done! Written: {flags.o} with the expanded particle set.")
    return 0
