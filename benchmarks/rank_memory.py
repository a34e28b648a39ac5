"""What RELION's tomography programs take in memory, against what stacycle reckons with.

`python benchmarks/rank_memory.py FOLDER --relion BIN` makes a tomogram with empty tilt images in a folder, and runs
each program of RELION in BIN on it as one process, by the lines that stacycle runs: the most memory that it took (MB).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd

from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs import align, reconstruct_particle, refine_ctf, subtomo
from stacycle.steps import shares

PIXEL = 2.0  # Å
IMAGE = 1024  # px
STATE = "optimisation_set.star"
PARTICLES = 8


def make(tilts: int) -> None:
    """A tomogram with particles of two half sets, in the present folder."""
    write_map("series.mrcs", np.zeros((tilts, IMAGE, IMAGE), np.float32))
    angles = np.linspace(-60, 60, tilts)
    columns = {
        "MicrographName": [f"{number}@series.mrcs" for number in range(1, tilts + 1)],
        "MicrographPreExposure": 3.0 * np.arange(tilts),
        "TomoXTilt": 0.0,
        "TomoYTilt": angles,
        "TomoZRot": 85.0,
        "TomoXShiftAngst": 0.0,
        "TomoYShiftAngst": 0.0,
        "DefocusU": 30000.0,
        "DefocusV": 30000.0,
        "DefocusAngle": 0.0,
        "CtfScalefactor": np.cos(np.radians(angles)),
    }
    optics = {
        "OpticsGroupName": ["one"],
        "SphericalAberration": 2.7,
        "Voltage": 300.0,
        "AmplitudeContrast": 0.1,
        "TomoTiltSeriesPixelSize": PIXEL,
    }
    tomogram = {"TomoName": ["TS_01"], "TomoHand": -1.0, "TomoTiltSeriesStarFile": "series.star"}
    tomogram |= optics | dict(zip(("TomoSizeX", "TomoSizeY", "TomoSizeZ"), (IMAGE, IMAGE, 300), strict=True))
    optics |= {"OpticsGroup": 1}
    rng = np.random.default_rng(0)
    particles = {"TomoName": ["TS_01"] * PARTICLES, "OpticsGroup": 1}
    particles |= {f"CenteredCoordinate{axis}Angst": rng.uniform(-200, 200, PARTICLES) for axis in "XYZ"}
    particles |= {f"Angle{name}": rng.uniform(0, 180, PARTICLES) for name in ("Rot", "Tilt", "Psi")}
    particles |= {f"Origin{axis}Angst": 0.0 for axis in "XYZ"}
    particles |= {"RandomSubset": 1 + np.arange(PARTICLES) % 2}
    write("series.star", TS_01=columns)
    write("tomograms.star", **{"global": tomogram})
    write("particles.star", optics=optics, particles=particles)
    OptimisationSet("particles.star", "tomograms.star", None).write(STATE)


def make_references(box: int) -> None:
    """Half maps, mask and FSC for a box (px)."""
    for name in ("half1.mrc", "half2.mrc", "mask.mrc"):
        write_map(name, np.ones((box, box, box), np.float32))
    shells = np.arange(box // 2 + 1)
    frequency = shells / (box * PIXEL)
    fsc = {
        "SpectralIndex": shells,
        "Resolution": frequency,
        "AngstromResolution": 1 / np.maximum(frequency, 1e-3),
        "FourierShellCorrelationCorrected": np.clip(1 - 5 * frequency, 0, 1),
    }
    write("fsc.star", general={"FinalResolution": [10.0]}, fsc=fsc)


def write(path: str, **tables: dict[str, object]) -> None:
    """A STAR file of tables of columns, named without RELION's rln."""
    star.write(
        path,
        {
            name: pd.DataFrame({f"rln{column}": values for column, values in table.items()})
            for name, table in tables.items()
        },
    )


def write_map(path: str, data: np.ndarray) -> None:
    with mrcfile.new(path, data, overwrite=True) as file:
        file.voxel_size = PIXEL


def commands(boxes: list[int]) -> Iterator[tuple[list[str], int, int, int]]:
    """Command lines, each with its threads, the box that it averages and that in which it compares (px)."""
    files = {"particles": "particles.star", "tomograms": "tomograms.star"}
    yield subtomo.argv(**files, out="subtomo", box=128, binning=1, threads=1), 1, 0, 0
    for box in boxes:
        for threads in (1, 2):
            of_average = {"box": box, "binning": 1, "symmetry": "C1", "threads": threads}
            yield reconstruct_particle.argv(state=STATE, out="average", **of_average), threads, box, 0
        make_references(box)
        halves = {"half_maps": ["half1.mrc", "half2.mrc"], "mask": "mask.mrc", "postprocess": "fsc.star"}
        given = {"state": STATE, "box": box, "threads": 1} | halves
        of_ctf = {"defocus": True, "search_range": 3000, "regularisation": 0.1, "scale": "tilt"}
        yield refine_ctf.argv(**of_ctf, out="ctf", **given), 1, 0, box
        of_motion = {"sigma_velocity": 0.2, "sigma_divergence": 5000, "gaussian_decay": False}
        moves = {"max_error": 5, "shift_only": False, "motion": True} | of_motion
        yield align.argv(**moves, out="motion", **given), 1, 0, box


def taken(words: list[str]) -> float:
    """The most memory of a process (MB). SystemExit if it fails."""
    with open("log.txt", "w") as log:
        running = subprocess.Popen(words, stdout=log, stderr=log)
        _, status, usage = os.wait4(running.pid, 0)
    if status:
        sys.exit(Path("log.txt").read_text()[-2000:])
    return usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--relion", type=Path, required=True, metavar="BIN", help="the folder of its programs"
    )
    parser.add_argument("--tilts", type=int, nargs="+", default=[11, 41])
    parser.add_argument("--boxes", type=int, nargs="+", default=[128, 256])
    asked = parser.parse_args()
    programs = asked.relion.resolve()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.folder)
    print("| program | images | box | threads | took | reckoned |\n|---|---|---|---|---|---|")
    for tilts in asked.tilts:
        make(tilts)
        images = 4 * tilts * IMAGE**2 / 1e6
        for (program, *words), threads, averaged, compared in commands(asked.boxes):
            found = taken([str(programs / program), *words])
            reckoned = shares.memory(images, threads, averaged, compared)
            numbers = [f"{averaged or compared or '-'}", threads, f"{found:.0f} MB", f"{reckoned:.0f} MB"]
            print(f"| {program} | {images:.0f} MB | {' | '.join(map(str, numbers))} |", flush=True)


if __name__ == "__main__":
    main()
