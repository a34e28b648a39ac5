"""The simulated truth that every writer of a foreign format starts from: tilt series and picks, in RELION's terms.

A position p (px of the unbinned tilt series, from the tomogram's corner) is seen at

    q = Rz(axis) Ry(tilt) (p - size/2) + shift + image/2        in px, right-handed active rotations

and its defocus differs from the tomogram's centre by hand · pixel · z', with z' the third coordinate before the shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stacycle.inputs.sources.source import ImportedSeries

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Series:
    """A tilt series with n images, in order of the stage's angle, those that no average uses among them.

    `tilt` (YTilt), `axis` (ZRot), `stage` (the microscope's own angle) and `phase` in degrees; `shift` (n, 2) in px;
    `defocus` (n, 3): U and V in Å, angle in degrees; `order`: when each was acquired, from 0; `dose` in e/Å² per image;
    `excluded` by the user and `dark` (a black image) are masks. `size` x, y, z and `image` x, y in px; `pixel` in Å.
    `images` (n, y, x); None for noise.
    """

    name: str
    pixel: float
    image: tuple[int, int]
    size: tuple[int, int, int]
    hand: int
    tilt: Array
    axis: Array
    stage: Array
    shift: Array
    defocus: Array
    phase: Array
    order: NDArray[np.integer]
    excluded: NDArray[np.bool_]
    dark: NDArray[np.bool_]
    dose: float = 3.2
    voltage: float = 300.0
    cs: float = 2.7
    amplitude_contrast: float = 0.07
    images: NDArray[np.float32] | None = None

    @property
    def kept(self) -> NDArray[np.integer]:
        """The images that an average uses: their indices."""
        return np.flatnonzero(~(self.excluded | self.dark))

    @property
    def exposure(self) -> Array:
        """e/Å² before each image."""
        return self.dose * self.order

    def without(self, excluded: Sequence[int] = (), dark: Sequence[int] = ()) -> Series:
        """The same with images (by index) that the user excluded, and with black ones."""
        masks = np.zeros((2, len(self.tilt)), bool)
        masks[0, list(excluded)] = masks[1, list(dark)] = True
        return replace(self, excluded=masks[0], dark=masks[1])

    def project(self, points: Array) -> Array:
        """(n, k, 2) px: where points (k, 3) px are seen in each image."""
        return _project(self.tilt, self.axis, self.shift, points, self.size, self.image)[0]

    def defocus_at(self, points: Array) -> Array:
        """(n, k) Å: DefocusU at points (k, 3) px in each image."""
        height = _project(self.tilt, self.axis, self.shift, points, self.size, self.image)[1]
        return self.defocus[:, :1] + self.hand * self.pixel * height


@dataclass(frozen=True)
class Picks:
    """k picks of one tilt series: `position` (k, 3) in unbinned px from the tomogram's corner; `angles` (k, 3) rot,
    tilt, psi in degrees as RELION means them; `score` (k)."""

    series: Series
    position: Array
    angles: Array
    score: Array

    @property
    def centred(self) -> Array:
        """(k, 3) Å from the tomogram's centre, as rlnCenteredCoordinateXAngst."""
        return (self.position - np.asarray(self.series.size) / 2) * self.series.pixel

    @property
    def rotation(self) -> Rotation:
        """Particle to tomogram."""
        return to_rotation(self.angles)


def make_series(
    seed: int, name: str = "TS_01", hand: int = -1, axis: float = 84.9, tilts: int = 21
) -> Series:
    """A dose-symmetric tilt series with shifts, astigmatism and phase shifts of a plate, nothing excluded or dark."""
    random = np.random.default_rng(seed)
    stage = (np.arange(tilts) - tilts // 2) * 3.0 + random.uniform(-0.02, 0.02, tilts).round(2)
    order = np.argsort(np.argsort(np.abs(stage) + 0.1 * (stage < 0), kind="stable"))
    low = random.uniform(15000, 40000, tilts).round(2)
    defocus = np.stack(
        [low + random.uniform(50, 900, tilts).round(2), low, random.uniform(-89, 89, tilts).round(2)], 1
    )
    none = np.zeros(tilts, bool)
    return Series(
        name,
        pixel=1.35,
        image=(96, 80),
        size=(96, 80, 48),
        hand=hand,
        tilt=stage,
        axis=(axis + random.uniform(-0.5, 0.5, tilts)).round(4),
        stage=stage,
        shift=random.uniform(-30, 30, (tilts, 2)).round(3),
        defocus=defocus,
        phase=random.uniform(0, 90, tilts).round(1),
        order=order,
        excluded=none,
        dark=none.copy(),
    )


def make_picks(seed: int, series: Series, count: int = 40) -> Picks:
    """Picks all over the tomogram, turned at random; of the first three tilt is 0, 180 and 90 degrees."""
    random = np.random.default_rng(seed)
    angles = np.stack(
        [random.uniform(-180, 180, count), random.uniform(1, 179, count), random.uniform(-180, 180, count)], 1
    )
    angles[:3, 1] = 0, 180, 90
    position = random.uniform(0.05, 0.95, (count, 3)) * np.asarray(series.size)
    return Picks(series, position, angles, random.uniform(0.1, 0.9, count))


def to_rotation(angles: Array) -> Rotation:
    """RELION's rot, tilt, psi (k, 3) in degrees as the rotations of the particle into the tomogram."""
    return Rotation.from_euler("ZYZ", angles, degrees=True).inv()


def turned_by(angles: Array, others: Array) -> float:
    """Degrees: the largest angle between orientations of two lists, row by row."""
    return float(np.degrees((to_rotation(angles) * to_rotation(others).inv()).magnitude().max()))


def points_in(series: Series, count: int = 50, seed: int = 0) -> Array:
    """(count, 3) px: random points in the volume."""
    return np.random.default_rng(seed).uniform(0, 1, (count, 3)) * np.asarray(series.size)


def write_stack(
    path: Path, series: Series, which: NDArray[np.integer] | None = None, pixel: float | None = None
) -> None:
    """The images of a series, or those with the indices `which`, as an MRC stack; dark ones are 0 everywhere."""
    which = np.arange(len(series.tilt)) if which is None else which
    images = np.stack([image_of(series, int(index)) for index in which])
    write_mrc(path, images, series.pixel if pixel is None else pixel)


def write_mrc(path: Path, data: NDArray[np.float32], pixel: float) -> None:
    """An image, a stack or a volume (z, y, x) with its pixel size in Å."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, data, overwrite=True) as file:
        file.voxel_size = pixel


def image_of(series: Series, index: int) -> NDArray[np.float32]:
    """An image (y, x) of a series: black if it is dark."""
    shape = series.image[::-1]
    if series.dark[index]:
        return np.zeros(shape, np.float32)
    if series.images is not None:
        return series.images[index]
    return np.random.default_rng([index, *series.name.encode()]).normal(size=shape).astype(np.float32)


def seen_positions(imported: ImportedSeries, image: tuple[int, int], points: Array) -> Array:
    """(rows, k, 2) px: where an imported series sees points (k, 3) px."""
    return _seen(imported, image, points)[0]


def differences(
    imported: ImportedSeries, series: Series, which: NDArray[np.integer] | None = None
) -> dict[str, float]:
    """How far an imported series is off the truth: "position" in px and "defocus" in Å, both at most over random points
    and all tilts; "astigmatism" (V) in Å, "azimuth" and "phase" in degrees, "exposure" in e/Å². Its rows must be the
    images `which` (those kept), in that order. Points are told from the centres of the two volumes."""
    which = series.kept if which is None else which
    table = imported.tilts
    assert len(table) == len(which), f"{len(table)} rows instead of {len(which)}"
    points = points_in(series)
    moved = points - np.asarray(series.size) / 2 + np.asarray(imported.size) / 2
    found, height = _seen(imported, series.image, moved)
    defocus = _column(table, "rlnDefocusU")[:, None] + imported.hand * imported.pixel * height
    azimuth = np.abs(_column(table, "rlnDefocusAngle") - series.defocus[which, 2])
    return {
        "position": float(np.abs(found - series.project(points)[which]).max()),
        "defocus": float(np.abs(defocus - series.defocus_at(points)[which]).max()),
        "astigmatism": float(np.abs(_column(table, "rlnDefocusV") - series.defocus[which, 1]).max()),
        "azimuth": float(np.minimum(azimuth, np.abs(180 - azimuth)).max()),
        "phase": float(np.abs(_column(table, "rlnPhaseShift") - series.phase[which]).max()),
        "exposure": float(np.abs(_column(table, "rlnMicrographPreExposure") - series.exposure[which]).max()),
    }


def _column(table: pd.DataFrame, label: str) -> Array:
    return table[label].to_numpy(float) if label in table else np.zeros(len(table))


def _seen(imported: ImportedSeries, image: tuple[int, int], points: Array) -> tuple[Array, Array]:
    table = imported.tilts
    shift = np.stack([_column(table, f"rlnTomo{axis}ShiftAngst") for axis in "XY"], 1) / imported.pixel
    angles = (_column(table, f"rlnTomo{label}") for label in ("YTilt", "ZRot"))
    return _project(*angles, shift, points, imported.size, image, _column(table, "rlnTomoXTilt"))


def _project(
    tilt: Array,
    axis: Array,
    shift: Array,
    points: Array,
    size: tuple[int, int, int],
    image: tuple[int, int],
    x_tilt: Array | None = None,
) -> tuple[Array, Array]:
    """(n, k, 2) positions in px and (n, k) heights in px."""
    x_tilt = np.zeros_like(tilt) if x_tilt is None else x_tilt
    turn = Rotation.from_euler("ZYX", np.stack([axis, tilt, x_tilt], 1), degrees=True).as_matrix()
    turned = np.einsum("nij,kj->nki", turn, points - np.asarray(size) // 2)
    return turned[..., :2] + shift[:, None] + np.asarray(image) // 2, turned[..., 2]
