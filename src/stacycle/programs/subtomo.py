"""relion_tomo_subtomo: particles cut out of the tilt series, as stacks of 2D images or in 3D (extract)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from stacycle.checks.complete import is_complete
from stacycle.checks.images import check_stacks, check_tilt_images
from stacycle.checks.outcome import check_counts
from stacycle.checks.state import check_particles, check_tables
from stacycle.checks.tables import StateFiles, same_pixel
from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.files.job_folder import PARTICLES
from stacycle.programs import shared, shares
from stacycle.programs.command import Command
from stacycle.programs.program import CompletionMarker, Continuation
from stacycle.programs.task import Task

STACK2D = "--stack2d"
DATA, WEIGHTS = "_data.mrc", "_weights.mrc"  # how the files of a pseudo-subtomogram end
_FOLDER = "Subtomograms"
_IMAGES = f"{_FOLDER}/*/*"
_DROPPED = re.compile(r"!(\d+|One) particles? (?:were|was) removed because")


def argv(
    *,
    particles: str,
    tomograms: str,
    trajectories: str | None = None,
    out: str,
    box: int,
    binning: float,
    crop: int | None = None,
    max_dose: float | None = None,
    min_frames: int = 1,
    float16: bool = True,
    stack2d: bool = True,
    threads: int,
) -> list[str]:
    """Extract subtomograms into the folder `out`, as 2D stacks or as 3D pseudo-subtomograms."""
    return shared.line(
        ["relion_tomo_subtomo", "--p", particles, "--t", tomograms],
        ["--mot", trajectories],
        ["--theme", "classic", "--o", shared.folder_name(out), "--b", box],
        ["--crop", crop],
        ["--bin", binning],
        ["--max_dose", max_dose],
        ["--min_frames", min_frames],
        float16 and ["--float16"],
        stack2d and [STACK2D],
        ["--j", threads],
    )


def _check_extracted(task: Task) -> None:
    """Particles in = out + dropped, each with its stack of the box asked for."""
    files = task.files
    particles = str(task.folder / PARTICLES)
    made = StateFiles(particles, files.tomograms_file, files.trajectories_file)
    numbers = [found[1] for line in task.lines if (found := _DROPPED.search(line))]
    dropped = sum(1 if number == "One" else int(number) for number in numbers)
    if dropped == len(files.particles["rlnTomoName"]):
        where = f"the edge of all tilt images for a box of {task.get('--b')} px"
        fault = f"all {dropped} particles of {files.particles_file} are too close to {where}"
        raise UserError(fault, "take a smaller one")
    check_counts(files, made, dropped)
    check_particles(made)
    check_stacks(made)
    box, pixel = made.box_and_pixel
    asked_box = int(task.command.get("--crop") or task.command.get("--b") or box)
    if box != asked_box or not same_pixel(pixel, task.asked_pixel):
        asked = f"{asked_box} px of {task.asked_pixel:g} Å were asked for"
        raise UserError(f"{particles}: says {box} px of {pixel:g} Å, but {asked}")
    if made.in_3d == (STACK2D in task.command.flags):
        kinds = ["2D stacks", "pseudo-subtomograms"]
        fault = f"says that its images are {kinds[made.in_3d]}, but {kinds[not made.in_3d]} were asked for"
        raise UserError(f"{particles}: {fault}", "run it again")
    _check_pixels(made)


def _check_pixels(made: StateFiles) -> None:
    """The pixels of a particle of each tomogram: of 2D stacks, that with most tilts."""
    if made.in_3d:
        for image in dict(
            zip(made.particles["rlnTomoName"], made.particles["rlnImageName"], strict=True)
        ).values():
            mrc.check_values(image)
        return
    labels = ("rlnTomoVisibleFrames", "rlnTomoName", "rlnImageName")
    rows = zip(*(made.particles[label] for label in labels), strict=True)
    largest = {name: image for _, name, image in sorted(rows, key=lambda row: row[0].count("1"))}
    for stack in largest.values():
        mrc.check_sections(stack)


def _go_on(command: Command, folder: Path, engine: str) -> Continuation:
    """Continue with the particles that are not done, by their stacks or pseudo-subtomograms."""
    found = shared.go_on_unfinished(command, folder, engine)
    return replace(found, remove=[*found.remove, *_cut_off_in_3d(folder)])


def _cut_off_in_3d(folder: Path) -> list[Path]:
    """RELION takes a pseudo-subtomogram for done that is there, though it writes the weights after it."""
    pairs = [
        (path, path.with_name(path.name.replace(DATA, WEIGHTS))) for path in folder.glob(f"{_IMAGES}{DATA}")
    ]
    left = [path for pair in pairs if not all(map(is_complete, pair)) for path in pair]
    return sorted(path for path in left if path.exists())


PROGRAM = replace(
    shared.TOMOGRAPHY,
    name="relion_tomo_subtomo",
    mpi=True,
    state_checks=(check_tables, check_tilt_images),
    output_checks=(_check_extracted,),
    must_not_change=("tomograms",),
    may_drop="seen in too few tilt images",
    completion_marker=CompletionMarker(f"{_IMAGES}.mrcs"),
    go_on=_go_on,
    merge=shares.merge_images(_FOLDER),
)
