"""Whether a classification that ends early takes the iteration that it takes after all 25, and what that saves.

`python benchmarks/stop_early.py FOLDER` simulates 20 sets and one like the demo's, classifies each without alignment to
the last iteration (what is finished is not done again), and asks afterwards, of each iteration in turn, whether more
would have been in vain: an early end leaves just the files of the iterations before it. For each run it prints the
iteration that is taken of all, where the run ends, the iteration that is taken then, and what is saved.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np

from stacycle.decisions.early_stop import in_vain
from stacycle.decisions.iteration import class3d_iteration
from stacycle.files import job_folder, relion_output
from stacycle.programs import refine
from stacycle.recipe.geometry import classification
from stacycle.recipe.variants import variant
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate

ENGINE = [sys.executable, "-m", "staengine"]
DIAMETER = 260  # Å
BOX = ["--b", "32", "--bin", "4", "--j", "1"]
FEW = classification(150, DIAMETER)  # what `auto` is for few picks
DEMO = 0  # the seed of the set that is like the demo's
SEEDS = [seed for seed in range(22) if seed != 15]  # whose picks do not fit into its tomograms
NYQUIST = 32  # Å


class Run(NamedTuple):
    """A classification of a set: T, K, its number and its resolution limit in Å."""

    T: float
    classes: int
    number: int
    limit: int

    @property
    def name(self) -> str:
        return f"{variant(self.T, self.classes)}_run{self.number}"


FIRST, *SECOND = (Run(T, FEW["classes"], n, FEW["highres_limit"]) for T in FEW["T"] for n in (1, 2))
OTHERS = [Run(1, 4, 1, NYQUIST), Run(2, 2, 1, NYQUIST), Run(0.2, 6, 1, FEW["highres_limit"])]


class Result(NamedTuple):
    """The iteration that is taken of all; where the run ends early, and what is taken then; seconds of the iterations
    after that, and of all."""

    of_all: int
    ends: int
    taken: int
    saved: float
    seconds: float


def runs_of(seed: int) -> list[Run]:
    """Two of the runs that `auto` makes, and one with another T and K; of the demo's, all that `auto` makes."""
    if seed == DEMO:
        return [FIRST, *SECOND]
    return [FIRST, SECOND[1], OTHERS[seed % len(OTHERS)]]


def settings_of(seed: int, folder: Path) -> SimulationSettings:
    """100-200 picks, up to 30 % of them junk, half of the particles at most in another conformation, SNR 0.1-1; poses
    off by 2 degrees and 3 Å."""
    known = {"o": folder, "seed": seed or 1, "tomos": 4, "size": 420, "angle_error": 2, "position_error": 3}
    if seed == DEMO:
        return SimulationSettings(**known, depth=200, particles=36, junk=0.13, snr=1.5)
    rng = np.random.default_rng(seed)
    picks, junk = int(rng.integers(100, 201)), rng.uniform(0, 0.3)
    return SimulationSettings(
        **known,
        depth=240,
        particles=round(picks * (1 - junk) / 4),
        junk=round(float(junk), 3),
        fraction_b=round(float(rng.uniform(0, 0.5)), 2),
        snr=round(float(np.exp(rng.uniform(np.log(0.1), np.log(1)))), 2),
        clumps=float(rng.choice([0, 0.5])),
    )


def prepare(seed: int, folder: Path) -> None:
    """A simulated set, extracted and averaged."""
    if (folder / "average/merged.mrc").exists():
        return
    with contextlib.redirect_stdout(io.StringIO()):
        simulate(settings_of(seed, folder))
    picks = ["--p", "particles.star", "--t", "tomograms.star"]
    call(folder, "relion_tomo_subtomo", *picks, "--o", "extract/", *BOX, "--float16", "--stack2d")
    state = ["--i", "extract/optimisation_set.star"]
    call(folder, "relion_tomo_reconstruct_particle", *state, "--o", "average/", *BOX)


def classify(seed: int, folder: Path, run: Run, iterations: int) -> Path:
    """The folder of a run, which is made unless it is there."""
    out = folder / run.name
    if not (out / job_folder.iteration(iterations, "optimiser.star")).exists():
        out.mkdir(exist_ok=True)
        argv = refine.class3d(
            state="extract/optimisation_set.star",
            reference="average/merged.mrc",
            out=f"{run.name}/run",
            T=run.T,
            classes=run.classes,
            iterations=iterations,
            lowpass=50,
            mask_diameter=330,
            highres_limit=run.limit,
            symmetry="C1",
            seed=seed + 100 * run.number,
            pool=3,
            threads=1,
            scratch=None,
        )
        call(folder, *argv)
    return out


def call(folder: Path, *command: str) -> None:
    """One of the engine's programs, which must succeed."""
    subprocess.run([*ENGINE, *command], cwd=folder, check=True, capture_output=True)


def result(folder: Path, iterations: int) -> Result:
    """What a run of so many iterations would have come to."""
    ends = next((n for n in range(1, iterations) if in_vain(folder, n)), iterations)
    files = (folder / job_folder.iteration(n, "optimiser.star") for n in range(iterations + 1))
    each = [after - before for before, after in pairwise(file.stat().st_mtime for file in files)]
    return Result(taken(folder, iterations), ends, taken(folder, ends), sum(each[ends:]), sum(each))


def taken(folder: Path, last: int) -> int:
    """The iteration that is taken of a run up to `last`."""
    run = [one for one in relion_output.iterations(folder, maps=False) if one.number <= last]
    unlike = relion_output.unlike_last(folder, [one.number for one in run if one.number > 1])
    return int(class3d_iteration(run, unlike_last=unlike).choice["iteration"])


def results(folder: Path, seeds: list[int], iterations: int) -> Iterator[tuple[str, Result]]:
    for seed in seeds:
        place = (folder / f"set{seed:02d}").resolve()
        prepare(seed, place)
        particles = len(relion_output.assignments(classify(seed, place, runs_of(seed)[0], iterations), 1))
        for run in runs_of(seed):
            found = result(classify(seed, place, run, iterations), iterations)
            name = "demo" if seed == DEMO else str(seed)
            yield f"{name} | {particles} | {run.T:g} | {run.classes}", found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the sets are, or will be")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="default: 0 (the demo's) to 21")
    parser.add_argument("--iterations", type=int, default=25)
    asked = parser.parse_args()
    print("| set | particles | T | K | taken of all | ends after | taken then | iterations saved |")
    print("|---" * 8 + "|", flush=True)
    found, started = [], time.perf_counter()
    for name, one in results(asked.folder, asked.seeds, asked.iterations):
        found.append(one)
        cells = [name, one.of_all, one.ends, one.taken, f"{1 - one.ends / asked.iterations:.0%}"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    same = sum(one.taken == one.of_all for one in found)
    iterations = mean(1 - one.ends / asked.iterations for one in found)
    saved = sum(one.saved for one in found) / sum(one.seconds for one in found)
    print(
        f"The same iteration in {same} of {len(found)} runs; {iterations:.0%} of the iterations and {saved:.0%} of the "
        f"time saved; longest end: {max(one.ends for one in found)}; {time.perf_counter() - started:.0f} s."
    )


if __name__ == "__main__":
    main()
