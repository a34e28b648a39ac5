"""How far the results of simulated data are from what was simulated: poses, tilt series, maps, rejected junk.

`python benchmarks/truth.py`, after `make demo`, or `truth.py PROJECT CONFIG`; also written to results/truth.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from stacycle.files.job_folder import OPTIMISATION_SET
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.recipe import config
from stacycle.recipe.rounds import POSES, Recipe
from staengine.simulation import truth
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.tomograms import load_tomograms

ROOT = Path(__file__).resolve().parents[1]
# A refinement's unfiltered half maps, whose mean is a plain average, as a cycle's maps are. Its map of all particles is
# masked, and so would seem better than what follows from it.
HALVES = tuple(f"refine3d/run_half{n}_class001_unfil.mrc" for n in (1, 2))
STEPS = {  # step -> what it is called, its optimisation set, and the maps made of it, in the round's folder
    "reconstruct": ("extracted", "extract/optimisation_set.star", "reconstruct/merged.mrc"),
    "align": ("aligned", "align/optimisation_set.star", "align/reference.mrc"),
    "select": ("classes selected", "select/optimisation_set.star", "select/reference.mrc"),
    "initial_model": ("initial model", "initial_model/optimisation_set.star", "initial_model/reference.mrc"),
    "refine3d": ("refined", "refine3d/run_optimisation_set.star", *HALVES),
}
SWEPT = {"ctfrefine": "CTF refined", "polish": "polished"}


def recipe_of(overlay: str | Path) -> Recipe:
    """The recipe of a project's config."""
    return Recipe.from_config(config.load(ROOT / "config/config.yaml", overlay))


def steps(recipe: Recipe) -> Iterator[tuple[str, str, list[str]]]:
    """What a step is called, its optimisation set, and the maps made of it, in the order of work."""
    for round_, step in recipe:
        if step in STEPS:
            called, *files = STEPS[step]
            if recipe.compares_poses(round_, step):  # what went on from it
                files = [f"{step}{POSES}/{Path(name).name}" for name in (OPTIMISATION_SET, *files[1:])]
            state, *made = (f"results/{round_}/{file}" for file in files)
            yield f"{round_} {called}", state, made
        for cycle in recipe.cycles(round_) if step == "cycle" else ():
            folder, start = f"results/{round_}/{cycle}", recipe.cycle_state(round_, cycle)[0]
            yield f"{round_} {cycle} reference", start, [f"{folder}/reference/merged.mrc"]
            for sweep, name in SWEPT.items():
                made = f"{folder}/{sweep}"
                yield f"{round_} {cycle} {name}", f"{made}/{OPTIMISATION_SET}", [f"{made}/merged.mrc"]


def compare(project: str | Path, recipe: Recipe) -> dict[str, dict]:
    """Errors of poses, tilt series and maps after each step that was made; also written to results/truth.json."""
    with contextlib.chdir(project):
        known = truth.read_truth(".")
        picks = ParticleSet.read("results/inputs/particles.star")
        found = {
            name: compare_step(state, made, picks, known)
            for name, state, made in steps(recipe)
            if all(map(os.path.exists, (state, *made)))
        }
        Path("results/truth.json").write_text(json.dumps(found, indent=1))
    return found


def compare_step(state: str, made: list[str], picks: ParticleSet, known: truth.Truth) -> dict:
    """One step: a state, and the maps made of it. The FSC's area is in shells of the box: 1 each if perfect."""
    files = OptimisationSet.read(state)
    particles = ParticleSet.read(files.particles)
    error = truth.pose_error(particles, known)
    fsc = truth.compare_map(made, known, error)
    tilts = truth.tilt_errors(load_tomograms(files.tomograms), known)
    return {
        "particles": len(particles),
        "angle_deg": error.angle_deg,
        "position_angst": error.within_angst,
        "shift_angst": rms(tilts["shift_rms_angst"]),
        "defocus_angst": rms(tilts["defocus_rms_angst"]),
        "fsc05_angst": fsc["fsc05_angst"],
        "area": sum(fsc[fsc["best"]]["fsc"][1:]),
        "fsc": fsc,
        **truth.selection(picks, particles, known),
    }


def rms(values: pd.Series) -> float:
    """Root of the mean of the squares."""
    return float((values**2).mean() ** 0.5)


def show(found: dict[str, dict]) -> None:
    """The comparison as a small table."""
    print(
        f"\n{'against the truth':30} particles   junk   angle  position  tilt shifts  defocus  map, FSC 0.5"
        "  area under FSC"
    )
    for name, row in found.items():
        print(
            f"{name:30} {row['particles']:9d} {row['junk_after']:6d} {row['angle_deg']:5.2f}° "
            f"{row['position_angst']:7.2f} Å {row['shift_angst']:10.2f} Å {row['defocus_angst']:6.0f} Å "
            f"{row['fsc05_angst']:12.1f} Å {row['area']:8.1f} shells"
        )
    last = list(found.values())[-1]
    print(f"junk rejected {last['junk_rejected']:.0%}, true particles kept {last['true_kept']:.0%}")
    print("Errors are medians of particles and rms of tilts; what moves a tomogram as a whole is none.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("project", nargs="?", default=ROOT / "demo", help="project folder (default: demo/)")
    parser.add_argument(
        "config", nargs="?", default=ROOT / "config/demo.yaml", help="its config (default: demo's)"
    )
    arguments = parser.parse_args()
    show(compare(arguments.project, recipe_of(arguments.config)))


if __name__ == "__main__":
    main()
