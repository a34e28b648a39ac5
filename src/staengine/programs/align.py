"""relion_tomo_align: shifts and angles of the tilts, positions and motion of the particles (Bayesian polishing)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.cli import INPUT, Flag, no_effect, parse, say, unsupported
from staengine.errors import EngineError
from staengine.fits.alignment import AlignmentOptions, align, tilt_angles
from staengine.fits.joint_fit import Change
from staengine.fits.series import FitInputs, Series, fit_each_series, read_fit_inputs
from staengine.ranks import Launch, tomogram_ranks
from staengine.tilt_series.optimisation_set import write_optimisation_set
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.reference import REFERENCE_FLAGS
from staengine.tilt_series.rewrite import rewrite_tilt_series
from staengine.tilt_series.star import COORDINATES, ORIGINS
from staengine.tilt_series.tomograms import Tomogram
from staengine.tilt_series.trajectories import write_trajectories

PROGRAM = "relion_tomo_align"
FLAGS = {
    **INPUT,
    "--o": Flag("required", str, "output folder"),
    **REFERENCE_FLAGS,
    "--r": Flag("value", 20.0, "largest displacement of a particle image, px of the tilt series"),
    "--it": Flag("value", 10000, "largest number of iterations"),
    "--shift_only": Flag("switch", help="fit a shift of each whole tilt image only"),
    "--shift_only_by_particles": Flag("switch", help="with --shift_only: look at the particles, within --r"),
    "--const_p": Flag("switch", help="keep the particles' positions"),
    "--const_a": Flag("switch", help="keep the tilts' angles"),
    "--const_s": Flag("switch", help="keep the tilts' shifts"),
    "--range_reg": Flag("value", 0.0, "penalty per px² on displacements beyond --r"),
    "--motion": Flag("switch", help="fit the particles' motion during the tilt series"),
    "--s_vel": Flag("value", 0.5, "standard deviation of their velocity, Å per e/Å²"),
    "--s_div": Flag("value", 5000.0, "distance over which velocities are alike, Å"),
    "--abs_params": Flag("switch", help="do not multiply --s_vel and --s_div by the exposure of a tilt"),
    "--sq_exp_ker": Flag("switch", help="squared-exponential correlation of velocities, not exponential"),
    "--max_ed": Flag("value", -1, "largest number of modes of motion; -1: all"),
    "--no_whiten": Flag("switch", help="do not whiten the noise"),
    "--per_frame_noise": Flag("switch", help="estimate the noise of each tilt on its own"),
    "--only_do_unfinished": Flag("switch", help="keep tilt series that an interrupted run has finished"),
    "--j": Flag("value", 6, "threads"),
    **no_effect(pad=1.0, cutoff_fract=0.02),
    **unsupported("--deformation", "--def_w", "--def_h", "--def_model", "--def_reg"),
    **unsupported("--per_frame_deformation", "--aniso", "--per_tilt_aniso", "--whiten_abs", "--hp", "--srp"),
    **unsupported("--min_frame", "--max_frame", "--diag", "--list_themes"),
}
ANGLES = ["rlnTomoZRot", "rlnTomoYTilt", "rlnTomoXTilt"]
SHIFTS = ["rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]


def main(argv: list[str], launch: Launch | None = None) -> int:
    args = parse(PROGRAM, FLAGS, argv)
    options = _options(args)
    # as in RELION, motion is found anew
    inputs = read_fit_inputs(PROGRAM, args, with_trajectories=not options.motion)
    _say_configuration(options)

    def fit(series: Series) -> dict[str, NDArray[Any]]:
        change = align(series, inputs.reference, options, args.j)
        return {name: value for name, value in change._asdict().items() if value is not None}

    ranks = tomogram_ranks(PROGRAM, launch, args.o)
    results = fit_each_series(args, inputs, fit, ranks)
    if not ranks.leads:
        return 0
    changes = {name: Change(**arrays) for name, arrays in results.items()}
    _write(Path(args.o), inputs, changes, options)
    return 0


def _options(args: SimpleNamespace) -> AlignmentOptions:
    if args.shift_only_by_particles and not args.shift_only:
        raise EngineError(f"{PROGRAM}: --shift_only_by_particles goes with --shift_only; give both.")
    if args.shift_only and args.motion:
        raise EngineError(f"{PROGRAM}: --shift_only and --motion exclude each other.")
    if args.const_s and (args.shift_only or (args.const_a and args.const_p and not args.motion)):
        raise EngineError(f"{PROGRAM}: nothing is left to fit; leave out --const_s.")
    for flag, value in (("--r", args.r), ("--s_vel", args.s_vel), ("--s_div", args.s_div), ("--it", args.it)):
        if value <= 0:
            raise EngineError(f"{PROGRAM}: {flag} must be positive, not {value:g}.")
    return AlignmentOptions(
        args.r,
        args.it,
        args.range_reg,
        shifts=not args.const_s,
        angles=not (args.const_a or args.shift_only),
        positions=not (args.const_p or args.shift_only),
        whole_images=args.shift_only and not args.shift_only_by_particles,
        motion=args.motion,
        s_vel=args.s_vel,
        s_div=args.s_div,
        absolute=args.abs_params,
        squared=args.sq_exp_ker,
        max_modes=args.max_ed,
        whiten=not args.no_whiten,
        noise_of_each_tilt=args.per_frame_noise,
    )


def _say_configuration(options: AlignmentOptions) -> None:
    say("Configuration:", level=1)
    say(f"Particle motion: {'' if options.motion else 'not '}considered", level=2)
    for what, free in (
        ("Frame angles", options.angles),
        ("Frame shifts", options.shifts),
        ("Particle positions", options.positions),
    ):
        say(f"{what}: {'variable' if free else 'constant'}", level=2)


def _write(
    folder: Path,
    inputs: FitInputs,
    changes: dict[str, Change],
    options: AlignmentOptions,
) -> None:
    """Tilt series, tomograms.star, particles.star and motion.star as far as they change, and a set of them."""
    columns = {name: _tilt_columns(inputs.tomograms[name], change) for name, change in changes.items()}
    tomograms_file = rewrite_tilt_series(folder, inputs.state.tomograms, columns)
    table, motion = inputs.state.particles, inputs.state.trajectories
    if not options.whole_images:  # as in RELION: else the particles stay the same
        moved = changed_particles(inputs.particles, inputs.tomograms, changes)
        table = f"{folder}/particles.star"
        moved.write(table)
        if options.motion:
            assert moved.trajectories is not None
            motion = f"{folder}/motion.star"
            write_trajectories(motion, moved.trajectories)
    write_optimisation_set(folder / "optimisation_set.star", table, tomograms_file, motion)


def _tilt_columns(tomogram: Tomogram, change: Change) -> dict[str, NDArray[np.float64]]:
    """The columns of a tilt series' STAR file that change."""
    angles = np.degrees(tilt_angles(tomogram) + change.angles)
    shifts = (tomogram.shifts + change.shifts) * tomogram.pixel_size
    turned = dict(zip(ANGLES, angles.T, strict=True)) if change.angles.any() else {}
    return turned | dict(zip(SHIFTS, shifts.T, strict=True))


def changed_particles(
    particles: ParticleSet, tomograms: dict[str, Tomogram], changes: dict[str, Change]
) -> ParticleSet:
    """The particles at their new positions, which become their coordinates, and with new trajectories, if any."""
    positions, trajectories = particles.positions, dict(particles.trajectories or {})
    by_tomogram = particles.by_tomogram()
    for name, change in changes.items():
        rows, pixel = by_tomogram[name], tomograms[name].pixel_size
        positions[rows] += change.positions * pixel
        if change.motion is not None:
            trajectories |= zip(particles.subset(rows).names, change.motion * pixel, strict=True)
    table = particles.particles.copy()
    table[COORDINATES] = positions
    table[[column for column in ORIGINS if column in table]] = 0.0
    return replace(particles, particles=table, trajectories=trajectories or None)
