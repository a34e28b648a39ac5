"""The demo's data with picks that have no angles: an initial model first, then the demo's own recipe.

`python benchmarks/no_angles.py FOLDER` simulates them, runs them (finished work is not done again) and prints how far
poses and maps are from the truth, as `truth.py` does for the demo.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
from pathlib import Path

import yaml

import small_sets
import truth as rungs
from stacycle.files import star
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
MODEL = {"seeds": 3, "iterations": 40}


def prepare(folder: Path, seed: int) -> None:
    """Simulate the demo's data in a folder, take the angles off the picks, and write its config."""
    if (folder / "config.yaml").exists():
        return
    data = yaml.safe_load((rungs.ROOT / "config/demo_data.yaml").read_text())
    simulate(SimulationSettings(o=folder, **{**data, "seed": seed}))
    for path in sorted(folder.glob("set*/particles.star")):
        shutil.copyfile(path, path.with_name("with_angles.star"))
        tables = {
            name: table.drop(columns=[*ANGLES], errors="ignore") for name, table in star.read(path).items()
        }
        star.write(path, tables)
    config = yaml.safe_load((rungs.ROOT / "config/demo.yaml").read_text())
    bin4 = config["rounds"]["bin4"]
    bin4 |= {
        "start": "initial_model",
        "initial_model": MODEL,
        "align": bin4["align"] | {"sampling": 7.5, "T": [1], "iterations": 6},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--until", default="all", help="a target, such as results/bin4/initial_model/decision.json"
    )
    asked = parser.parse_args()
    prepare(asked.folder, asked.seed)
    small_sets.run(asked.folder.resolve(), asked.cores, asked.until)
    picks = [path.with_name("with_angles.star") for path in sorted(asked.folder.glob("set*/particles.star"))]
    with contextlib.ExitStack() as stack:  # the truth goes with the picks as they were
        for path in picks:
            bare = path.with_name("particles.star")
            without = bare.read_bytes()
            stack.callback(bare.write_bytes, without)
            shutil.copyfile(path, bare)
        rungs.show(rungs.compare(asked.folder, rungs.recipe_of(asked.folder / "config.yaml")))


if __name__ == "__main__":
    main()
