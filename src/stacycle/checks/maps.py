"""References, masks, half maps and their FSC: what RELION would take however little they fit."""

from __future__ import annotations

from pathlib import Path

from stacycle.checks.tables import StateFiles, check_numbers, filled, same_pixel
from stacycle.errors import UserError
from stacycle.files import mrc

# The FSC that counts: without a mask there is only the second.
_FSC = ["rlnFourierShellCorrelationCorrected", "rlnFourierShellCorrelationUnmaskedMaps"]


def check_map(path: str) -> None:
    """UserError unless a map is complete, a cube, and of finite numbers that are not all the same."""
    mrc.box_and_pixel(path)
    mrc.check_values(path)


def check_reference(files: StateFiles, reference: str | None, mask: str | None) -> None:
    """Reference and mask of a refinement, against the particles' images."""
    for path in filter(None, (reference, mask)):
        whose = f"the particles in {files.particles_file} have"
        mrc.check_size(path, *files.box_and_pixel, whose, "make it again")
    if reference:
        mrc.check_values(reference)
    if mask:
        mrc.check_mask_values(mask)


def check_half_maps(first: str, second: str, mask: str | None) -> None:
    """The two half maps, each other's equals but not the same, and the mask that fits them."""
    check_map(first)
    check_map(second)
    mrc.check_same(second, first, "take both from one reconstruction")
    if Path(first).name.replace("half2", "half1") == Path(second).name != Path(first).name:
        raise UserError(f"{first}: is given as the first half map and {second} as the second", "swap them")
    if (mrc.voxels(first) == mrc.voxels(second)).all():
        raise UserError(f"{second}: is the same map as {first}", "take the halves of one refinement")
    if mask:
        mrc.check_mask(mask, first)
        mrc.check_mask_values(mask)


def check_unbinned(path: str, files: StateFiles) -> None:
    """A map that tilt series are compared with, which must have their pixel size."""
    pixel = mrc.box_and_pixel(path)[1]
    if not same_pixel(pixel, files.series_pixel):
        others = f"the tilt series that are compared with it have {files.series_pixel:g} Å"
        raise UserError(f"{path}: has {pixel:g} Å/px, but {others}", "reconstruct it unbinned")


def check_fsc(path: str, reference: str) -> None:
    """The FSC that weighs a reference: readable, and of its box and pixel size."""
    shells = read_shells(path)
    box, pixel = mrc.box_and_pixel(reference)
    if len(shells) != box // 2 + 1 or not same_pixel(shells[1], box * pixel):
        fault = f"its FSC is not of the box and pixel size of {reference}"
        raise UserError(f"{path}: {fault}", "postprocess that one")


def read_shells(path: str) -> list[float]:
    """The resolutions (Å) of the shells of a `postprocess.star`. UserError if its FSC is not there or not finite."""
    table = filled(path, "fsc", ["rlnAngstromResolution"])
    curve = next((label for label in _FSC if label in table), _FSC[0])
    if curve not in table:
        raise UserError(f"{path}: table data_fsc has no column {curve}", "run the post-processing again")
    check_numbers(path, table, ["rlnAngstromResolution", curve])
    return list(map(float, table["rlnAngstromResolution"]))
