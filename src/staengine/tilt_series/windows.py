"""Particle images cut out of tilt images: windows, binning in Fourier space, transfer functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.numerics import fourier
from staengine.tilt_series.ctf import ctf, dose_weight
from staengine.tilt_series.tomograms import Tomogram

EDGE_PX = 5  # width of the soft edge of circular masks


def visible_tilts(tomogram: Tomogram, centres: NDArray[Any], radius_px: float) -> NDArray[np.bool_]:
    """Which particles (m, n) lie with a square of half-width radius_px inside the tilt images.

    centres: (m, n, 2) px, as of `Tomogram.project`.
    """
    size = np.array(tomogram.image_size)
    return np.all((centres > radius_px) & (centres < size - radius_px), axis=-1)


def cut_windows(
    images: NDArray[Any], centres: NDArray[Any], box: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Windows (n, box, box) about `centres` (n, 2) px of images (n, h, w); borders are repeated.

    Also returns where the centres lie relative to the windows' own, (n, 2) px within ± 0.5.
    """
    nearest = np.floor(centres + 0.5).astype(int)
    steps = np.arange(box) - box // 2
    columns = np.clip(nearest[:, :1] + steps, 0, images.shape[2] - 1)
    rows = np.clip(nearest[:, 1:] + steps, 0, images.shape[1] - 1)
    windows = images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return windows, centres - nearest


def mask_circle(windows: NDArray[Any], radius_px: float) -> NDArray[np.float32]:
    """Subtract the mean outside a circle and mask with a soft edge inside it. windows: (n, box, box)."""
    r = fourier.distance(windows.shape[-1], 2)
    outside = r > radius_px
    mean = windows[:, outside].mean(axis=1) if outside.any() else np.zeros(len(windows))
    mask = fourier.raised_cosine(r, radius_px - EDGE_PX, EDGE_PX)
    return mask * (windows - mean[:, None, None]).astype(np.float32)


def binned_transforms(windows: NDArray[Any], box: int, offsets: NDArray[Any]) -> NDArray[np.complex64]:
    """Half transforms (n, box, box // 2 + 1) of windows (n, box0, box0), cropped, with `offsets` (n, 2) at 0.

    `offsets` are in unbinned px. Amplitudes are those of an unnormalised transform of the box0 windows.
    """
    box0 = windows.shape[-1]
    transforms = fourier.resize_transform(fourier.rfft(windows.astype(np.float32), 2), box, 2)
    fy, fx = fourier.frequencies(box, 2)
    shift = (2 * np.pi / box0 * offsets).astype(np.float32)[:, :, None, None]
    return transforms * np.exp(1j * (shift[:, 0] * fx + shift[:, 1] * fy))


def transfer_functions(
    tomogram: Tomogram, defocus_offset: NDArray[Any], tilts: NDArray[Any], box: int, pixel: float
) -> NDArray[np.float32]:
    """CTFs (n, box, box // 2 + 1) of one particle in the given tilts, defocus_offset (n,) Å."""
    return ctf(
        box,
        pixel,
        tomogram.defocus_u[tilts] + defocus_offset,
        tomogram.defocus_v[tilts] + defocus_offset,
        tomogram.defocus_angle[tilts],
        tomogram.voltage,
        tomogram.cs,
        tomogram.q0,
        tomogram.scale[tilts],
        tomogram.phase_shift[tilts],
        tomogram.bfactor[tilts],
    )


def exposure_weights(tomogram: Tomogram, box: int, pixel: float) -> NDArray[np.float32]:
    """Exposure filter (n, box, box // 2 + 1) of each tilt: Grant & Grigorieff's, or a B-factor per dose."""
    if tomogram.bfactor_per_dose > 0:
        k2 = (fourier.radius(box, 2) / (box * pixel)) ** 2
        dose = tomogram.pre_exposure[:, None, None]
        return np.exp(-tomogram.bfactor_per_dose * dose / 4 * k2).astype(np.float32)
    return dose_weight(box, pixel, tomogram.pre_exposure)
