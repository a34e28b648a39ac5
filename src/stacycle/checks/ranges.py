"""Which values the columns of tilt series and tomograms can have: what cannot be true, and what is unlikely."""

from __future__ import annotations

from typing import NamedTuple

from stacycle.checks.doubts import Mask, Numbers, Table, listed, numbers, rows
from stacycle.errors import UserError
from stacycle.files.star_labels import PIXEL, SIZE


class Range(NamedTuple):
    """What a column's values can be, both ends included; `what` it is, with its unit, for the sentence."""

    low: float
    high: float
    what: str
    always: bool = True  # also of values that RELION has refined

    def excludes(self, values: Numbers) -> Mask:
        """Which of the values cannot be."""
        return (values < self.low) | (values > self.high)


_TINY = 1e-6  # what a number that must be above 0 is at least
POSSIBLE = {
    "rlnTomoXTilt": Range(-360, 360, "an angle lies within -360 to 360 degrees"),
    "rlnTomoYTilt": Range(-90, 90, "a tilt angle lies within -90 to 90 degrees"),
    "rlnTomoZRot": Range(-360, 360, "an angle lies within -360 to 360 degrees"),
    "rlnTomoNominalStageTiltAngle": Range(-90, 90, "a tilt angle lies within -90 to 90 degrees"),
    "rlnDefocusU": Range(_TINY, 1e6, "a defocus is above 0 and below 1000000 Å", always=False),
    "rlnDefocusV": Range(_TINY, 1e6, "a defocus is above 0 and below 1000000 Å", always=False),
    "rlnDefocusAngle": Range(-360, 360, "an angle lies within -360 to 360 degrees"),
    "rlnPhaseShift": Range(-360, 360, "a phase shift lies within -360 to 360 degrees"),
    "rlnMicrographPreExposure": Range(-1e-3, 1000, "an exposure lies within 0 to 1000 e/Å²"),
    "rlnCtfScalefactor": Range(0, 100, "a contrast scale is not negative and at most 100", always=False),
    "rlnVoltage": Range(40, 2000, "the voltage is in kV, 40 to 2000"),
    "rlnSphericalAberration": Range(-0.1, 10, "the spherical aberration is in mm, 0 to 10"),
    "rlnAmplitudeContrast": Range(0, 1, "the amplitude contrast is a fraction, 0 to 1"),
    PIXEL: Range(0.1, 50, "a pixel of a tilt series has 0.1 to 50 Å"),
    "rlnTomoImportFractionalDose": Range(0, 1000, "an exposure lies within 0 to 1000 e/Å²"),
    **{label: Range(1, 1e5, "a tomogram has 1 to 100000 px, unbinned") for label in SIZE},
}
LIKELY = {
    "rlnTomoXTilt": Range(-30, 30, "it is seldom above 30 degrees"),
    "rlnMicrographPreExposure": Range(-1e-3, 300, "it is seldom above 300 e/Å²: is it in e/nm²?"),
    "rlnCtfScalefactor": Range(_TINY, 10, "it is seldom 0 or above 10"),
    "rlnSphericalAberration": Range(_TINY, 8, "it is 0 only in microscopes with a corrector"),
    "rlnAmplitudeContrast": Range(0, 0.5, "it is seldom above 0.5: is it in percent?"),
    PIXEL: Range(0.4, 25, "it is seldom below 0.4 or above 25 Å: is it in nm, or of a binned tomogram?"),
    "rlnTomoImportFractionalDose": Range(_TINY, 20, "it is seldom 0 or above 20 e/Å² for one image"),
}
CORRECT = "correct it"


def check_possible(file: str, table: Table) -> None:
    """UserError at the first value that cannot be, refined or not: for the checks before and after each job."""
    for label, possible in POSSIBLE.items():
        values = numbers(table, label)
        if values is not None and possible.always and (bad := possible.excludes(values)).any():
            raise UserError(f"{file}: {out_of_range(label, values, bad, possible)}", CORRECT)


def out_of_range(label: str, values: Numbers, bad: Mask, which: Range) -> str:
    return f"{label} is {listed(values[bad])} in {rows(bad)}, but {which.what}"
