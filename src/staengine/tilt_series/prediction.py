"""What CTF refinement and polishing share: particle images cut out of a tilt series, and their prediction.

A particle's image in a tilt is predicted as -CTF · exposure filter · central slice of a half map (Zivanov et
al., eLife 2022): which one is the caller's choice (see `slices`). Images and predictions are lists of the K
Fourier components within the resolution of the reference, sorted by radius (see `projector.Components`): 2D
transforms of windows of the estimation box `--b` at the pixel size of the tilt series, divided by box².
Particles are dark in both. m particles, n tilts; what is not visible is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from staengine.cli import Flag, say
from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.numerics.maps import read_map
from staengine.numerics.projector import Components, padded_transform, project
from staengine.tilt_series import windows
from staengine.tilt_series.tomo import ParticleSet, Tomogram, read_star

REFERENCE_FLAGS = {
    "--ref1": Flag("value", "", "half map 1"),
    "--ref2": Flag("value", "", "half map 2"),
    "--mask": Flag("value", "", "mask of the half maps"),
    "--fsc": Flag("value", "", "postprocess.star with the FSC of the half maps"),
    "--freq_cutoff": Flag("value", -1.0, "last shell used, 1/--b; -1: where the FSC falls below 0.143"),
    "--fsc_thresh_width": Flag("value", 5.0, "width of the soft edge of the resolution limit, shells"),
    "--use_SNR_weight": Flag("switch", help="weight shells by FSC / (1 - FSC) instead of alike"),
    "--b": Flag("required", int, "estimation box, px of the tilt series"),
}
PADDING = 2  # of the half maps' transforms
RESOLVED = 0.143  # FSC criterion
CORRECTED_FSC = "rlnFourierShellCorrelationCorrected"


# ---------------------------------------------------------------- reference


@dataclass(frozen=True)
class Reference:
    """Two masked half maps, ready to be sliced, and how far their Fourier shells are to be trusted."""

    box: int  # px, estimation box
    pixel: float  # Å
    radius_px: float  # half the box of the half maps: what must lie inside a tilt image
    transforms: tuple[NDArray[np.complex64], NDArray[np.complex64]]  # see projector.padded_transform
    components: Components  # of a box cropped in Fourier space to what has weight
    weights: NDArray[np.float64]  # (K,) 0 to 1 (or FSC / (1 - FSC)), by resolution
    fsc: NDArray[np.float64]  # (K,) 0 to 1: the share of signal in the power of a half map

    @property
    def small_pixel(self) -> float:
        """Pixel size in Å of the box that `components` belong to."""
        return self.pixel * self.box / self.components.box

    @property
    def frequency(self) -> NDArray[np.floating]:
        """Spatial frequency (K,) of the components in 1/Å."""
        return self.components.radius / (self.box * self.pixel)


def read_reference(program: str, args: SimpleNamespace, pixel: float) -> Reference:
    """The reference that REFERENCE_FLAGS name, for tilt series of `pixel` Å.

    Raises EngineError for a missing flag or file, half maps or a mask of another box or pixel size, and an
    estimation box that is odd or smaller than the half maps.
    """
    missing = [f"--{name}" for name in ("ref1", "ref2", "mask", "fsc") if not getattr(args, name)]
    if missing:
        raise EngineError(f"{program}: {' and '.join(missing)} must be given.")
    halves = [_read_at(path, "half map", pixel) for path in (args.ref1, args.ref2)]
    mask = _read_at(args.mask, "mask", pixel)
    for path, values in ((args.ref2, halves[1]), (args.mask, mask)):
        if values.shape != halves[0].shape:
            raise EngineError(
                f"{program}: {path} has a box of {len(values)} px, {args.ref1} of {len(halves[0])} px; "
                "make half maps and mask with the same box."
            )
    if mask.min() < -1e-3 or mask.max() > 1.001:
        raise EngineError(
            f"{program}: the values of {args.mask} go from {mask.min():.3g} to {mask.max():.3g}; "
            "a mask is 0 to 1."
        )
    box, map_box = args.b, len(halves[0])
    if box < map_box or box % 2:
        raise EngineError(
            f"{program}: the estimation box --b {box} must be even and at least the half maps' {map_box} px."
        )
    curve = read_fsc(args.fsc, box, pixel)
    shells = shell_weights(curve, args.freq_cutoff, args.fsc_thresh_width)
    curve = np.clip(curve, 0, 0.999)
    if args.use_SNR_weight:
        shells *= curve / (1 - curve)
    if not shells[1:].any():
        raise EngineError(
            f"{program}: {args.fsc}: the FSC is below {RESOLVED} from the first shell on; "
            "there is no signal to refine against."
        )
    say("Initialising:")
    if box > map_box:
        say(f"Padding reference from {map_box} to {box}", level=1)
    last = int(np.flatnonzero(shells)[-1])
    small = min(2 * (last + 2), box)
    components = Components.within(small, min(last + 0.5, box / 2 - 1))
    transforms = [_transform(half * mask, box, small, args.j) for half in halves]
    weights, fsc = (np.interp(components.radius, np.arange(len(shells)), c) for c in (shells, curve))
    weights[0] = 0  # the mean of an image says nothing
    return Reference(box, pixel, map_box / 2, (transforms[0], transforms[1]), components, weights, fsc)


def _read_at(path: str, what: str, pixel: float) -> NDArray[np.float32]:
    values, found = read_map(path, what)
    if found and abs(found - pixel) > 1e-3 * pixel:
        raise EngineError(
            f"the {what} {path} has a pixel size of {found:g} Å, the tilt series of {pixel:g} Å; "
            "reconstruct at --bin 1."
        )
    return values


def _transform(half: NDArray, box: int, small: int, workers: int) -> NDArray[np.complex64]:
    """Padded transform of a masked half map in the estimation box, without what lies beyond the small box.

    RELION's reconstructions carry the root of their box beside the density: divided out here, so that slices
    have the amplitudes of images.
    """
    cropped = fourier.resample(fourier.window(half, box, 3), small, 3)
    return padded_transform(cropped, PADDING, workers) * np.float32(box / small / np.sqrt(len(half)))


def read_fsc(path: str | Path, box: int, pixel: float) -> NDArray[np.float64]:
    """Corrected FSC of a postprocess.star at shells 0 .. box // 2 of a box of `pixel` Å (from any box).

    0 beyond the file's last shell. Raises EngineError if the file has no such curve.
    """
    table = read_star(path).get("fsc")
    columns = ["rlnResolution", CORRECTED_FSC]
    if not isinstance(table, pd.DataFrame) or not set(columns) <= set(table):
        raise EngineError(f"{path} has no table data_fsc with {' and '.join(columns)}.")
    frequency, fsc = (table[column].to_numpy(float) for column in columns)
    frequency = np.r_[0.0, frequency[1:]]  # the first is written as 1/999 Å
    return np.interp(np.arange(box // 2 + 1) / (box * pixel), frequency, np.nan_to_num(fsc), right=0.0)


def shell_weights(fsc: NDArray, cutoff: float = -1, width: float = 5) -> NDArray[np.float64]:
    """Weights of shells: 1 up to the resolution, a raised cosine of `width` shells about it, then 0.

    The resolution is where the FSC first falls below 0.143, or shell `cutoff` if that is positive.
    """
    if cutoff <= 0:
        below = np.flatnonzero(fsc < RESOLVED)
        cutoff = below[0] - 1 if below.size else len(fsc) - 1
        if cutoff < 1:
            return np.zeros(len(fsc))
    return fourier.raised_cosine(np.arange(len(fsc)), cutoff - width / 2, width).astype(float)


def common_pixel(program: str, tomograms: Iterable[Tomogram]) -> float:
    """Pixel size in Å of all tilt series. Raises EngineError if they differ."""
    sizes = [tomogram.pixel_size for tomogram in tomograms]
    if max(sizes) - min(sizes) > 1e-3:
        raise EngineError(
            f"{program}: the tilt series have different pixel sizes ({min(sizes):g} to {max(sizes):g} Å); "
            "the embedded engine refines against one reference of one pixel size."
        )
    return sizes[0]


def half_sets(program: str, particles: ParticleSet) -> NDArray[np.int64]:
    """0 or 1 for each particle. Raises EngineError if it has no half sets."""
    halves = particles.half_sets
    if halves is None:
        raise EngineError(
            f"{program}: {particles.path} has no half sets (rlnRandomSubset); use the particles of a "
            "refinement (relion_refine_mpi --auto_refine --split_random_halves)."
        )
    return halves - 1


# ---------------------------------------------------------------- images


def _for_each(task: Callable[[int], None], count: int, threads: int) -> None:
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for _ in pool.map(task, range(count)):
            pass


def visible_tilts(tomogram: Tomogram, reference: Reference, positions: NDArray) -> NDArray[np.bool_]:
    """Which particles (m, n) lie inside the tilt images with the half maps' box; positions as of `observe`."""
    return windows.visible_tilts(tomogram, tomogram.project(positions), reference.radius_px)


def observe(
    tomogram: Tomogram, images: NDArray, reference: Reference, positions: NDArray, threads: int = 1
) -> NDArray[np.complex64]:
    """Components (m, n, K) of the particles' images, with each particle at its window's origin.

    images: the tilt series (n, h, w); positions (m, 3), or (m, n, 3) along trajectories, Å.
    """
    centres = tomogram.project(positions)
    visible = visible_tilts(tomogram, reference, positions)
    components = reference.components
    observed = np.zeros((*visible.shape, len(components)), np.complex64)

    def cut(p: int) -> None:
        tilts = np.flatnonzero(visible[p])
        windows_, offsets = windows.cut_windows(images[tilts], centres[p, tilts], reference.box)
        masked = windows.mask_circle(windows_, reference.box // 2)
        transforms = windows.binned_transforms(masked, components.box, offsets)
        observed[p, tilts] = components.pick(transforms) / np.float32(reference.box**2)

    _for_each(cut, len(observed), threads)
    return observed


def slices(
    tomogram: Tomogram,
    reference: Reference,
    rotations: NDArray,
    halves: NDArray,
    visible: NDArray,
    threads: int = 1,
) -> NDArray[np.complex64]:
    """Central slices (m, n, K) of half maps, dark, times the exposure filter; no CTF.

    rotations: of the particles (m, 3, 3); halves: which half map, 0 or 1, for each (m,); visible (m, n). What
    belongs to a particle alone is refined against its own half set's map, or the halves are no longer
    independent. What all particles share may be refined against the other, which does not contain the noise of
    the image that it is compared with.
    """
    components = reference.components
    matrices = (tomogram.rotations[None] @ rotations[:, None]).astype(np.float32)
    damage = -exposure_filter(tomogram, reference)
    result = np.zeros((*visible.shape, len(components)), np.complex64)

    def cut(p: int) -> None:
        tilts = np.flatnonzero(visible[p])
        out = np.empty((1, 2, len(tilts), len(components)), np.float32)
        project(
            reference.transforms[halves[p]],
            PADDING,
            matrices[p, tilts][None],
            components.kx,
            components.ky,
            out,
        )
        result[p, tilts] = (out[0, 0] + 1j * out[0, 1]) * damage[tilts]

    _for_each(cut, len(result), threads)
    return result


def exposure_filter(tomogram: Tomogram, reference: Reference) -> NDArray[np.float32]:
    """Exposure filter (n, K) of each tilt."""
    components = reference.components
    return components.pick(windows.exposure_weights(tomogram, components.box, reference.small_pixel))


def transfer_functions(
    tomogram: Tomogram, reference: Reference, positions: NDArray, visible: NDArray, threads: int = 1
) -> NDArray[np.float32]:
    """CTFs with contrast scale (m, n, K) of particles at positions (m, 3) or (m, n, 3) Å."""
    components = reference.components
    offsets = tomogram.defocus_offset(positions)
    result = np.zeros((*visible.shape, len(components)), np.float32)

    def evaluate(p: int) -> None:
        tilts = np.flatnonzero(visible[p])
        ctfs = windows.transfer_functions(
            tomogram, offsets[p, tilts], tilts, components.box, reference.small_pixel
        )
        result[p, tilts] = components.pick(ctfs)

    _for_each(evaluate, len(result), threads)
    return result


def noise_power(
    residuals: NDArray, visible: NDArray, components: Components, per_tilt: bool = False
) -> NDArray[np.float64]:
    """Mean power (n, K) of residuals (m, n, K), by shell: of each tilt, or of all tilts together.

    Divide weights by it to whiten the noise. Residuals may be the images themselves if their noise prevails.
    """
    power = np.einsum("mnk,mnk->nk", residuals, residuals.conj()).real
    return mean_power(power, visible.sum(axis=0), components, per_tilt)


def mean_power(
    power: NDArray, count: NDArray, components: Components, per_tilt: bool = False
) -> NDArray[np.float64]:
    """As `noise_power`, from powers (n, K) summed over the images (n,) of each tilt.

    A tilt without images gets the mean of all; where there is no power at all, it is infinite: no weight.
    """
    n_shells = int(components.shell.max()) + 1
    in_shell = np.bincount(components.shell, minlength=n_shells)
    sums = np.array([np.bincount(components.shell, row, n_shells) for row in power])
    by_shell = np.broadcast_to(sums.sum(axis=0) / max(count.sum(), 1), sums.shape)
    if per_tilt:
        by_shell = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], by_shell)
    by_shell = by_shell / np.maximum(in_shell, 1)
    return np.where(by_shell > 0, by_shell, np.inf)[:, components.shell]
