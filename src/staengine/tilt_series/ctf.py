"""Contrast transfer function and radiation damage of tilt images, as half transforms in FFT order.

CTF = sqrt(1 - Q²) sin γ + Q cos γ with γ = π λ Δf k² - π/2 Cs λ³ k⁴ + φ: positive at low frequencies, where
particles are dark on a bright ground. Exposure filter: Grant & Grigorieff, eLife 2015.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from staengine.numerics.fourier import frequencies


def wavelength(voltage: float) -> float:
    """Relativistic electron wavelength in Å; voltage in kV."""
    volts = voltage * 1e3
    return 12.2643247 / np.sqrt(volts * (1 + volts * 0.978466e-6))


def ctf(
    box: int,
    pixel: float,
    defocus_u: ArrayLike,
    defocus_v: ArrayLike,
    angle: ArrayLike,
    voltage: float,
    cs: float,
    q0: float,
    scale: ArrayLike = 1.0,
    phase_shift: ArrayLike = 0.0,
    bfactor: ArrayLike = 0.0,
) -> NDArray[np.float32]:
    """CTF of shape (..., box, box // 2 + 1); the leading axes are those of the array arguments.

    pixel Å; defocus Å (positive = underfocus); angle (of astigmatism) and phase_shift degrees; voltage kV;
    cs mm; scale and bfactor (Å²) multiply by scale · exp(-B k² / 4).
    """
    fy, fx = (f / np.float32(box * pixel) for f in frequencies(box, 2))
    k2 = fx**2 + fy**2
    azimuth = np.arctan2(fy, fx)

    def per_image(value: ArrayLike) -> NDArray[np.float32]:
        return np.asarray(value, np.float32)[..., None, None]

    u, v = per_image(defocus_u), per_image(defocus_v)
    defocus = (u + v) / 2 + (u - v) / 2 * np.cos(2 * (azimuth - np.deg2rad(per_image(angle))))
    lam = wavelength(voltage)
    gamma = np.float32(np.pi * lam) * defocus * k2 - np.float32(np.pi / 2 * cs * 1e7 * lam**3) * k2**2
    value = np.sin(gamma + np.float32(np.arcsin(q0)) + np.deg2rad(per_image(phase_shift)))
    return (value * per_image(scale) * np.exp(-per_image(bfactor) / 4 * k2)).astype(np.float32)


def dose_weight(box: int, pixel: float, dose: ArrayLike) -> NDArray[np.float32]:
    """Exposure filter exp(-dose / (2 Ne(k))) with Ne = 0.245 k^-1.665 + 2.81 e/Å², (..., box, box // 2 + 1).

    dose in e/Å² accumulated before the image; pixel in Å.
    """
    fy, fx = (f / np.float32(box * pixel) for f in frequencies(box, 2))
    k = np.sqrt(fx**2 + fy**2)
    with np.errstate(divide="ignore"):
        critical = 0.245 * k**-1.665 + 2.81
    return np.exp(-np.asarray(dose, np.float32)[..., None, None] / (2 * critical)).astype(np.float32)
