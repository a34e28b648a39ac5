"""Alignment of one tilt series: shifts and angles of the tilts, positions and motion of the particles.

Images are compared with the prediction from the particle's own half map; what explains all comparisons of a tilt
series best, within the priors, is fitted jointly (Zivanov et al., eLife 2022; see joint_fit and motion_prior).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from staengine.cli import ProgressBar, say
from staengine.fits.correlations import Correlations, correlate
from staengine.fits.joint_fit import Change, Freedom, Geometry, fit
from staengine.fits.motion_prior import deformation_modes, dose_per_tilt
from staengine.fits.series import Series, predicted_images, product_weights
from staengine.fits.whole_images import whole_image_shifts
from staengine.tilt_series import prediction
from staengine.tilt_series.reference import Reference
from staengine.tilt_series.tomograms import Tomogram

BATCH = 16  # particles that are predicted at a time
# Of sigma_vel: neighbours and wrong CTFs are not white noise. With it, still particles move as little as in RELION.
STIFFNESS = 0.5


@dataclass(frozen=True)
class AlignmentOptions:
    """What decides the result for a tilt series."""

    reach: float  # px
    iterations: int
    range_reg: float
    shifts: bool
    angles: bool
    positions: bool
    whole_images: bool  # one shift per image, from the whole image
    motion: bool
    s_vel: float
    s_div: float
    absolute: bool  # s_vel per tilt, not per dose
    squared: bool
    max_modes: int
    whiten: bool
    noise_of_each_tilt: bool


def align(series: Series, reference: Reference, options: AlignmentOptions, threads: int = 1) -> Change:
    """What makes the particles of a tilt series agree best with the reference; lengths in px."""
    if options.whole_images:
        return whole_image_shifts(series, reference, options.whiten, options.noise_of_each_tilt, threads)
    tomogram = series.tomogram
    correlations = cross_correlations(series, reference, options, threads)
    geometry = Geometry(
        series.paths / tomogram.pixel_size,
        tilt_angles(tomogram),
        np.argsort(tomogram.pre_exposure, kind="stable"),
    )
    freedom = Freedom(
        options.reach * options.shifts,
        options.reach / (max(tomogram.image_size) / 2) * options.angles,
        options.reach * options.positions,
        _motion_modes(series, options) if options.motion else None,
    )
    change, iterations, converged = fit(
        correlations, geometry, freedom, options.iterations, options.range_reg, _report
    )
    say(f"Alignment {'converged' if converged else 'stopped'} after {iterations} iterations", level=1)
    return change


def _report(iteration: int, value: float) -> None:
    if iteration % 10 ** int(np.log10(iteration)) == 0:
        print(f"{iteration} \t {value:.10g}", flush=True)


def tilt_angles(tomogram: Tomogram) -> NDArray[np.float64]:
    """ZRot, YTilt, XTilt (n, 3) of the tilts in rad."""
    return Rotation.from_matrix(tomogram.rotations).as_euler("ZYX")


def _motion_modes(series: Series, options: AlignmentOptions) -> NDArray[np.float64]:
    """Modes of motion (m, e) in px per tilt. As in RELION both parameters grow with the exposure of a tilt."""
    tomogram = series.tomogram
    scale = (1.0 if options.absolute else dose_per_tilt(tomogram.pre_exposure)) / tomogram.pixel_size
    s_vel, s_div = options.s_vel * scale, options.s_div * scale
    say("Effective motion parameters::", level=1)
    say(f"σ_vel = {s_vel:g} px/frame", level=2)
    say(f"σ_div = {s_div:g} px/frame", level=2)
    say("Decomposing covariance matrix", level=1)
    positions = series.particles.positions / tomogram.pixel_size
    modes = deformation_modes(positions, STIFFNESS * s_vel, s_div, options.squared, options.max_modes)
    kept, total = modes.shape[1], len(positions)
    say(f"Keeping {f'all {kept}' if kept == total else f'{kept} out of {total}'} eigendeformations", level=1)
    return modes


def cross_correlations(
    series: Series, reference: Reference, options: AlignmentOptions, threads: int = 1
) -> Correlations:
    """Correlations of all visible particle images with their predictions, within ± reach."""
    components = reference.components
    observed = prediction.observe(series.tomogram, series.images, reference, series.paths, threads)
    visible = prediction.visible_tilts(series.tomogram, reference, series.paths)
    weights = product_weights(observed, visible, reference, options.whiten, options.noise_of_each_tilt)
    say("Computing cross correlations:", level=1)
    with ProgressBar(len(visible)) as bar:
        for first in range(0, len(visible), BATCH):
            batch = slice(first, first + BATCH)
            observed[batch] *= weights * predicted_images(series, reference, visible, batch, threads).conj()
            bar.advance(len(visible[batch]))
        return correlate(
            observed[visible], components.kx, components.ky, visible, reference.box, options.reach
        )
