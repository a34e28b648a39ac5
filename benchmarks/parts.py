"""A particle of two parts that swing about a hinge: what a focused refinement of each gains over the consensus.

`python benchmarks/parts.py FOLDER --seeds 1 2` simulates each set, runs it (finished work is not done again) and writes
FOLDER/parts.tsv: the resolution at FSC 0.5 to truth within each part, of the consensus and of its own refinement.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

import small_sets
import truth as rungs
from staengine.numerics import maps
from staengine.simulation import truth as simulated
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate
from staengine.tilt_series.particles import ParticleSet

PARTS = ("before", "beyond")
COARSE = {"binning": 4, "steps": ["extract", "reconstruct", "align", "mask", "refine3d", "postprocess"]}
OF_PART = ("mask", "refine3d", "postprocess")
SET = SimulationSettings(tomos=4, particles=40, junk=0, fraction_b=0, snr=1.0)
FOCUSED = {
    "binning": 2,
    "steps": ["extract", "reconstruct", "mask", "refine3d", "postprocess"]
    + [f"{step}_{part}" for part in PARTS for step in OF_PART],
    "parts": list(PARTS),
    **{f"mask_{part}": {"file": f"phantom_{part}.mrc"} for part in PARTS},
}

ROUNDS = {"bin4": COARSE, "bin2": FOCUSED, "bin1": None}


def run(folder: Path, seed: int, hinge: float, cores: int) -> pd.DataFrame:
    """One set: a row for each part, with the resolutions (Å) and areas (shells) within it, and the poses' errors."""
    if not (folder / "config.yaml").exists():
        simulate(replace(SET, o=folder, seed=seed, hinge=hinge))
        config = small_sets.config_of(small_sets.Particle.parse(small_sets.PHANTOM), ROUNDS)
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    small_sets.run(folder, cores, *(f"results/bin2/postprocess_{part}/postprocess.star" for part in PARTS))
    with contextlib.chdir(folder):
        known = simulated.read_truth(".")
        return pd.DataFrame([row(seed, part, known) for part in PARTS])


def row(seed: int, part: str, known: simulated.Truth) -> dict:
    """What the consensus and the part's own refinement show of a part."""
    found = {"seed": seed, "part": part}
    known = simulated.of_part(known) if part == "beyond" else known
    density, pixel = maps.read_map(f"phantom_{part}.mrc", "part")
    for name, step in (("consensus", "refine3d"), ("focused", f"refine3d_{part}")):
        error = simulated.pose_error(ParticleSet.read(f"results/bin2/{step}/run_data.star"), known)
        halves = [
            maps.read_map(f"results/bin2/{step}/{Path(half).name}", "half map") for half in rungs.HALVES
        ]
        values, own = np.mean([half for half, _ in halves], axis=0), halves[0][1]
        curve = simulated.part_fsc(values, own, density, pixel, error)
        found |= {
            f"{name}_angst": simulated.resolution_at(curve, len(values), own),
            f"{name}_area": float(sum(curve[1:])),
            f"{name}_deg": error.angle_deg,
        }
    return found


def main() -> None:
    parser = small_sets.of_seeds(__doc__)
    parser.add_argument("--hinge", type=float, default=12.0, help="degrees, rms")
    asked = parser.parse_args()
    tables = [run(asked.folder / f"hinge{seed}", seed, asked.hinge, asked.cores) for seed in asked.seeds]
    table = pd.concat(tables, ignore_index=True).round(2)
    small_sets.show(table, asked.folder / "parts.tsv")


if __name__ == "__main__":
    main()
