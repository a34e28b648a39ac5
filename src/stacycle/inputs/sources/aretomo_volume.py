"""The tomogram that AreTomo made: how its axes run, how large its voxels are, and so the size of RELION's."""

from __future__ import annotations

import math
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files import mrc
from stacycle.inputs.sources.aretomo_tables import Session
from stacycle.inputs.sources.source import Asked, Volume

_EXCHANGES = 0.707  # |sin ROT| from which the volume's x is the images' y (CCorrectUtil.cpp:11-22)
_SAME_VOXEL = 1e-4
# Axes of the file, and those that run backwards, by -FlipVol.
_FLIPS = {0: ("xzy", "z"), 1: ("xyz", ""), 2: ("xyz", "z")}


def volume_of(
    path: Path | None, images: mrc.Header, pixel: float, axis: float, session: Session
) -> tuple[Volume | None, tuple[str, str] | None]:
    """The tomogram `path` of images with `pixel` Å, and what to warn of (what, cure), if anything.

    -FlipVol says how its axes run, or its sizes do. None, with a warning, if they do not fit the images.
    """
    if path is None:
        return None, None
    header = mrc.header(path)
    extent = _extent(images, axis)
    said = session.number("FlipVol")
    fits = [flip for flip, (axes, _) in _FLIPS.items() if _fits(header, extent, axes)]
    doubt = None
    if said is None:
        flip = fits[0] if len(fits) == 1 else 1
        if set(fits) == {1, 2}:
            doubt = (
                f"{_ending_of(path)} is taken for -FlipVol 1: no AreTomo3_Session.json says so",
                "look at its hand",
            )
        elif len(fits) != 1:
            return None, (f"how the axes of {path} run is not known", "give pixel and size of the picks")
    else:
        flip = int(said)
    if flip not in fits:
        return None, (f"{path} does not fit its images (-FlipVol {flip})", "give pixel and size of the picks")
    axes, backwards = _FLIPS[flip]
    sizes = dict(zip(axes, (header.nx, header.ny, header.sections), strict=True))
    along_x, along_y = (pixel * extent[i] / sizes["xy"[i]] for i in (0, 1))
    voxels = (along_x, along_y, along_x)  # x and z are mixed by tilting
    shape = (sizes["x"], sizes["y"], sizes["z"])
    is_said = math.isclose(header.pixel, along_x, rel_tol=2 / min(shape[:2]))
    voxel = header.pixel if is_said else along_x
    same = all(math.isclose(one, voxel, rel_tol=_SAME_VOXEL) for one in voxels)
    return Volume(path, shape, voxel, axes, backwards, None if same else voxels), doubt


def _extent(images: mrc.Header, axis: float) -> tuple[int, int]:
    """x and y of the tomogram in px of the images, whose tilt axis is at `axis` degrees."""
    turned = abs(math.sin(math.radians(axis))) > _EXCHANGES
    return (images.ny, images.nx) if turned else (images.nx, images.ny)


def _ending_of(path: Path) -> str:
    """A tomogram's file without the name of its series, so that a warning is the same for all."""
    return f"*_{path.name.rpartition('_')[2]}"


def _fits(header: mrc.Header, extent: tuple[int, int], axes: str) -> bool:
    """Whether a volume has the extent (x, y in px) of the images at one binning, but for sizes being made even."""
    across = header.ny if axes == "xyz" else header.sections
    expected = extent[1] * header.nx / extent[0]
    return abs(across - expected) <= 2 + 2 * expected / header.nx


def size_of(
    asked: Asked, images: mrc.Header, pixel: float, axis: float, session: Session, volume: Volume | None
) -> tuple[tuple[int, int, int], str]:
    """x, y, z of RELION's tomogram in px of the images, even, and where it is from. UserError if z is not known.

    It extends as far as AreTomo's, also where that exchanges x and y: all picks made there are inside.
    """
    if asked.size is not None:
        return asked.size, f"{' x '.join(map(str, asked.size))} px, of the config"
    from_volume = volume.shape[2] * volume.voxels[2] / pixel if volume else 0
    asked_for = session.number("VolZ") or 0  # -1: AreTomo3 chose it
    if max(from_volume, asked_for) <= 0:
        problem = (
            f"neither a tomogram nor -VolZ says how thick the tomograms of AreTomo in {asked.folder} are"
        )
        raise UserError(problem, "give x, y, z in px of the tilt images as size", f"{asked.label}.size")
    # VolZ divided by the binning was cut to even: the volume is a little thinner, or it has the least of 100 voxels.
    thick, origin = asked_for, f"VolZ of {session.path.name if session.path else ''}"
    if volume and from_volume > asked_for:
        thick, origin = from_volume, f"z of {volume.path.name}"
    x, y = _extent(images, axis)
    size = (x // 2 * 2, y // 2 * 2, 2 * math.ceil(thick / 2 - 1e-6))
    return size, f"{size[0]} x {size[1]} x {size[2]} px, that of the images and {origin}"
