"""Cubic density maps on disk, and the low-pass filter that RELION's map programs share."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from numpy.typing import NDArray

from staengine.errors import EngineError
from staengine.numerics import fourier


def read_map(path: str | Path, what: str = "map") -> tuple[NDArray[np.float32], float]:
    """Values (box, box, box) and pixel size (Å; 0 if the header has none) of an MRC file.

    Raises EngineError, naming the file as `what`, if it is missing, damaged, not cubic or not finite.
    """
    if not Path(path).is_file():
        raise EngineError(f"the {what} {path} does not exist.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with mrcfile.open(path) as mrc:
                values, pixel = mrc.data.astype(np.float32), float(mrc.voxel_size.x)
    except ValueError as error:
        raise EngineError(f"the {what} {path} is not a complete MRC file: {error}") from None
    if values.ndim != 3 or len(set(values.shape)) != 1:
        raise EngineError(f"the {what} {path} is not a cube but {' x '.join(map(str, values.shape[::-1]))}.")
    if not np.isfinite(values).all():
        raise EngineError(f"the {what} {path} contains values that are not finite.")
    return values, pixel


def write_map(path: str | Path, values: NDArray[Any], pixel: float) -> None:
    """Write a map as single-precision MRC, making its folder; pixel size in Å."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    mrcfile.write(path, values.astype(np.float32), voxel_size=pixel, overwrite=True)


def lowpass(transform: NDArray[Any], pixel: float, resolution: float, edge: float = 2.0) -> NDArray[Any]:
    """Half transform of a map, filtered at the shell nearest to `resolution` (Å).

    A raised cosine of `edge` Fourier pixels is centred on the shell, as in RELION's map programs.
    """
    box = transform.shape[0]
    shell = round(box * pixel / resolution)
    return transform * fourier.raised_cosine(fourier.radius(box, 3), shell - edge / 2, edge)
