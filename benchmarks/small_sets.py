"""Small simulated sets of several seeds and particles through the default config, each held against its limit.

`python benchmarks/small_sets.py FOLDER --seeds 1 2 3 --particle small_subunit_4A.mrc:270`: for each seed a set of the
phantom and one of the given map, whose diameter in Å follows the colon. With `--classes` only as far as bin4's
selection of classes. What is finished is not done again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

import limit
import truth as rungs
from staengine.simulation import truth as simulated
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate
from staengine.tilt_series.particles import ParticleSet

PHANTOM = "phantom:260"
SET = SimulationSettings(
    tomos=4, size=480, depth=200, angpix=4.0, tilt_step=6.0
)  # its errors are the defaults
COLUMNS = {  # of the table: how a set's figure is written
    "final_angst": "{:.1f} Å",
    "oracle_angst": "{:.1f} Å",
    "ratio": "{:.2f}",
    "lost_shells": "{:.1f}",
    "junk_rejected": "{:.0%}",
    "true_kept": "{:.0%}",
    "least_inside": "{:.1%}",
    "most_volume": "{:.2f}",
}
OF_CLASSES = {name: COLUMNS[name] for name in ("junk_rejected", "true_kept")}
TO_CLASSES = {
    "bin4": {"steps": ["extract", "reconstruct", "align", "class3d", "select"]},
    "bin2": None,
    "bin1": None,
}


class Particle(NamedTuple):
    """What a set is simulated of: the file of a map, or "" for the phantom, and its diameter in Å."""

    name: str
    map: str
    diameter: float

    @classmethod
    def parse(cls, text: str) -> Particle:
        """From FILE:DIAMETER, or phantom:DIAMETER."""
        file, diameter = text.rsplit(":", 1)
        return cls(Path(file).stem, "" if file == "phantom" else file, float(diameter))


def settings_of(seed: int, particle: Particle, folder: Path) -> SimulationSettings:
    """A set's settings: 150-250 picks, a tenth to a fifth of them junk, SNR 0.2-0.5, as its seed has it."""
    rng = np.random.default_rng(seed)
    picks, junk, snr = rng.integers(150, 251), rng.uniform(0.1, 0.2), rng.uniform(0.2, 0.5)
    return replace(
        SET,
        o=folder,
        seed=seed,
        map=particle.map,
        diameter=particle.diameter,
        particles=round(picks * (1 - junk) / SET.tomos),
        depth=2 * round(SET.depth / 2 * (particle.diameter / 260) ** 5),  # larger ones need room at edges too
        junk=round(junk, 3),
        snr=round(snr, 2),
    )


def prepare(seed: int, particle: Particle, folder: Path, rounds: dict | None = None) -> None:
    """Simulate a set and write its config, of which only what must be set is set."""
    if (folder / "config.yaml").exists():
        return
    simulate(settings_of(seed, particle, folder))
    (folder / "config.yaml").write_text(yaml.safe_dump(config_of(particle, rounds), sort_keys=False))


def config_of(particle: Particle, rounds: dict | None = None) -> dict[str, Any]:
    """What must be set of a set's config."""
    return {
        "inputs": [{"tomograms": "tomograms.star", "particles": "particles.star"}],
        "particle": {"diameter": particle.diameter},
        "engine": {"kind": "embedded"},
    } | ({"rounds": rounds} if rounds else {})


def run(folder: Path, cores: int, *targets: str) -> None:
    """Average a set, as far as these files or to the end; its jobs say all in run.log. Raises CalledProcessError."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        rungs.ROOT / "Snakefile",
        "--directory",
        folder,
    ]
    command += ["--configfile", folder / "config.yaml", "--cores", str(cores), "--resources", "gpu=0"]
    with (folder / "run.log").open("a") as log:
        command += ["--quiet", "all", "--rerun-incomplete", "--", *(targets or ["all"])]
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)


def figures(folder: Path, cores: int) -> dict[str, float]:
    """What a set shows, a value for each of COLUMNS; the set is run and measured if it has not been."""
    report = folder / "results/limit.json"
    if not report.exists():
        run(folder, cores)
        limit.measure(folder, rungs.recipe_of(folder / "config.yaml"))
    found = json.loads(report.read_text())
    fits = found["masks"].values()
    found["least_inside"] = min(fit["inside"] for fit in fits)
    found["most_volume"] = max(fit["volume"] for fit in fits)
    return {name: found[name] for name in COLUMNS}


def of_classes(folder: Path, cores: int) -> dict[str, float]:
    """What the selection of classes of a set shows, a value for each of OF_CLASSES."""
    run(folder, cores)
    with contextlib.chdir(folder):
        before, after = (
            ParticleSet.read(f"results/{step}/particles.star") for step in ("inputs", "bin4/select")
        )
        found = simulated.selection(before, after, simulated.read_truth("."))
    return {name: found[name] for name in OF_CLASSES}


def of_seeds(description: str | None) -> argparse.ArgumentParser:
    """The command line of a benchmark on sets of several seeds: a folder, --seeds and --cores."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cores", type=int, default=2)
    return parser


def show(table: pd.DataFrame, path: Path) -> None:
    """Write a table, and print it."""
    table.to_csv(path, sep="\t", index=False)
    print(table.to_string(index=False))


def row(name: str, values: dict[str, float]) -> str:
    """A line of the table."""
    return " | ".join(["", name, *(COLUMNS[key].format(value) for key, value in values.items()), ""]).strip()


def summary(found: list[dict[str, float]]) -> list[str]:
    """The last lines of the table: the median, the lowest and the highest of each figure."""
    kinds = {"median": statistics.median, "lowest": min, "highest": max}
    return [
        row(name, {key: of([one[key] for one in found]) for key in found[0]}) for name, of in kinds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the sets are, or will be")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 11)), help="default: 1 to 10")
    parser.add_argument(
        "--particle", action="append", default=[PHANTOM], help="MAP:DIAMETER, beside the phantom"
    )
    parser.add_argument("--classes", action="store_true", help="no further than the selection of classes")
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    columns = OF_CLASSES if arguments.classes else COLUMNS
    print("| set | " + " | ".join(name.replace("_", " ") for name in columns) + " |")
    print("|---" * (len(columns) + 1) + "|", flush=True)
    found = []
    for seed in arguments.seeds:
        for particle in map(Particle.parse, arguments.particle):
            folder = (arguments.folder / f"{particle.name}-{seed}").resolve()
            prepare(seed, particle, folder, TO_CLASSES if arguments.classes else None)
            found.append((of_classes if arguments.classes else figures)(folder, arguments.cores))
            print(row(folder.name, found[-1]), flush=True)
    print("\n".join(summary(found)))


if __name__ == "__main__":
    main()
