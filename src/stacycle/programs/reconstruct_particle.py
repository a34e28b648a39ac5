"""relion_tomo_reconstruct_particle: the average of the particles at the poses that they have, and its half maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stacycle.checks.images import check_tilt_images
from stacycle.checks.state import check_half_sets_if_any, check_tables
from stacycle.files import mrc
from stacycle.files.job_folder import HALF_MAPS, MERGED
from stacycle.files.star_labels import SUBSET
from stacycle.programs import shared, shares
from stacycle.programs.command import Command
from stacycle.programs.program import CompletionMarker, Continuation
from stacycle.programs.task import Task

ONLY_SUMS = "--no_recon"


def argv(
    *, state: str, out: str, box: int, binning: float, symmetry: str, snr: float = 0, threads: int
) -> list[str]:
    """Reconstruct the average of the particles at the poses that they have, into the folder `out`."""
    return shared.line(
        ["relion_tomo_reconstruct_particle", "--i", state, "--theme", "classic"],
        ["--o", shared.folder_name(out), "--b", box, "--bin", binning],
        snr > 0 and ["--SNR", snr],
        ["--j", threads, "--j_out", threads, "--j_in", 1, "--sym", symmetry],
    )


def _check_average(task: Task) -> None:
    """The average, and half maps if the particles have half sets: box and pixel size as asked."""
    names = [MERGED, *(HALF_MAPS if SUBSET in task.files.particles else [])]
    box = int(task.command.get("--crop") or task.command.get("--b") or 0)
    for name in names:
        path = str(task.folder / name)
        mrc.check_size(path, box, task.asked_pixel, "the command asks for", "run it again")
        mrc.check_values(path)


def _go_on(command: Command, folder: Path, engine: str) -> Continuation:
    """RELION does all tomograms again, whatever the flags; the embedded engine continues with the rest."""
    if engine != "relion":
        return shared.go_on_unfinished(command, folder, engine)
    why = f"{command.program} begins anew: RELION cannot go on with the tomograms that are left"
    return Continuation(command.argv, remove=list(folder.glob("temp/*.mrc")), why=why)


PROGRAM = replace(
    shared.TOMOGRAPHY,
    name="relion_tomo_reconstruct_particle",
    mpi=True,
    optimisation_set=None,
    state_checks=(check_tables, check_tilt_images, check_half_sets_if_any),
    output_checks=(_check_average,),
    maps=("half[12].mrc", MERGED),
    ignored_flags=shared.TOMOGRAPHY.ignored_flags | {"--j_in", "--j_out"},
    completion_marker=CompletionMarker(
        "temp/*_data_half1.mrc",
        {"temp/*_ctf_half1.mrc": "", "temp/*_data_half0.mrc": "", "temp/*_ctf_half0.mrc": ""},
    ),
    go_on=_go_on,
    merge=shares.merge_sums,
    only_sums=ONLY_SUMS,
)
