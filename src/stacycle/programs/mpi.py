"""Programs on several MPI ranks: their command line, and the environment of the launcher."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from stacycle.programs.command import Command

_OF_SRUN = "SRUN_CPUS_PER_TASK"


def with_mpi(argv: list[str], ranks: int, launcher: str = "mpirun") -> list[str]:
    """The command on several MPI ranks: the launcher (with its own options) and the program's `_mpi` build.
    UserError for fewer ranks than the program needs."""
    command = Command.of(argv)
    if check := command.record.check_ranks:
        check(command.flags, ranks)
    if ranks == 1:
        return argv
    return [*shlex.split(launcher), "-n", str(ranks), f"{command.kind}_mpi", *argv[1:]]


def mpi_settings(launcher: Sequence[str], threads: int = 1) -> dict[str, str]:
    """The environment with which a launcher starts ranks. What the user has set stays; other launchers than srun and a
    plain `mpirun -n N`, and options of mpirun, are the user's own affair.

    srun, from SLURM 22.05 on (its manual), does not read the cores for a rank's `threads` from the job. mpirun of Open
    MPI (4: OMPI_, 5: PRTE_) refuses more ranks than cores or tasks, binds each rank to few cores, whatever its threads,
    and in a SLURM job asks for the list of nodes, which Snakemake's job step does not hand on.
    """
    if launcher and Path(launcher[0]).name == "srun":
        return {} if _OF_SRUN in os.environ else {_OF_SRUN: str(threads)}
    if tuple(launcher[:-1]) != ("mpirun", "-n"):
        return {}
    settings = {
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
    }
    if "SLURM_NODELIST" not in os.environ:
        settings |= {"OMPI_MCA_ras": "^slurm", "PRTE_MCA_ras": "^slurm"}
    return {name: value for name, value in settings.items() if name not in os.environ}
