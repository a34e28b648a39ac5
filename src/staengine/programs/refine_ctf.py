"""relion_tomo_refine_ctf: defocus of each tilt, astigmatism and contrast scale, from the particles in it.

Images are compared with the half map that the particle is *not* part of (`ctf_fit` says how): a particle's own
half map contains its image's noise, multiplied by the recorded CTF, and so holds every tilt to its recorded
defocus. All particles of a tilt share what is refined, so that the half sets stay as independent as they were.
Slices are multiplied by the FSC, which makes them the best guess of the noiseless reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from staengine.cli import INPUT, Flag, ProgressBar, no_effect, parse, say, stop_if_aborted, unsupported, warn
from staengine.errors import EngineError
from staengine.fits import ctf_fit
from staengine.fits.ctf_fit import Contrast, Defocus, DefocusFit, Evidence, Ice, Prior
from staengine.programs.subtomo import prepare
from staengine.tilt_series import prediction
from staengine.tilt_series.ctf import wavelength
from staengine.tilt_series.prediction import Reference
from staengine.tilt_series.rewrite import TemporaryResults, rewrite_tilt_series
from staengine.tilt_series.tomo import (
    OptimisationSet,
    ParticleSet,
    Tomogram,
    load_tilt_images,
    load_tomograms,
    resolve_inputs,
    write_optimisation_set,
)

PROGRAM = "relion_tomo_refine_ctf"
FLAGS = {
    **INPUT,
    **prediction.REFERENCE_FLAGS,
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
    "--only_do_unfinished": Flag("switch", help="go on after the last tomogram of an interrupted run"),
    "--j": Flag("value", 6, "threads"),
    **no_effect(ne=4, no=3, cutoff_fract=0.02),
    **unsupported("--do_even_aberrations", "--do_odd_aberrations", "--reset_to_common"),
    **unsupported("--min_frame", "--max_frame", "--diag", "--list_themes"),
}
BATCH_BYTES = 128e6  # of particle images
SCALE = "rlnCtfScalefactor"


def main(argv: list[str]) -> int:
    args = parse(PROGRAM, FLAGS, argv)
    _check(args)
    inputs = resolve_inputs(PROGRAM, args.i, args.p, args.t, args.mot)
    tomograms = load_tomograms(inputs.tomograms)
    particles = prepare(ParticleSet.read(inputs.particles, inputs.trajectories), tomograms, log_level=1)
    halves = prediction.half_sets(PROGRAM, particles)
    used = {name: tomograms[name] for name in particles.particles["rlnTomoName"].unique()}
    reference = prediction.read_reference(PROGRAM, args, prediction.common_pixel(PROGRAM, used.values()))
    if args.do_defocus and not _fine(reference, args.kmin).any():
        warn(f"The reference has no signal finer than --kmin {args.kmin:g} Å: no defocus is changed.")
    temporary = TemporaryResults(args, inputs, used.values(), (args.ref1, args.ref2, args.mask, args.fsc))
    by_tomogram = particles.particles.groupby("rlnTomoName", sort=False).indices
    results: dict[str, tuple[Defocus, Contrast]] = {}
    for number, (name, tomogram) in enumerate(used.items(), 1):
        stop_if_aborted(args.pipeline_control)
        found = temporary.load(name)
        if found is None:
            say(f"Tomogram {number} / {len(used)}:")
            rows = by_tomogram[name]
            defocus, contrast = _refine(tomogram, particles.subset(rows), halves[rows], reference, args)
            found = {**vars(defocus), **vars(contrast)}
            temporary.save(name, **found)
        results[name] = (
            Defocus(found["offsets"], found["astigmatism"]),
            Contrast(found["scale"], found["precision"]),
        )
    _write(args, inputs, used, results)
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


# ---------------------------------------------------------------- one tilt series


def _refine(
    tomogram: Tomogram, particles: ParticleSet, halves: NDArray, reference: Reference, args: SimpleNamespace
) -> tuple[Defocus, Contrast]:
    say("Loading", level=1)
    images = load_tilt_images(tomogram)
    say("Refining defocus:" if args.do_defocus else "Refining scale:", level=1)
    evidence = Evidence.empty(len(tomogram), len(reference.components))
    _detail(f"Accumulating {'defocus' if args.do_defocus else 'scale'} evidence:")
    bar, done = ProgressBar(len(particles)), 0
    for batch in _batches(len(particles), evidence):
        accumulate(
            evidence, tomogram, images, particles.subset(batch), halves[batch], reference, max(args.j, 1)
        )
        done += len(batch)
        bar.update(done)
    bar.done()
    noise = prediction.mean_power(evidence.power, evidence.count, reference.components, args.per_frame_noise)
    changes = _phase_changes(reference, tomogram)
    defocus = Defocus(np.zeros(len(tomogram)), np.zeros(2))
    if args.do_defocus:
        _detail("Fitting")
        search = (args.d0, args.d1)
        prior = Prior.of(search, args.lambda_ if args.do_reg_defocus else 0.0)
        fit = DefocusFit(evidence, _fine(reference, args.kmin) / noise, changes, search, prior)
        defocus = fit.defocus(args.ds)
        _detail("Refining astigmatic defocus")
        defocus = fit.astigmatism(defocus)
    if args.do_defocus and args.do_scale:
        say("Refining scale:", level=1)
        _detail("Accumulating scale evidence:")
        ProgressBar(1).done()  # it is the same evidence
    return defocus, Contrast.of(evidence, reference.weights / noise, changes, defocus)


def _fine(reference: Reference, kmin: float) -> NDArray[np.float64]:
    """Weights (K,) of the components finer than kmin Å, 0 for others."""
    return reference.weights * (reference.frequency >= 1 / kmin)


def _detail(text: str) -> None:
    print(f"         {text}", flush=True)


def _phase_changes(reference: Reference, tomogram: Tomogram) -> NDArray[np.float64]:
    step = 1 / (reference.box * reference.pixel)
    components = reference.components
    return ctf_fit.phase_changes(components.kx * step, components.ky * step, wavelength(tomogram.voltage))


def _batches(count: int, evidence: Evidence) -> Iterator[NDArray[np.int64]]:
    step = max(int(BATCH_BYTES / (8 * evidence.power.size)), 1)
    return (np.arange(first, min(first + step, count)) for first in range(0, count, step))


def accumulate(
    evidence: Evidence,
    tomogram: Tomogram,
    images: NDArray,
    particles: ParticleSet,
    halves: NDArray,
    reference: Reference,
    threads: int,
) -> None:
    """Add what particles of half sets `halves` (m,) of 0 or 1 show in the tilt series `images` (n, h, w)."""
    positions = particles.positions
    paths = particles.paths(positions)
    visible = prediction.visible_tilts(tomogram, reference, paths)
    observed = prediction.observe(tomogram, images, reference, paths, threads)
    slices = prediction.slices(tomogram, reference, particles.rotations, 1 - halves, visible, threads)
    unscaled = replace(tomogram, scale=np.ones(len(tomogram)))
    quarter = replace(unscaled, phase_shift=tomogram.phase_shift + 90)
    sine, cosine = (
        prediction.transfer_functions(series, reference, positions, visible, threads)
        for series in (unscaled, quarter)
    )
    evidence.add(observed, slices * reference.fsc.astype(np.float32), sine, cosine)


# ---------------------------------------------------------------- results


def _write(
    args: SimpleNamespace,
    inputs: OptimisationSet,
    tomograms: dict[str, Tomogram],
    results: dict[str, tuple[Defocus, Contrast]],
) -> None:
    slabs = args.do_scale and not args.per_frame_scale
    say("Merging temporary data" + (" and performing global fits" if slabs else ""))
    tilts: dict[str, dict[str, NDArray]] = {name: {} for name in tomograms}
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
    written = rewrite_tilt_series(folder, inputs.tomograms, tilts, series)
    write_optimisation_set(f"{folder}/optimisation_set.star", inputs.particles, written, inputs.trajectories)


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
