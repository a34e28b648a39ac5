"""Fourier shell correlation: curves of two half maps, their resolution, and the signal that they stand for.

Curves hold shells 0 .. box // 2. Phase randomisation removes the share of the mask (Chen et al.,
Ultramicroscopy 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.errors import EngineError
from staengine.numerics import fourier

RESOLVED = 0.143  # FSC criterion


def fsc(map1: NDArray[Any], map2: NDArray[Any]) -> NDArray[np.float64]:
    """Fourier shell correlation of two maps (box, box, box), for shells 0 .. box // 2. FSC(0) is 1."""
    if map1.shape != map2.shape:
        raise ValueError(f"maps of different size: {map1.shape} and {map2.shape}")
    return fsc_of_transforms(fourier.rfft(map1, 3), fourier.rfft(map2, 3))


def fsc_of_transforms(transform1: NDArray[Any], transform2: NDArray[Any]) -> NDArray[np.float64]:
    """`fsc` of two half transforms (box, box, box // 2 + 1); 0 where a shell is empty in either."""
    box = transform1.shape[0]
    shells, n = fourier.shell_index(box, 3), box // 2 + 1
    cross = fourier.shell_sum((transform1 * transform2.conj()).real, shells, n)
    power1 = fourier.shell_sum(np.abs(transform1) ** 2, shells, n)
    power2 = fourier.shell_sum(np.abs(transform2) ** 2, shells, n)
    norm = np.sqrt(power1 * power2)
    curve = np.divide(cross, norm, out=np.zeros(n), where=norm > 0)
    curve[0] = 1.0
    return curve


def last_shell(curve: NDArray[Any], threshold: float = RESOLVED) -> int:
    """The last index before a curve first falls below the threshold; its last if it never does; -1 for none."""
    below = np.flatnonzero(curve < threshold)
    return int(below[0]) - 1 if below.size else len(curve) - 1


def shell_resolution(box: int, pixel: float) -> NDArray[np.float64]:
    """Resolution in Å of shells 0 .. box // 2; 999 for shell 0, as RELION writes it."""
    return np.r_[999.0, box * pixel / np.arange(1, box // 2 + 1)]


def fsc_of_sum(curve: NDArray[Any]) -> NDArray[np.float64]:
    """Correlation with the truth of the map from all data, from the FSC of its halves (Rosenthal & Henderson 2003)."""
    positive = np.clip(curve, 0.0, 1.0)
    return np.sqrt(2 * positive / (1 + positive))


def solvent_fsc(unmasked: NDArray[Any], fraction: float) -> NDArray[np.float64]:
    """FSC of a particle that fills 1 / fraction of the map (Sindelar & Grigorieff, JSB 2012)."""
    return fraction * unmasked / (1 + (fraction - 1) * unmasked)


@dataclass(frozen=True)
class FscCurves:
    """FSC of shells 0 .. box // 2; the masked ones are None without a mask."""

    unmasked: NDArray[np.float64]
    masked: NDArray[np.float64] | None = None
    randomised: NDArray[np.float64] | None = None
    corrected: NDArray[np.float64] | None = None
    randomised_from: int = 0  # first shell with random phases

    @property
    def final(self) -> NDArray[np.float64]:
        """The curve that the resolution is read from."""
        return self.unmasked if self.corrected is None else self.corrected


def measure_fsc(
    half1: NDArray[Any],
    half2: NDArray[Any],
    mask: NDArray[Any] | None,
    randomise_at: float,
    rng: np.random.Generator,
    start: int | None = None,
) -> FscCurves:
    """All FSC curves of two half maps (n, n, n); phases are randomised from the shell `start` on, by default that where
    the unmasked FSC falls below `randomise_at`.

    Raises EngineError if it never does.
    """
    transforms = [fourier.rfft(half, 3) for half in (half1, half2)]
    unmasked = fsc_of_transforms(*transforms)
    if mask is None:
        return FscCurves(unmasked)
    start = last_shell(unmasked, randomise_at) + 1 if start is None else min(max(start, 1), len(unmasked) - 1)
    if start == len(unmasked):
        raise EngineError(
            f"relion_postprocess: the unmasked FSC never falls below --randomize_at_fsc {randomise_at:g}: check "
            "that the half maps are independent; if they are, give --randomize_at_A."
        )
    masked = fsc(half1 * mask, half2 * mask)
    noise = [fourier.irfft(randomise_phases(transform, start, rng), 3) * mask for transform in transforms]
    randomised = fsc(*noise)
    return FscCurves(unmasked, masked, randomised, correct_fsc(masked, randomised, start), start)


def randomise_phases(transform: NDArray[Any], start: int, rng: np.random.Generator) -> NDArray[Any]:
    """Half transform (n, n, n // 2 + 1) with random phases from radius `start` on, amplitudes kept."""
    beyond = fourier.radius(transform.shape[0], 3) >= start
    phases = rng.uniform(0, 2 * np.pi, np.count_nonzero(beyond))
    result = transform.copy()
    result[beyond] = np.abs(transform[beyond]) * np.exp(1j * phases)
    return result


def correct_fsc(masked: NDArray[Any], randomised: NDArray[Any], start: int) -> NDArray[np.float64]:
    """True FSC of the masked maps; the first two shells with random phases stay as they are.

    Unlike the FSC inside a refinement it may be negative, as in RELION's own postprocess.star.
    """
    corrected = masked.copy()
    beyond = slice(start + 2, None)
    corrected[beyond] = (masked[beyond] - randomised[beyond]) / (1 - randomised[beyond])
    return corrected
