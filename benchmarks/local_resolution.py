"""How well local resolution tells two halves of a ball apart, whose resolutions are known: by pixel size.

`python benchmarks/local_resolution.py`: half maps of a ball whose one half has signal to a finer resolution than the
other (the signal's SSNR, in each half map, falls to 1/6 there, an FSC of 0.143), by the embedded engine with the
lengths that `auto` takes, and with RELION's defaults. A voxel counts as of a half if it is more than an eighth of the
diameter from the plane between them, and within 0.35 diameters of the centre.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stacycle.files import mrc
from stacycle.programs.local_resolution import argv
from stacycle.recipe import geometry
from staengine.programs import postprocess

# Pixel (Å), box (px), diameter (Å), resolutions (Å) of the finer and of the coarser half.
CASES = ((20, 24, 230, 45, 70), (10, 48, 230, 22, 35), (5, 64, 160, 12, 20), (1.35, 108, 72, 3.5, 6))
SSNR = 100.0  # at 0 frequency
DEFAULTS = {"sampling": 25, "mask_radius": 12.5, "edge_width": 25, "randomise_at": 25, "coarsest": 50}
SEEDS = 3

Array = NDArray[np.floating]


def grid(box: int, pixel: float) -> tuple[Array, Array]:
    """Distance from the centre, and x, of each voxel in Å."""
    axis = (np.arange(box) - box // 2) * pixel
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2), x


def to_resolution(white: Array, pixel: float, resolution: float) -> Array:
    """White noise (n, n, n) of variance 1 as signal whose SSNR, in noise of variance 1, is 1/6 at this resolution."""
    box = len(white)
    k = [np.fft.fftfreq(box, pixel), np.fft.fftfreq(box, pixel), np.fft.rfftfreq(box, pixel)]
    squared = sum(axis**2 for axis in np.meshgrid(*k, indexing="ij"))
    amplitude = np.sqrt(SSNR * np.exp(-np.log(6 * SSNR) * squared * resolution**2))
    found: Array = np.fft.irfftn(np.fft.rfftn(white) * amplitude, s=white.shape, axes=(0, 1, 2))
    return found


def write_half_maps(
    folder: Path, pixel: float, box: int, diameter: float, fine: float, coarse: float, seed: int
) -> Path:
    """Two half maps, finer where x > 0; returns the first."""
    rng, (radius, x) = np.random.default_rng(seed), grid(box, pixel)
    white = rng.normal(size=(box,) * 3) * np.clip((diameter / 2 - radius) / (2 * pixel) + 0.5, 0, 1)
    share = np.clip(x / (0.1 * diameter) + 0.5, 0, 1)
    signal = share * to_resolution(white, pixel, fine) + (1 - share) * to_resolution(white, pixel, coarse)
    for name in ("half1.mrc", "half2.mrc"):
        mrc.write_map(folder / name, signal + rng.normal(size=signal.shape), pixel)
    return folder / "half1.mrc"


def measure(half: Path, diameter: float, lengths: dict[str, float]) -> tuple[str, str]:
    """The local resolutions in the finer and the coarser half: median, and from which to which nine tenths go."""
    with contextlib.redirect_stdout(io.StringIO()):
        line = argv(half_map=str(half), mask=None, out=str(half.parent / "m"), bfactor=0, **lengths)
        if postprocess.main(line[1:]):
            raise SystemExit(" ".join(line))
    local = mrc.voxels(half.parent / "m_locres.mrc")
    radius, x = grid(len(local), mrc.header(half).pixel)
    core = (radius < 0.35 * diameter) & (np.abs(x) > diameter / 8)
    finer, coarser = (local[core & side] for side in (x > 0, x < 0))
    return _spread(finer), _spread(coarser)


def _spread(values: Array) -> str:
    low, middle, high = np.percentile(values, (5, 50, 95))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    """Print the table."""
    print("| pixel | halves | lengths | found in the finer | in the coarser | s |\n|---|---|---|---|---|---|")
    for pixel, box, diameter, fine, coarse in CASES:
        auto = geometry.local_resolution(resolution_A=fine, pixel_A=pixel, box_px=box, diameter_A=diameter)
        for name, lengths in {"auto": auto, "RELION's defaults": DEFAULTS}.items():
            for seed in range(SEEDS):
                with tempfile.TemporaryDirectory() as folder:
                    half = write_half_maps(Path(folder), pixel, box, diameter, fine, coarse, seed)
                    start = time.monotonic()
                    found = measure(half, diameter, lengths)
                print(
                    f"| {pixel} | {fine}, {coarse} | {name}: {', '.join(f'{x:g}' for x in lengths.values())} | "
                    f"{' | '.join(found)} | {time.monotonic() - start:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
