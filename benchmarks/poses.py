"""Whether poses are rolled back where a step made them worse, and kept where it made them better.

`python benchmarks/poses.py FOLDER --seeds 1 2 --particle small_subunit_4A.mrc:270`: small sets of the phantom and a
map, whose diameter in Å follows the colon, with picks of several angular errors; each is aligned to one reference
with several samplings, then refined. What is finished is not done again.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import yaml

import small_sets
import truth as rungs
from small_sets import Particle
from stacycle.decisions.decision import Decision, read_decision
from stacycle.files import star
from stacycle.recipe.rounds import POSES, Recipe
from staengine.simulation import truth
from staengine.simulation.simulate import simulate
from staengine.tilt_series.particles import ParticleSet

STEPS = ["extract", "reconstruct", "align", "mask", "refine3d"]
MOVED = ("align", "refine3d")
POSITION = 1.2  # Å of the picks' error in position for each degree of their angles
ROOM = 480  # px of a tomogram's width: all picks fit in


def prepare(seed: int, particle: Particle, angle: float, sampling: float, folder: Path) -> None:
    """Simulate a set of picks off by `angle` degrees, and write the config of one round."""
    if (folder / "config.yaml").exists():
        return
    errors = {"angle_error": angle, "position_error": POSITION * angle, "size": ROOM}
    simulate(replace(small_sets.settings_of(seed, particle, folder), **errors))
    range_ = max(4.0, 0.8 * angle)
    settings = small_sets.config_of(particle) | {
        "rounds": {
            "bin4": {
                "steps": STEPS,
                "align": {"sampling": sampling, "local_range": range_, "iterations": 10, "seed": seed},
                "refine3d": {"seed": seed},
            },
            "bin2": None,
            "bin1": None,
        }
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))


def lines(folder: Path) -> Iterator[str]:
    """A line of the table for each step: median errors before and after it in ° and Å, what went on, how surely."""
    recipe: Recipe = rungs.recipe_of(folder / "config.yaml")
    with contextlib.chdir(folder):
        known = truth.read_truth(".")
        for step in MOVED:
            states = recipe.state("bin4", step)[0], recipe.left("state", "bin4", step)[0]
            tables = [star.column(state, "rlnTomoParticlesFile")[0] for state in states]
            before, after = (truth.pose_error(ParticleSet.read(table), known) for table in tables)
            found: Decision = read_decision(f"results/bin4/{step}{POSES}/decision.json")
            errors = found.candidates.set_index("poses").loc["after", "errors"]
            yield (
                f"| {folder.name} | {step} | {before.angle_deg:.1f}, {before.within_angst:.1f} | "
                f"{after.angle_deg:.1f}, {after.within_angst:.1f} | {errors:+.1f} | {found.choice['poses']} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the sets are, or will be")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--angles", type=float, nargs="+", default=[4, 7, 10], help="errors of picks, degrees"
    )
    parser.add_argument("--samplings", type=float, nargs="+", default=[7.5, 3.7], help="of align, degrees")
    parser.add_argument("--particle", action="append", default=[small_sets.PHANTOM], help="or MAP:DIAMETER")
    parser.add_argument("--cores", type=int, default=2)
    asked = parser.parse_args()
    print(
        "| set | step | °, Å before | °, Å after | standard errors better | went on |\n|---|---|---|---|---|---|"
    )
    particles = [Particle.parse(text) for text in asked.particle]
    for seed, particle, angle, sampling in product(asked.seeds, particles, asked.angles, asked.samplings):
        folder = (asked.folder / f"{particle.name}-{seed}-{angle:g}deg-{sampling:g}").resolve()
        prepare(seed, particle, angle, sampling, folder)
        small_sets.run(folder, asked.cores, f"results/bin4/refine3d{POSES}/decision.json")
        print("\n".join(lines(folder)), flush=True)


if __name__ == "__main__":
    main()
