"""How well masks fit particles of known shape: what of their mass is inside, and how much larger they are.

`python benchmarks/masks.py [--map MAP.mrc] [--seeds 10 11 12]`: the phantom, and a given map's particle, whole
or with a second half (beyond a plane, or another copy beside it) that only a part of the particles has; in the noise of
a map of that resolution, with and without the negative halo of a CTF; at several pixel sizes. The step's own rules
decide and the engine's relion_mask_create makes the masks. The middle and the worst of each kind are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import mrcfile
import numpy as np
import pandas as pd
from scipy import fft, ndimage

from stacycle.decisions.mask import frequencies
from stacycle.recipe.step_settings import Mask
from stacycle.steps import mask
from staengine.programs import mask_create
from staengine.simulation.phantom import build_phantom, phantom_map

FINE = 4.0  # Å per pixel of the truth
DIAMETER = {"phantom": 260.0, "map": 269.0}  # Å; of the phantom, and of shared/maps/small_subunit_4A.mrc
SHAPES = ("cut", "pair")  # the second half is beyond a plane, or a copy
OCCUPANCY = (0.5, 0.6, 1.0)  # of the second half
AT = ((4.0, 15), (4.0, 25), (8.0, 20), (8.0, 40), (16.0, 35), (16.0, 60))  # Å per pixel, resolution in Å
EDGE = 4.0  # Å, the blur of the truth that closes the gaps between its helices
HALO = (0.3, 60.0)  # how much of its blur (Å) a CTF takes from a particle


class OneOutput(NamedTuple):
    mask: str


class Truth(NamedTuple):
    """Densities (n, n, n) of the particle, its second half at its occupancy, and of that half; its diameter in Å."""

    density: np.ndarray
    second: np.ndarray
    pixel: float
    diameter: float


def particle(kind: str, shape: str, occupancy: float, pixel: float, seed: int, given: Path | None) -> Truth:
    """A particle, turned at random, at a pixel size of a whole number of `FINE` ones."""
    rng, diameter = np.random.default_rng(seed), DIAMETER[kind]
    wide = diameter * (1 if shape == "cut" else 1.7)
    binning = round(pixel / FINE)
    n = int(np.ceil(1.8 * wide / pixel / 4)) * 4 * binning
    if kind == "phantom":
        whole = phantom_map(build_phantom(diameter, rng).A, n, FINE)
    else:
        whole = centred(mrcfile.read(given).astype(np.float32), n)
    whole = ndimage.rotate(whole, rng.uniform(0, 360), (1, 2), reshape=False, order=1)
    whole = ndimage.rotate(whole, rng.uniform(0, 360), (0, 2), reshape=False, order=1)
    if shape == "cut":
        first, second = whole.copy(), whole.copy()
        first[..., n // 2 :] = second[..., : n // 2] = 0
    else:
        apart = round(0.35 * diameter / FINE)
        first, second = np.roll(whole, -apart, 2), np.roll(np.flip(whole, (1, 2)), apart, 2)
    first, second = binned(first, binning), occupancy * binned(second, binning)
    return Truth(first + second, second, pixel, wide)


def centred(density: np.ndarray, n: int) -> np.ndarray:
    """A map (m, m, m) cut or padded to (n, n, n) about its centre, scaled to the phantom's level."""
    more = max(0, n - len(density)) // 2 + 1
    padded = np.pad(density, more)
    start = len(padded) // 2 - n // 2
    cut = padded[(slice(start, start + n),) * 3]
    return cut / cut.max()


def binned(density: np.ndarray, binning: int) -> np.ndarray:
    """The mean of each block of voxels."""
    m = len(density) // binning
    return density.reshape(m, binning, m, binning, m, binning).mean((1, 3, 5))


def average(truth: Truth, resolution: float, halo: bool, seed: int) -> np.ndarray:
    """The truth in white noise as strong as leaves a third of its power at the resolution (FSC 0.143), in Å."""
    density = truth.density
    if halo:
        density = density - HALO[0] * ndimage.gaussian_filter(density, HALO[1] / truth.pixel / 2.355)
    n = len(density)
    noise = np.random.default_rng(seed + 1000).normal(size=density.shape)
    shell = np.abs(frequencies(n) - n * truth.pixel / resolution) < 1
    signal, of_noise = (float((np.abs(fft.rfftn(one)[shell]) ** 2).mean()) for one in (density, noise))
    return density + noise * np.sqrt(3 * signal / of_noise)


def figures(truth: Truth, density: np.ndarray, resolution: float, folder: Path) -> dict[str, float]:
    """What the step decides for a map of this resolution, and how the mask that it makes fits the truth."""
    job = SimpleNamespace(
        input=SimpleNamespace(map=f"{folder}/map.mrc", resolution=[f"{folder}/before/state.json"]),
        output=OneOutput(f"{folder}/mask/mask.mrc"),
        params=SimpleNamespace(diameter=truth.diameter, key="mask", settings=Mask().model_dump()),
        threads=1,
    )
    for path in (job.output.mask, job.input.resolution[0]):
        Path(path).parent.mkdir(exist_ok=True)
    mrcfile.write(job.input.map, density.astype(np.float32), voxel_size=truth.pixel, overwrite=True)
    Path(job.input.resolution[0]).write_text(f'{{"resolution": {resolution}}}')
    settings = mask.decide(job)[1]
    mask.prepare(job, settings)
    with contextlib.redirect_stdout(io.StringIO()):
        mask_create.main(mask.argv(job, settings)[1:])
    made = mrcfile.read(job.output.mask)
    smooth = np.sort(ndimage.gaussian_filter(truth.density, EDGE / truth.pixel).ravel())[::-1]
    voxels = np.searchsorted(np.cumsum(smooth), 0.99 * smooth.sum())
    return {
        "mass": (truth.density * made).sum() / truth.density.sum(),
        "second": (truth.second * made).sum() / truth.second.sum(),
        "volume": made.sum() / voxels,
    }


def measured(kinds: list[str], seeds: list[int], given: Path | None) -> Iterator[dict]:
    """The figures of every kind, shape, occupancy, pixel, resolution, halo and seed."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, shape, occupancy, seed in product(kinds, SHAPES, OCCUPANCY, seeds):
            for pixel in dict.fromkeys(pixel for pixel, _ in AT):
                if shape == "pair" and pixel == min(AT)[0]:
                    continue  # a box that is slow to fill, for what 8 Å shows too
                truth = particle(kind, shape, occupancy, pixel, seed, given)
                for (at, resolution), halo in product(AT, (False, True)):
                    if at == pixel:
                        density = average(truth, resolution, halo, seed)
                        case = (kind, shape, occupancy, pixel, resolution, halo, seed)
                        names = ("particle", "shape", "occupancy", "pixel", "resolution", "halo", "seed")
                        yield dict(zip(names, case, strict=True)) | figures(
                            truth, density, resolution, Path(folder)
                        )


def summary(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The middle and the worst of each kind."""
    groups = table.groupby(by)
    return pd.DataFrame(
        {
            "masks": groups.size(),
            "mass": groups["mass"].median(),
            "least": groups["mass"].min(),
            "of second half": groups["second"].median(),
            "its least": groups["second"].min(),
            "volume": groups["volume"].median(),
            "most": groups["volume"].max(),
            "good": groups.apply(lambda g: ((g["mass"] >= 0.97) & (g["volume"] <= 2.5)).mean()),
        }
    ).round(3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--map", type=Path, help="density of 4 Å per pixel, a particle of 269 Å")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--out", type=Path, help="write every mask's figures to this TSV file")
    parsed = parser.parse_args()
    kinds = ["phantom", "map"] if parsed.map else ["phantom"]
    table = pd.DataFrame(measured(kinds, parsed.seeds, parsed.map))
    if parsed.out:
        table.to_csv(parsed.out, sep="\t", index=False)
    for by in (["particle", "shape", "occupancy"], ["pixel", "resolution"], ["halo"]):
        print(summary(table, by).to_string(), "\n")


if __name__ == "__main__":
    main()
