"""relion_refine and relion_refine_mpi: initial models, Class3D and auto-refinement of 2D-stack subtomograms.

Scheres, J. Mol. Biol. 415 (2012) 406 and J. Struct. Biol. 180 (2012) 519; Scheres & Chen, Nat. Methods 9 (2012) 853;
for tilt series Zivanov et al., eLife 11 (2022) e83724. Embedded: all in one process, both half sets too.
"""

from __future__ import annotations

from staengine.programs.refine_options import read_options
from staengine.refinement import gradient
from staengine.refinement.continuation import merged_command
from staengine.refinement.iterations import iterate
from staengine.refinement.start import begin


def main(argv: list[str], is_mpi: bool = False) -> int:
    program = "relion_refine_mpi" if is_mpi else "relion_refine"
    optimiser = argv[argv.index("--continue") + 1] if "--continue" in argv[:-1] else ""
    command = merged_command(argv) if optimiser else argv
    options = read_options(program, command)
    threads = max(1, options.j) * (2 if is_mpi else 1)
    run = begin(program, options, command, threads, optimiser)
    if options.grad:
        gradient.iterate(run)
    else:
        iterate(run)
    return 0
