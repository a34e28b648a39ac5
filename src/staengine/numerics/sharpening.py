"""Weighting, sharpening and filtering of the average of two half maps (Rosenthal & Henderson, J. Mol. Biol. 2003)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.numerics.fsc import fsc_of_sum

NO_AMPLITUDE = -99.0  # log amplitude of an empty shell


def fsc_weights(curve: NDArray[Any]) -> NDArray[np.float64]:
    """sqrt(2 FSC / (1 + FSC)) of each shell, 0 from the first shell without signal on."""
    signal = np.minimum.accumulate(curve > 1e-4)
    return fsc_of_sum(np.where(signal, curve, 0))


def log_amplitudes(transform: NDArray[Any]) -> NDArray[np.float64]:
    """ln of the mean amplitude of each shell; an empty shell has NO_AMPLITUDE."""
    box = transform.shape[0]
    mean = fourier.shell_mean(np.abs(transform) / box**3, fourier.shell_index(box, 3), box // 2 + 1)
    return np.log(mean, out=np.full(len(mean), NO_AMPLITUDE), where=mean > 0)


@dataclass(frozen=True)
class GuinierFit:
    """Straight line through ln amplitude against 1/d²; slope in Å², correlation squared as in RELION."""

    slope: float
    intercept: float
    correlation: float


def fit_guinier(
    amplitudes: NDArray[Any], resolution: NDArray[Any], lowest: float, highest: float
) -> GuinierFit:
    """Fit the shells between two resolutions (Å). Raises EngineError if fewer than two have signal."""
    used = (resolution <= lowest) & (resolution >= highest) & (amplitudes > NO_AMPLITUDE)
    if np.count_nonzero(used) < 2:
        raise EngineError(
            f"relion_postprocess: --auto_bfac finds no line: fewer than two shells from {lowest:g} to {highest:g} Å "
            "have signal; change --autob_lowres and --autob_highres or give --adhoc_bfac."
        )
    x, y = 1 / resolution[used] ** 2, amplitudes[used]
    slope, intercept = np.polyfit(x, y, 1)
    return GuinierFit(float(slope), float(intercept), float(np.corrcoef(x, y)[0, 1] ** 2))


def sharpen(transform: NDArray[Any], pixel: float, bfactor: float) -> NDArray[Any]:
    """Half transform times exp(-B k² / 4), without the corners beyond Nyquist; bfactor in Å²."""
    box = transform.shape[0]
    k = fourier.radius(box, 3) / (box * pixel)
    return np.where(k <= 0.5 / pixel, transform * np.exp(-bfactor / 4 * k**2), 0)
