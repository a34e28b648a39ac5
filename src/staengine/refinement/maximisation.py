"""The maximisation step: maps, signal and noise spectra, and the resolution that they support.

Spectra are per Fourier shell 0 .. box // 2, as power per real component of a slice (2D transforms divided by box²).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from staengine.numerics import fourier
from staengine.numerics.fsc import fsc, last_shell
from staengine.numerics.projector import add_rotated, enforce_friedel, unpadded_map

FSC_LIMIT = 0.999  # an FSC is never trusted beyond this: SSNR <= 999
RANDOMISE_BELOW_FSC = 0.8


@functools.lru_cache(maxsize=4)
def padded_shells(size: int, padding: int) -> NDArray[np.int32]:
    """Shell index in unpadded pixels (S, S, S // 2) of a padded half transform with its centre at S // 2.

    Halves are rounded up, as RELION does: of the shells of padding 2, shell 0 is the origin alone. Were its neighbours
    in it, their power would be the prior of the map's mean.
    """
    axis = np.arange(size) - size // 2
    half = np.arange(size // 2)
    r = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + half**2)
    return np.floor(r / padding + 0.5).astype(np.int32)


@dataclass
class BackProjection:
    """The back-projected slices of one class: sums of images and of squared CTFs, both over the noise variance."""

    data: NDArray[np.complex64]  # (S, S, S // 2)
    weight: NDArray[np.float32]
    padding: int
    box: int

    @classmethod
    def of(
        cls, data: NDArray[Any], weight: NDArray[Any], padding: int, box: int, symmetry: NDArray[Any]
    ) -> BackProjection:
        """From what `backproject` filled, in place; `symmetry` (s, 3, 3) are the operators of the point group."""
        values, weights = data.view(np.complex64)[..., 0], weight
        enforce_friedel(values, weights)
        if len(symmetry) > 1:
            stacked = np.stack([values.real, values.imag, weights], axis=-1)
            summed = np.zeros_like(stacked)
            add_rotated(stacked, symmetry, len(stacked) // 2 - 1, summed)
            values = (summed[..., 0] + 1j * summed[..., 1]).astype(np.complex64)
            weights = summed[..., 2].copy()
        return cls(values, weights, padding, box)

    @property
    def shells(self) -> NDArray[np.int32]:
        return padded_shells(len(self.data), self.padding)

    @property
    def n_shells(self) -> int:
        return self.box // 2 + 1

    def inverse_variance(self) -> NDArray[np.float64]:
        """Mean over each shell of the weight that one voxel of an unpadded transform has received."""
        return fourier.shell_mean(self.weight, self.shells, self.n_shells) * self.padding**3

    def map(self, tau2: NDArray[Any] | None, radius: int, workers: int = 1) -> NDArray[np.float32]:
        """The map (box, box, box) that explains the slices best, up to shell `radius`.

        With tau2 (shells,), the signal's power, it is the most probable one (Wiener). Without, each voxel is the
        weighted mean of its data; it counts at least a thousandth of its shell's mean weight.
        """
        shells = np.minimum(self.shells, self.n_shells - 1)
        mean = fourier.shell_mean(self.weight, self.shells, self.n_shells)
        weight = np.maximum(self.weight, (mean / 1000).astype(np.float32)[shells])
        if tau2 is not None:
            weight += (1 / (np.maximum(tau2, 1e-30) * self.padding**3)).astype(np.float32)[shells]
        inside = (self.shells <= radius) & (weight > 0)
        transform = np.divide(self.data, weight, out=np.zeros_like(self.data), where=inside)
        return unpadded_map(transform, self.box, self.padding, workers)

    def joined_below(self, other: BackProjection, shell: int) -> tuple[BackProjection, BackProjection]:
        """Both with the mean of both up to a shell (Scheres & Chen 2012: halves must not drift apart)."""
        low = self.shells <= shell
        both = self.plus(other)
        joined = []
        for g in (self, other):
            data, weight = g.data.copy(), g.weight.copy()
            data[low], weight[low] = both.data[low] / 2, both.weight[low] / 2
            joined.append(BackProjection(data, weight, g.padding, g.box))
        return joined[0], joined[1]

    def plus(self, other: BackProjection) -> BackProjection:
        return BackProjection(self.data + other.data, self.weight + other.weight, self.padding, self.box)


def signal_power(transform: NDArray[Any], padding: int, box: int) -> NDArray[np.float64]:
    """Power per real component (shells,) of the slices of a padded reference transform."""
    shells = padded_shells(len(transform), padding)
    return fourier.shell_mean(np.abs(transform) ** 2, shells, box // 2 + 1) / 2


def completeness(backprojection: BackProjection, tau2: NDArray[Any]) -> NDArray[np.float64]:
    """Fraction (shells,) of voxels whose data outweigh the prior."""
    with np.errstate(divide="ignore"):
        prior = 1 / np.maximum(tau2, 1e-30)
    shells, n = backprojection.shells, backprojection.n_shells
    beats = (
        backprojection.weight
        >= (prior / backprojection.padding**3).astype(np.float32)[np.minimum(shells, n - 1)]
    )
    return fourier.shell_mean(beats, shells, n)


def resolution_shell(ssnr: NDArray[Any]) -> int:
    """The last shell (below Nyquist) up to which the signal is never weaker than the noise."""
    return last_shell(ssnr[1:-1], 1) + 1


def fsc_shell(curve: NDArray[Any]) -> int:
    """The last shell (below Nyquist) before the FSC falls below 0.143."""
    return last_shell(curve[1:-1]) + 1


def ssnr_of_fsc(curve: NDArray[Any]) -> NDArray[np.float64]:
    """SSNR of one of the maps whose FSC is given."""
    trusted = np.clip(curve, 0.0, FSC_LIMIT)
    return trusted / (1 - trusted)


def corrected_fsc(
    half1: NDArray[Any], half2: NDArray[Any], mask: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[np.float64], int]:
    """FSC of masked halves with the mask's own correlation taken off, and the shell from which phases were randomised.

    Chen et al., Ultramicroscopy 135 (2013) 24.
    """
    unmasked, masked = fsc(half1, half2), fsc(half1 * mask, half2 * mask)
    start = min(last_shell(unmasked, RANDOMISE_BELOW_FSC) + 1, len(unmasked) - 1)
    noise = fsc(*(randomise_phases(half, start, rng) * mask for half in (half1, half2)))
    curve = masked.copy()
    after = np.arange(len(curve)) >= start + 2
    correctable = after & (noise < 1 - 1e-6)
    curve[correctable] = ((masked - noise) / (1 - np.minimum(noise, 1 - 1e-6)))[correctable]
    curve[correctable & (noise > masked)] = 0.0
    return curve, start


def randomise_phases(volume: NDArray[Any], shell: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The map with the phases of all shells from `shell` on replaced by those of white noise."""
    box = volume.shape[0]
    transform = fourier.rfft(volume, 3)
    noise = scipy.fft.rfftn(rng.normal(size=volume.shape))
    beyond = fourier.radius(box, 3) >= shell
    transform[beyond] = (np.abs(transform) * np.exp(1j * np.angle(noise)))[beyond]
    return fourier.irfft(transform, 3).astype(np.float32)
