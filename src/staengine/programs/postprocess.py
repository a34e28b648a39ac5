"""relion_postprocess: resolution of two half maps, and their sharpened, filtered average.

The FSC of the masked halves is corrected for what the mask itself adds by phase randomisation (Chen et al.,
Ultramicroscopy 2013); the average is weighted by sqrt(2 FSC / (1 + FSC)) and sharpened by a given B-factor or
one fitted to the Guinier plot (Rosenthal & Henderson, J. Mol. Biol. 2003).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from staengine import cli
from staengine.numerics import fourier, maps
from staengine.numerics.fsc import FscCurves, last_shell, measure_fsc, shell_resolution, solvent_fsc
from staengine.numerics.half_maps import PROGRAM, pixel_size, read_halves, read_mask, say
from staengine.numerics.sharpening import GuinierFit, fit_guinier, fsc_weights, log_amplitudes, sharpen
from staengine.programs.postprocess_locres import local_resolution_of
from staengine.ranks import ALONE, Launch
from staengine.tilt_series.star import Table, write_star

FLAGS = {
    "--i": cli.Flag("required", "", "first half map, with half1 in its name"),
    "--i2": cli.Flag("value", "", "second half map (default: half2 in the name of --i)"),
    "--o": cli.Flag("value", "postprocess", "output root name"),
    "--angpix": cli.Flag("value", -1.0, "pixel size, Å (negative: from the header)"),
    "--mask": cli.Flag("value", "", "solvent mask, 0 to 1"),
    "--adhoc_bfac": cli.Flag("value", 0.0, "B-factor to apply, Å^2 (negative sharpens)"),
    "--auto_bfac": cli.Flag("switch", help="find the B-factor from the Guinier plot"),
    "--autob_lowres": cli.Flag("value", 10.0, "lowest resolution of the Guinier fit, Å"),
    "--autob_highres": cli.Flag("value", 0.0, "highest resolution of the Guinier fit, Å"),
    "--skip_fsc_weighting": cli.Flag("switch", help="do not weight the map by its FSC"),
    "--low_pass": cli.Flag("value", 0.0, "low-pass filter, Å (0: none, negative: at the final resolution)"),
    "--randomize_at_fsc": cli.Flag("value", 0.8, "randomise phases where the unmasked FSC falls below this"),
    "--randomize_at_A": cli.Flag("value", -1.0, "or from this resolution on, Å (if positive)"),
    "--filter_edge_width": cli.Flag("value", 2, "width of the low-pass filter's edge, Fourier pixels"),
    "--random_seed": cli.Flag("value", 0, "seed of the randomised phases"),
    **cli.no_effect(verb=1),
    **cli.unsupported("--ios", "--half_maps", "--mtf", "--mtf_angpix", "--molweight", "--auto_mask"),
    **cli.unsupported("--inimask_threshold", "--extend_inimask", "--width_mask_edge", "--force_mask"),
    "--locres": cli.Flag("switch", help="local resolution, and the map filtered by it"),
    "--locres_sampling": cli.Flag("value", 25.0, "distance of the spheres that the FSC is taken in, Å"),
    "--locres_maskrad": cli.Flag("value", -1.0, "their radius, Å (negative: half their distance)"),
    "--locres_edgwidth": cli.Flag("value", -1.0, "their soft edge, Å (negative: their distance)"),
    "--locres_randomize_at": cli.Flag("value", 25.0, "randomise phases beyond this resolution, Å"),
    "--locres_minres": cli.Flag("value", 50.0, "coarsest local resolution, Å"),
    **cli.unsupported("--ampl_corr", "--interpolate"),
}
PARTICLE_FRACTION = 0.476  # of the box, that RELION counts as particle in the fraction f of a mask
DALTON_PER_CUBIC_ANGSTROM = 0.81  # protein


@dataclass(frozen=True)
class Processed:
    """The weighted, sharpened and filtered map, and how it came about."""

    map: NDArray[Any]
    bfactor: float  # Å^2
    fit: GuinierFit | None
    guinier: dict[str, NDArray[Any]]  # columns of the table, one value per shell


def process(
    half1: NDArray[Any], half2: NDArray[Any], curve: NDArray[Any], pixel: float, flags: SimpleNamespace
) -> Processed:
    """Average of two half maps, weighted by an FSC curve, sharpened and low-passed as the flags say."""
    box = half1.shape[0]
    resolution = shell_resolution(box, pixel)
    transform = fourier.rfft((half1 + half2) / 2, 3)
    guinier = {"rlnLogAmplitudesOriginal": log_amplitudes(transform)}
    to_fit = guinier["rlnLogAmplitudesOriginal"]
    if not flags.skip_fsc_weighting:
        print("== Applying sqrt(2*FSC/(FSC+1)) weighting (as in Rosenthal & Henderson, 2003) ...")
        weights = np.r_[fsc_weights(curve), np.zeros(box)].astype(np.float32)  # none in the corners
        transform = transform * weights[fourier.shell_index(box, 3)]
        to_fit = guinier["rlnLogAmplitudesWeighted"] = log_amplitudes(transform)
    fit, bfactor = None, flags.adhoc_bfac
    if flags.auto_bfac:
        print("== Fitting straight line through Guinier plot to find B-factor ...")
        fit = fit_guinier(to_fit, resolution, flags.autob_lowres, flags.autob_highres)
        bfactor = 4 * fit.slope
        say("fit from resolution:", f"{flags.autob_lowres:g}")
        say("fit until resolution:", f"{flags.autob_highres:g}")
        for name, value in vars(fit).items():
            say(f"{name} of fit:", f"{value:g}")
    elif bfactor:
        print("== Using a user-provided (ad-hoc) B-factor ...")
    if bfactor:
        say("apply b-factor of:", f"{bfactor:g}")
        transform = sharpen(transform, pixel, bfactor)
    guinier["rlnLogAmplitudesSharpened"] = log_amplitudes(transform)
    if fit:
        guinier["rlnLogAmplitudesIntercept"] = np.full(len(resolution), fit.intercept)
    if flags.low_pass:
        limit = flags.low_pass if flags.low_pass > 0 else resolution[last_shell(curve)]
        print("== Low-pass filtering final map ... ")
        say("filter frequency:", f"{limit:g}")
        transform = maps.lowpass(transform, pixel, limit, flags.filter_edge_width)
    return Processed(fourier.irfft(transform, 3), bfactor, fit, guinier)


def main(argv: list[str], launch: Launch | None = None) -> int:
    flags = cli.parse(PROGRAM, FLAGS, argv)
    if flags.locres:
        return local_resolution_of(flags, launch.start(flags.o) if launch else ALONE)
    half1, half2, header_pixel, names = read_halves(flags.i, flags.i2)
    pixel = pixel_size(flags.angpix, header_pixel)
    mask, fraction = None, 0.0
    if flags.mask:
        mask = read_mask(flags.mask, half1.shape[0], header_pixel)
        fraction = _mask_fraction(flags.mask, mask, pixel)
    print("== Masking input maps ..." if flags.mask else "== Not performing any masking ... ")
    rng = np.random.default_rng(flags.random_seed)
    start = round(len(half1) * pixel / flags.randomize_at_A) if flags.randomize_at_A > 0 else None
    curves = measure_fsc(half1, half2, mask, flags.randomize_at_fsc, rng, start)
    resolution = shell_resolution(half1.shape[0], pixel)
    if flags.mask:
        say("randomize phases beyond:", f"{resolution[curves.randomised_from]:g} Angstroms")
    result = process(half1, half2, curves.final, pixel, flags)

    print("== Writing output files ...")
    final = resolution[last_shell(curves.final)]
    general = {
        "rlnFinalResolution": final,
        "rlnBfactorUsedForSharpening": result.bfactor,
        "rlnUnfilteredMapHalf1": names[0],
        "rlnUnfilteredMapHalf2": names[1],
        "rlnPostprocessedMap": f"{flags.o}.mrc",
    }
    maps.write_map(f"{flags.o}.mrc", result.map, pixel)
    say("Processed map:", f"{flags.o}.mrc")
    if mask is not None:
        general |= {
            "rlnParticleBoxFractionSolventMask": fraction,
            "rlnMaskName": flags.mask,
            "rlnRandomiseFrom": resolution[curves.randomised_from],
            "rlnPostprocessedMapMasked": f"{flags.o}_masked.mrc",
        }
        maps.write_map(f"{flags.o}_masked.mrc", result.map * mask, pixel)
        say("Processed masked map:", f"{flags.o}_masked.mrc")
    if result.fit:
        general |= {
            "rlnFittedSlopeGuinierPlot": result.fit.slope,
            "rlnFittedInterceptGuinierPlot": result.fit.intercept,
            "rlnCorrelationFitGuinierPlot": result.fit.correlation,
        }
    guinier = {"rlnResolutionSquared": np.r_[0, 1 / resolution[1:] ** 2], **result.guinier}
    tables: dict[str, Table] = {
        "general": general,
        "fsc": _fsc_table(curves, resolution, fraction),
        "guinier": pd.DataFrame(guinier),
    }
    write_star(tables, f"{flags.o}.star")
    _write_curve(flags.o, curves.final, resolution)
    say("Metadata file:", f"{flags.o}.star")
    say("FINAL RESOLUTION:", f"{final:g}")
    return 0


def _mask_fraction(name: str, mask: NDArray[Any], pixel: float) -> float:
    """How many times the particle's volume in the box exceeds the mask."""
    inside = int((mask > 0.5).sum())
    fraction = PARTICLE_FRACTION * mask.size / inside
    print("== Using a user-provided mask ... ")
    say("input mask:", name)
    say("fraction f (solvent mask based):", f"{fraction:g}")
    say("molecular weight inside protein mask:", f"{DALTON_PER_CUBIC_ANGSTROM * inside * pixel**3:g}")
    return fraction


def _fsc_table(curves: FscCurves, resolution: NDArray[Any], fraction: float) -> pd.DataFrame:
    columns = {
        "rlnSpectralIndex": np.arange(len(resolution)),
        "rlnResolution": 1 / resolution,
        "rlnAngstromResolution": resolution,
    }
    if curves.corrected is None:
        return pd.DataFrame(columns | {"rlnFourierShellCorrelationUnmaskedMaps": curves.unmasked})
    return pd.DataFrame(
        columns
        | {
            "rlnFourierShellCorrelationCorrected": curves.corrected,
            "rlnFourierShellCorrelationParticleMaskFraction": solvent_fsc(curves.unmasked, fraction),
            "rlnFourierShellCorrelationUnmaskedMaps": curves.unmasked,
            "rlnFourierShellCorrelationMaskedMaps": curves.masked,
            "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps": curves.randomised,
        }
    )


def _write_curve(root: str, curve: NDArray[Any], resolution: NDArray[Any]) -> None:
    """The final FSC curve as text, and as XML for the EMDB."""
    points = [(f"{1 / d:g}", f"{value:g}") for d, value in zip(resolution, curve, strict=True)]
    Path(f"{root}_fsc.dat").write_text("".join(f"{x} {y}\n" for x, y in points))
    title = 'title="RELION masked-corrected FSC" xaxis="Resolution (A-1)" yaxis="Correlation Coefficient"'
    coordinates = (f"  <coordinate>\n    <x>{x}</x>\n    <y>{y}</y>\n  </coordinate>\n" for x, y in points)
    Path(f"{root}_fsc.xml").write_text(f"<fsc {title}>\n{''.join(coordinates)}</fsc>\n")
