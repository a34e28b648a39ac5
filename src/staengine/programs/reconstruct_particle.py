"""relion_tomo_reconstruct_particle: average of all particles, straight from the tilt series.

The sums of `tilt_series.reconstruction` are divided, one by the other, into a map of each half set and of all.
"""

from __future__ import annotations

import os
import signal
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from staengine.cli import INPUT, Flag, no_effect, parse, say, unsupported, warn
from staengine.errors import EngineError
from staengine.numerics import backprojection, fourier, symmetry
from staengine.numerics.maps import write_map
from staengine.numerics.masks import taper
from staengine.ranks import Launch, tomogram_ranks
from staengine.tilt_series import sum_files
from staengine.tilt_series.inputs import read_inputs
from staengine.tilt_series.reconstruction import SUMS, SumOptions, accumulate
from staengine.tilt_series.tomograms import common_pixel_size
from staengine.tilt_series.unfinished import SavedResults

PROGRAM = "relion_tomo_reconstruct_particle"
FLAGS = {
    **INPUT,
    "--o": Flag("required", str, "output folder"),
    "--b": Flag("required", int, "box in binned px"),
    "--crop": Flag("value", -1, "box of the map written, in binned px; the full one goes to *_full.mrc"),
    "--bin": Flag("value", 1.0, "binning"),
    "--SNR": Flag("value", -1.0, "Wiener filter for this signal-to-noise ratio; -1: divide by the weights"),
    "--sym": Flag("value", "C1", "point group"),
    "--taper": Flag("value", 10.0, "width of the soft spherical edge, px"),
    "--cutoff_fract": Flag("value", 0.01, "do not use frequencies whose exposure filter is below this"),
    "--no_ctf": Flag("switch", help="do not correct for CTF and exposure"),
    "--no_circle_crop": Flag("switch", help="do not mask images to a circle"),
    "--only_do_unfinished": Flag(
        "switch", help="continue after the last finished tomogram of an interrupted run"
    ),
    "--no_recon": Flag("switch", help="make no maps, only the sums that they are made of, in temp/"),
    "--no_backup": Flag("switch", help="keep nothing for --only_do_unfinished"),
    "--j": Flag("value", 6, "threads"),
    **no_effect(j_in=3, j_out=2, mem=-1),
    **unsupported("--whiten", "--nr_helical_asu", "--helical_rise", "--helical_twist", "--list_themes"),
}


def main(argv: list[str], launch: Launch | None = None) -> int:
    args = parse(PROGRAM, FLAGS, argv)
    saved = average(args, launch)
    if saved is None:
        return 0
    # All maps are written: a signal from here on must not look like a failure, as the sums are about to be removed.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    saved.remove(SUMS)
    if not args.no_recon:
        for path in (Path(args.o) / "temp").glob("sum_*.mrc"):
            path.unlink()
    return 0


def average(args: SimpleNamespace, launch: Launch | None = None) -> SavedResults | None:
    """Write the maps; return the saved sums, which are not needed any more; None if another rank does so. Raises
    EngineError for unfit input."""
    if args.b <= 0 or args.b % 2 or args.bin < 1:
        raise EngineError(f"{PROGRAM}: --b must be even and positive, --bin at least 1.")
    threads, folder = max(args.j, 1), Path(args.o)
    operators = symmetry.rotations(args.sym)
    say("Initialising:")
    state, tomograms, particles = read_inputs(PROGRAM, args, log_level=1)
    used = [tomograms[name] for name in particles.by_tomogram()]
    pixel = common_pixel_size(PROGRAM, used) * args.bin
    if particles.half_sets is None:
        warn(
            f"The input particles  in {state.particles} have no rlnRandomSubset to specify halfsets, "
            "joining all particles in half1",
            level=1,
        )
    options = SumOptions(
        args.b, args.bin, ctf=not args.no_ctf, circle=not args.no_circle_crop, cutoff=args.cutoff_fract
    )
    files = (state.particles, state.tomograms, state.trajectories)
    saved = SavedResults(folder / "temp", asdict(options), files, args.only_do_unfinished)
    ranks = tomogram_ranks(PROGRAM, launch, args.o)
    backup = not args.no_backup and ranks.size == 1  # as in RELION, more ranks begin anew
    halves = sum_files.read(saved.folder, 1 if particles.half_sets is None else 2, len(tomograms) - 1)
    if halves is None or not args.only_do_unfinished:
        halves = accumulate(
            particles, tomograms, options, saved, threads, args.pipeline_control, backup, ranks
        )
    if not ranks.leads:
        return None
    if args.no_recon:
        sum_files.write(saved.folder, halves, len(tomograms) - 1)
        return saved
    if len(operators) > 1:
        say("Applying point-group symmetries")
        halves = [backprojection.symmetrise(half, operators, threads) for half in halves]
    say("Reconstructing:")
    if len(halves) == 2:
        for number, half in enumerate(halves, 1):
            _write_maps(folder, f"half{number}", half, pixel, args, threads)
        halves[0] += halves.pop()
    _write_maps(folder, "merged", halves[0], pixel, args, threads)
    return saved


def _write_maps(
    folder: Path, tag: str, sums: NDArray[np.float64], pixel: float, args: SimpleNamespace, threads: int
) -> None:
    data, volume = backprojection.divide(sums, args.SNR, threads)
    write_map(folder / f"data_{tag}.mrc", data, pixel)
    write_map(folder / f"weight_{tag}.mrc", backprojection.full_weight(sums[..., 2]), pixel)
    if 0 < args.crop < args.b:
        write_map(folder / f"{tag}_full.mrc", volume, pixel)
        volume = fourier.window(volume, args.crop, 3)
    write_map(folder / f"{tag}.mrc", taper(volume, args.taper), pixel)
