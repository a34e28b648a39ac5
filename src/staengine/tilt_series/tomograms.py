"""Tilt series: the geometry and optics that tomograms.star describes, and their images.

Positions are in Å from the tomogram's centre, as rlnCenteredCoordinate{X,Y,Z}Angst. A point p lies in a tilt
image at R p / pixel + shift + (width // 2, height // 2) px, R = Rz(ZRot) Ry(YTilt) Rx(XTilt); its depth is z
of R p. All paths in STAR files are relative to the working directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from staengine.errors import EngineError
from staengine.tilt_series import tilt_images
from staengine.tilt_series.star import loop_of, numbers, read_star, require_columns, require_numbers
from staengine.tilt_series.tilt_images import ImageFile


@dataclass
class Tomogram:
    """One tilt series of n images: geometry, optics, and where its images are."""

    name: str
    pixel_size: float  # Å, of the tilt images
    size: tuple[int, int, int]  # x, y, z px of the tomogram at that pixel size
    hand: float  # sign of the defocus gradient
    voltage: float  # kV
    cs: float  # mm
    q0: float  # amplitude contrast
    optics_group: str
    images: list[tuple[int, str]]  # (section in the file from 0, path) of each tilt
    rotations: NDArray[np.float64]  # (n, 3, 3)
    shifts: NDArray[np.float64]  # (n, 2) px
    defocus_u: NDArray[np.float64]  # (n,) Å
    defocus_v: NDArray[np.float64]  # (n,) Å
    defocus_angle: NDArray[np.float64]  # (n,) degrees
    scale: NDArray[np.float64]  # (n,) rlnCtfScalefactor
    pre_exposure: NDArray[np.float64]  # (n,) e/Å²
    phase_shift: NDArray[np.float64]  # (n,) degrees
    bfactor: NDArray[np.float64]  # (n,) Å²
    bfactor_per_dose: float = 0.0  # Å² per e/Å²; if > 0 it replaces the exposure filter
    star_file: str = ""

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the tilt images in px, from the first one's header."""
        first = tilt_images.open_images(self.images[0][1])
        return first.nx, first.ny

    def project(self, positions: NDArray[Any]) -> NDArray[np.float64]:
        """Where positions (m, 3) or, per tilt, (m, n, 3) in Å lie in the images: (m, n, 2) = x, y in px."""
        width, height = self.image_size
        # in RELION a tomogram of odd size has its centre half a pixel further
        positions = positions + self.pixel_size / 2 * (np.array(self.size) % 2)
        return self._rotate(positions, rows=2) / self.pixel_size + self.shifts + (width // 2, height // 2)

    def depth(self, positions: NDArray[Any]) -> NDArray[np.float64]:
        """Height (m, n) in Å above the centre, along the beam, of positions (m, 3) or (m, n, 3) in Å."""
        return self._rotate(positions, rows=3)[..., 2]

    def defocus_offset(self, positions: NDArray[Any]) -> NDArray[np.float64]:
        """What to add to the tilts' defocus at positions (m, 3): (m, n) in Å."""
        return self.hand * self.depth(positions)

    def _rotate(self, positions: NDArray[Any], rows: int) -> NDArray[np.float64]:
        per_tilt = "mnj" if np.ndim(positions) == 3 else "mj"
        return np.einsum(f"nij,{per_tilt}->mni", self.rotations[:, :rows], positions)


OPTICS = {  # columns of data_global and of an optics table, and the attributes of Tomogram that hold them
    "rlnVoltage": "voltage",
    "rlnSphericalAberration": "cs",
    "rlnAmplitudeContrast": "q0",
    "rlnTomoTiltSeriesPixelSize": "pixel_size",
}
TOMOGRAM_NUMBERS = [*OPTICS, "rlnTomoHand"]
TILT_NUMBERS = [
    "rlnMicrographPreExposure",
    "rlnTomoYTilt",
    "rlnTomoZRot",
    "rlnTomoXShiftAngst",
    "rlnTomoYShiftAngst",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
]


def load_tomograms(path: str | Path) -> dict[str, Tomogram]:
    """All tilt series of a tomograms.star, by name, in the file's order. Raises EngineError."""
    table = loop_of(read_star(path), "global", path)
    require_columns(table, ["rlnTomoName", "rlnTomoTiltSeriesStarFile", *TOMOGRAM_NUMBERS], path, "global")
    if "rlnTomoDeformationGridSizeX" in table.columns:
        raise EngineError(
            f"{path}: image deformations (rlnTomoDeformation..) are not in the embedded engine."
        )
    sizes = [f"rlnTomoSize{axis}" for axis in "XYZ"]
    optional = ["rlnCtfBfactorPerElectronDose", *sizes]
    require_numbers(table, [*TOMOGRAM_NUMBERS, *optional], path, "global")
    if table.empty:
        raise EngineError(f"{path}: table data_global is empty.")
    if (table["rlnTomoTiltSeriesPixelSize"] <= 0).any():
        raise EngineError(f"{path}: rlnTomoTiltSeriesPixelSize must be positive.")
    repeated = table["rlnTomoName"][table["rlnTomoName"].duplicated()]
    if len(repeated):
        raise EngineError(f"{path}: tomogram {repeated.iloc[0]} appears twice; names must be unique.")
    tomograms = [_load_tomogram(row) for row in table.to_dict("records")]
    return {tomogram.name: tomogram for tomogram in tomograms}


def _load_tomogram(row: dict[Any, Any]) -> Tomogram:
    name, path = row["rlnTomoName"], row["rlnTomoTiltSeriesStarFile"]
    tables = read_star(path)
    tilts = loop_of(tables, name, path)
    require_columns(tilts, ["rlnMicrographName", *TILT_NUMBERS], path, name)
    require_numbers(
        tilts,
        [*TILT_NUMBERS, "rlnTomoXTilt", "rlnCtfScalefactor", "rlnPhaseShift", "rlnCtfBfactor"],
        path,
        name,
    )
    pixel = float(row["rlnTomoTiltSeriesPixelSize"])
    angles = np.stack([numbers(tilts, f"rlnTomo{angle}") for angle in ("ZRot", "YTilt", "XTilt")], axis=-1)
    return Tomogram(
        name=name,
        pixel_size=pixel,
        size=tuple(int(row.get(f"rlnTomoSize{axis}", 0)) for axis in "XYZ"),  # type: ignore[arg-type]
        hand=float(row["rlnTomoHand"]),
        voltage=float(row["rlnVoltage"]),
        cs=float(row["rlnSphericalAberration"]),
        q0=float(row["rlnAmplitudeContrast"]),
        optics_group=str(row.get("rlnOpticsGroupName", "opticsGroup1")),
        images=[tilt_images.parse_image_name(text) for text in tilts["rlnMicrographName"]],
        rotations=Rotation.from_euler("ZYX", angles, degrees=True).as_matrix(),
        shifts=tilts[["rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]].to_numpy(float) / pixel,
        defocus_u=numbers(tilts, "rlnDefocusU"),
        defocus_v=numbers(tilts, "rlnDefocusV"),
        defocus_angle=numbers(tilts, "rlnDefocusAngle"),
        scale=numbers(tilts, "rlnCtfScalefactor", 1.0),
        pre_exposure=numbers(tilts, "rlnMicrographPreExposure"),
        phase_shift=numbers(tilts, "rlnPhaseShift"),
        bfactor=numbers(tilts, "rlnCtfBfactor"),
        bfactor_per_dose=float(row.get("rlnCtfBfactorPerElectronDose", 0.0)),
        star_file=str(path),
    )


def load_tilt_images(tomogram: Tomogram) -> NDArray[np.float32]:
    """The tilt images (n, height, width) of a tomogram, from one stack or many files. Raises EngineError."""
    width, height = tomogram.image_size
    stack = np.empty((len(tomogram), height, width), np.float32)
    by_file: dict[str, list[int]] = {}
    for tilt, (_, path) in enumerate(tomogram.images):
        by_file.setdefault(path, []).append(tilt)
    for path, tilts in by_file.items():
        file = tilt_images.open_images(path)
        _check_images(tomogram, file, [tomogram.images[tilt][0] for tilt in tilts])
        for tilt in tilts:
            stack[tilt] = file.read(tomogram.images[tilt][0])
    if not np.isfinite(stack).all():
        raise EngineError(f"the tilt images of {tomogram.name} contain values that are not finite.")
    return stack


def _check_images(tomogram: Tomogram, file: ImageFile, sections: Sequence[int]) -> None:
    width, height = tomogram.image_size
    missing = [section for section in sections if not 0 <= section < file.sections]
    if missing:
        raise EngineError(
            f"{file.path} has {file.sections} images; {tomogram.star_file} names image {missing[0] + 1}."
        )
    if (file.nx, file.ny) != (width, height):
        raise EngineError(f"{file.path}: images of {file.nx} x {file.ny} px, others {width} x {height}.")
    if file.pixel > 0 and abs(file.pixel - tomogram.pixel_size) > 0.01 * tomogram.pixel_size:
        raise EngineError(
            f"{file.path}: pixel size {file.pixel:g} Å in the header, {tomogram.pixel_size:g} Å for {tomogram.name}."
        )


def common_pixel_size(program: str, tomograms: Iterable[Tomogram]) -> float:
    """Pixel size in Å of all tilt series. Raises EngineError if they differ."""
    sizes = [tomogram.pixel_size for tomogram in tomograms]
    if max(sizes) - min(sizes) > 1e-3:
        raise EngineError(
            f"{program}: the tilt series have different pixel sizes ({min(sizes):g} to {max(sizes):g} Å); "
            "the embedded engine takes tilt series of one pixel size only."
        )
    return min(sizes)
