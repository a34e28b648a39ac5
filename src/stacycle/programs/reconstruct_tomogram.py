"""relion_tomo_reconstruct_tomogram: a slab of a tomogram, for a picture."""

from __future__ import annotations

from pathlib import Path

from stacycle.files import mrc, star
from stacycle.files.star_labels import SERIES
from stacycle.programs import shared
from stacycle.programs.command import Command
from stacycle.programs.program import Program
from stacycle.programs.task import Task


def argv(
    *,
    tomograms: str,
    tomogram: str,
    out: str,
    size: tuple[int, int, int],
    height: float,
    pixel: float,
    threads: int,
) -> list[str]:
    """Reconstruct a slab of one tomogram, of `size` (x, y, z) and at `height` above the tomogram's middle, both in
    unbinned px, in voxels of `pixel` Å, into the folder `out`."""
    return shared.line(
        ["relion_tomo_reconstruct_tomogram", "--t", tomograms, "--tn", tomogram],
        ["--o", shared.folder_name(out), "--w", size[0], "--h", size[1], "--d", size[2], "--z0", height],
        ["--binned_angpix", pixel, "--j", threads],
    )


def volume(folder: str | Path, tomogram: str) -> str:
    """The file of a tomogram in the folder of --o."""
    return str(Path(folder, "tomograms", f"rec_{tomogram}.mrc"))


def _series(command: Command) -> dict[str, str]:
    """The table of the tilt series: its name stays when it is aligned anew."""
    columns = star.columns(command.get("--t") or "", "global", ["rlnTomoName", SERIES])
    named = dict(zip(columns["rlnTomoName"], columns[SERIES], strict=True))
    name = command.get("--tn")
    return {"tilt series": named[name]} if name in named else {}


def _check_volume(task: Task) -> None:
    mrc.check_values(volume(task.folder, task.get("--tn")))


PROGRAM = Program(
    "relion_tomo_reconstruct_tomogram",
    also_reads=_series,
    output_checks=(_check_volume,),
    without="without it the page shows particles over a tilt image, not over a slice of a tomogram",
)
