"""How the MPI ranks of a tomography program share the tomograms of a job."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from stacycle.errors import UserError
from stacycle.files import image_files, mrc, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import SERIES
from stacycle.programs import software
from stacycle.resources.site import Layout, layout_of_shares

_PIXEL = 4  # bytes
# What a rank of RELION 5.0.1 holds in memory (benchmarks/rank_memory.py).
_PROGRAM = 60  # MB
_COPIES = 3  # of a tilt series: its images, and what is made of them
_SUMS = 24  # bytes per voxel of an average and thread, of what is summed up
_AVERAGE = 70  # bytes per voxel of it while the maps are made, when the tilt series are no longer there
_REFERENCE = 20  # bytes per voxel of the box in which half maps are compared with tilt images


def layout_of(
    job: Any, engine: Mapping[str, Any], tomograms: tuple[int, float], averaged: int = 0, compared: int = 0
) -> Layout:
    """The ranks and threads of a job: a rank at most for each of the tomograms, and as its memory allows; one rank if
    nothing is there to start more, and the profile does not ask for them.

    `tomograms` is their number, and the MB of the tilt images of one; for the boxes see `memory`.
    """
    number, tilt_series = tomograms
    if not (job.resources.get("mpi") or job.resources.get("ranks") or software.has_mpirun(engine)):
        number = 1
    of_rank = partial(memory, tilt_series, averaged=averaged, compared=compared)
    return layout_of_shares(job.resources, job.threads, number, of_rank)


def memory(tilt_series: float, threads: int, averaged: int = 0, compared: int = 0) -> float:
    """The MB that a rank takes with the images of a tilt series of so many MB. `averaged` (px) is the box of an average
    that each thread sums up, `compared` (px) that of half maps that tilt images are compared with."""
    most = max(_COPIES * tilt_series, _AVERAGE * averaged**3 / 1e6)
    return _PROGRAM + most + (threads * _SUMS * averaged**3 + _REFERENCE * compared**3) / 1e6


def tomograms(files: OptimisationSet) -> tuple[int, float]:
    """The number of tomograms of a state, and the MB of the first one's tilt images; 0 if their size cannot be told."""
    series = star.columns(files.tomograms, "global", [SERIES])[SERIES]
    tilts = next(iter(star.read(series[0]).values()))["rlnMicrographName"]
    try:
        header = mrc.header(image_files.parse_image_name(str(tilts[0]))[1], exact=False)
    except UserError:
        return len(series), 0
    return len(series), _PIXEL * header.nx * header.ny * len(tilts) / 1e6
