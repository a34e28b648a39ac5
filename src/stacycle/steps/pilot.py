"""A pilot: a variant of a cycle's sweep on one share of the tomograms, to see whether it can win on all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stacycle.files.job_folder import HALF_MAPS, MERGED, OPTIMISATION_SET, POSTPROCESS
from stacycle.jobs import job, share, share_record
from stacycle.resources.site import TOMOGRAMS
from stacycle.steps import ctfrefine, polish, postprocess, reconstruct
from stacycle.steps.step import FILES, Settings, Step, folder_of


def run(pilot: Any, engine: Settings) -> None:
    """Do a variant's share of the tomograms, average its particles, and post-process that; `pilot` is Snakemake's job.

    What the average is made of stays, for the job on all tomograms to go on from. If that has its result already, the
    FSC is an empty file. Raises as `jobs.job.run`.
    """
    place, params, folder = pilot.wildcards, pilot.params, folder_of(pilot).parent
    whole = folder.parents[1] / place.sweep / place.variant
    refine = {"ctfrefine": ctfrefine.STEP, "polish": polish.STEP}[place.sweep].command
    assert refine is not None
    tried, average = folder / f"1of{params.shares}", folder / "reconstruct"
    share.run(refine(_part(pilot, whole / OPTIMISATION_SET, {}), engine, FILES), whole, tried, dict(engine))
    if not share_record.tomograms(tried):
        Path(pilot.output[0]).touch()
        return
    maps = [average / name for name in (*HALF_MAPS, MERGED)]
    of_average = {"box": params.average_box, "settings": params.reconstruct}
    state = {"state": [str(tried / OPTIMISATION_SET)]}
    _run(reconstruct.STEP, _part(pilot, maps[0], state, **of_average), engine, maps)
    halves = {"half_maps": list(map(str, maps[:2]))}
    fsc = folder / "postprocess" / POSTPROCESS
    _run(postprocess.STEP, _part(pilot, fsc, halves, settings=params.postprocess), engine, [fsc])
    shutil.rmtree(average)
    for path in fsc.parent.glob("*.mrc"):
        path.unlink()


def _part(pilot: Any, output: Path, files: Settings, **params: Any) -> SimpleNamespace:
    """One of a pilot's programs as a job of its own, with other input files and params."""
    given = {**dict(pilot.input.items()), **files}
    return SimpleNamespace(
        input=SimpleNamespace(**given),
        output=[str(output)],
        params=type(pilot.params)(fromdict={**dict(pilot.params.items()), **params}),
        threads=pilot.threads,
        resources=pilot.resources,
    )


def _run(step: Step, part: SimpleNamespace, engine: Settings, made: Sequence[Path]) -> None:
    assert step.command is not None
    argv = step.command(part, engine, FILES)
    job.run(argv, folder_of(part), engine=dict(engine), expected_outputs=made, lineage=False)


STEP = Step("cycle_pilot", "Pilot", shared=TOMOGRAMS)
