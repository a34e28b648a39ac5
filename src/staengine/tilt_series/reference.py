"""The reference of CTF refinement and polishing: two masked half maps, and how far they are to be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from staengine.cli import Flag, say
from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.numerics.fsc import RESOLVED, last_shell
from staengine.numerics.maps import read_map
from staengine.numerics.projector import Components, padded_transform
from staengine.tilt_series.star import read_star

REFERENCE_FLAGS = {
    "--ref1": Flag("value", "", "half map 1"),
    "--ref2": Flag("value", "", "half map 2"),
    "--mask": Flag("value", "", "mask of the half maps"),
    "--fsc": Flag("value", "", "postprocess.star with the FSC of the half maps"),
    "--freq_cutoff": Flag("value", -1.0, "last shell used, 1/--b; -1: where the FSC falls below 0.143"),
    "--fsc_thresh_width": Flag("value", 5.0, "width of the soft edge of the resolution limit, shells"),
    "--use_SNR_weight": Flag("switch", help="weight shells by FSC / (1 - FSC) instead of alike"),
    "--b": Flag("required", int, "estimation box, px of the tilt series"),
}
PADDING = 2  # of the half maps' transforms
CORRECTED_FSC = "rlnFourierShellCorrelationCorrected"


@dataclass(frozen=True)
class Reference:
    """Two masked half maps, ready to be sliced, and how far their Fourier shells are to be trusted."""

    box: int  # px, estimation box
    pixel: float  # Å
    radius_px: float  # half the box of the half maps: what must lie inside a tilt image
    transforms: tuple[NDArray[np.complex64], NDArray[np.complex64]]  # see projector.padded_transform
    components: Components  # of a box cropped in Fourier space to what has weight
    weights: NDArray[np.float64]  # (K,) 0 to 1 (or FSC / (1 - FSC)), by resolution
    fsc: NDArray[np.float64]  # (K,) 0 to 1: the share of signal in the power of a half map

    @property
    def small_pixel(self) -> float:
        """Pixel size in Å of the box that `components` belong to."""
        return self.pixel * self.box / self.components.box

    @property
    def frequency(self) -> NDArray[np.floating]:
        """Spatial frequency (K,) of the components in 1/Å."""
        return self.components.radius / (self.box * self.pixel)


def read_reference(program: str, args: SimpleNamespace, pixel: float) -> Reference:
    """The reference that REFERENCE_FLAGS name, for tilt series of `pixel` Å.

    Raises EngineError for a missing flag or file, half maps or a mask of another box or pixel size, and an
    estimation box that is odd or smaller than the half maps.
    """
    missing = [f"--{name}" for name in ("ref1", "ref2", "mask", "fsc") if not getattr(args, name)]
    if missing:
        raise EngineError(f"{program}: {' and '.join(missing)} must be given.")
    halves = [_read_at(path, "half map", pixel) for path in (args.ref1, args.ref2)]
    mask = _read_at(args.mask, "mask", pixel)
    for path, values in ((args.ref2, halves[1]), (args.mask, mask)):
        if values.shape != halves[0].shape:
            raise EngineError(
                f"{program}: {path} has a box of {len(values)} px, {args.ref1} of {len(halves[0])} px; "
                "make half maps and mask with the same box."
            )
    if mask.min() < -1e-3 or mask.max() > 1.001:
        raise EngineError(
            f"{program}: the values of {args.mask} go from {mask.min():.3g} to {mask.max():.3g}; "
            "a mask is 0 to 1."
        )
    box, map_box = args.b, len(halves[0])
    if box < map_box or box % 2:
        raise EngineError(
            f"{program}: the estimation box --b {box} must be even and at least the half maps' {map_box} px."
        )
    curve = read_fsc(args.fsc, box, pixel)
    shells = shell_weights(curve, args.freq_cutoff, args.fsc_thresh_width)
    curve = np.clip(curve, 0, 0.999)
    if args.use_SNR_weight:
        shells *= curve / (1 - curve)
    if not shells[1:].any():
        raise EngineError(
            f"{program}: {args.fsc}: the FSC is below {RESOLVED} from the first shell on; "
            "there is no signal to refine against."
        )
    say("Initialising:")
    if box > map_box:
        say(f"Padding reference from {map_box} to {box}", level=1)
    last = int(np.flatnonzero(shells)[-1])
    small = min(2 * (last + 2), box)
    components = Components.within(small, min(last + 0.5, box / 2 - 1))
    transforms = [_transform(half * mask, box, small, args.j) for half in halves]
    weights, fsc = (np.interp(components.radius, np.arange(len(shells)), c) for c in (shells, curve))
    weights[0] = 0  # the mean of an image says nothing
    return Reference(box, pixel, map_box / 2, (transforms[0], transforms[1]), components, weights, fsc)


def _read_at(path: str, what: str, pixel: float) -> NDArray[np.float32]:
    values, found = read_map(path, what)
    if found and abs(found - pixel) > 1e-3 * pixel:
        raise EngineError(
            f"the {what} {path} has a pixel size of {found:g} Å, the tilt series of {pixel:g} Å; "
            "reconstruct at --bin 1."
        )
    return values


def _transform(half: NDArray[Any], box: int, small: int, workers: int) -> NDArray[np.complex64]:
    """Padded transform of a masked half map in the estimation box, without what lies beyond the small box.

    RELION's reconstructions carry the root of their box beside the density: divided out here, so that slices
    have the amplitudes of images.
    """
    cropped = fourier.resample(fourier.window(half, box, 3), small, 3)
    return padded_transform(cropped, PADDING, workers) * np.float32(box / small / np.sqrt(len(half)))


def read_fsc(path: str | Path, box: int, pixel: float) -> NDArray[np.float64]:
    """Corrected FSC of a postprocess.star at shells 0 .. box // 2 of a box of `pixel` Å (from any box).

    0 beyond the file's last shell. Raises EngineError if the file has no such curve.
    """
    table = read_star(path).get("fsc")
    columns = ["rlnResolution", CORRECTED_FSC]
    if not isinstance(table, pd.DataFrame) or not set(columns) <= set(table):
        raise EngineError(f"{path} has no table data_fsc with {' and '.join(columns)}.")
    frequency, fsc = (table[column].to_numpy(float) for column in columns)
    frequency = np.r_[0.0, frequency[1:]]  # the first is written as 1/999 Å
    return np.interp(np.arange(box // 2 + 1) / (box * pixel), frequency, np.nan_to_num(fsc), right=0.0)


def shell_weights(fsc: NDArray[Any], cutoff: float = -1, width: float = 5) -> NDArray[np.float64]:
    """Weights of shells: 1 up to the resolution, a raised cosine of `width` shells about it, then 0.

    The resolution is where the FSC first falls below 0.143, or shell `cutoff` if that is positive.
    """
    if cutoff <= 0:
        cutoff = last_shell(fsc)
        if cutoff < 1:
            return np.zeros(len(fsc))
    return fourier.raised_cosine(np.arange(len(fsc)), cutoff - width / 2, width).astype(float)
