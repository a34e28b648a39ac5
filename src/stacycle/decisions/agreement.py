"""How class maps agree with the consensus map that all classes started from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from stacycle.decisions.mask import distance, low_pass
from stacycle.errors import UserError
from stacycle.files import mrc, relion_output


def with_agreement(
    classes: pd.DataFrame, consensus: str | Path, diameter: float, lowpass: float
) -> pd.DataFrame:
    """The class table (`relion_output.classes`) with `correlation` and `likeness` of each map to the consensus map.

    `correlation` is Pearson's within a sphere of `diameter` (Å) after a low-pass to `lowpass` (Å).
    `likeness`, 0..1, estimates the share of a class's particles that look like the consensus, against that of
    the best class: see `likeness`. UserError if a map cannot be read or the boxes differ.
    """
    reference, pixel_size = _read(consensus)
    inside = distance(len(reference)) * pixel_size <= diameter / 2
    reference = low_pass(reference, pixel_size, lowpass)  # as all classes had it; an average has noise beyond
    filtered = reference[inside]
    correlations, strengths = [], []
    for path in classes["map"]:
        density, _ = _read(path)
        if density.shape != reference.shape:
            boxes = f"a box of {len(density)} px, the consensus {consensus} one of {len(reference)}"
            raise UserError(f"{path}: has {boxes}")
        correlations.append(_pearson(low_pass(density, pixel_size, lowpass)[inside], filtered))
        strengths.append(likeness(density, reference, *relion_output.ssnr(path)))
    strongest = max([*strengths, 1e-12])
    return classes.assign(correlation=correlations, likeness=[s / strongest for s in strengths])


def likeness(density: np.ndarray, consensus: np.ndarray, ssnr: np.ndarray, T: float) -> float:
    """Amplitude x correlation of a class map (n, n, n) with the consensus, the damping by T taken back.

    `ssnr` (n // 2 + 1 shells) is RELION's, which has T as a factor; the map was multiplied by ssnr / (1 + ssnr).
    Without that, its amplitude on the consensus is the share of particles that the consensus shows, whatever T and
    however many they are. Each shell counts by how much of the consensus the class's particles could show there (the
    square of e / (1 + e), e the SSNR that the consensus would have in the class at T = 1).
    """
    cross, of_class, of_consensus = spectra(density, consensus)
    shells = slice(1, len(of_class))
    X, M, C = cross[shells], np.maximum(of_class[shells], 1e-30), of_consensus[shells]
    ssnr = np.maximum(ssnr[shells], 1e-6)
    undamped = 1 + 1 / ssnr
    expected = ssnr / T * C / M
    weight = (expected / (1 + expected)) ** 2
    product = (weight * undamped * X).sum()
    power = (weight * C).sum()
    if power <= 0 or product <= 0:
        return 0.0
    return float(product / power * product / np.sqrt(power * (weight * undamped**2 * M).sum()))


def spectra(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cross spectrum and the two power spectra, summed over the shells 0 .. n // 2 of two cubic maps (n, n, n)."""
    from scipy import fft  # slow to import: most decisions need no map

    A, B = (fft.rfftn(np.asarray(x, np.float32)) for x in (a, b))
    sums = np.zeros((3, len(A) // 2 + 1))
    for plane, index in enumerate(_shells(len(A))):
        in_a, in_b = A[plane], B[plane]
        for total, values in zip(
            sums, ((in_a * in_b.conj()).real, np.abs(in_a) ** 2, np.abs(in_b) ** 2), strict=True
        ):
            total += _summed(values, index)
    return sums[0], sums[1], sums[2]


def shell_sizes(n: int) -> np.ndarray:
    """How many Fourier coefficients each of the shells 0 .. n // 2 of a map (n, n, n) has."""
    ones = np.ones((n, n // 2 + 1), np.float32)
    return np.sum([_summed(ones, index) for index in _shells(n)], axis=0)


def _shells(n: int) -> Iterator[np.ndarray]:
    """The shell of each coefficient of a real transform, plane by plane (n, n // 2 + 1)."""
    along, across = np.fft.fftfreq(n) * n, np.fft.rfftfreq(n) * n
    in_plane = along[:, None] ** 2 + across**2
    for at in along:
        yield np.rint(np.sqrt(at**2 + in_plane)).astype(int)


def _summed(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Sums over shells of a plane (n, n // 2 + 1) of values of a real transform; what it leaves out counts, too."""
    n = len(values)
    mates = np.full(n // 2 + 1, 2.0, np.float32)
    mates[0] = 1
    if n % 2 == 0:
        mates[-1] = 1  # this plane and the first are their own mates
    return np.bincount(index.ravel(), (mates * values).ravel(), n // 2 + 1)[: n // 2 + 1]


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b) or 1))


def _read(path: str | Path) -> tuple[np.ndarray, float]:
    """Map and pixel size (Å)."""
    return np.asarray(mrc.voxels(path), np.float32), mrc.header(path).pixel
