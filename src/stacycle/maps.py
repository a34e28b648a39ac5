"""Maps by their headers: boxes and pixel sizes that have to agree."""

from __future__ import annotations

import math

import mrcfile

from stacycle import geometry
from stacycle.errors import UserError


def check_mask(mask: str, map: str) -> None:
    """UserError if a mask has another box or pixel size than the map."""
    (mask_box, mask_pixel), (box, pixel) = box_and_pixel(mask), box_and_pixel(map)
    if mask_box != box or not math.isclose(mask_pixel, pixel, rel_tol=1e-3):
        raise UserError(
            f"{mask}: {mask_box} px of {mask_pixel:.4g} Å, but {map} has {box} px of {pixel:.4g} Å; make the mask "
            "from a map of that box and pixel size."
        )


def estimation_box(setting: int | str, half_map: str, key: str) -> int:
    """The box for estimation in px; UserError if it is smaller than the half map's. `auto`: a fast one of 10 % more."""
    box, _ = box_and_pixel(half_map)
    if setting == "auto":
        return geometry.estimation_box(box)
    if int(setting) < box:
        raise UserError(
            f"{key}: {setting} px is smaller than the {box} px of the reference {half_map}; give at least {box}, "
            f"better {geometry.estimation_box(box)}, or auto."
        )
    return int(setting)


def box_and_pixel(path: str) -> tuple[int, float]:
    """Box in px and pixel size in Å of a map; UserError if it is not one."""
    try:
        with mrcfile.open(path, header_only=True, permissive=True) as file:
            return int(file.header.nx), float(file.voxel_size.x)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as an MRC map ({error}); check the file.") from None
