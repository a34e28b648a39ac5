"""relion_tomo_reconstruct_particle --no_recon: the sums that an average is made of, of some of the tomograms."""

from __future__ import annotations

from dataclasses import replace

from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.files.star_labels import SUBSET
from stacycle.programs import reconstruct_particle
from stacycle.programs.task import Task


def _check_sums(task: Task) -> None:
    """The sums that an average is made of: there, and with something in them."""
    halves = (0, 1) if SUBSET in task.files.particles else (0,)
    for half in halves:
        found = list(task.folder.glob(f"temp/sum_*_ctf_half{half}.mrc"))
        if not found:
            raise UserError(f"{task.folder}: has no sums of half set {half + 1} in temp/", "run it again")
        for path in found:
            mrc.check_values(path, empty=True)


PROGRAM = replace(
    reconstruct_particle.PROGRAM,
    only_with=reconstruct_particle.ONLY_SUMS,
    output_checks=(_check_sums,),
    maps=(),
)
