"""Shifts of whole tilt images, from their correlation with a prediction of the whole image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.fits.joint_fit import Change
from staengine.fits.series import Series, predicted_images, product_weights
from staengine.numerics import fourier
from staengine.tilt_series import prediction
from staengine.tilt_series.reference import Reference


def whole_image_shifts(
    series: Series, reference: Reference, whiten: bool, noise_of_each_tilt: bool, threads: int = 1
) -> Change:
    """Shifts of tilt images to where they agree best with a prediction of the whole image, however far."""
    tomogram, components = series.tomogram, reference.components
    observed = prediction.observe(tomogram, series.images, reference, series.paths, threads)
    visible = prediction.visible_tilts(tomogram, reference, series.paths)
    weights = product_weights(observed, visible, reference, whiten, noise_of_each_tilt)
    predicted = predicted_tilt_images(series, reference, visible, threads)
    height, width = series.images.shape[1:]
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    radius = np.hypot(fy, fx) * reference.box
    shifts = np.zeros((len(tomogram), 2))
    for tilt, (image, guess) in enumerate(zip(series.images, predicted, strict=True)):
        trust = np.interp(radius, components.radius, weights[tilt], right=0)
        product = np.fft.rfft2(image) * np.fft.rfft2(guess).conj() * trust
        shifts[tilt] = _peak(np.fft.irfft2(product, (height, width)))
    return Change(shifts, np.zeros((len(tomogram), 3)), np.zeros((len(visible), 3)))


def predicted_tilt_images(
    series: Series, reference: Reference, visible: NDArray[Any], threads: int = 1
) -> NDArray[np.float32]:
    """Tilt images (n, h, w) with nothing but the predicted particles."""
    box, components = reference.box, reference.components
    own_mate = components.kx == 0
    centres = series.tomogram.project(series.paths)
    corners = np.floor(centres + 0.5).astype(int) - box // 2
    fractions = centres - corners - box // 2
    fy, fx = fourier.frequencies(box, 2)
    padded = np.pad(np.zeros(series.images.shape, np.float32), [(0, 0), (box, box), (box, box)])
    for p, tilts in enumerate(map(np.flatnonzero, visible)):
        values = predicted_images(series, reference, visible, slice(p, p + 1), threads)[
            0, tilts
        ] * np.float32(box**2)
        transforms = np.zeros((len(tilts), box, box // 2 + 1), np.complex64)
        transforms[:, components.ky, components.kx] = values
        transforms[:, -components.ky[own_mate], 0] = values[:, own_mate].conj()
        x, y = (2 * np.pi / box * fractions[p, tilts]).T[:, :, None, None]
        transforms *= np.exp(-1j * (x * fx + y * fy)).astype(np.complex64)
        for tilt, window in zip(tilts, fourier.irfft(transforms, 2), strict=True):
            left, top = corners[p, tilt] + box
            padded[tilt, top : top + box, left : left + box] += window
    return padded[:, box:-box, box:-box]


def _peak(correlation: NDArray[Any]) -> NDArray[np.float64]:
    """Displacement x, y of the highest value of a periodic map, refined by a parabola along each axis."""
    y, x = np.unravel_index(correlation.argmax(), correlation.shape)
    peak = []
    for axis, position in ((correlation[y], x), (correlation[:, x], y)):
        before, top, after = axis[position - 1], axis[position], axis[(position + 1) % len(axis)]
        fraction = (before - after) / (2 * (before - 2 * top + after)) if before + after < 2 * top else 0.0
        peak.append((position + len(axis) // 2) % len(axis) - len(axis) // 2 + fraction)
    return np.array(peak)
