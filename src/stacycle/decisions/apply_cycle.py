"""From the variants of a cycle's sweep to one decision, and from that to the files that the next step starts from.

A sweep's folder holds one folder per variant: the program's output, and below it `reconstruct/` and `postprocess/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from stacycle.decisions import tilt_changes
from stacycle.decisions.cycle import Candidate, cycle_variant
from stacycle.decisions.decision import BEFORE, Decision
from stacycle.files import job_folder, relion_output, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import SERIES
from stacycle.jobs.failure import cause_of_failure, why_ended
from stacycle.provenance import origin, record
from stacycle.recipe.auto import series_pixel
from stacycle.recipe.rounds import Start

_REPORT = ("results/report.html", "results/ladder.tsv", "results/final/README.md")
_FSC = f"postprocess/{job_folder.POSTPROCESS}"
_MAPS = (*job_folder.HALF_MAPS, job_folder.MERGED)


def choose_variant(
    folder: str | Path, before: Start, variants: Mapping[str, Mapping[str, Any]], choice: str, key: str
) -> Decision:
    """Compare the variants in `folder` (name -> settings) with each other and the state before them.
    UserError if none has finished; then what they left is removed, so that Snakemake runs them again next time."""
    folder = Path(folder)
    state = OptimisationSet.read(before.state[0])
    candidates = [_candidate(folder / name, settings, state) for name, settings in variants.items()]
    if all(candidate.fsc is None for candidate in candidates):
        _remove_failed(folder / name for name in variants)
    return cycle_variant(Candidate(BEFORE, relion_output.fsc(before.postprocess)), candidates, choice, key)


def _remove_failed(variants: Iterable[Path]) -> None:
    """Remove the empty files that failed variants left, and what tells the final result, which is out of date."""
    for path in (path for variant in variants for path in variant.rglob("*")):
        if path.is_file() and path.stat().st_size == 0:
            path.unlink()
    for path in map(Path, _REPORT):
        path.unlink(missing_ok=True)


def write_chosen(decision: Decision, folder: str | Path, before: Start) -> None:
    """Write the state, half maps, merged map and FSC of the chosen variant under their stable names in `folder`.
    UserError if they were not made of one state."""
    folder, name = Path(folder), decision.choice["variant"]
    if name == BEFORE:
        state, maps, fsc = before.state[0], [*before.half_maps, before.map], before.postprocess
    else:
        chosen = folder / name
        state, fsc = str(chosen / job_folder.OPTIMISATION_SET), str(chosen / _FSC)
        maps = [str(chosen / "reconstruct" / map_name) for map_name in _MAPS]
    start = origin.check_maps(state, maps[:2], fsc)
    files = OptimisationSet.read(state)
    if name != BEFORE:
        files = replace(files, tomograms=_copy_tilt_series(files.tomograms, folder))
    files.write(folder / job_folder.OPTIMISATION_SET)
    for source, map_name in zip(maps, _MAPS, strict=True):
        shutil.copyfile(source, folder / map_name)
    shutil.copyfile(fsc, folder / job_folder.POSTPROCESS)
    record.of_decision(folder, start, [*_MAPS, job_folder.POSTPROCESS], decision.numbers["resolution"])


def _copy_tilt_series(tomograms: str, folder: Path) -> str:
    """Copy the tomograms and their tilt series' tables; programs write theirs at paths that grow by each one's own."""
    table = star.columns(tomograms, "global", ["rlnTomoName", SERIES])
    copies = [f"{folder}/tilt_series/{name}.star" for name in table["rlnTomoName"]]
    (folder / "tilt_series").mkdir(exist_ok=True)
    for source, copy in zip(table[SERIES], copies, strict=True):
        shutil.copyfile(source, copy)
    path = folder / job_folder.TOMOGRAMS
    star.write(path, {"global": pd.DataFrame(table | {SERIES: copies})})
    return str(path)


def _candidate(folder: Path, settings: Mapping[str, Any], before: OptimisationSet) -> Candidate:
    fsc = folder / _FSC
    if found := _without_fsc(folder.name, fsc.parent):
        return found
    changes = tilt_changes.changes(before, OptimisationSet.read(folder / job_folder.OPTIMISATION_SET))
    return Candidate(folder.name, relion_output.fsc(fsc), changes, limits=_limits(settings, before.tomograms))


def of_pilot(fsc: str | Path) -> Candidate:
    """A variant by the `postprocess.star` of its pilot, which is empty if it was not made."""
    fsc = Path(fsc)
    name = fsc.parents[1].name
    if found := _without_fsc(name, fsc.parent):
        return found
    return Candidate(name, relion_output.fsc(fsc) if fsc.stat().st_size else None)


def _without_fsc(name: str, folder: Path) -> Candidate | None:
    """A variant that failed or was ended early before the post-processing in `folder`; None of others."""
    failed, ended = cause_of_failure(folder), why_ended(folder)
    return Candidate(name, None, failed=failed, ended=ended) if failed or ended else None


def _limits(settings: Mapping[str, Any], tomograms: str) -> dict[str, float]:
    """How far (Å) a variant's search could go, by the names of `tilt_changes.changes`."""
    if "max_error" in settings:
        return {"shift_largest": settings["max_error"] * series_pixel(tomograms)}
    return {"defocus_largest": settings["search_range"]} if settings["defocus"] else {}
