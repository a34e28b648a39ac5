"""relion_mask_create: a soft mask around the density of a map above a threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine import cli
from staengine.errors import EngineError
from staengine.numerics import fourier, maps
from staengine.numerics.masks import soft_mask

PROGRAM = "relion_mask_create"
FLAGS = {
    "--i": cli.Flag("required", "", "input map"),
    "--o": cli.Flag("value", "mask.mrc", "output mask"),
    "--lowpass": cli.Flag("value", -1.0, "low-pass filter the map first, Å (negative: no)"),
    "--angpix": cli.Flag("value", -1.0, "pixel size, Å (negative: from the header)"),
    "--ini_threshold": cli.Flag("value", 0.01, "density at and above this is inside the initial mask"),
    "--extend_inimask": cli.Flag("value", 0.0, "extend the initial mask, px"),
    "--width_soft_edge": cli.Flag("value", 0.0, "width of the soft edge, px"),
    "--invert": cli.Flag("switch", help="write 1 - mask"),
    "--j": cli.Flag("value", 1, "threads"),
    **cli.unsupported("--and", "--or", "--and_not", "--or_not", "--helix", "--z_percentage"),
    **cli.unsupported("--denovo", "--box_size", "--inner_radius", "--outer_radius"),
    **cli.unsupported("--center_x", "--center_y", "--center_z"),
}


def above_threshold(
    values: NDArray[Any], pixel: float, threshold: float, lowpass: float, workers: int = 1
) -> NDArray[np.bool_]:
    """Voxels of a map, low-passed to `lowpass` Å if positive, at or above the threshold.

    Raises EngineError if there are none.
    """
    if lowpass > 0:
        transform = fourier.rfft(values, 3, workers)
        values = fourier.irfft(maps.lowpass(transform, pixel, lowpass), 3, workers)
    inside = values >= threshold
    if not inside.any():
        raise EngineError(
            f"{PROGRAM}: the mask is empty: no density reaches --ini_threshold {threshold:g}; the "
            f"{'low-passed ' if lowpass > 0 else ''}map ranges from {values.min():g} to {values.max():g}."
        )
    return inside


def main(argv: list[str]) -> int:
    flags = cli.parse(PROGRAM, FLAGS, argv)
    if flags.extend_inimask < 0 or flags.width_soft_edge < 0:
        raise EngineError(f"{PROGRAM}: --extend_inimask and --width_soft_edge must not be negative.")
    print(" Creating a mask ...")
    values, header_pixel = maps.read_map(flags.i, "input map")
    pixel = flags.angpix
    if pixel <= 0:
        pixel = header_pixel
        print("WARNING: The pixel size (--angpix) was not specified.")
        print(f"         The value in the input image header (= {pixel:g}) is used instead.")
    if pixel <= 0:
        raise EngineError(f"{PROGRAM}: {flags.i} has no pixel size in its header; give --angpix.")
    inside = above_threshold(values, pixel, flags.ini_threshold, flags.lowpass, flags.j)
    if flags.extend_inimask > 0:
        print("== Extending initial binary mask ...")
    if flags.width_soft_edge > 0:
        print("== Making a soft edge on the extended mask ...")
    mask = soft_mask(inside, flags.extend_inimask, flags.width_soft_edge)
    maps.write_map(Path(flags.o), 1 - mask if flags.invert else mask, pixel)
    print(f" Done creating mask! Written out: {flags.o}")
    return 0
