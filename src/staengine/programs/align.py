"""relion_tomo_align: shifts and angles of the tilts, positions and motion of the particles (Bayesian polishing).

Images are compared with the prediction from the particle's own half map; what explains all comparisons of a tilt
series best, within the priors, is fitted jointly (Zivanov et al., eLife 2022; see align_fit and align_motion).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from staengine.cli import INPUT, Flag, ProgressBar, no_effect, parse, say, stop_if_aborted, unsupported
from staengine.errors import EngineError
from staengine.fits.alignment import Change, Correlations, Freedom, Geometry, correlate, fit
from staengine.fits.motion_prior import deformation_modes, dose_per_tilt
from staengine.numerics import fourier
from staengine.programs.subtomo import prepare
from staengine.tilt_series import prediction
from staengine.tilt_series.prediction import REFERENCE_FLAGS, Reference
from staengine.tilt_series.rewrite import TemporaryResults, rewrite_tilt_series
from staengine.tilt_series.tomo import (
    COORDINATES,
    ORIGINS,
    OptimisationSet,
    ParticleSet,
    Tomogram,
    load_tilt_images,
    load_tomograms,
    resolve_inputs,
    write_optimisation_set,
    write_trajectories,
)

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
BATCH = 16  # particles that are predicted at a time
# Of sigma_vel: neighbours and wrong CTFs are not white noise. With it, still particles move as little as in RELION.
STIFFNESS = 0.5


@dataclass(frozen=True)
class Options:
    """What decides the result for a tilt series."""

    reach: float  # px
    iterations: int
    range_reg: float
    shifts: bool
    angles: bool
    positions: bool
    whole_images: bool  # one shift per image, from the whole image
    motion: bool
    s_vel: float
    s_div: float
    absolute: bool  # s_vel per tilt, not per dose
    squared: bool
    max_modes: int
    whiten: bool
    noise_of_each_tilt: bool


@dataclass(frozen=True)
class Series:
    """A tilt series and its particles, m of them in n tilts."""

    tomogram: Tomogram
    particles: ParticleSet
    halves: NDArray[np.int64]  # (m,) 0 or 1
    images: NDArray  # (n, h, w)

    @property
    def paths(self) -> NDArray[np.float64]:
        """Positions (m, n, 3) in Å, with the motion known so far."""
        paths = self.particles.paths(self.particles.positions)
        return paths if paths.ndim == 3 else np.repeat(paths[:, None], len(self.tomogram), axis=1)


def main(argv: list[str]) -> int:
    args = parse(PROGRAM, FLAGS, argv)
    options = _options(args)
    inputs = resolve_inputs(PROGRAM, args.i, args.p, args.t, args.mot)
    tomograms = load_tomograms(inputs.tomograms)
    motion = "" if options.motion else inputs.trajectories  # as in RELION, motion is found anew
    particles = prepare(ParticleSet.read(inputs.particles, motion), tomograms)
    halves = prediction.half_sets(PROGRAM, particles)
    used = {name: tomograms[name] for name in particles.particles["rlnTomoName"].unique()}
    reference = prediction.read_reference(PROGRAM, args, prediction.common_pixel(PROGRAM, used.values()))
    _say_configuration(options)
    temporary = TemporaryResults(args, inputs, used.values(), (args.ref1, args.ref2, args.mask, args.fsc))
    changes: dict[str, Change] = {}
    for number, (name, tomogram) in enumerate(used.items(), 1):
        stop_if_aborted(args.pipeline_control)
        done = temporary.load(name)
        if done is None:
            say(f"Tomogram {number} / {len(used)}:")
            say("Loading", level=1)
            rows = _rows(particles, name)
            series = Series(tomogram, particles.subset(rows), halves[rows], load_tilt_images(tomogram))
            done = align(series, reference, options, args.j)._asdict()
            temporary.save(name, **{key: value for key, value in done.items() if value is not None})
        changes[name] = Change(**done)
    _write(Path(args.o), inputs, used, particles, changes, options)
    return 0


def _rows(particles: ParticleSet, tomogram: str) -> NDArray[np.int64]:
    return np.flatnonzero(particles.particles["rlnTomoName"] == tomogram)


def _options(args: SimpleNamespace) -> Options:
    if args.shift_only_by_particles and not args.shift_only:
        raise EngineError(f"{PROGRAM}: --shift_only_by_particles goes with --shift_only; give both.")
    if args.shift_only and args.motion:
        raise EngineError(f"{PROGRAM}: --shift_only and --motion exclude each other.")
    if args.const_s and (args.shift_only or (args.const_a and args.const_p and not args.motion)):
        raise EngineError(f"{PROGRAM}: nothing is left to fit; leave out --const_s.")
    for flag, value in (("--r", args.r), ("--s_vel", args.s_vel), ("--s_div", args.s_div), ("--it", args.it)):
        if value <= 0:
            raise EngineError(f"{PROGRAM}: {flag} must be positive, not {value:g}.")
    return Options(
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


def _say_configuration(options: Options) -> None:
    say("Configuration:", level=1)
    _say_detail(f"Particle motion: {'' if options.motion else 'not '}considered")
    for what, free in (
        ("Frame angles", options.angles),
        ("Frame shifts", options.shifts),
        ("Particle positions", options.positions),
    ):
        _say_detail(f"{what}: {'variable' if free else 'constant'}")


def _say_detail(text: str) -> None:
    print(f"         {text}", flush=True)


# ---------------------------------------------------------------- one tilt series


def align(series: Series, reference: Reference, options: Options, threads: int = 1) -> Change:
    """What makes the particles of a tilt series agree best with the reference; lengths in px."""
    if options.whole_images:
        return whole_image_shifts(series, reference, options, threads)
    tomogram = series.tomogram
    correlations = cross_correlations(series, reference, options, threads)
    geometry = Geometry(
        series.paths / tomogram.pixel_size,
        tilt_angles(tomogram),
        np.argsort(tomogram.pre_exposure, kind="stable"),
    )
    freedom = Freedom(
        options.reach * options.shifts,
        options.reach / (max(tomogram.image_size) / 2) * options.angles,
        options.reach * options.positions,
        _motion_modes(series, options) if options.motion else None,
    )
    change, iterations, converged = fit(
        correlations, geometry, freedom, options.iterations, options.range_reg, _report
    )
    say(f"Alignment {'converged' if converged else 'stopped'} after {iterations} iterations", level=1)
    return change


def _report(iteration: int, value: float) -> None:
    if iteration % 10 ** int(np.log10(iteration)) == 0:
        print(f"{iteration} \t {value:.10g}", flush=True)


def tilt_angles(tomogram: Tomogram) -> NDArray[np.float64]:
    """ZRot, YTilt, XTilt (n, 3) of the tilts in rad."""
    return Rotation.from_matrix(tomogram.rotations).as_euler("ZYX")


def _motion_modes(series: Series, options: Options) -> NDArray[np.float64]:
    """Modes of motion (m, e) in px per tilt. As in RELION both parameters grow with the exposure of a tilt."""
    tomogram = series.tomogram
    scale = (1.0 if options.absolute else dose_per_tilt(tomogram.pre_exposure)) / tomogram.pixel_size
    s_vel, s_div = options.s_vel * scale, options.s_div * scale
    say("Effective motion parameters::", level=1)
    _say_detail(f"σ_vel = {s_vel:g} px/frame")
    _say_detail(f"σ_div = {s_div:g} px/frame")
    say("Decomposing covariance matrix", level=1)
    positions = series.particles.positions / tomogram.pixel_size
    modes = deformation_modes(positions, STIFFNESS * s_vel, s_div, options.squared, options.max_modes)
    kept, total = modes.shape[1], len(positions)
    say(f"Keeping {f'all {kept}' if kept == total else f'{kept} out of {total}'} eigendeformations", level=1)
    return modes


def cross_correlations(
    series: Series, reference: Reference, options: Options, threads: int = 1
) -> Correlations:
    """Correlations of all visible particle images with their predictions, within ± reach."""
    components = reference.components
    observed = prediction.observe(series.tomogram, series.images, reference, series.paths, threads)
    visible = prediction.visible_tilts(series.tomogram, reference, series.paths)
    weights = _weights(observed, visible, reference, options)
    say("Computing cross correlations:", level=1)
    bar = ProgressBar(len(visible))
    for first in range(0, len(visible), BATCH):
        batch = slice(first, first + BATCH)
        observed[batch] *= weights * expected(series, reference, visible, batch, threads).conj()
        bar.update(min(first + BATCH, len(visible)))
    correlations = correlate(
        observed[visible], components.kx, components.ky, visible, reference.box, options.reach
    )
    bar.done()
    return correlations


def expected(
    series: Series, reference: Reference, visible: NDArray, batch: slice, threads: int = 1
) -> NDArray[np.complex64]:
    """Predicted images (particles, n, K) of a batch of particles, where they are visible (m, n)."""
    tomogram, seen = series.tomogram, visible[batch]
    rotations, halves = series.particles.rotations[batch], series.halves[batch]
    images = prediction.slices(tomogram, reference, rotations, halves, seen, threads)
    return images * prediction.transfer_functions(tomogram, reference, series.paths[batch], seen, threads)


def _weights(
    observed: NDArray, visible: NDArray, reference: Reference, options: Options
) -> NDArray[np.float32]:
    """Weights (n, K) of products of images: trust in the reference over the power of the noise."""
    power = prediction.noise_power(observed, visible, reference.components, options.noise_of_each_tilt)
    if not options.whiten:
        power = np.broadcast_to(power.mean(axis=1, keepdims=True), power.shape)
    return (reference.weights / power).astype(np.float32)


# ---------------------------------------------------------------- whole tilt images


def whole_image_shifts(series: Series, reference: Reference, options: Options, threads: int = 1) -> Change:
    """Shifts of tilt images to where they agree best with a prediction of the whole image, however far."""
    tomogram, components = series.tomogram, reference.components
    observed = prediction.observe(tomogram, series.images, reference, series.paths, threads)
    visible = prediction.visible_tilts(tomogram, reference, series.paths)
    weights = _weights(observed, visible, reference, options)
    predicted = predicted_images(series, reference, visible, threads)
    height, width = series.images.shape[1:]
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    radius = np.hypot(fy, fx) * reference.box
    shifts = np.zeros((len(tomogram), 2))
    for tilt, (image, guess) in enumerate(zip(series.images, predicted, strict=True)):
        trust = np.interp(radius, components.radius, weights[tilt], right=0)
        product = np.fft.rfft2(image) * np.fft.rfft2(guess).conj() * trust
        shifts[tilt] = _peak(np.fft.irfft2(product, (height, width)))
    return Change(shifts, np.zeros((len(tomogram), 3)), np.zeros((len(visible), 3)))


def predicted_images(
    series: Series, reference: Reference, visible: NDArray, threads: int = 1
) -> NDArray[np.float32]:
    """Tilt images (n, h, w) with nothing but the predicted particles."""
    box, components = reference.box, reference.components
    own_mate = components.kx == 0
    centres = series.tomogram.project(series.paths)
    corners = np.floor(centres + 0.5).astype(int) - box // 2
    fractions = centres - corners - box // 2
    fy, fx = fourier.frequencies(box, 2)
    padded = np.pad(np.zeros(series.images.shape, np.float32), [(0, 0), (box, box), (box, box)])
    for p, tilts in enumerate(map(np.flatnonzero, visible)):
        values = expected(series, reference, visible, slice(p, p + 1), threads)[0, tilts] * np.float32(box**2)
        transforms = np.zeros((len(tilts), box, box // 2 + 1), np.complex64)
        transforms[:, components.ky, components.kx] = values
        transforms[:, -components.ky[own_mate], 0] = values[:, own_mate].conj()
        x, y = (2 * np.pi / box * fractions[p, tilts]).T[:, :, None, None]
        transforms *= np.exp(-1j * (x * fx + y * fy)).astype(np.complex64)
        for tilt, window in zip(tilts, fourier.irfft(transforms, 2), strict=True):
            left, top = corners[p, tilt] + box
            padded[tilt, top : top + box, left : left + box] += window
    return padded[:, box:-box, box:-box]


def _peak(correlation: NDArray) -> NDArray[np.float64]:
    """Displacement x, y of the highest value of a periodic map, refined by a parabola along each axis."""
    y, x = np.unravel_index(correlation.argmax(), correlation.shape)
    peak = []
    for axis, position in ((correlation[y], x), (correlation[:, x], y)):
        before, top, after = axis[position - 1], axis[position], axis[(position + 1) % len(axis)]
        fraction = (before - after) / (2 * (before - 2 * top + after)) if before + after < 2 * top else 0.0
        peak.append((position + len(axis) // 2) % len(axis) - len(axis) // 2 + fraction)
    return np.array(peak)


# ---------------------------------------------------------------- results


def _write(
    folder: Path,
    inputs: OptimisationSet,
    tomograms: dict[str, Tomogram],
    particles: ParticleSet,
    changes: dict[str, Change],
    options: Options,
) -> None:
    """Tilt series, tomograms.star, particles.star and motion.star as far as they change, and a set of them."""
    columns = {name: _tilt_columns(tomograms[name], change) for name, change in changes.items()}
    tomograms_file = rewrite_tilt_series(folder, inputs.tomograms, columns)
    table, motion = inputs.particles, inputs.trajectories or None
    if not options.whole_images:  # as in RELION: else the particles stay the same
        moved = changed_particles(particles, tomograms, changes)
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
    for name, change in changes.items():
        rows, pixel = _rows(particles, name), tomograms[name].pixel_size
        positions[rows] += change.positions * pixel
        if change.motion is not None:
            trajectories |= zip(particles.subset(rows).names, change.motion * pixel, strict=True)
    table = particles.particles.copy()
    table[COORDINATES] = positions
    table[[column for column in ORIGINS if column in table]] = 0.0
    return replace(particles, particles=table, trajectories=trajectories or None)
