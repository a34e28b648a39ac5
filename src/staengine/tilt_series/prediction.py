"""What CTF refinement and polishing share: particle images cut out of a tilt series, and their prediction.

A particle's image in a tilt is predicted as -CTF · exposure filter · central slice of a half map (Zivanov et
al., eLife 2022): which one is the caller's choice (see `slices`). Images and predictions are lists of the K
Fourier components within the resolution of the reference, sorted by radius (see `projector.Components`): 2D
transforms of windows of the estimation box `--b` at the pixel size of the tilt series, divided by box².
Particles are dark in both. m particles, n tilts; images that are not visible are zero.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.numerics.projector import Components, project
from staengine.tilt_series import windows
from staengine.tilt_series.reference import PADDING, Reference
from staengine.tilt_series.tomograms import Tomogram


def _for_each(task: Callable[[int], None], count: int, threads: int) -> None:
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for _ in pool.map(task, range(count)):
            pass


def visible_tilts(tomogram: Tomogram, reference: Reference, positions: NDArray[Any]) -> NDArray[np.bool_]:
    """Which particles (m, n) lie inside the tilt images with the half maps' box; positions as of `observe`."""
    return windows.visible_tilts(tomogram, tomogram.project(positions), reference.radius_px)


def observe(
    tomogram: Tomogram, images: NDArray[Any], reference: Reference, positions: NDArray[Any], threads: int = 1
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
    rotations: NDArray[Any],
    halves: NDArray[Any],
    visible: NDArray[Any],
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
    tomogram: Tomogram, reference: Reference, positions: NDArray[Any], visible: NDArray[Any], threads: int = 1
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
    residuals: NDArray[Any], visible: NDArray[Any], components: Components, per_tilt: bool = False
) -> NDArray[np.float64]:
    """Mean power (n, K) of residuals (m, n, K), by shell: of each tilt, or of all tilts together.

    Divide weights by it to whiten the noise. Residuals may be the images themselves if their noise prevails.
    """
    power = np.einsum("mnk,mnk->nk", residuals, residuals.conj()).real
    return mean_power(power, visible.sum(axis=0), components, per_tilt)


def mean_power(
    power: NDArray[Any], count: NDArray[Any], components: Components, per_tilt: bool = False
) -> NDArray[np.float64]:
    """As `noise_power`, from powers (n, K) summed over the images (n,) of each tilt.

    A tilt without images gets the mean of all; where there is no power at all, it is infinite: no weight.
    """
    sizes = components.shell_sum(np.ones(len(components)))
    sums = np.array([components.shell_sum(row) for row in power])
    by_shell = np.broadcast_to(sums.sum(axis=0) / max(count.sum(), 1), sums.shape)
    if per_tilt:
        by_shell = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], by_shell)
    by_shell = by_shell / np.maximum(sizes, 1)
    return np.where(by_shell > 0, by_shell, np.inf)[:, components.shell]
