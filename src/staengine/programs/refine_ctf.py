"""relion_tomo_refine_ctf: defocus of each tilt, astigmatism and contrast scale, from the particles in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.cli import INPUT, Flag, no_effect, parse, say, unsupported, warn
from staengine.errors import EngineError
from staengine.fits import ctf_fit
from staengine.fits.ctf_fit import Contrast, Defocus, Ice
from staengine.fits.ctf_refinement import CtfOptions, fine_weights, refine_ctf
from staengine.fits.series import FitInputs, Series, fit_each_series, read_fit_inputs
from staengine.ranks import Launch, tomogram_ranks
from staengine.tilt_series.optimisation_set import write_optimisation_set
from staengine.tilt_series.reference import REFERENCE_FLAGS
from staengine.tilt_series.rewrite import rewrite_tilt_series
from staengine.tilt_series.tomograms import Tomogram

PROGRAM = "relion_tomo_refine_ctf"
FLAGS = {
    **INPUT,
    **REFERENCE_FLAGS,
    "--o": Flag("required", str, "output folder"),
    "--do_defocus": Flag(
        "switch", help="refine the defocus of each tilt, and the astigmatism of each series"
    ),
    "--do_reg_defocus": Flag("switch", help="hold the tilts of a series together"),
    "--lambda": Flag("value", 0.001, "how much: offsets differ by 100 Å / sqrt(lambda) within a series"),
    "--d0": Flag("value", -3000.0, "lowest defocus offset searched, Å"),
    "--d1": Flag("value", 3000.0, "highest defocus offset searched, Å"),
    "--ds": Flag("value", 100.0, "step of the search, Å; the optimum between steps is found after it"),
    "--kmin": Flag("value", 30.0, "use only frequencies finer than this for the defocus, Å"),
    "--do_scale": Flag("switch", help="refine the contrast scale, by default as that of a slab of ice"),
    "--per_frame_scale": Flag("switch", help="one scale per tilt, without the slab"),
    "--per_tomogram_scale": Flag("switch", help="slabs with a luminance of their own in each tomogram"),
    "--per_frame_noise": Flag("switch", help="noise power of each tilt instead of the whole series"),
    "--only_do_unfinished": Flag(
        "switch", help="continue after the last finished tomogram of an interrupted run"
    ),
    "--j": Flag("value", 6, "threads"),
    **no_effect(ne=4, no=3, cutoff_fract=0.02),
    **unsupported("--do_even_aberrations", "--do_odd_aberrations", "--reset_to_common"),
    **unsupported("--min_frame", "--max_frame", "--diag", "--list_themes"),
}
SCALE = "rlnCtfScalefactor"


def main(argv: list[str], launch: Launch | None = None) -> int:
    args = parse(PROGRAM, FLAGS, argv)
    _check(args)
    options = CtfOptions(
        args.do_defocus,
        args.do_scale,
        search=(args.d0, args.d1),
        step=args.ds,
        lam=args.lambda_ if args.do_reg_defocus else 0.0,
        kmin=args.kmin,
        noise_of_each_tilt=args.per_frame_noise,
    )
    inputs = read_fit_inputs(PROGRAM, args, log_level=1)
    if args.do_defocus and not fine_weights(inputs.reference, args.kmin).any():
        warn(f"The reference has no signal finer than --kmin {args.kmin:g} Å: no defocus is changed.")

    def fit(series: Series) -> dict[str, NDArray[Any]]:
        defocus, contrast = refine_ctf(series, inputs.reference, options, args.j)
        return {**vars(defocus), **vars(contrast)}

    ranks = tomogram_ranks(PROGRAM, launch, args.o)
    fitted = fit_each_series(args, inputs, fit, ranks)
    if not ranks.leads:
        return 0
    results = {
        name: (
            Defocus(arrays["offsets"], arrays["astigmatism"]),
            Contrast(arrays["scale"], arrays["precision"]),
        )
        for name, arrays in fitted.items()
    }
    _write(args, inputs, results)
    return 0


def _check(args: SimpleNamespace) -> None:
    if not (args.do_defocus or args.do_scale):
        raise EngineError(f"{PROGRAM}: nothing to refine; give --do_defocus, --do_scale or both.")
    if args.per_frame_scale and args.per_tomogram_scale:
        raise EngineError(f"{PROGRAM}: --per_frame_scale and --per_tomogram_scale exclude each other.")
    if not args.d0 < 0 < args.d1 or args.ds <= 0:
        raise EngineError(
            f"{PROGRAM}: the defocus search goes from --d0 below 0 to --d1 above 0 in positive steps --ds, "
            f"not from {args.d0:g} to {args.d1:g} in steps of {args.ds:g}."
        )
    if args.lambda_ < 0 or args.kmin <= 0:
        raise EngineError(f"{PROGRAM}: --lambda must not be negative, and --kmin must be positive.")


def _write(
    args: SimpleNamespace,
    inputs: FitInputs,
    results: dict[str, tuple[Defocus, Contrast]],
) -> None:
    tomograms, state = inputs.tomograms, inputs.state
    slabs = args.do_scale and not args.per_frame_scale
    say("Merging temporary data" + (" and performing global fits" if slabs else ""))
    tilts: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in tomograms}
    series: dict[str, dict[str, float]] = {}
    for name, (defocus, contrast) in results.items():
        if args.do_defocus:
            tilts[name] |= defocus_columns(tomograms[name], defocus)
        if args.do_scale:
            seen = contrast.precision > 0
            tilts[name][SCALE] = np.where(seen, contrast.scale, tomograms[name].scale)
    if slabs:
        seen_in = {name: contrast for name, (_, contrast) in results.items() if contrast.precision.any()}
        groups = [[name] for name in seen_in] if args.per_tomogram_scale else [list(seen_in)]
        for names in filter(None, groups):
            beams = [tomograms[name].rotations[:, 2] for name in names]
            ices = ctf_fit.fit_ice([seen_in[name] for name in names], beams)
            for name, ice, beam in zip(names, ices, beams, strict=True):
                tilts[name][SCALE], series[name] = ice.scale(beam), ice_columns(ice)
    say("Writing output data")
    folder = args.o.rstrip("/")
    written = rewrite_tilt_series(folder, state.tomograms, tilts, series)
    write_optimisation_set(f"{folder}/optimisation_set.star", state.particles, written, state.trajectories)


def defocus_columns(tomogram: Tomogram, change: Defocus) -> dict[str, NDArray[np.float64]]:
    """rlnDefocusU, V and Angle of each tilt after a change of defocus and astigmatism."""
    mean = (tomogram.defocus_u + tomogram.defocus_v) / 2 + change.offsets
    half, angle = (tomogram.defocus_u - tomogram.defocus_v) / 2, tomogram.defocus_angle
    if change.astigmatism.any():
        vector = half * np.exp(2j * np.radians(angle)) + complex(*change.astigmatism)
        half, angle = np.abs(vector), np.degrees(np.angle(vector)) / 2
    return {"rlnDefocusU": mean + half, "rlnDefocusV": mean - half, "rlnDefocusAngle": angle}


def ice_columns(ice: Ice) -> dict[str, float]:
    """A slab of ice as columns of tomograms.star."""
    normal = {f"rlnTomoIceNormal{axis}": float(v) for axis, v in zip("XYZ", ice.normal, strict=True)}
    return {
        "rlnTomoRelativeLuminance": ice.luminance,
        "rlnTomoRelativeIceThickness": ice.thickness,
        **normal,
    }
