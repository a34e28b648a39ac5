"""Sums of particle slices, straight from the tilt series, from which a map is made.

Each visible image is multiplied by its CTF and exposure filter and put into Fourier space as a central slice,
beside the squares of those factors (Zivanov et al., eLife 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.cli import ProgressBar, say, stop_if_aborted
from staengine.errors import EngineError
from staengine.numerics import backprojection, fourier
from staengine.ranks import ALONE, Ranks
from staengine.tilt_series import windows
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.tomograms import Tomogram, load_tilt_images
from staengine.tilt_series.unfinished import SavedResults

BATCH_BYTES = 128e6  # of slices that wait to be put into the volume
SUMS = "sums"  # name under which they are saved


@dataclass(frozen=True)
class SumOptions:
    """The options that decide the sums."""

    box: int  # binned px
    binning: float
    ctf: bool
    circle: bool
    cutoff: float

    @property
    def full_box(self) -> int:
        return round(self.binning * self.box)


def accumulate(
    particles: ParticleSet,
    tomograms: dict[str, Tomogram],
    options: SumOptions,
    saved: SavedResults,
    threads: int,
    pipeline_control: str = "",
    backup: bool = True,
    ranks: Ranks = ALONE,
) -> list[NDArray[np.float64]]:
    """Sums (box, box, box // 2 + 1, 3) of all slices: of each half set, or one if there are none.

    With `backup` they are saved after each tomogram. Ranks share the tomograms; the leader has the sums in the end,
    others have none. Raises EngineError if a half set has no visible particle.
    """
    half_sets = particles.half_sets
    n_halves = 1 if half_sets is None else 2
    before = saved.load(SUMS) if ranks.size == 1 else None
    finished = [] if before is None else [str(name) for name in before["finished"]]
    halves = (
        [backprojection.new_accumulator(options.box) for _ in range(n_halves)]
        if before is None
        else list(before["halves"])
    )
    size = halves[0].nbytes * n_halves / 1024**3
    say(f"Memory required for accumulation: {size:.6g} GB", level=1)
    own = ranks.own(list(particles.by_tomogram().items()))
    for number, (name, rows) in enumerate(own, 1):
        if name in finished:
            continue
        stop_if_aborted(pipeline_control)
        say(f"Tomogram {number} / {len(own)}:")
        say("Loading", level=1)
        tomogram = tomograms[name]
        images = load_tilt_images(tomogram)
        say("Backprojecting:", level=1)
        with ProgressBar(len(rows)) as bar:
            for half, volume in enumerate(halves, 1):
                in_half = rows if half_sets is None else rows[half_sets[rows] == half]
                subset = particles.subset(in_half)
                for n, batch in _batches(subset, tomogram, images, options, threads):
                    if batch is not None:
                        backprojection.backproject(volume, *batch, threads)
                    bar.advance(n)
        finished.append(name)
        if backup:
            saved.save_if_cheap(SUMS, {"finished": finished, "halves": halves})
    halves = [sum(parts[1:], start=parts[0]) for parts in zip(*ranks.gathered(halves), strict=True)]
    for number, volume in enumerate(halves, 1):
        if not volume[..., 2].any():
            raise EngineError(
                f"{particles.path}: no particle of half set {number} lies inside its tilt images with a box "
                f"of {options.box} px; check the box and the coordinates (Å from the tomogram's centre)."
            )
    return halves


Slices = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]


def _batches(
    particles: ParticleSet, tomogram: Tomogram, images: NDArray[Any], options: SumOptions, threads: int
) -> Iterator[tuple[int, Slices | None]]:
    """Numbers of particles, and their slices with rotations and radii (None if none is visible)."""
    weights = windows.exposure_weights(tomogram, options.box, tomogram.pixel_size * options.binning)
    radii = usable_radii(weights, options.cutoff)
    centres = tomogram.project(particles.paths(particles.positions))
    # as in RELION: half the binned box in unbinned px; where the box sticks out, the border is repeated
    visible = windows.visible_tilts(tomogram, centres, options.box / 2)
    offsets = tomogram.defocus_offset(particles.positions)
    rotations = tomogram.rotations[None] @ particles.rotations[:, None]

    def slices(p: int) -> NDArray[np.float32]:
        t = np.flatnonzero(visible[p])
        cut, shifts = windows.cut_windows(images[t], centres[p, t], options.full_box)
        return _slices(tomogram, t, cut, shifts, offsets[p, t], weights[t], radii[t], options)

    step = max(int(BATCH_BYTES / (len(tomogram) * weights[0].size * 12)), threads)
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(particles), step):
            batch = range(first, min(first + step, len(particles)))
            stacks = list(pool.map(slices, batch))
            chosen = visible[batch]
            used = np.concatenate([radii[tilts] for tilts in chosen])
            yield len(batch), (np.concatenate(stacks), rotations[batch][chosen], used) if len(used) else None


def usable_radii(weights: NDArray[Any], cutoff: float) -> NDArray[np.float64]:
    """First radius (n,), in Fourier px, where a tilt's exposure filter is too low; at most box // 2 + 1."""
    good = weights[:, 0] > cutoff
    return np.where(good.all(axis=1), good.shape[1], np.argmin(good, axis=1)).astype(float)


def _slices(
    tomogram: Tomogram,
    tilts: NDArray[np.int64],
    cut: NDArray[np.float32],
    shifts: NDArray[Any],
    defocus_offsets: NDArray[Any],
    weights: NDArray[Any],
    radii: NDArray[Any],
    options: SumOptions,
) -> NDArray[np.float32]:
    """Slices (n, box, box // 2 + 1, 3) of one particle: CTF-multiplied transform (real, imaginary), CTF²."""
    if options.circle:
        cut = windows.mask_circle(cut, options.full_box // 2)
    # RELION's scale: transforms are divided by the root of their number of elements
    scale = np.float32(1 / (options.full_box * options.binning))
    transforms = windows.binned_transforms(cut, options.box, shifts) * scale
    factor = np.ones_like(weights)
    if options.ctf:
        pixel = tomogram.pixel_size * options.binning
        r = fourier.radius(options.box, 2)
        usable = (r <= options.box / 2) & (r < radii[:, None, None])
        transfer = windows.transfer_functions(tomogram, defocus_offsets, tilts, options.box, pixel)
        factor = usable * transfer * weights
    transforms *= -factor  # particles become bright
    return np.stack([transforms.real, transforms.imag, factor**2], axis=-1)
