"""relion_tomo_reconstruct_particle: average of all particles, straight from the tilt series.

Each visible image is multiplied by its CTF and exposure filter and put into Fourier space as a central slice,
beside the squares of those factors; one divided by the other gives the map (Zivanov et al., eLife 2022).
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from staengine.cli import INPUT, Flag, ProgressBar, no_effect, parse, say, stop_if_aborted, unsupported, warn
from staengine.errors import EngineError
from staengine.numerics import backprojection, fourier, symmetry
from staengine.numerics.maps import write_map
from staengine.programs.subtomo import prepare
from staengine.tilt_series import windows
from staengine.tilt_series.tomo import (
    ParticleSet,
    Tomogram,
    load_tilt_images,
    load_tomograms,
    resolve_inputs,
    version_of,
)

PROGRAM = "relion_tomo_reconstruct_particle"
FLAGS = {
    **INPUT,
    "--o": Flag("required", str, "output folder"),
    "--b": Flag("required", int, "box in binned px"),
    "--crop": Flag("value", -1, "box of the map written, in binned px; the full one goes to *_full.mrc"),
    "--bin": Flag("value", 1.0, "binning"),
    "--SNR": Flag("value", -1.0, "Wiener filter for this signal-to-noise ratio; -1: divide by the weights"),
    "--sym": Flag("value", "C1", "point group"),
    "--taper": Flag("value", 10.0, "width of the soft spherical edge, px"),
    "--cutoff_fract": Flag("value", 0.01, "do not use frequencies whose exposure filter is below this"),
    "--no_ctf": Flag("switch", help="do not correct for CTF and exposure"),
    "--no_circle_crop": Flag("switch", help="do not mask images to a circle"),
    "--only_do_unfinished": Flag("switch", help="go on after the last tomogram of an interrupted run"),
    "--no_backup": Flag("switch", help="keep nothing for --only_do_unfinished"),
    "--j": Flag("value", 6, "threads"),
    **no_effect(j_in=3, j_out=2, mem=-1),
    **unsupported(
        "--whiten", "--nr_helical_asu", "--helical_rise", "--helical_twist", "--no_recon", "--list_themes"
    ),
}
BATCH_BYTES = 128e6  # of slices that wait to be put into the volume
MOST_OF_THE_TIME = 0.25  # for saving what is done, beside the work since the last time
MINIMAL_WEIGHT = 0.001  # of the mean at that resolution


@dataclass(frozen=True)
class Options:
    """What decides the sums that the maps are made of."""

    particles: str
    tomograms: str
    trajectories: str
    box: int  # binned px
    binning: float
    ctf: bool
    circle: bool
    cutoff: float

    @property
    def full_box(self) -> int:
        return round(self.binning * self.box)


def main(argv: list[str]) -> int:
    backup = average(parse(PROGRAM, FLAGS, argv))
    # All is written: who is told to end now has done its work, and without its sums it could not go on.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    backup.remove()
    return 0


def average(args: SimpleNamespace) -> Backup:
    """Write the maps; returns the backup of their sums, of no more use. EngineError if the input is unfit."""
    if args.b <= 0 or args.b % 2 or args.bin < 1:
        raise EngineError(f"{PROGRAM}: --b must be even and positive, --bin at least 1.")
    threads, folder = max(args.j, 1), Path(args.o)
    operators = symmetry.rotations(args.sym)
    inputs = resolve_inputs(PROGRAM, args.i, args.p, args.t, args.mot)
    say("Initialising:")
    tomograms = load_tomograms(inputs.tomograms)
    particles = prepare(ParticleSet.read(inputs.particles, inputs.trajectories), tomograms, log_level=1)
    pixel = _common_pixel(particles, tomograms) * args.bin
    if particles.half_sets is None:
        warn(
            f"The input particles  in {inputs.particles} have no rlnRandomSubset to specify halfsets, "
            "joining all particles in half1",
            level=1,
        )
    options = Options(
        inputs.particles,
        inputs.tomograms,
        inputs.trajectories,
        args.b,
        args.bin,
        ctf=not args.no_ctf,
        circle=not args.no_circle_crop,
        cutoff=args.cutoff_fract,
    )
    backup = Backup(folder / "temp" / "sums.npz", options, args.only_do_unfinished, not args.no_backup)
    halves = accumulate(particles, tomograms, options, backup, threads, args.pipeline_control)
    if len(operators) > 1:
        say("Applying point-group symmetries")
        halves = [backprojection.symmetrise(half, operators, threads) for half in halves]
    say("Reconstructing:")
    if len(halves) == 2:
        for number, half in enumerate(halves, 1):
            _write_maps(folder, f"half{number}", half, pixel, args, threads)
        halves[0] += halves.pop()
    _write_maps(folder, "merged", halves[0], pixel, args, threads)
    return backup


def _common_pixel(particles: ParticleSet, tomograms: dict[str, Tomogram]) -> float:
    sizes = {tomograms[name].pixel_size for name in particles.particles["rlnTomoName"].unique()}
    if max(sizes) - min(sizes) > 1e-3:
        raise EngineError(
            f"{PROGRAM}: the tilt series have different pixel sizes ({min(sizes):g} to {max(sizes):g} Å); "
            "the embedded engine averages particles of one pixel size only."
        )
    return min(sizes)


# ---------------------------------------------------------------- summing up


class Backup:
    """The sums after each tomogram, kept on disk so that an interrupted run can go on."""

    def __init__(self, path: Path, options: Options, resume: bool, keep: bool) -> None:
        self.path, self.resume, self.keep = path, resume, keep
        files = (options.particles, options.tomograms, options.trajectories)
        versions = [version_of(name) for name in files if name]
        self.key, self.saved, self.cost = json.dumps([asdict(options), versions]), time.time(), 0.0

    def load(self) -> tuple[list[str], list[NDArray[np.float64]]] | None:
        """Finished tomograms and sums of an interrupted run with the same options and inputs, else None."""
        if not (self.resume and self.path.is_file()):
            return None
        with np.load(self.path) as data:
            if str(data["key"]) != self.key:
                return None
            return [str(name) for name in data["finished"]], list(data["halves"])

    def save(self, finished: list[str], halves: list[NDArray[np.float64]]) -> None:
        """Save, after each tomogram if saving does not take more than a part of the time."""
        started = time.time()
        if self.keep and self.cost <= MOST_OF_THE_TIME * (started - self.saved):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(".part.npz")
            np.savez(partial, key=self.key, finished=finished, halves=halves)
            partial.replace(self.path)
            self.saved = time.time()
            self.cost = self.saved - started

    def remove(self) -> None:
        """Remove the sums; not their folder, as in RELION: the end is to follow at once."""
        self.path.unlink(missing_ok=True)


def accumulate(
    particles: ParticleSet,
    tomograms: dict[str, Tomogram],
    options: Options,
    backup: Backup,
    threads: int,
    pipeline_control: str = "",
) -> list[NDArray[np.float64]]:
    """Sums (box, box, box // 2 + 1, 3) of all slices: of each half set, or one if there are none."""
    half_sets = particles.half_sets
    n_halves = 1 if half_sets is None else 2
    start = backup.load()
    finished, halves = start or ([], [backprojection.new_accumulator(options.box) for _ in range(n_halves)])
    size = halves[0].nbytes * n_halves / 1024**3
    say(f"Memory required for accumulation: {size:.6g} GB", level=1)
    by_tomogram = particles.particles.groupby("rlnTomoName", sort=False).indices
    for number, (name, rows) in enumerate(by_tomogram.items(), 1):
        if name in finished:
            continue
        stop_if_aborted(pipeline_control)
        say(f"Tomogram {number} / {len(by_tomogram)}:")
        say("Loading", level=1)
        tomogram = tomograms[str(name)]
        images = load_tilt_images(tomogram)
        say("Backprojecting:", level=1)
        bar, done = ProgressBar(len(rows)), 0
        for half, volume in enumerate(halves):
            in_half = rows if half_sets is None else rows[half_sets[rows] == half + 1]
            subset = particles.subset(in_half)
            for n, batch in _batches(subset, tomogram, images, options, threads):
                if batch is not None:
                    backprojection.backproject(volume, *batch, threads)
                done += n
                bar.update(done)
        bar.done()
        finished.append(str(name))
        backup.save(finished, halves)
    for number, volume in enumerate(halves, 1):
        if not volume[..., 2].any():
            raise EngineError(
                f"{particles.path}: no particle of half set {number} lies inside its tilt images with a box "
                f"of {options.box} px; check the box and the coordinates (Å from the tomogram's centre)."
            )
    return halves


Slices = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]


def _batches(
    particles: ParticleSet, tomogram: Tomogram, images: NDArray, options: Options, threads: int
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


def usable_radii(weights: NDArray, cutoff: float) -> NDArray[np.float64]:
    """First radius (n,), in Fourier px, where a tilt's exposure filter is too low; at most box // 2 + 1."""
    good = weights[:, 0] > cutoff
    return np.where(good.all(axis=1), good.shape[1], np.argmin(good, axis=1)).astype(float)


def _slices(
    tomogram: Tomogram,
    tilts: NDArray[np.int64],
    cut: NDArray[np.float32],
    shifts: NDArray,
    defocus_offsets: NDArray,
    weights: NDArray,
    radii: NDArray,
    options: Options,
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


# ---------------------------------------------------------------- maps


def divide(sums: NDArray[np.float64], snr: float, threads: int) -> tuple[NDArray, NDArray]:
    """Weighted sum, corrected for interpolation, and map, both (box, box, box), of accumulated slices.

    snr > 0: Wiener filter with 1 / snr. Else weights below MINIMAL_WEIGHT of their shell's mean are raised to
    it, and there is nothing beyond Nyquist.
    """
    box = sums.shape[0]
    transform = (sums[..., 0] + 1j * sums[..., 1]).astype(np.complex64)
    data = fourier.irfft(transform, 3, threads) * np.float32(box**1.5)
    # linear interpolation in Fourier space multiplies the map by about sinc²
    data /= np.maximum(np.sinc(np.minimum(fourier.distance(box, 3) / box, 1)) ** 2, 0.01)
    transform, weight = fourier.rfft(data, 3, threads), sums[..., 2].astype(np.float32)
    if snr > 0:
        transform /= weight + 1 / snr
    else:
        r = fourier.radius(box, 3)
        mean = _radial_mean(weight, r)
        lowest = MINIMAL_WEIGHT * np.interp(r, np.arange(len(mean)), mean)
        weight = np.maximum(weight, lowest.astype(np.float32))
        usable = (r < box // 2) & (weight > 0)
        transform = np.divide(transform, weight, out=np.zeros_like(transform), where=usable)
    return data, fourier.irfft(transform, 3, threads)


def _radial_mean(values: NDArray, r: NDArray) -> NDArray[np.float64]:
    """Mean at radii 0 .. box // 2, each element being shared between the two whole radii next to its own."""
    lower, share = np.floor(r).astype(int).ravel(), (r % 1).ravel()

    def total(weights: NDArray) -> NDArray[np.float64]:
        at_lower = np.bincount(lower, weights * (1 - share)).astype(float)
        at_lower[1:] += np.bincount(lower, weights * share)[:-1]
        return at_lower[: values.shape[-1]]

    return total(values.ravel()) / total(np.ones_like(share))


def taper(volume: NDArray, edge_px: float) -> NDArray[np.float32]:
    """Subtract the mean inside the largest sphere and mask with its soft edge."""
    box = volume.shape[0]
    mask = fourier.soft_sphere(box, box / 2 - edge_px, edge_px)
    return (mask * (volume - (mask * volume).sum() / mask.sum())).astype(np.float32)


def _write_maps(
    folder: Path, tag: str, sums: NDArray[np.float64], pixel: float, args: SimpleNamespace, threads: int
) -> None:
    data, volume = divide(sums, args.SNR, threads)
    write_map(folder / f"data_{tag}.mrc", data, pixel)
    write_map(folder / f"weight_{tag}.mrc", full_weight(sums[..., 2]), pixel)
    if 0 < args.crop < args.b:
        write_map(folder / f"{tag}_full.mrc", volume, pixel)
        volume = fourier.window(volume, args.crop, 3)
    write_map(folder / f"{tag}.mrc", taper(volume, args.taper), pixel)


def full_weight(weight: NDArray) -> NDArray:
    """Whole cube, zero frequency at box // 2, of the half transform of weights, which are even (box even)."""
    negative = -np.arange(weight.shape[0])
    mirrored = weight[negative][:, negative][:, :, :0:-1]
    return np.fft.fftshift(np.concatenate([weight[:, :, :-1], mirrored], axis=2))
