"""relion_tomo_reconstruct_tomogram: tomograms, by weighted back-projection of tilt images, for pictures and picking."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.cli import Flag, no_effect, parse, say, stop_if_aborted, unsupported
from staengine.errors import EngineError
from staengine.numerics import weighted_backprojection as backprojection
from staengine.numerics.maps import write_map
from staengine.tilt_series.optimisation_set import read_optimisation_set
from staengine.tilt_series.star import loop_of, read_star, write_star
from staengine.tilt_series.tomograms import Tomogram, load_tilt_images, load_tomograms

PROGRAM = "relion_tomo_reconstruct_tomogram"
ALL = "*"
FLAGS = {
    "--i": Flag("value", "", "optimisation_set.star"),
    "--t": Flag("value", "", "tomograms.star"),
    "--o": Flag("required", str, "output folder"),
    "--w": Flag("required", int, "width in px of the tilt images"),
    "--h": Flag("required", int, "height in px of the tilt images"),
    "--d": Flag("required", int, "thickness in px of the tilt images"),
    "--tn": Flag("value", ALL, "the tomogram to reconstruct; all without it"),
    "--no_weight": Flag("switch", help="do not divide by the transform of the point spread"),
    "--SNR": Flag("value", 10.0, "signal-to-noise ratio that this division assumes"),
    "--keep_mean": Flag("switch", help="do not subtract each image's mean"),
    "--x0": Flag("value", 0.0, "middle of what is reconstructed, from the tomogram's, px of the tilt images"),
    "--y0": Flag("value", 0.0, "the same along y"),
    "--z0": Flag("value", 0.0, "the same along z"),
    "--bin": Flag("value", 1.0, "binning"),
    "--binned_angpix": Flag("value", -1.0, "pixel size after binning, Å, in place of --bin"),
    "--do_proj": Flag("switch", help="write the sum of the middle slices, too"),
    "--centre_proj": Flag("value", 0, "its middle, voxels from that of what is reconstructed"),
    "--thickness_proj": Flag("value", 10, "its thickness, voxels"),
    "--only_do_unfinished": Flag("switch", help="keep tomograms that are there"),
    "--j": Flag("value", 1, "threads"),
    **no_effect(Fc=False, **{"lambda": 10.0}),  # images are always resampled in Fourier space
    **unsupported("--generate_split_tomograms", "--fourier", "--ctf_intact_first_peak", "--pre_weight"),
    **unsupported("--ctf", "--skip_wiener", "--td", "--tf", "--tiltangle_offset", "--bfactor_per_edose"),
    **unsupported("--list_themes"),
}


def main(argv: list[str]) -> int:
    args = parse(PROGRAM, FLAGS, argv)
    if min(args.w, args.h, args.d) <= 0 or args.SNR <= 0:
        raise EngineError(f"{PROGRAM}: --w, --h, --d and --SNR must be positive.")
    file, folder = _tomograms_file(args), args.o.rstrip("/")
    tomograms = load_tomograms(file)
    if args.tn not in (ALL, *tomograms):
        raise EngineError(f"{file} has no tomogram {args.tn}.")
    names = list(tomograms) if args.tn == ALL else [args.tn]
    say(f"Reconstructing {len(names)} tomogram{'s' * (len(names) > 1)}:")
    for name in names:
        stop_if_aborted(args.pipeline_control)
        say(name, level=1)
        path = Path(_file(folder, "tomograms", name))
        if not (args.only_do_unfinished and path.is_file()):
            _reconstruct(tomograms[name], path, folder, args)
    if args.tn == ALL:
        _write_tomograms(file, folder, tomograms, args)
    return 0


def reconstruct(
    tomogram: Tomogram, images: NDArray[np.float32], args: SimpleNamespace
) -> tuple[NDArray[np.float32], float]:
    """The volume (depth, height, width) that `args` ask for of tilt images (n, h, w), and its pixel size in Å."""
    binning = _binning(tomogram, args)
    pixel, (rows, columns) = tomogram.pixel_size * binning, images.shape[1:]
    size = [2 * (round(args.w / binning) // 2), round(args.h / binning), int(args.d / binning)]  # as RELION
    if min(size) < 1:
        raise EngineError(f"{PROGRAM}: of {args.w} x {args.h} x {args.d} px no voxel of {pixel:g} Å is left.")
    small_rows, small_columns = (min(n, 2 * math.ceil(n / binning / 2)) for n in (rows, columns))
    if not args.keep_mean:
        images = images - images.mean(axis=(1, 2), keepdims=True)
    small = backprojection.resample(images, small_rows, small_columns, args.j)
    matrices, offsets = _geometry(tomogram, size, pixel, args)
    per_px = np.array([small_columns / columns, small_rows / rows])
    matrices, offsets = matrices * per_px[:, None], offsets * per_px
    shape = (size[2], size[1], size[0])
    sums = backprojection.back_project(small, matrices, offsets, shape, max(args.j, 1))
    volume = backprojection.mean_of_images(*sums)
    if not args.no_weight:
        weight = backprojection.weights(matrices, shape, max(args.j, 1))
        volume = backprojection.divide(volume, weight, args.SNR, max(args.j, 1))
    return volume, pixel


def _geometry(
    tomogram: Tomogram, size: list[int], pixel: float, args: SimpleNamespace
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where voxel (x, y, z) lies in each tilt image, px: matrices (n, 2, 3) and offsets (n, 2)."""
    middle = np.array([args.x0, args.y0, args.z0]) * tomogram.pixel_size
    corner = middle - pixel * np.array(size) / 2
    at, *beside = tomogram.project(np.array([corner, *(corner + pixel * np.eye(3))]))
    return np.stack([one - at for one in beside], axis=-1), at


def _reconstruct(tomogram: Tomogram, path: Path, folder: str, args: SimpleNamespace) -> None:
    volume, pixel = reconstruct(tomogram, load_tilt_images(tomogram), args)
    if args.do_proj:
        middle, half = len(volume) // 2 + args.centre_proj, args.thickness_proj // 2
        slab = volume[max(0, middle - half) : max(0, middle + half + 1)]  # as RELION, both ends included
        write_map(_file(folder, "projections", tomogram.name), slab.sum(axis=0), pixel)
    write_map(path, volume, pixel)


def _binning(tomogram: Tomogram, args: SimpleNamespace) -> float:
    binning = args.binned_angpix / tomogram.pixel_size if args.binned_angpix > 0 else args.bin
    if binning < 1:
        asked = f"a binning of {binning:.3g} was asked for"
        raise EngineError(f"{PROGRAM}: {asked}, but pixels can only be binned, by 1 or more.")
    return float(binning)


def _tomograms_file(args: SimpleNamespace) -> str:
    if not args.t and not args.i:
        raise EngineError(f"{PROGRAM}: give --t tomograms.star, or --i optimisation_set.star.")
    return str(args.t or read_optimisation_set(args.i).tomograms)


def _file(folder: str, kind: str, name: str) -> str:
    return f"{folder}/{kind}/rec_{name}.mrc"


def _write_tomograms(file: str, folder: str, tomograms: dict[str, Tomogram], args: SimpleNamespace) -> None:
    """FOLDER/tomograms.star: as the one that was given, with the new tomograms and their binning."""
    tables = read_star(file)
    new: dict[str, Any] = {
        "rlnTomoTomogramBinning": [_binning(one, args) for one in tomograms.values()],
        "rlnTomoReconstructedTomogram": [_file(folder, "tomograms", name) for name in tomograms],
    }
    if args.do_proj:
        new["rlnTomogramProjection"] = [_file(folder, "projections", name) for name in tomograms]
    new |= {f"rlnTomoSize{axis}": size for axis, size in zip("XYZ", (args.w, args.h, args.d), strict=True)}
    write_star(tables | {"global": loop_of(tables, "global", file).assign(**new)}, f"{folder}/tomograms.star")
