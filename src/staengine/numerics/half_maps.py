"""The inputs of relion_postprocess: two half maps, their pixel size, and a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from staengine.errors import EngineError
from staengine.numerics import maps

PROGRAM = "relion_postprocess"


def say(what: str, value: Any) -> None:
    """A line of the log: what, and its value."""
    print(f"{'  + ' + what + ' ':<35}{value}")


def read_halves(name1: str, second: str = "") -> tuple[NDArray[Any], NDArray[Any], float, tuple[str, str]]:
    """Both half maps, the pixel size in their headers (Å), and their file names."""
    name2 = second or str(Path(name1).with_name(Path(name1).name.replace("half1", "half2")))
    if name1 == name2:
        raise EngineError(
            f"{PROGRAM}: {name1} has no half1 in its name and no other half is given; give --i2."
        )
    print("== Reading input half-reconstructions: ")
    say("half1-map:", name1)
    say("half2-map:", name2)
    (half1, pixel), (half2, pixel2) = maps.read_map(name1, "half map"), maps.read_map(name2, "half map")
    check_same(name2, half2.shape[0], pixel2, half1.shape[0], pixel)
    return half1, half2, pixel, (name1, name2)


def pixel_size(angpix: float, header_pixel: float) -> float:
    """The pixel size (Å) that is given, or else that of the header. Raises EngineError if there is neither."""
    if angpix > 0:
        return angpix
    if header_pixel <= 0:
        raise EngineError(f"{PROGRAM}: the half maps have no pixel size in their headers; give --angpix.")
    print("WARNING: You did not specify --angpix. ", end="")
    print(f"The pixel size in the image header, {header_pixel:g} A/px, is used.")
    return header_pixel


def read_mask(name: str, box: int, header_pixel: float) -> NDArray[Any]:
    """Mask (box, box, box). Raises EngineError for another box or pixel size (Å), or values that no mask has."""
    mask, mask_pixel = maps.read_map(name, "mask")
    check_same(name, mask.shape[0], mask_pixel, box, header_pixel)
    if mask.min() < -1e-6 or mask.max() > 1 + 1e-6:
        raise EngineError(
            f"{PROGRAM}: the mask {name} has values from {mask.min():g} to {mask.max():g}, not 0 to 1."
        )
    if not (mask > 0.5).any():
        raise EngineError(f"{PROGRAM}: the mask {name} is empty.")
    return mask


def check_same(name: str, box: int, pixel: float, wanted_box: int, wanted_pixel: float) -> None:
    """Raises EngineError unless a map has the first half's box and, if both headers tell, pixel size."""
    if box != wanted_box:
        raise EngineError(f"{PROGRAM}: {name} has a box of {box} px, the first half map {wanted_box} px.")
    if min(pixel, wanted_pixel) > 0 and abs(pixel / wanted_pixel - 1) > 0.01:
        raise EngineError(
            f"{PROGRAM}: {name} has a pixel size of {pixel:g} Å, the first half map {wanted_pixel:g} Å."
        )
