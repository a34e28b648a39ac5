"""relion_tomo_subtomo: CTF-premultiplied 2D stacks of each particle, cut out of the tilt series."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import mrcfile
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from staengine.cli import INPUT, Flag, ProgressBar, no_effect, parse, say, stop_if_aborted, unsupported, warn
from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.tilt_series import windows
from staengine.tilt_series.tomo import (
    COORDINATES,
    ORIGINS,
    ParticleSet,
    Tomogram,
    format_visible,
    load_tilt_images,
    load_tomograms,
    resolve_inputs,
    write_optimisation_set,
    write_trajectories,
)

PROGRAM = "relion_tomo_subtomo"
FLAGS = {
    **INPUT,
    "--o": Flag("required", str, "output folder"),
    "--b": Flag("required", int, "box of the projections in binned px"),
    "--crop": Flag("value", -1, "box written, in binned px; -1: as --b"),
    "--bin": Flag("value", 1.0, "binning"),
    "--max_dose": Flag("value", -1.0, "leave out tilts beyond this dose in e/Å²; -1: use all"),
    "--min_frames": Flag("value", 1, "drop particles visible in fewer tilts"),
    "--stack2d": Flag("switch", help="write 2D stacks (the only kind that the embedded engine has)"),
    "--float16": Flag("switch", help="write half-precision numbers (MRC mode 12)"),
    "--no_ctf": Flag("switch", help="do not multiply by CTF and exposure filter"),
    "--no_ic": Flag("switch", help="do not invert the contrast"),
    "--no_circle_crop": Flag("switch", help="do not mask images to a circle"),
    "--circle_precrop": Flag("switch", help="mask images to the circle of --b before the CTF"),
    "--dont_apply_offsets": Flag("switch", help="cut at the coordinates, without the refined origins"),
    "--only_do_unfinished": Flag("switch", help="keep stacks that exist and are complete"),
    "--j": Flag("value", 6, "threads"),
    **no_effect(taper=5.0, cutoff_fract=0.01, cone_angle=10.0, cone_sig0=2.0, SNR=-1.0, env=-1.0),
    **unsupported("--cone_weight", "--real_subtomo", "--multi", "--grid_precorr", "--whiten", "--no_center"),
    **unsupported("--no_comb", "--ctf", "--div", "--nrm", "--apply_orientations", "--diag", "--sum"),
    **unsupported("--no_writing", "--list_themes"),
}

OPTICS = {  # columns of the optics table, attributes of Tomogram
    "rlnVoltage": "voltage",
    "rlnSphericalAberration": "cs",
    "rlnAmplitudeContrast": "q0",
    "rlnTomoTiltSeriesPixelSize": "pixel_size",
}
ABERRATIONS = ["rlnOddZernike", "rlnEvenZernike", "rlnMagMat00", "rlnBeamTiltX", "rlnBeamTiltY"]


@dataclass(frozen=True)
class Options:
    """What decides the content of a stack."""

    box: int  # binned px, in which particles are cut
    crop: int  # binned px, that is written
    binning: float
    max_dose: float
    min_frames: int
    float16: bool
    ctf: bool
    invert: bool
    circle: bool
    circle_before: bool

    @property
    def full_box(self) -> int:
        return round(self.binning * self.box)


@dataclass
class Job:
    """The particles of one tilt series: rows of the input, centres (m, n, 2) px, visible tilts (m, n)."""

    tomogram: Tomogram
    rows: NDArray[np.int64]
    centres: NDArray[np.float64]
    visible: NDArray[np.bool_]
    defocus_offsets: NDArray[np.float64]


def main(argv: list[str]) -> int:
    args = parse(PROGRAM, FLAGS, argv)
    if not args.stack2d:
        raise EngineError(f"{PROGRAM}: the embedded engine writes 2D stacks only; give --stack2d.")
    options = _options(args)
    inputs = resolve_inputs(PROGRAM, args.i, args.p, args.t, args.mot)
    tomograms = load_tomograms(inputs.tomograms)
    particles = prepare(ParticleSet.read(inputs.particles, inputs.trajectories), tomograms)
    jobs = list(plan(particles, tomograms, options, not args.dont_apply_offsets))
    folder = args.o.rstrip("/")
    files = stack_files(particles, folder)
    kept = _output_particles(particles, jobs, files, options, not args.dont_apply_offsets)
    for number, job in enumerate(jobs, 1):
        stop_if_aborted(args.pipeline_control)
        say(f"Tomogram {number} / {len(jobs)}:")
        _extract(job, files, options, args.only_do_unfinished, args.j)
    kept.write(f"{folder}/particles.star")
    motion = inputs.trajectories
    if kept.trajectories is not None and len(kept) < len(particles):
        motion = f"{folder}/motion.star"
        write_trajectories(motion, {name: kept.trajectories[name] for name in kept.names})
    write_optimisation_set(
        f"{folder}/optimisation_set.star", f"{folder}/particles.star", inputs.tomograms, motion
    )
    return 0


def _options(args: SimpleNamespace) -> Options:
    crop = args.crop if args.crop > 0 else args.b
    if args.b <= 0 or args.b % 2 or crop % 2:
        raise EngineError(f"{PROGRAM}: --b and --crop must be even and positive, not {args.b} and {crop}.")
    if crop > args.b:
        raise EngineError(f"{PROGRAM}: --crop {crop} is larger than --b {args.b}.")
    if args.bin < 1:
        raise EngineError(f"{PROGRAM}: --bin must be at least 1, not {args.bin:g}.")
    return Options(
        args.b,
        crop,
        args.bin,
        args.max_dose,
        args.min_frames,
        args.float16,
        ctf=not args.no_ctf,
        invert=not args.no_ic,
        circle=not args.no_circle_crop,
        circle_before=args.circle_precrop,
    )


# ---------------------------------------------------------------- what is cut out


def prepare(particles: ParticleSet, tomograms: dict[str, Tomogram], log_level: int = 0) -> ParticleSet:
    """Particles with names and optics groups, without those of undefined tomograms, sorted by tomogram.

    Says what it had to do, in RELION's words. Raises EngineError if no particle is left, if a name is there
    twice, or if optics groups and tomograms contradict each other.
    """
    table = _with_names(particles, log_level)
    of_tomogram = table["rlnTomoName"]
    empty = [name for name in tomograms if not (of_tomogram == name).any()]
    unknown = sorted(set(of_tomogram) - set(tomograms))
    if len(empty) == len(tomograms):
        raise EngineError(
            f"{particles.path}: none of its tomograms ({', '.join(unknown[:5])}) is in the tomograms file "
            f"({', '.join(empty[:5])}); rlnTomoName must agree."
        )
    if empty:
        warn(f"No particles were found for the following tomograms: {', '.join(empty)}", log_level)
    if unknown:
        undefined = ", ".join(unknown)
        warn(f"Particles were found belonging to the following undefined tomograms: {undefined}", log_level)
    order = {name: number for number, name in enumerate(tomograms)}
    table = table[of_tomogram.isin(order)]
    table = table.sort_values("rlnTomoName", key=lambda names: names.map(order), kind="stable")
    result = replace(particles, particles=table.reset_index(drop=True))
    if result.optics is None:
        _add_optics(result, tomograms)
    _check_optics(result, tomograms)
    result.check_trajectories(tomograms)
    return result


def _with_names(particles: ParticleSet, log_level: int) -> pd.DataFrame:
    """The particle table with rlnTomoParticleName; new names are TOMOGRAM/NUMBER."""
    table, names = particles.particles.copy(), "rlnTomoParticleName"
    if names not in table:
        warn(
            f"The particles in {particles.path} do not have names ({names}). They are being added now.",
            log_level,
        )
        number = table.groupby("rlnTomoName").cumcount() + 1
        table[names] = table["rlnTomoName"] + "/" + number.astype(str)
    repeated = table[names][table[["rlnTomoName", names]].duplicated()]
    if len(repeated):
        raise EngineError(
            f"{particles.path}: particle {repeated.iloc[0]} is there twice; {names} must be unique."
        )
    return table


def _add_optics(particles: ParticleSet, tomograms: dict[str, Tomogram]) -> None:
    """Make optics groups from the tomograms' rlnOpticsGroupName."""
    groups = particles.particles["rlnTomoName"].map(lambda name: tomograms[name].optics_group)
    names = list(dict.fromkeys(groups))
    first = [next(t for t in tomograms.values() if t.optics_group == name) for name in names]
    particles.optics = pd.DataFrame(
        {column: [getattr(tomogram, attribute) for tomogram in first] for column, attribute in OPTICS.items()}
        | {"rlnOpticsGroup": range(1, len(names) + 1), "rlnOpticsGroupName": names}
    )
    before_name = list(particles.particles.columns).index("rlnTomoParticleName")
    numbers = groups.map({name: number for number, name in enumerate(names, 1)})
    particles.particles.insert(before_name, "rlnOpticsGroup", numbers)


def _check_optics(particles: ParticleSet, tomograms: dict[str, Tomogram]) -> None:
    assert particles.optics is not None
    optics = particles.optics.set_index("rlnOpticsGroup")
    for column in ABERRATIONS:
        if column in optics and (optics[column].astype(str).str.strip("[]0,. ") != "").any():
            raise EngineError(f"{particles.path}: the embedded engine has no aberrations ({column}).")
    pairs = particles.particles[["rlnOpticsGroup", "rlnTomoName"]].drop_duplicates()
    for group, name in pairs.itertuples(index=False):
        if group not in optics.index:
            raise EngineError(f"{particles.path}: optics group {group} is not in table data_optics.")
        for column, attribute in OPTICS.items():
            expected = getattr(tomograms[name], attribute)
            if column in optics and abs(optics.loc[group, column] - expected) > 1e-3:
                raise EngineError(
                    f"{particles.path}: {column} of optics group {group} is {optics.loc[group, column]:g}, "
                    f"but {expected:g} in tomogram {name}."
                )


def plan(
    particles: ParticleSet, tomograms: dict[str, Tomogram], options: Options, apply_origins: bool
) -> Iterator[Job]:
    """For each tilt series with particles, which of them are cut out and in which tilts they are visible."""
    positions = particles.positions if apply_origins else particles.particles[COORDINATES].to_numpy(float)
    for name, rows in particles.particles.groupby("rlnTomoName", sort=False).indices.items():
        tomogram = tomograms[str(name)]
        centres = tomogram.project(particles.subset(rows).paths(positions[rows]))
        visible = windows.visible_tilts(tomogram, centres, options.binning * options.crop / 2)
        if options.max_dose > 0:
            visible &= tomogram.pre_exposure <= options.max_dose
        keep = visible.sum(axis=1) >= options.min_frames
        # as in RELION: motion is far too small to matter for the defocus
        offsets = tomogram.defocus_offset(positions[rows])
        yield Job(tomogram, rows[keep], centres[keep], visible[keep], offsets[keep])


def stack_files(particles: ParticleSet, folder: str) -> list[str]:
    """Each particle's file: Subtomograms/NAME_stack2d.mrcs, in a folder TOMOGRAM if NAME has no slash."""
    names = particles.particles["rlnTomoParticleName"]
    if "/" in names.iloc[0]:
        say("Slash found in first particle name: not creating subdirectories for each tomogram")
    else:
        say("No slashes found in first particle name: creating subdirectories for each tomogram")
        names = particles.particles["rlnTomoName"] + "/" + names
    return [f"{folder}/Subtomograms/{name}_stack2d.mrcs" for name in names]


def _output_particles(
    particles: ParticleSet, jobs: list[Job], files: list[str], options: Options, apply_origins: bool
) -> ParticleSet:
    """The particles that are cut out, with their stacks, visible tilts and, if applied, new coordinates."""
    rows = np.concatenate([job.rows for job in jobs])
    removed = len(particles) - len(rows)
    if not len(rows):
        raise EngineError(
            f"{particles.path}: no particle lies inside at least {options.min_frames} tilt images with a box "
            f"of {options.crop} px at binning {options.binning:g}; "
            "check the box and the coordinates (Å from the tomogram's centre)."
        )
    if removed:
        particles_were, they = ("One particle was", "it was") if removed == 1 else (
            f"{removed} particles were", "they were"
        )  # fmt: skip
        warn(f"{particles_were} removed because {they} too close to the edge in all images.")
    table = particles.particles.iloc[rows].reset_index(drop=True)
    table = table.drop(columns="rlnCtfImage", errors="ignore")  # of 3D subtomograms
    table["rlnTomoVisibleFrames"] = [format_visible(tilts) for job in jobs for tilts in job.visible]
    table["rlnImageName"] = [files[row] for row in rows]
    if apply_origins:
        table[COORDINATES] = particles.positions[rows]
        table[ORIGINS] = 0.0
    assert particles.optics is not None
    optics = particles.optics.assign(
        rlnCtfDataAreCtfPremultiplied=int(options.ctf),
        rlnImageDimensionality=2,
        rlnTomoSubtomogramBinning=options.binning,
        rlnImagePixelSize=options.binning * particles.optics["rlnTomoTiltSeriesPixelSize"],
        rlnImageSize=options.crop,
    )
    general = {"rlnTomoSubTomosAre2DStacks": 1}
    return replace(particles, particles=table, optics=optics, general=general)


# ---------------------------------------------------------------- cutting out


def _extract(job: Job, files: list[str], options: Options, only_unfinished: bool, threads: int) -> None:
    say("Loading", level=1)
    images = load_tilt_images(job.tomogram)
    pixel = job.tomogram.pixel_size * options.binning
    weights = windows.exposure_weights(job.tomogram, options.box, pixel)
    for folder in {Path(files[row]).parent for row in job.rows}:
        folder.mkdir(parents=True, exist_ok=True)

    def write(p: int) -> None:
        path = files[job.rows[p]]
        if not (only_unfinished and _is_complete(path, int(job.visible[p].sum()), options)):
            _write_stack(path, particle_stack(job, p, images, weights, options), pixel, options.float16)

    say("Extracting particles:", level=1)
    bar = ProgressBar(len(job.rows))
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for done, _ in enumerate(pool.map(write, range(len(job.rows))), 1):
            bar.update(done)
    bar.done()


def particle_stack(
    job: Job, p: int, images: NDArray, weights: NDArray, options: Options
) -> NDArray[np.float32]:
    """Images (n_visible, crop, crop) of the job's particle number p, bright on a dark ground.

    images: tilt series (n, h, w); weights: exposure filters (n, box, box // 2 + 1).
    """
    tilts, tomogram = job.visible[p], job.tomogram
    cut, offsets = windows.cut_windows(images[tilts], job.centres[p, tilts], options.full_box)
    if options.circle_before:
        cut = windows.mask_circle(cut, options.full_box // 2)
    transforms = windows.binned_transforms(cut, options.box, offsets)
    if options.ctf:
        pixel, offset = tomogram.pixel_size * options.binning, job.defocus_offsets[p, tilts]
        transforms *= windows.transfer_functions(tomogram, offset, tilts, options.box, pixel) * weights[tilts]
    sign = -1 if options.invert else 1
    # binning² for the smaller transform, and once more as RELION does to keep its grey scale
    stack = fourier.irfft(transforms, 2) * np.float32(sign / options.binning**3)
    if options.circle:
        stack = windows.mask_circle(stack, options.crop // 2)
    return fourier.window(stack, options.crop, 2)


def _write_stack(path: str, stack: NDArray[np.float32], pixel: float, float16: bool) -> None:
    if float16 and np.abs(stack).max() > np.finfo(np.float16).max:
        raise EngineError(f"{path}: the values are too large for half precision; leave out --float16.")
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(stack.astype(np.float16 if float16 else np.float32))
        mrc.set_image_stack()
        mrc.voxel_size = pixel


def _is_complete(path: str, n_images: int, options: Options) -> bool:
    """Whether a stack is there with the size that it must have (an interrupted one is shorter)."""
    size = 1024 + n_images * options.crop**2 * (2 if options.float16 else 4)
    return Path(path).is_file() and Path(path).stat().st_size == size
