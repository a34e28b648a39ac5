"""What the images of a particle show of it: from where, how defocused, and how damaged by the beam.

Frames and formulas are RELION's: R = Rz(ZRot) Ry(YTilt) Rx(XTilt) of a tilt, the defocus of a particle grows with its
height if rlnTomoHand is 1, CTF = sqrt(1 - Q²) sin γ + Q cos γ with γ = π λ Δf k² - π/2 Cs λ³ k⁴ + φ, exposure filter of
Grant & Grigorieff, eLife 2015, or a B-factor per dose.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stacycle.files import star
from stacycle.files.star_labels import SERIES, TILT

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class TiltSeries:
    """One tilt series: `rotations` (n, 3, 3) of its images, their table, and its row of tomograms.star."""

    rotations: Array
    tilts: pd.DataFrame
    row: dict[str, Any]

    @classmethod
    def read_all(cls, tomograms: str | Path) -> dict[str, TiltSeries]:
        """All of a tomograms.star by name. UserError if a file or column is missing."""
        table = star.table(tomograms, star.read(tomograms), "global", ["rlnTomoName", SERIES, "rlnTomoHand"])
        return {str(row["rlnTomoName"]): cls._read(row) for row in table.to_dict("records")}

    @classmethod
    def _read(cls, row: dict[Any, Any]) -> TiltSeries:
        path = row[SERIES]
        tilts = star.table(path, star.read(path), str(row["rlnTomoName"]), TILT)
        angles = np.stack([_column(tilts, f"rlnTomo{angle}") for angle in ("ZRot", "YTilt", "XTilt")], -1)
        return cls(Rotation.from_euler("ZYX", angles, degrees=True).as_matrix(), tilts, row)

    def transfer(self, position: Array, visible: NDArray[np.bool_], kx: Array, ky: Array) -> Array:
        """CTF x scale x exposure filter (m, K) of the visible tilts for a particle at `position` (3,) Å from the middle
        of the tomogram, at frequencies kx, ky (K,) in 1/Å."""
        k2 = kx**2 + ky**2
        height = (self.rotations[visible] @ position)[:, 2]

        def value(label: str, otherwise: float = 0.0) -> Array:
            return _column(self.tilts, label, otherwise)[visible, None]

        u, v = (
            value(f"rlnDefocus{axis}") + float(self.row["rlnTomoHand"]) * height[:, None] for axis in "UV"
        )
        azimuth = np.arctan2(ky, kx) - np.deg2rad(value("rlnDefocusAngle"))
        defocus = (u + v) / 2 + (u - v) / 2 * np.cos(2 * azimuth)
        voltage, amplitude = 1e3 * float(self.row["rlnVoltage"]), float(self.row["rlnAmplitudeContrast"])
        wavelength = 12.2643247 / np.sqrt(voltage * (1 + voltage * 0.978466e-6))
        aberration = np.pi / 2 * 1e7 * float(self.row["rlnSphericalAberration"]) * wavelength**3
        phase = np.arcsin(amplitude) + np.deg2rad(value("rlnPhaseShift"))
        ctf = np.sin(np.pi * wavelength * defocus * k2 - aberration * k2**2 + phase)
        ctf *= value("rlnCtfScalefactor", 1.0) * np.exp(-value("rlnCtfBfactor") / 4 * k2)
        return ctf * self._exposure(value("rlnMicrographPreExposure"), k2)

    def _exposure(self, dose: Array, k2: Array) -> Array:
        """Exposure filter (m, K) of doses (m, 1) e/Å²."""
        per_dose = float(self.row.get("rlnCtfBfactorPerElectronDose", 0))
        if per_dose > 0:
            return np.exp(-per_dose * dose / 4 * k2)
        return np.exp(-dose / (2 * (0.245 * k2 ** (-1.665 / 2) + 2.81)))


def _column(table: pd.DataFrame, label: str, otherwise: float = 0.0) -> Array:
    return table[label].to_numpy(float) if label in table else np.full(len(table), otherwise)
