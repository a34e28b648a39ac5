"""relion_tomo_subtomo: CTF-premultiplied 2D stacks of each particle, cut out of the tilt series."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

from staengine.cli import INPUT, Flag, ProgressBar, no_effect, parse, say, stop_if_aborted, unsupported
from staengine.errors import EngineError
from staengine.ranks import Launch, tomogram_ranks
from staengine.tilt_series import extraction, windows
from staengine.tilt_series.extraction import SeriesParticles, StackOptions
from staengine.tilt_series.inputs import read_inputs
from staengine.tilt_series.optimisation_set import write_optimisation_set
from staengine.tilt_series.tomograms import load_tilt_images
from staengine.tilt_series.trajectories import write_trajectories

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


def main(argv: list[str], launch: Launch | None = None) -> int:
    args = parse(PROGRAM, FLAGS, argv)
    if not args.stack2d:
        raise EngineError(f"{PROGRAM}: the embedded engine writes 2D stacks only; give --stack2d.")
    options = _options(args)
    state, tomograms, particles = read_inputs(PROGRAM, args)
    cut_out = list(extraction.visible_particles(particles, tomograms, options))
    folder = args.o.rstrip("/")
    files = extraction.stack_files(particles, folder)
    extracted = extraction.extracted_particles(particles, cut_out, files, options)
    ranks = tomogram_ranks(PROGRAM, launch, args.o)
    own = ranks.own(cut_out)
    for number, series in enumerate(own, 1):
        stop_if_aborted(args.pipeline_control)
        say(f"Tomogram {number} / {len(own)}:")
        _extract(series, files, options, args.only_do_unfinished, args.j)
    ranks.gathered(None)
    if not ranks.leads:
        return 0
    extracted.write(f"{folder}/particles.star")
    motion = state.trajectories
    if extracted.trajectories is not None and len(extracted) < len(particles):
        motion = f"{folder}/motion.star"
        write_trajectories(motion, {name: extracted.trajectories[name] for name in extracted.names})
    write_optimisation_set(
        f"{folder}/optimisation_set.star", f"{folder}/particles.star", state.tomograms, motion
    )
    return 0


def _options(args: SimpleNamespace) -> StackOptions:
    crop = args.crop if args.crop > 0 else args.b
    if args.b <= 0 or args.b % 2 or crop % 2:
        raise EngineError(f"{PROGRAM}: --b and --crop must be even and positive, not {args.b} and {crop}.")
    if crop > args.b:
        raise EngineError(f"{PROGRAM}: --crop {crop} is larger than --b {args.b}.")
    if args.bin < 1:
        raise EngineError(f"{PROGRAM}: --bin must be at least 1, not {args.bin:g}.")
    return StackOptions(
        args.b,
        crop,
        args.bin,
        args.max_dose,
        args.min_frames,
        apply_origins=not args.dont_apply_offsets,
        float16=args.float16,
        ctf=not args.no_ctf,
        invert=not args.no_ic,
        circle=not args.no_circle_crop,
        circle_before=args.circle_precrop,
    )


def _extract(
    series: SeriesParticles, files: list[str], options: StackOptions, only_unfinished: bool, threads: int
) -> None:
    """Write the stacks of one tilt series' particles."""
    say("Loading", level=1)
    images = load_tilt_images(series.tomogram)
    pixel = series.tomogram.pixel_size * options.binning
    weights = windows.exposure_weights(series.tomogram, options.box, pixel)
    for folder in {Path(files[row]).parent for row in series.rows}:
        folder.mkdir(parents=True, exist_ok=True)

    def write(p: int) -> None:
        path, n_images = files[series.rows[p]], int(series.visible[p].sum())
        if not (only_unfinished and extraction.is_complete(path, n_images, options)):
            stack = extraction.particle_stack(series, p, images, weights, options)
            extraction.write_stack(path, stack, pixel, options.float16)

    say("Extracting particles:", level=1)
    with ProgressBar(len(series.rows)) as bar, ThreadPoolExecutor(max(threads, 1)) as pool:
        for _ in pool.map(write, range(len(series.rows))):
            bar.advance()
