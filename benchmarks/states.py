"""Two conformations in equal parts: what a second classification in bin2 tells apart, with alignment and without.

`python benchmarks/states.py FOLDER --seeds 1 2` simulates each set, runs it (finished work is not done again) and
writes FOLDER/states.tsv: for each run of each classification the adjusted Rand index against the truth (1: just the
conformations, 0: as by chance) and the particles of each conformation in each class; `chosen` is what went on.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

import parts
import small_sets
from stacycle.decisions.decision import read_decision
from stacycle.files.job_folder import iteration
from stacycle.recipe.variants import variants
from staengine.simulation import truth as simulated
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate
from staengine.tilt_series.particles import ParticleSet

SET = SimulationSettings(tomos=4, particles=40, junk=0, fraction_b=0.5, snr=1.0)
HEAD = {"center": [-40, 65, 55], "radius": 60}  # Å; what swivels in conformation B
TWO = {"classes": 2, "T": [2, 4], "iterations": 15, "seed": 1, "lowpass": 30, "highres_limit": None}
STATES = {
    "binning": 2,
    "steps": [
        *("extract", "reconstruct", "mask", "refine3d", "postprocess"),
        *("mask_head", "class3d_head", "select_head", "class3d_states", "select_states"),
    ],
    "parts": ["head"],
    "class3d_states": {**TWO, "alignment": "local", "mask": True, "highres_limit": "auto"},
    "mask_head": {"sphere": HEAD},
    "class3d_head": TWO,
}
ROUNDS = {"bin4": parts.COARSE, "bin2": STATES, "bin1": None}


def run(folder: Path, seed: int, cores: int) -> pd.DataFrame:
    """One set: a row for each run of each classification."""
    if not (folder / "config.yaml").exists():
        simulate(replace(SET, o=folder, seed=seed))
        config = small_sets.config_of(small_sets.Particle.parse(small_sets.PHANTOM), ROUNDS)
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    steps = ("class3d_states", "class3d_head")
    small_sets.run(folder, cores, *(f"results/bin2/{step}/decision.json" for step in steps))
    with contextlib.chdir(folder):
        known = simulated.read_truth(".")
        return pd.DataFrame([row for step in steps for row in rows(seed, step, known)])


def rows(seed: int, step: str, known: simulated.Truth) -> list[dict]:
    """What each run of a classification tells apart, at the iteration that would be taken."""
    folder = Path(f"results/bin2/{step}")
    choice, found = read_decision(folder / "decision.json").choice, []
    for path in map(folder.joinpath, variants(TWO)):
        chosen = path.name == choice["variant"]
        number = choice["iteration"] if chosen else TWO["iterations"]
        table = simulated.class_table(ParticleSet.read(path / iteration(number, "data.star")), known)
        index = rand_index(table.to_numpy())
        found.append(
            {"seed": seed, "step": step, "run": path.name, "chosen": chosen, "rand index": round(index, 2)}
            | {kind: "/".join(map(str, table.loc[kind])) for kind in table.index}
        )
    return found


def rand_index(table: np.ndarray) -> float:
    """The adjusted Rand index of a table of counts, true classes x found ones (Hubert and Arabie 1985)."""

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    together, rows_, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    by_chance = rows_ * columns / pairs(table.sum(keepdims=True))
    return (together - by_chance) / ((rows_ + columns) / 2 - by_chance or 1)


def main() -> None:
    asked = small_sets.of_seeds(__doc__).parse_args()
    table = pd.concat([run(asked.folder / f"states{seed}", seed, asked.cores) for seed in asked.seeds])
    small_sets.show(table, asked.folder / "states.tsv")


if __name__ == "__main__":
    main()
