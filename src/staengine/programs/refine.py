"""relion_refine and relion_refine_mpi: initial models, Class3D and auto-refinement of 2D-stack subtomograms.

Scheres, J. Mol. Biol. 415 (2012) 406 and J. Struct. Biol. 180 (2012) 519; Scheres & Chen, Nat. Methods 9 (2012) 853;
for tilt series Zivanov et al., eLife 11 (2022) e83724. Ranks share the particles of both half sets in the expectation
step; the leader does all else.
"""

from __future__ import annotations

from staengine.programs.refine_options import read_options
from staengine.ranks import ALONE, Launch
from staengine.refinement import gradient
from staengine.refinement.continuation import merged_command, read_optimiser
from staengine.refinement.expectation import serve
from staengine.refinement.iterations import iterate
from staengine.refinement.start import begin, read_particles


def main(argv: list[str], launch: Launch | None = None) -> int:
    program = "relion_refine_mpi" if launch else "relion_refine"
    optimiser = argv[argv.index("--continue") + 1] if "--continue" in argv[:-1] else ""
    command = merged_command(argv) if optimiser else argv
    options = read_options(program, command)
    # RELION's leader computes nothing: N ranks are as many processes less one, if they all run here
    alone = launch is None or launch.size == 1
    threads = max(1, options.j) * (2 if launch and alone else 1)
    before = read_optimiser(optimiser) if optimiser else None
    run = read_particles(program, options, command, threads, before)
    run.ranks = ALONE if launch is None else launch.start(options.o, idle_leader=True)
    if not run.ranks.leads:
        serve(run.data, threads, run.ranks)
        return 0
    begin(run, before)
    if options.grad:
        gradient.iterate(run)
    else:
        iterate(run)
    run.ranks.shared(None)
    return 0
