"""The cycle's sweeps: what their variants need, which one is kept, and the files that the next step starts from.

A sweep's folder holds one folder per variant: the program's output, and below it `reconstruct/` and `postprocess/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from stacycle import geometry, runs, star, tilts
from stacycle.decisions import BEFORE, Candidate, Decision, cycle_variant
from stacycle.errors import UserError
from stacycle.job import failure
from stacycle.recipe import Start
from stacycle.state import series_pixel, write_state_file

MAPS = ("half1.mrc", "half2.mrc", "merged.mrc")


def check_half_sets(particles: str) -> None:
    """UserError unless every particle is in half set 1 or 2, and both have some."""
    table = star.read(particles, {"particles": []})["particles"]
    if "rlnRandomSubset" not in table or set(table["rlnRandomSubset"].astype(int)) != {1, 2}:
        raise UserError(
            f"{particles}: its particles are not in two half sets (rlnRandomSubset 1 and 2), which CTF refinement and "
            "polishing compare with the other half; run refine3d before cycle."
        )


def check_mask(mask: str, map: str) -> None:
    """UserError if a mask has another box or pixel size than the map."""
    (mask_box, mask_pixel), (box, pixel) = _box_and_pixel(mask), _box_and_pixel(map)
    if mask_box != box or not np.isclose(mask_pixel, pixel, rtol=1e-3):
        raise UserError(
            f"{mask}: {mask_box} px of {mask_pixel:.4g} Å, but {map} has {box} px of {pixel:.4g} Å; make the mask "
            "from a map of that box and pixel size."
        )


def estimation_box(setting: int | str, half_map: str, key: str) -> int:
    """The box for estimation in px; UserError if it is smaller than the half map's. `auto`: a fast one of 10 % more."""
    box, _ = _box_and_pixel(half_map)
    if setting == "auto":
        return geometry.estimation_box(box)
    if int(setting) < box:
        raise UserError(
            f"{key}: {setting} px is smaller than the {box} px of the reference {half_map}; give at least {box}, "
            f"better {geometry.estimation_box(box)}, or auto."
        )
    return int(setting)


def decide(
    folder: str | Path, before: Start, variants: Mapping[str, Mapping[str, Any]], choice: str, key: str
) -> Decision:
    """Compare the variants in `folder` (name -> settings) with each other and the state before them.

    UserError if none has finished; then their failures are forgotten, so that they are tried again next time.
    """
    folder = Path(folder)
    state = star.read_optimisation_set(before.state[0])
    candidates = [_candidate(folder / name, settings, state) for name, settings in variants.items()]
    if all(candidate.failed for candidate in candidates):
        for path in (path for name in variants for path in (folder / name).rglob("*")):
            if path.is_file() and path.stat().st_size == 0:
                path.unlink()
    return cycle_variant(Candidate(BEFORE, runs.fsc(before.postprocess)), candidates, choice, key)


def keep(decision: Decision, folder: str | Path, before: Start) -> None:
    """Give what the decision keeps its stable names in `folder`: state, half maps, merged map and FSC."""
    folder, name = Path(folder), decision.choice["variant"]
    if name == BEFORE:
        state, maps, fsc = before.state[0], [*before.half_maps, before.map], before.postprocess
    else:
        won = folder / name
        state, fsc = str(won / "optimisation_set.star"), str(won / "postprocess/postprocess.star")
        maps = [str(won / "reconstruct" / map_name) for map_name in MAPS]
    star.write_optimisation_set(folder / "optimisation_set.star", star.read_optimisation_set(state))
    for source, map_name in zip(maps, MAPS, strict=True):
        shutil.copyfile(source, folder / map_name)
    shutil.copyfile(fsc, folder / "postprocess.star")
    write_state_file(folder, [*MAPS, "postprocess.star"], decision.numbers["resolution"])


def _candidate(folder: Path, settings: Mapping[str, Any], before: star.OptimisationSet) -> Candidate:
    fsc = folder / "postprocess/postprocess.star"
    if cause := failure(fsc.parent):
        return Candidate(folder.name, None, failed=cause)
    changes = tilts.changes(before, star.read_optimisation_set(folder / "optimisation_set.star"))
    return Candidate(folder.name, runs.fsc(fsc), changes, limits=_limits(settings, before.tomograms))


def _limits(settings: Mapping[str, Any], tomograms: str) -> dict[str, float]:
    """How far (Å) a variant's search could go, by the names of `tilts.changes`."""
    if "max_error" in settings:
        return {"shift_largest": settings["max_error"] * series_pixel(tomograms)}
    return {"defocus_largest": settings["search_range"]} if settings["defocus"] else {}


def _box_and_pixel(path: str) -> tuple[int, float]:
    """Box in px and pixel size in Å of a map; UserError if it is not one."""
    try:
        with mrcfile.open(path, header_only=True, permissive=True) as file:
            return int(file.header.nx), float(file.voxel_size.x)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as an MRC map ({error}); check the file.") from None
