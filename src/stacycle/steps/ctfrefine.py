"""CTF refinement: defocus and contrast scale of the tilt images, one run per variant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from stacycle.programs import mpi, refine_ctf
from stacycle.resources.site import TOMOGRAMS
from stacycle.steps import shares, sizes
from stacycle.steps.sizes import Files, Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, folder_of, mask_of


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Refine the CTF of a state's tilt images, with the settings of one variant."""
    return shared_run(refine_ctf.argv, job, engine, reader)


def shared_run(argv: Callable[..., list[str]], job: Any, engine: Settings, reader: Reader) -> list[str]:
    """What CTF refinement and polishing run alike: a program whose ranks share the tomograms."""
    given, tomograms = arguments(job, reader), reader.tomograms(reader.files(job.input.state[0]))
    layout = shares.layout_of(job, engine, tomograms, compared=given["box"])
    made = argv(**given, threads=layout.threads)
    return mpi.with_mpi(made, layout.ranks, layout.launcher)


def arguments(job: Any, reader: Reader) -> dict[str, Any]:
    """What CTF refinement and polishing are given alike: a state, and the half maps that it is compared with."""
    params, files = job.params, job.input
    return {
        "state": files.state[0],
        "half_maps": files.half_maps,
        "mask": mask_of(job),
        "postprocess": files.postprocess,
        "out": str(folder_of(job)),
        "box": reader.estimation_box(params.box, files.half_maps[0], f"{params.key}.estimation_box"),
        **params.settings,
    }


def of_tilt_series(size: Sizes) -> Files:
    """What each variant of CTF refinement or polishing writes."""
    return size.tilt_series() + sizes.plots(size.numbers.tomograms) + sizes.tables(4)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    """What one variant writes."""
    yield size.need("tables", of_tilt_series(size))


STEP = Step("ctfrefine", "CTF refinement", command, space=space, shared=TOMOGRAMS)
