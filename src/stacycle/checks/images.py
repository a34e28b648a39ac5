"""Image files of tilt series and particles, by their headers: complete, and as the tables say."""

from __future__ import annotations

from stacycle.checks.tables import StateFiles
from stacycle.errors import UserError
from stacycle.files import image_files, mrc
from stacycle.files.star import Columns


def check_tilt_images(files: StateFiles) -> None:
    """The image files of each tilt series that has particles: complete, of one size, with all tilts."""
    headers: dict[str, mrc.Header] = {}
    for tomogram in dict.fromkeys(files.particles["rlnTomoName"]):
        file, tilts = files.series[tomogram]
        sizes = set()
        for name in tilts["rlnMicrographName"]:
            number, image, _ = image_files.parse_image_name(name)
            if image not in headers:
                headers[image] = mrc.header(image, exact=False)
            found = headers[image]
            sizes.add((found.nx, found.ny))
            if number is not None and not 1 <= number <= found.sections:
                fault = f"there is no {name}, for {image} has {found.sections} tilts"
                raise UserError(f"{file}: {fault}", "correct it")
        if len(sizes) > 1:
            found_sizes = " and ".join(f"{x} x {y}" for x, y in sorted(sizes))
            raise UserError(f"{file}: its tilt images differ in size, {found_sizes} px", "make them alike")


def check_stacks(files: StateFiles) -> None:
    """Each particle's stack: complete, with the optics groups' box and an image per visible tilt. Or its
    pseudo-subtomogram, if the particles were extracted in 3D: complete, a cube of that box, with its weights."""
    path, table = files.particles_file, files.particles
    box, _ = files.box_and_pixel
    for label in ("rlnImageName", "rlnCtfImage") if files.in_3d else ("rlnImageName",):
        if label not in table:
            fault = f"table data_particles has no column {label}"
            raise UserError(f"{path}: {fault}", "extract the particles first")
    if files.in_3d:
        _check_subtomograms(path, table, box)
        return
    visible = table.get("rlnTomoVisibleFrames") or [""] * len(table["rlnImageName"])
    for image, tilts in zip(table["rlnImageName"], visible, strict=True):
        found = mrc.header(image)
        if (found.nx, found.ny) != (box, box):
            fault = f"has images of {found.nx} x {found.ny} px, but {path} says {box}"
            raise UserError(f"{image}: {fault}", "extract again")
        if tilts and found.sections != tilts.count("1"):
            seen = f"{tilts.count('1')} tilts show the particle"
            raise UserError(f"{image}: has {found.sections} images, but {path} says {seen}", "extract again")


def _check_subtomograms(path: str, table: Columns, box: int) -> None:
    """Data of box^3 px, and weights of half of Fourier space twice: CTF^2, and how often each point was seen."""
    shapes = {"rlnImageName": (box, box, box), "rlnCtfImage": (box // 2 + 1, box, 2 * box)}
    for label, shape in shapes.items():
        for image in table[label]:
            found = mrc.header(image)
            if (size := (found.nx, found.ny, found.sections)) != shape:
                has, asked = (" x ".join(map(str, one)) for one in (size, shape))
                fault = f"has {has} px, but {path} says a box of {box}, which takes {asked}"
                raise UserError(f"{image}: {fault}", "extract again")
