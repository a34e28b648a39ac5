"""Image files of tilt series and particles, by their headers: complete, and as the tables say."""

from __future__ import annotations

from stacycle.checks.tables import StateFiles
from stacycle.errors import UserError
from stacycle.files import image_files, mrc


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
    """Each particle's stack: complete, with the optics groups' box and an image per visible tilt."""
    path, table = files.particles_file, files.particles
    box, _ = files.box_and_pixel
    if "rlnImageName" not in table:
        fault = "table data_particles has no column rlnImageName"
        raise UserError(f"{path}: {fault}", "extract the particles first")
    visible = table.get("rlnTomoVisibleFrames") or [""] * len(table["rlnImageName"])
    for image, tilts in zip(table["rlnImageName"], visible, strict=True):
        found = mrc.header(image)
        if (found.nx, found.ny) != (box, box):
            fault = f"has images of {found.nx} x {found.ny} px, but {path} says {box}"
            raise UserError(f"{image}: {fault}", "extract again")
        if tilts and found.sections != tilts.count("1"):
            seen = f"{tilts.count('1')} tilts show the particle"
            raise UserError(f"{image}: has {found.sections} images, but {path} says {seen}", "extract again")
