"""How fast Class3D is: 177 particles, 21 tilts, box 32, one class, local searches, 8 iterations, 2 threads.

`python benchmarks/speed.py` times the engine; `--relion FOLDER` (of RELION 5's programs) times RELION on the same
files, run in turn with it, and prints the ratio. Each is run twice, and the faster run counts.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import starfile

ENGINE = [sys.executable, "-m", "staengine"]
PARTICLES = 177
FLAGS = [
    "--ios",
    "extract/optimisation_set.star",
    "--ref",
    "average/merged.mrc",
    "--ini_high",
    "50",
    "--iter",
    "8",
    "--tau2_fudge",
    "1",
    "--K",
    "1",
    "--strict_highres_exp",
    "32",
    "--oversampling",
    "1",
    "--healpix_order",
    "2",
    "--sigma_ang",
    "1.33333",
    "--offset_range",
    "2",
    "--offset_step",
    "2",
    "--firstiter_cc",
    "--trust_ref_size",
    "--dont_combine_weights_via_disc",
    "--pool",
    "3",
    "--pad",
    "2",
    "--ctf",
    "--particle_diameter",
    "330",
    "--flatten_solvent",
    "--zero_mask",
    "--sym",
    "C1",
    "--norm",
    "--scale",
    "--random_seed",
    "1",
    "--j",
    "2",
]


def prepare(folder: Path) -> None:
    """Simulated tilt series, extracted and averaged, in `folder`."""
    run(folder, "simulate", "--o", ".", "--tomos", "4", "--particles", "40", "--angpix", "4", "--snr", "0.3")
    blocks = starfile.read(folder / "particles.star", always_dict=True)
    starfile.write({"particles": blocks["particles"][:PARTICLES]}, folder / "particles.star", overwrite=True)
    picks = ["--p", "particles.star", "--t", "tomograms.star"]
    box = ["--b", "32", "--bin", "4", "--j", "2"]
    run(folder, "relion_tomo_subtomo", *picks, "--o", "extract/", *box, "--float16", "--stack2d")
    state = ["--i", "extract/optimisation_set.star"]
    run(folder, "relion_tomo_reconstruct_particle", *state, "--o", "average/", *box)


def run(folder: Path, program: str, *arguments: str) -> None:
    """One of the engine's programs, which must succeed."""
    subprocess.run([*ENGINE, program, *arguments], cwd=folder, check=True, capture_output=True)


def seconds(folder: Path, command: list[str]) -> float:
    """Wall time of a command run in `folder`, its output in `run/` made anew."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    (folder / "run").mkdir()
    started = time.perf_counter()
    subprocess.run([*command, "--o", "run/run", *FLAGS], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--relion", help="folder of RELION 5's programs, accelerated CPU build")
    relion = parser.parse_args().relion
    commands = {"engine": [*ENGINE, "relion_refine"]}
    if relion:
        commands["RELION"] = [f"{relion}/relion_refine", "--cpu"]
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        best = {
            name: min(seconds(Path(folder), command) for _ in range(2)) for name, command in commands.items()
        }
    for name, time_ in best.items():
        print(f"{name}: {time_:.1f} s")
    if relion:
        print(f"ratio: {best['engine'] / best['RELION']:.2f}")


if __name__ == "__main__":
    main()
