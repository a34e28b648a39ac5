"""CTF refinement of one tilt series: defocus of each tilt, astigmatism and contrast scale, from its particles.

Images are compared with the half map that the particle is *not* part of (`ctf_fit` says how): a particle's own
half map contains its image's noise, multiplied by the recorded CTF, and so holds every tilt to its recorded
defocus. All particles of a tilt share what is refined, so that the half sets stay as independent as they were.
Slices are multiplied by the FSC, which makes them the best guess of the noiseless reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from staengine.cli import ProgressBar, say
from staengine.fits import ctf_fit
from staengine.fits.ctf_fit import Contrast, Defocus, DefocusFit, Evidence, Prior
from staengine.fits.series import Series
from staengine.tilt_series import prediction
from staengine.tilt_series.ctf import wavelength
from staengine.tilt_series.reference import Reference
from staengine.tilt_series.tomograms import Tomogram

BATCH_BYTES = 128e6  # of particle images


@dataclass(frozen=True)
class CtfOptions:
    """The parameters to refine, and the range of the search."""

    defocus: bool
    scale: bool
    search: tuple[float, float]  # lowest and highest defocus offset, Å
    step: float  # Å
    lam: float  # regularisation of the defocus; 0: none
    kmin: float  # Å
    noise_of_each_tilt: bool


def refine_ctf(
    series: Series, reference: Reference, options: CtfOptions, threads: int = 1
) -> tuple[Defocus, Contrast]:
    """Change of defocus and astigmatism, and contrast scale, of a tilt series."""
    tomogram, particles = series.tomogram, series.particles
    say("Refining defocus:" if options.defocus else "Refining scale:", level=1)
    evidence = Evidence.empty(len(tomogram), len(reference.components))
    say(f"Accumulating {'defocus' if options.defocus else 'scale'} evidence:", level=2)
    with ProgressBar(len(particles)) as bar:
        for rows in _batches(len(particles), evidence):
            accumulate(evidence, series, rows, reference, max(threads, 1))
            bar.advance(len(rows))
    noise = prediction.mean_power(
        evidence.power, evidence.count, reference.components, options.noise_of_each_tilt
    )
    changes = _phase_changes(reference, tomogram)
    defocus = Defocus(np.zeros(len(tomogram)), np.zeros(2))
    if options.defocus:
        say("Fitting", level=2)
        prior = Prior.of(options.search, options.lam)
        weights = fine_weights(reference, options.kmin) / noise
        fit = DefocusFit(evidence, weights, changes, options.search, prior)
        defocus = fit.defocus(options.step)
        say("Refining astigmatic defocus", level=2)
        defocus = fit.astigmatism(defocus)
    if options.defocus and options.scale:
        say("Refining scale:", level=1)
        say("Accumulating scale evidence:", level=2)
        with ProgressBar(1):
            pass  # it is the same evidence
    return defocus, Contrast.of(evidence, reference.weights / noise, changes, defocus)


def fine_weights(reference: Reference, kmin: float) -> NDArray[np.float64]:
    """Weights (K,) of the components finer than kmin Å, 0 for others."""
    return reference.weights * (reference.frequency >= 1 / kmin)


def _phase_changes(reference: Reference, tomogram: Tomogram) -> NDArray[np.float64]:
    step = 1 / (reference.box * reference.pixel)
    components = reference.components
    return ctf_fit.phase_changes(components.kx * step, components.ky * step, wavelength(tomogram.voltage))


def _batches(count: int, evidence: Evidence) -> Iterator[NDArray[np.int64]]:
    step = max(int(BATCH_BYTES / (8 * evidence.power.size)), 1)
    return (np.arange(first, min(first + step, count)) for first in range(0, count, step))


def accumulate(
    evidence: Evidence, series: Series, rows: NDArray[np.int64], reference: Reference, threads: int
) -> None:
    """Add what the particles in the given rows show in their tilt series."""
    tomogram, particles = series.tomogram, series.particles.subset(rows)
    positions = particles.positions
    paths = particles.paths(positions)
    visible = prediction.visible_tilts(tomogram, reference, paths)
    observed = prediction.observe(tomogram, series.images, reference, paths, threads)
    slices = prediction.slices(
        tomogram, reference, particles.rotations, 1 - series.halves[rows], visible, threads
    )
    unscaled = replace(tomogram, scale=np.ones(len(tomogram)))
    quarter = replace(unscaled, phase_shift=tomogram.phase_shift + 90)
    sine, cosine = (
        prediction.transfer_functions(shifted, reference, positions, visible, threads)
        for shifted in (unscaled, quarter)
    )
    evidence.add(observed, slices * reference.fsc.astype(np.float32), sine, cosine)
