"""Tilt images with pixels half as large as the detector's, as EER movies give: detail beyond the physical Nyquist.

`python benchmarks/eer.py FOLDER --seeds 1 2` simulates each set, runs it (finished work is not done again) and writes
FOLDER/eer.tsv: for the rounds of binning 2 (the physical pixel) and 1 the resolution of the half maps, that to truth
at FSC 0.5, and the mean FSC to truth beyond the physical Nyquist.

The detector blurs each electron by a physical pixel: images show a structure by the sine cardinal of its frequency,
64 % at the physical Nyquist and nothing at twice that, while the noise of counting is white.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import yaml

import parts
import small_sets
import truth as rungs
from stacycle.files import relion_output
from staengine.numerics import fourier
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate

FINE = 4.0  # Å per pixel of the tilt images
PHYSICAL = 2 * FINE  # of the detector
NYQUIST = 2 * PHYSICAL  # Å
BANDS = ((NYQUIST, 13.0), (13.0, 11.0))  # Å, beyond it
NOISELESS = 1e9  # signal to noise
WELL_FITTED = {
    "shift_error": 0.5,
    "defocus_error": 100,
    "defocus_offset": 0,
}  # what is asked is what pixels do
SET = SimulationSettings(tomos=2, particles=40, junk=0, fraction_b=0, angpix=FINE, snr=10.0, **WELL_FITTED)
REFINED = ["extract", "reconstruct", "mask", "refine3d", "postprocess"]
ROUNDS = {
    "bin4": {**parts.COARSE, "box": 24},
    "bin2": {"binning": 2, "box": 48, "steps": REFINED},
    "bin1": {"binning": 1, "box": 96, "steps": REFINED},
}


def prepare(folder: Path, seed: int) -> None:
    """Simulate a set whose images have a detector's blur, and write its config."""
    if (folder / "config.yaml").exists():
        return
    clean = folder / "noiseless"
    for out, snr in ((clean, NOISELESS), (folder, SET.snr)):  # of one seed: they differ in the noise alone
        simulate(replace(SET, o=out, seed=seed, snr=snr))
    for path in sorted(folder.glob("tilt_series/*.mrcs")):
        with mrcfile.open(path, "r+") as noisy, mrcfile.open(clean / "tilt_series" / path.name) as signal:
            images = signal.data.astype(np.float32)
            noisy.set_data((blurred(images) + (noisy.data - images)).astype(np.float16))
    config = small_sets.config_of(small_sets.Particle.parse(small_sets.PHANTOM), ROUNDS)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def blurred(images: np.ndarray) -> np.ndarray:
    """Images (n, size, size) of fine pixels, as a detector shows them that sums over physical ones."""
    size = images.shape[-1]
    x, y = (np.sinc(k / size * PHYSICAL / FINE) for k in fourier.frequencies(size, 2))
    return np.stack([fourier.irfft(fourier.rfft(image, 2) * x * y, 2) for image in images])


def run(folder: Path, seed: int, cores: int) -> pd.DataFrame:
    """One set: a row for each round."""
    prepare(folder, seed)
    small_sets.run(folder, cores, "results/bin1/postprocess/postprocess.star")
    found = rungs.compare(folder, rungs.recipe_of(folder / "config.yaml"))
    return pd.DataFrame(row(folder, seed, name, found[f"{name} refined"]) for name in ("bin2", "bin1"))


def row(folder: Path, seed: int, name: str, found: dict) -> dict:
    """What a round shows: resolutions in Å, and the mean FSC to truth from one resolution to another."""
    shells = np.array(found["fsc"]["shell_angst"][1:])
    curve = np.array(found["fsc"][found["fsc"]["best"]]["fsc"][1:])
    between = [(shells < coarse) & (shells >= fine) for coarse, fine in BANDS]
    return {
        "seed": seed,
        "round": name,
        "pixel": FINE * ROUNDS[name]["binning"],
        "half maps": relion_output.fsc(folder / f"results/{name}/postprocess/postprocess.star").resolution,
        "to truth": found["fsc05_angst"],
        "angle": found["angle_deg"],
    } | {
        f"{coarse:g} to {fine:g} Å": curve[these].mean() if these.any() else None
        for (coarse, fine), these in zip(BANDS, between, strict=True)
    }


def main() -> None:
    asked = small_sets.of_seeds(__doc__).parse_args()
    table = pd.concat([run(asked.folder / f"eer{seed}", seed, asked.cores) for seed in asked.seeds])
    small_sets.show(table.round(2), asked.folder / "eer.tsv")


if __name__ == "__main__":
    main()
