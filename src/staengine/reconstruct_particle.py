"""relion_tomo_reconstruct_particle: average of all particles, straight from the tilt series.

Each visible image is multiplied by its CTF and exposure filter and put as a central slice into Fourier space beside
the squares of those factors; dividing one by the other gives the map (Zivanov et al., eLife 2022).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import mrcfile
import numpy as np
from numpy.typing import NDArray

from staengine import backprojection, fourier, symmetry, windows
from staengine.cli import Flag, ProgressBar, no_effect, parse, stop_if_aborted, unsupported
from staengine.errors import EngineError
from staengine.subtomo import prepare
from staengine.tomo import ParticleSet, Tomogram, load_tilt_images, load_tomograms, resolve_inputs

PROGRAM = "relion_tomo_reconstruct_particle"
FLAGS = {
    "--i": Flag("value", "", "optimisation_set.star"),
    "--p": Flag("value", "", "particles.star"),
    "--t": Flag("value", "", "tomograms.star"),
    "--mot": Flag("value", "", "motion.star"),
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
BATCH_BYTES = 128e6  # of slices kept before they are put into the volume
BACKUP_SECONDS = 60.0
MINIMAL_WEIGHT = 0.001  # of the shell's mean


@dataclass(frozen=True)
class Options:
    """What decides the sums that the maps are made of."""

    particles: str
    tomograms: str
    box: int  # binned px
    binning: float
    ctf: bool
    circle: bool
    cutoff: float

    @property
    def full_box(self) -> int:
        return round(self.binning * self.box)


def main(argv: list[str]) -> int:
    args = parse(PROGRAM, FLAGS, argv)
    if args.b <= 0 or args.b % 2 or args.bin < 1:
        raise EngineError(f"{PROGRAM}: --b must be even and positive, --bin at least 1.")
    threads, folder = max(args.j, 1), Path(args.o)
    operators = symmetry.rotations(args.sym)
    inputs = resolve_inputs(PROGRAM, args.i, args.p, args.t, args.mot)
    print(" + Initialising: ", flush=True)
    tomograms = load_tomograms(inputs.tomograms)
    particles = prepare(ParticleSet.read(inputs.particles), tomograms)
    pixel = _common_pixel(particles, tomograms) * args.bin
    if particles.half_sets is None:
        print(
            f"      !The input particles  in {inputs.particles} have no rlnRandomSubset to specify halfsets, "
            "joining all particles in half1",
            flush=True,
        )
    options = Options(
        inputs.particles,
        inputs.tomograms,
        args.b,
        args.bin,
        ctf=not args.no_ctf,
        circle=not args.no_circle_crop,
        cutoff=args.cutoff_fract,
    )
    backup = Backup(folder / "temp" / "sums.npz", options, args.only_do_unfinished, not args.no_backup)
    halves = accumulate(particles, tomograms, options, backup, threads, args.pipeline_control)
    print(" + Reconstructing:", flush=True)
    if len(operators) > 1:
        print("    - Applying point-group symmetries", flush=True)
        halves = [backprojection.symmetrise(half, operators, threads) for half in halves]
    named = {f"half{h}": half for h, half in enumerate(halves, 1)} if len(halves) == 2 else {}
    for tag, sums in (named | {"merged": sum(halves[1:], start=halves[0])}).items():
        _write_maps(folder, tag, sums, pixel, args, threads)
    backup.remove()
    return 0


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
        self.key, self.saved = json.dumps(asdict(options)), time.time()

    def load(self) -> tuple[list[str], list[NDArray[np.float64]]] | None:
        """Finished tomograms and sums of an interrupted run with the same options, else None."""
        if not (self.resume and self.path.is_file()):
            return None
        with np.load(self.path) as data:
            if str(data["key"]) != self.key:
                return None
            return [str(name) for name in data["finished"]], list(data["halves"])

    def save(self, finished: list[str], halves: list[NDArray[np.float64]]) -> None:
        """Save, but not more often than once in BACKUP_SECONDS."""
        if self.keep and time.time() - self.saved > BACKUP_SECONDS:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(".part.npz")
            np.savez(partial, key=self.key, finished=finished, halves=halves)
            partial.replace(self.path)
            self.saved = time.time()

    def remove(self) -> None:
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
    print(f"    - Memory required for accumulation: {size:.6g} GB", flush=True)
    by_tomogram = particles.particles.groupby("rlnTomoName", sort=False).indices
    for number, (name, rows) in enumerate(by_tomogram.items(), 1):
        if name in finished:
            continue
        stop_if_aborted(pipeline_control)
        print(f" + Tomogram {number} / {len(by_tomogram)}: \n    - Loading", flush=True)
        tomogram = tomograms[str(name)]
        images = load_tilt_images(tomogram)
        print("    - Backprojecting:", flush=True)
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
    return halves


Slices = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]


def _batches(
    particles: ParticleSet, tomogram: Tomogram, images: NDArray, options: Options, threads: int
) -> Iterator[tuple[int, Slices | None]]:
    """Numbers of particles, and their slices with rotations and radii (None if none is visible)."""
    pixel = tomogram.pixel_size * options.binning
    weights = windows.exposure_weights(tomogram, options.box, pixel)
    radii = _usable_radii(weights, options.cutoff)
    centres = tomogram.project(particles.positions)
    # as RELION: half the *binned* box in unbinned px; what lies beyond the border repeats the border
    visible = windows.visible_tilts(tomogram, centres, options.box / 2)
    offsets = tomogram.defocus_offset(particles.positions)
    rotations = tomogram.rotations[None] @ particles.rotations[:, None]

    def slices(p: int) -> NDArray[np.float32]:
        tilts = np.flatnonzero(visible[p])
        return particle_slices(
            tomogram,
            images,
            tilts,
            centres[p, tilts],
            offsets[p, tilts],
            weights[tilts],
            radii[tilts],
            options,
        )

    per_particle = max(len(tomogram) * weights[0].size * 12, 1)
    step = max(int(BATCH_BYTES / per_particle), threads)
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(particles), step):
            batch = range(first, min(first + step, len(particles)))
            stacks = list(pool.map(slices, batch))
            chosen = visible[batch]
            used = np.concatenate([radii[v] for v in chosen])
            yield len(batch), (np.concatenate(stacks), rotations[batch][chosen], used) if len(used) else None


def _usable_radii(weights: NDArray, cutoff: float) -> NDArray[np.float64]:
    """First radius (n,) in Fourier px, of each tilt, whose exposure filter is too low; at most box / 2 + 1."""
    half = weights.shape[-1]
    return np.array([half if (w[0] > cutoff).all() else np.argmin(w[0] > cutoff) for w in weights], float)


def particle_slices(
    tomogram: Tomogram,
    images: NDArray,
    tilts: NDArray[np.int64],
    centres: NDArray,
    defocus_offsets: NDArray,
    weights: NDArray,
    radii: NDArray,
    options: Options,
) -> NDArray[np.float32]:
    """Slices (n, box, box // 2 + 1, 3) of one particle: CTF-multiplied transform (real, imaginary), CTF²."""
    cut, offsets = windows.cut_windows(images[tilts], centres, options.full_box)
    if options.circle:
        cut = windows.mask_circle(cut, options.full_box // 2)
    # with both transforms normalised by the root of their number of elements, as RELION scales its maps
    scale = np.float32(1 / (options.full_box * options.binning))
    transforms = windows.binned_transforms(cut, options.box, offsets) * scale
    pixel = tomogram.pixel_size * options.binning
    r = fourier.radius(options.box, 2)
    usable = (r <= options.box / 2) & (r < radii[:, None, None])
    factor = usable.astype(np.float32)
    if options.ctf:
        factor *= windows.transfer_functions(tomogram, defocus_offsets, tilts, options.box, pixel) * weights
    transforms *= -factor  # particles become bright
    return np.stack([transforms.real, transforms.imag, factor**2], axis=-1)


# ---------------------------------------------------------------- maps


def divide(sums: NDArray[np.float64], snr: float, threads: int) -> tuple[NDArray, NDArray]:
    """Weighted sum, with interpolation corrected, and map (box, box, box), of accumulated slices.

    snr > 0: Wiener filter with 1 / snr; else weights below MINIMAL_WEIGHT of their shell's mean are raised to it, and
    there is nothing beyond Nyquist.
    """
    box = sums.shape[0]
    data = fourier.irfft(sums[..., 0] + 1j * sums[..., 1], 3, threads) * box**1.5
    # trilinear insertion multiplies the map by sinc²
    data /= np.maximum(np.sinc(np.minimum(fourier.distance(box, 3) / box, 1)) ** 2, 0.01)
    weight = sums[..., 2]
    transform = fourier.rfft(data, 3, threads)
    if snr > 0:
        transform /= weight + 1 / snr
    else:
        r = fourier.radius(box, 3)
        mean = _radial_mean(weight, r)
        floor = MINIMAL_WEIGHT * np.interp(r, np.arange(len(mean)), mean)
        usable = (r < box // 2) & (floor > 0)
        transform = np.divide(
            transform, np.maximum(weight, floor), out=np.zeros_like(transform), where=usable
        )
    return data, fourier.irfft(transform, 3, threads)


def _radial_mean(values: NDArray, r: NDArray) -> NDArray[np.float64]:
    """Mean at whole radii 0 .. box // 2, each element shared between the two radii next to it."""
    lower, n = np.floor(r).astype(int), values.shape[-1]
    upper_share = r - lower
    index = np.concatenate([lower.ravel(), lower.ravel() + 1])
    share = np.concatenate([(1 - upper_share).ravel(), upper_share.ravel()])
    total = np.bincount(index, share * np.tile(values.ravel(), 2))[:n]
    return total / np.maximum(np.bincount(index, share)[:n], 1e-9)


def taper(volume: NDArray, edge_px: float) -> NDArray[np.float32]:
    """Subtract the mean inside the largest sphere and mask with its soft edge."""
    box = volume.shape[0]
    mask = fourier.soft_sphere(box, box / 2 - edge_px, edge_px)
    return (mask * (volume - (mask * volume).sum() / mask.sum())).astype(np.float32)


def _write_maps(
    folder: Path, tag: str, sums: NDArray, pixel: float, args: SimpleNamespace, threads: int
) -> None:
    data, volume = divide(sums, args.SNR, threads)
    box = args.b
    _write(folder / f"data_{tag}.mrc", data, pixel)
    _write(folder / f"weight_{tag}.mrc", full_weight(sums[..., 2]), pixel)
    if 0 < args.crop < box:
        _write(folder / f"{tag}_full.mrc", volume, pixel)
        volume = fourier.window(volume, args.crop, 3)
    _write(folder / f"{tag}.mrc", taper(volume, args.taper), pixel)


def full_weight(weight: NDArray) -> NDArray[np.float32]:
    """Whole cube, zero frequency at box // 2, of the half transform of weights, which are even (box even)."""
    negative = -np.arange(weight.shape[0])
    mirrored = weight[negative][:, negative][:, :, :0:-1]
    return np.fft.fftshift(np.concatenate([weight[:, :, :-1], mirrored], axis=2)).astype(np.float32)


def _write(path: Path, values: NDArray, pixel: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(values, np.float32))
        mrc.voxel_size = pixel
