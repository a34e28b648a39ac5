"""How the MPI ranks of a tomography program share the tomograms of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stacycle.errors import UserError
from stacycle.files import image_files, mrc, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import SERIES
from stacycle.programs import software
from stacycle.resources.site import Layout, layout_of_shares

_COPIES = 2  # of a tilt series that a rank holds in memory: its images, and what is made of them
_PIXEL = 4  # bytes
_VOXEL = 24  # bytes of a voxel of half a transform that is summed: a complex number and a weight


def layout_of(
    job: Any, engine: Mapping[str, Any], tomograms: tuple[int, float], accumulated_box: int = 0
) -> Layout:
    """The ranks and threads of a job: a rank at most for each of the tomograms, and as its memory allows; one rank if
    nothing is there to start more, and the profile does not ask for them.

    `tomograms` is their number, and the MB of the tilt images of one. `accumulated_box` (px) is that of the volumes,
    two for each thread, which averaging sums up in memory.
    """
    number, tilt_series = tomograms
    if not (job.resources.get("mpi") or job.resources.get("ranks") or software.has_mpirun(engine)):
        number = 1
    volumes = 2 * _VOXEL * (accumulated_box // 2 + 1) * accumulated_box**2 / 1e6
    return layout_of_shares(
        job.resources, job.threads, number, lambda threads: _COPIES * tilt_series + threads * volumes
    )


def tomograms(files: OptimisationSet) -> tuple[int, float]:
    """The number of tomograms of a state, and the MB of the first one's tilt images; 0 if their size cannot be told."""
    series = star.columns(files.tomograms, "global", [SERIES])[SERIES]
    tilts = next(iter(star.read(series[0]).values()))["rlnMicrographName"]
    try:
        header = mrc.header(image_files.parse_image_name(str(tilts[0]))[1], exact=False)
    except UserError:
        return len(series), 0
    return len(series), _PIXEL * header.nx * header.ny * len(tilts) / 1e6
