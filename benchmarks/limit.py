"""How far a simulated project is from the best that its data allow: the average at true poses, of true tilt series.

`python benchmarks/limit.py PROJECT CONFIG`, of a finished project; also written to results/limit.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

import truth as rungs
from import_faults import Tables, average
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import ANGLES, CENTRED
from stacycle.recipe.rounds import Recipe
from staengine.numerics import maps
from staengine.simulation import truth
from staengine.tilt_series.particles import ParticleSet

INPUTS = Path("results/inputs")
ORACLE = Path("oracle")  # the average at true poses, and what it is made of
MATTER = 0.99  # of a particle's mass: the smallest space that holds so much is its volume ..
BLUR = 4.0  # .. seen with a Gaussian of this radius in Å, or a pixel: its helices touch, and nothing rings


def measure(project: str | Path, recipe: Recipe) -> dict:
    """Rungs and masks against the truth, and the final map's FSC 0.5 beside the oracle's, in Å and as a ratio."""
    found = rungs.compare(project, recipe)
    name, last = list(found.items())[-1]
    final = next(files[0] for step, _, files in rungs.steps(recipe) if step == name)
    with contextlib.chdir(project):
        known = truth.read_truth(".")
        limit = oracle(known, final)
        report = {
            "rungs": {name: {k: v for k, v in row.items() if k != "fsc"} for name, row in found.items()},
            "masks": {name: mask_fit(mask, state, known) for name, mask, state in masks(recipe)},
            "final_angst": last["fsc05_angst"],
            "oracle_angst": limit,
            "ratio": last["fsc05_angst"] / limit,
            "lost_shells": lost_shells(found),
            "junk_rejected": last["junk_rejected"],
            "true_kept": last["true_kept"],
        }
        Path("results/limit.json").write_text(json.dumps(report, indent=1))
    return report


def oracle(known: truth.Truth, like: str | Path) -> float:
    """FSC 0.5 (Å) with the truth of the average of all true particles as they are, with box and pixel of a map."""
    values, pixel = maps.read_map(like)
    tables = Tables.read(INPUTS)
    picks = known.picks.iloc[truth.match_particles(ParticleSet.read(INPUTS / "particles.star"), known)]
    place_truly(tables, known, picks.reset_index(drop=True))
    tables.write(ORACLE)
    binning = pixel / float(tables.tomograms["rlnTomoTiltSeriesPixelSize"].iloc[0])
    average(ORACLE, ORACLE, len(values), binning)
    return float(truth.compare_map([str(ORACLE / "merged.mrc")], known, None)["fsc05_angst"])


def place_truly(tables: Tables, known: truth.Truth, picks: pd.DataFrame) -> None:
    """Give true poses, shifts and defoci to a set's tables, without junk; `picks` has a row for each particle."""
    tables.particles[[*CENTRED, *ANGLES]] = picks[[*truth.POSITION, *truth.EULER]].to_numpy(float)
    for name, tilts in tables.tilts.items():
        series = picks.tomogram[(tables.particles.rlnTomoName == name).to_numpy()].iloc[0]
        true = known.tilts[known.tilts.tomogram == series]
        apart = np.abs(tilts["rlnTomoYTilt"].to_numpy(float)[:, None] - true.tilt.to_numpy(float))
        true = true.iloc[apart.argmin(axis=1)]
        for axis in "XY":
            tilts[f"rlnTomo{axis}ShiftAngst"] = true[f"true{axis}ShiftAngst"].to_numpy()
            tilts[f"rlnDefocus{'UV'['XY'.index(axis)]}"] = true.trueDefocus.to_numpy()
    tables.particles = tables.particles[(picks.trueClass != "junk").to_numpy()]


def masks(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """What a mask is called, its file, and the optimisation set of the map that it is made of; those that are there."""
    for round_, step in recipe:
        places = [(round_, recipe.state(round_, "mask")[0])] if step == "mask" else []
        if step == "cycle":
            places = [
                (f"{round_}/{one}", recipe.cycle_state(round_, one)[0]) for one in recipe.cycles(round_)
            ]
        for place, state in places:
            if Path(file := f"results/{place}/mask/mask.mrc").exists():
                yield place.replace("/", " "), file, state


def mask_fit(file: str, state: str, known: truth.Truth) -> dict[str, float]:
    """Share of conformation A's mass inside a mask, and the mask's volume over that of the particle."""
    mask, pixel = maps.read_map(file)
    density, own_pixel = maps.read_map(known.folder / "phantom_A.mrc")
    density = gaussian_filter(density, max(BLUR / own_pixel, 1))
    motion = truth.pose_error(ParticleSet.read(OptimisationSet.read(state).particles), known)
    moved = truth.resample_moved(density, own_pixel, len(mask), pixel, motion)
    volume = volume_of(density) * own_pixel**3
    return {
        "inside": float((moved * mask).sum() / moved.sum()),
        "volume": float(mask.sum()) * pixel**3 / volume,
    }


def volume_of(density: np.ndarray) -> int:
    """Voxels of the smallest space that holds MATTER of a density's mass."""
    mass = np.cumsum(np.sort(np.maximum(density, 0), axis=None)[::-1], dtype=float)
    return int(np.searchsorted(mass, MATTER * mass[-1])) + 1


def lost_shells(found: dict[str, dict]) -> float:
    """The most that a rung's FSC 0.5 is below the one before, in shells of its own box; of what its pixels can show.

    A class's map does not count: it is made of some of the particles, and is no more than a reference.
    """
    lost = [0.0]
    for before, row in pairwise(row for name, row in found.items() if "classes" not in name):
        shells = row["fsc"]["shell_angst"]
        field = shells[1]
        lost.append(field / max(before["fsc05_angst"], shells[-1]) - field / row["fsc05_angst"])
    return max(lost)


def show(report: dict) -> None:
    """The masks and the limit, below the table of rungs."""
    rungs.show(report["rungs"])
    print("\nmask                 mass inside  volume over the particle's")
    for name, fit in report["masks"].items():
        print(f"{name:20} {fit['inside']:11.1%} {fit['volume']:9.2f}")
    print(
        f"\nfinal map {report['final_angst']:.1f} Å, at true poses {report['oracle_angst']:.1f} Å: "
        f"ratio {report['ratio']:.2f}; most lost from rung to rung: {report['lost_shells']:.1f} shells"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("project", help="folder of a finished project of simulated data")
    parser.add_argument("config", help="its config")
    arguments = parser.parse_args()
    show(measure(arguments.project, rungs.recipe_of(arguments.config)))


if __name__ == "__main__":
    main()
