"""Numbers of tilt series and tomograms: what cannot be, what is unlikely, and what does not fit the rest.

RELION takes any number, and averages an image at an arbitrary angle or defocus without a word. Here each column has
its physical range, each tilt is compared with its series, and each series with the others. What cannot be true is a
problem, what is merely strange a warning. `check_series` and `check_tomograms` look at one table,
`check_together` at all series; `messages` makes sentences of what they found, one for each kind of fault however many
tilt series have it. Labels that a table lacks, or whose values are no finite numbers, are left to other checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stacycle.errors import UserError, some
from stacycle.files.mrc import SAME_PIXEL
from stacycle.files.star_labels import PIXEL, SHIFT, SIZE, TILT

if TYPE_CHECKING:
    import pandas as pd

    Table = Mapping[str, Any] | pd.DataFrame  # a column of numbers (or of their text) by its label
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEW = 5  # tilts, fewer of which tell nothing about each other
FAR = 8  # robust standard deviations from the median
_AXIS, _TILT = "rlnTomoZRot", "rlnTomoYTilt"
_EXPOSURE, _SCALE = "rlnMicrographPreExposure", "rlnCtfScalefactor"
_DEFOCUS = ("rlnDefocusU", "rlnDefocusV")
_HAND, _VOLTAGE = "rlnTomoHand", "rlnVoltage"
_OF_TILTS = ["rlnTomoXTilt", "rlnTomoNominalStageTiltAngle", "rlnPhaseShift", _SCALE, *TILT]


@dataclass(frozen=True)
class Doubt:
    """One fault of one table: `fault` says what and where, `cure` what to do. Doubts of a `kind` are told together."""

    refused: bool
    kind: str
    file: str
    name: str  # of the tilt series; empty for a fault of the whole file
    fault: str
    cure: str


class Range(NamedTuple):
    """What a column's values can be, both ends included; `what` it is, with its unit, for the sentence."""

    low: float
    high: float
    what: str
    always: bool = True  # also of values that RELION has refined

    def excludes(self, values: Numbers) -> Mask:
        return (values < self.low) | (values > self.high)


_TINY = 1e-6  # what a number that must be above 0 is at least
POSSIBLE = {
    "rlnTomoXTilt": Range(-360, 360, "an angle lies within -360 to 360 degrees"),
    _TILT: Range(-90, 90, "a tilt angle lies within -90 to 90 degrees"),
    _AXIS: Range(-360, 360, "an angle lies within -360 to 360 degrees"),
    "rlnTomoNominalStageTiltAngle": Range(-90, 90, "a tilt angle lies within -90 to 90 degrees"),
    "rlnDefocusU": Range(_TINY, 1e6, "a defocus is above 0 and below 1000000 Å", always=False),
    "rlnDefocusV": Range(_TINY, 1e6, "a defocus is above 0 and below 1000000 Å", always=False),
    "rlnDefocusAngle": Range(-360, 360, "an angle lies within -360 to 360 degrees"),
    "rlnPhaseShift": Range(-360, 360, "a phase shift lies within -360 to 360 degrees"),
    _EXPOSURE: Range(-1e-3, 1000, "an exposure lies within 0 to 1000 e/Å²"),
    _SCALE: Range(0, 100, "a contrast scale is not negative and at most 100", always=False),
    _VOLTAGE: Range(40, 2000, "the voltage is in kV, 40 to 2000"),
    "rlnSphericalAberration": Range(-0.1, 10, "the spherical aberration is in mm, 0 to 10"),
    "rlnAmplitudeContrast": Range(0, 1, "the amplitude contrast is a fraction, 0 to 1"),
    PIXEL: Range(0.1, 50, "a pixel of a tilt series has 0.1 to 50 Å"),
    "rlnTomoImportFractionalDose": Range(0, 1000, "an exposure lies within 0 to 1000 e/Å²"),
    **{label: Range(1, 1e5, "a tomogram has 1 to 100000 px, unbinned") for label in SIZE},
}
_LIKELY = {
    "rlnTomoXTilt": Range(-30, 30, "it is seldom above 30 degrees"),
    _EXPOSURE: Range(-1e-3, 300, "it is seldom above 300 e/Å²: is it in e/nm²?"),
    _SCALE: Range(_TINY, 10, "it is seldom 0 or above 10"),
    "rlnSphericalAberration": Range(_TINY, 8, "it is 0 only in microscopes with a corrector"),
    "rlnAmplitudeContrast": Range(0, 0.5, "it is seldom above 0.5: is it in percent?"),
    PIXEL: Range(0.4, 25, "it is seldom below 0.4 or above 25 Å: is it in nm, or of a binned tomogram?"),
    "rlnTomoImportFractionalDose": Range(_TINY, 20, "it is seldom 0 or above 20 e/Å² for one image"),
}
_VOLTAGES = (60, 80, 100, 120, 150, 160, 200, 300, 400, 1000, 1250)  # kV, of microscopes that are made
_CORRECT, _CORRECT_TILTS = "correct it", "correct it, or remove the rows of these tilts"


# What is told


def messages(doubts: Iterable[Doubt]) -> tuple[list[UserError], list[UserError]]:
    """Problems and warnings, one for each kind of fault: the first, and which other tilt series have it."""
    kinds: dict[tuple[bool, str], list[Doubt]] = {}
    for doubt in doubts:
        kinds.setdefault((doubt.refused, doubt.kind), []).append(doubt)
    found: tuple[list[UserError], list[UserError]] = ([], [])
    for (refused, _), alike in kinds.items():
        first = alike[0]
        others = dict.fromkeys(doubt.name or doubt.file for doubt in alike if doubt.name != first.name)
        where = f"{first.file}: " if first.file else ""
        more = f" (and so in {len(others)} more: {some(others)})" if others else ""
        found[not refused].append(UserError(f"{where}{first.fault}{more}", first.cure))
    return found


def check_possible(file: str, table: Table) -> None:
    """UserError at the first value that cannot be, refined or not: for the checks before and after each job."""
    for label, possible in POSSIBLE.items():
        values = _numbers(table, label)
        if values is not None and possible.always and (bad := possible.excludes(values)).any():
            raise UserError(f"{file}: {_outside(label, values, bad, possible)}", _CORRECT)


def _outside(label: str, values: Numbers, bad: Mask, which: Range) -> str:
    return f"{label} is {_values(values[bad])} in {_rows(bad)}, but {which.what}"


def _numbers(table: Table, label: str) -> Numbers | None:
    """The values of a column; None if the table lacks it, or other checks refuse it."""
    if label not in table:
        return None
    try:
        values = np.asarray(table[label], float)
    except (TypeError, ValueError):
        return None
    return values if len(values) and np.isfinite(values).all() else None


def _rows(which: Mask) -> str:
    """The rows that a mask selects, counted from 1 as in the file."""
    rows = (np.flatnonzero(which) + 1).tolist()
    return f"row{'s' * (len(rows) > 1)} {some(rows)}"


def _values(values: Numbers) -> str:
    """The first few values, or the one that all are."""
    return some(dict.fromkeys(map(_number, values))) if len(set(values)) == 1 else some(map(_number, values))


def _number(value: float) -> str:
    """A number to be read: whole if it is large, with four digits if it is small."""
    value = float(value)
    if abs(value) >= 1e7 or 0 < abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{round(value, 4) + 0.0:.4g}"


def _median(value: float) -> str:
    """A median to be read: with three digits."""
    return _number(float(f"{value:.3g}"))


# One tilt series


def check_series(
    name: str, file: str, table: Table, shape: tuple[int, int] | None = None, pixel: float | None = None
) -> list[Doubt]:
    """What is wrong with a tilt series' table, a row per tilt. `shape` (y, x) of its images in px, `pixel` in Å."""
    known = {label: values for label in _OF_TILTS if (values := _numbers(table, label)) is not None}
    series = _Series(name, file, known)
    size = (shape[1] * pixel, shape[0] * pixel) if shape and pixel and min(shape) > 0 else None
    impossible = list(_ranges(series))
    seen = {doubt.kind.replace("impossible", "far") for doubt in impossible} - {f"far {x}" for x in _DEFOCUS}
    others = [*_angles(series), *_shifts(series, size), *_defocus(series), *_exposures(series)]
    return [*impossible, *(doubt for doubt in others if doubt.kind not in seen)]


@dataclass(frozen=True)
class _Series:
    """The numbers of a tilt series' table by label, of which checks tell doubts."""

    name: str
    file: str
    numbers: Mapping[str, Numbers]

    def get(self, label: str) -> Numbers | None:
        return self.numbers.get(label)

    def doubt(self, kind: str, fault: str, cure: str, refused: bool = False) -> Doubt:
        return Doubt(refused, kind, self.file, self.name, fault, cure)

    def far(self, label: str, values: Numbers, far: Mask, cure: str, median: float, unit: str = "") -> Doubt:
        """That some tilts are far from the others."""
        which = values[far]
        apart = "; " if len(set(which)) > 1 else ", "
        fault = (
            f"{label} of {far.sum()} of {len(values)} tilts of {self.name} is far from the others' "
            f"({_values(which)}{unit}{apart}median {_median(median)}) in {_rows(far)}"
        )
        return self.doubt(f"far {label}", fault, cure)


def _ranges(series: _Series) -> Iterable[Doubt]:
    """Values of tilts that cannot be, or are unlikely."""
    told: dict[str, Mask] = {}
    for label, values in series.numbers.items():
        possible = POSSIBLE.get(label)
        if possible is None:  # shifts
            continue
        if (bad := possible.excludes(values)).any():
            if label == _DEFOCUS[1] and np.array_equal(bad, told.get(_DEFOCUS[0], [])):
                continue  # of both defocus values together, one is told
            told[label] = bad
            fault = f"{_outside(label, values, bad, possible)} (tilt series {series.name})"
            yield series.doubt(f"impossible {label}", fault, _CORRECT_TILTS, refused=True)
        if label in _LIKELY and (odd := _LIKELY[label].excludes(values) & ~bad).any():
            fault = f"{_outside(label, values, odd, _LIKELY[label])} (tilt series {series.name})"
            yield series.doubt(f"unlikely {label}", fault, "look whether it is right")


def _angles(series: _Series) -> Iterable[Doubt]:
    """Tilt angles and the tilt axis."""
    if (tilts := series.get(_TILT)) is not None:
        yield from _tilt_angles(series, tilts)
        if (nominal := series.get("rlnTomoNominalStageTiltAngle")) is not None and len(tilts) >= FEW:
            yield from _nominal_angles(series, tilts, nominal)
    if (axis := series.get(_AXIS)) is not None and len(axis) >= FEW:
        yield from _tilt_axis(series, axis)
    if (across := series.get("rlnTomoXTilt")) is not None and (far := _far(across, least=10.0)).any():
        yield series.far("rlnTomoXTilt", across, far, _CORRECT_TILTS, _middle(across), "°")


def _tilt_angles(series: _Series, tilts: Numbers) -> Iterable[Doubt]:
    if len(tilts) >= 3 and np.ptp(tilts) < 0.01:
        fault = f"{_TILT} is {_number(tilts[0])} in all {len(tilts)} tilts of {series.name}"
        yield series.doubt("same angle", fault, "give each tilt its angle, in degrees", refused=True)
    elif len(tilts) >= FEW and np.abs(tilts).max() <= np.pi / 2:
        fault = (
            f"{_TILT} of {series.name} runs only from {_number(tilts.min())} to {_number(tilts.max())} degrees, as if "
            "it were in radians"
        )
        yield series.doubt("radians", fault, "multiply it by 180/π", refused=True)
    elif len(tilts) >= FEW:
        if (lonely := _lonely(tilts)).any():
            yield series.far(_TILT, tilts, lonely, _CORRECT_TILTS, _middle(tilts), "°")
        if (again := _repeated(tilts, digits=2)).any():
            fault = f"{_TILT} of {series.name} is the same in {_rows(again)} ({_values(tilts[again])}°)"
            yield series.doubt(
                "repeated angle", fault, "look whether these are different tilts, with angles of their own"
            )


def _lonely(tilts: Numbers) -> Mask:
    """Tilts whose angle has no other anywhere near: a gap of some missing tilts is none."""
    order = np.argsort(tilts)
    gaps = np.diff(tilts[order])
    apart = np.empty(len(tilts))
    apart[order] = np.minimum(np.r_[np.inf, gaps], np.r_[gaps, np.inf])
    return apart > max(25.0, 8 * _middle(gaps))


def _repeated(values: Numbers, digits: int) -> Mask:
    """Rows whose value three rows or more have, or all those of pairs if more than a quarter of the rows are in pairs.

    One angle that was taken twice, as some schemes do at the start, is none.
    """
    _, group, count = np.unique(np.round(values, digits), return_inverse=True, return_counts=True)
    of_each = count[group.ravel()]
    return of_each > 1 if (of_each > 1).mean() > 0.25 else of_each > 2


def _nominal_angles(series: _Series, tilts: Numbers, nominal: Numbers) -> Iterable[Doubt]:
    """The refined angle against the stage's, from which it differs by the same offset in all tilts."""
    label = "rlnTomoNominalStageTiltAngle"
    if min(np.ptp(nominal), np.ptp(tilts)) < FEW or POSSIBLE[label].excludes(np.r_[tilts, nominal]).any():
        return
    if np.corrcoef(tilts, nominal)[0, 1] < -0.8:
        fault = f"{_TILT} of {series.name} falls where {label} rises"
        yield series.doubt("sign of the tilt", fault, "make the signs of the angles agree")
        return
    offset = tilts - nominal
    if (far := _far(offset, least=10.0)).any():
        fault = (
            f"{_TILT} of {far.sum()} of {len(tilts)} tilts of {series.name} is not {label} plus the others' offset "
            f"of {_median(_middle(offset))}° ({_values(tilts[far])}° for {_values(nominal[far])}°) in {_rows(far)}"
        )
        yield series.doubt("far from the nominal angle", fault, _CORRECT_TILTS)


def _tilt_axis(series: _Series, axis: Numbers) -> Iterable[Doubt]:
    """The rotation of the tilt axis: one, but for what local refinement changes."""
    median = _circular_median(axis)
    turned = _wrapped(axis - median)
    spread = _spread(turned)
    if spread > 10:
        fault = f"{_AXIS} of {series.name} varies by more than 10 degrees among its tilts ({_values(axis)})"
        yield series.doubt("tilt axis varies", fault, "align the series again: it has one tilt axis")
        return
    far = np.abs(turned) > max(FAR * spread, 10.0)
    shifts = [values for label in SHIFT if (values := series.get(label)) is not None]
    unmoved = np.logical_and.reduce([axis == 0, *(values == 0 for values in shifts)])
    if unmoved.mean() < 0.5 and abs(median) > 0.1:
        far |= unmoved
    if far.any():
        identity = bool((axis[far] == 0).all())
        cure = "were they excluded from the alignment? Remove these rows" if identity else _CORRECT_TILTS
        yield series.far(_AXIS, axis, far, cure, median)


def _wrapped(angles: Any) -> Any:
    """Angles (degrees) as -180 to 180."""
    return (np.asarray(angles, float) + 180) % 360 - 180


def _circular_median(angles: Numbers) -> float:
    """The angle (degrees) that all are nearest to, going round the circle."""
    apart = np.abs(_wrapped(angles[:, None] - angles[None, :])).sum(axis=0)
    middle = float(angles[np.argmin(apart)])
    return middle + _middle(_wrapped(angles - middle))


def _middle(values: Numbers) -> float:
    """The median; NumPy's own takes ten times as long for so few."""
    ordered, half = np.sort(values), len(values) // 2
    return float(ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2)


def _spread(values: Numbers) -> float:
    """Robust standard deviation, from the median of absolute deviations."""
    return 1.4826 * _middle(np.abs(values - _middle(values)))


def _far(values: Numbers, least: float, deviations: float = FAR) -> Mask:
    """Values far from the median: by so many robust deviations, and by `least`, in their unit."""
    if len(values) < FEW:
        return np.zeros(len(values), bool)
    return np.abs(values - _middle(values)) > max(deviations * _spread(values), least)


def _shifts(series: _Series, size: tuple[float, float] | None) -> Iterable[Doubt]:
    """Shifts in Å against each other and against the images' size (x, y) in Å."""
    shifts = [series.get(label) for label in SHIFT]
    known = [values for values in shifts if values is not None]
    if len(known) == 2 and len(known[0]) >= FEW and not np.any(known):
        fault = f"{SHIFT[0]} and {SHIFT[1]} are 0 in all {len(known[0])} tilts of {series.name}"
        yield series.doubt("no shift", fault, "were the tilt series aligned? Take the table of the alignment")
        return
    for axis, (label, values) in enumerate(zip(SHIFT, shifts, strict=True)):
        if values is None:
            continue
        extent = size[axis] if size else np.inf
        beyond = np.abs(values) > extent
        if beyond.any():
            fault = (
                f"{label} is {_values(values[beyond])} Å in {_rows(beyond)}, more than the image of {extent:.0f} Å "
                f"(tilt series {series.name})"
            )
            yield series.doubt(f"impossible {label}", fault, _CORRECT_TILTS, refused=True)
        least = 0.15 * extent if size else 1000.0
        far = _far(values, least, deviations=10) & ~beyond
        if far.any():
            yield series.far(label, values, far, _CORRECT_TILTS, _middle(values), " Å")
        outside = (np.abs(values) > extent / 2) & ~far & ~beyond
        if outside.any():
            fault = (
                f"{label} is {_values(values[outside])} Å in {_rows(outside)}, so that the tomogram's centre lies "
                f"outside the image of {extent:.0f} Å (tilt series {series.name})"
            )
            yield series.doubt(f"outside {label}", fault, "look whether these tilts are aligned rightly")


def _defocus(series: _Series) -> Iterable[Doubt]:
    """Defocus in Å: its unit, tilts far from the others, astigmatism; and the phase shift's unit."""
    both = [series.get(label) for label in _DEFOCUS]
    phases = series.get("rlnPhaseShift")
    units = [
        strange
        for label, values in zip(_DEFOCUS, both, strict=True)
        if values is not None and (strange := _unit_of_defocus(series, label, values, phases))
    ]
    yield from units[:1]
    seen: Mask = np.zeros(0, bool)  # tilts that the first of the two columns has told of
    for label, values in zip(_DEFOCUS, both, strict=True):
        if values is None or units:
            continue
        far = _far(values, least=max(5000.0, 0.4 * _middle(values)))
        if far.any() and not (len(seen) and (seen | ~far).all()):
            cure = "estimate the CTF of these tilts again, or remove their rows"
            yield series.far(label, values, far, cure, _middle(values), " Å")
        seen = far
    if (u := both[0]) is not None and (v := both[1]) is not None and len(u) == len(v):
        yield from _astigmatism(series, u, v)
    if phases is not None and len(phases) >= FEW and _middle(phases) > 0.2 and np.abs(phases).max() < np.pi:
        fault = f"rlnPhaseShift of {series.name} runs only to {_number(phases.max())} degrees, as if it were in radians"
        yield series.doubt("phase in radians", fault, "multiply it by 180/π, if it is")


def _unit_of_defocus(series: _Series, label: str, values: Numbers, phases: Numbers | None) -> Doubt | None:
    """Whether a defocus is as small as it would be in µm or nm. With a phase plate it may be as small in Å."""
    above = values[values > 0]
    if 2 * len(above) <= len(values):
        return None
    median = _middle(above)
    what = f"{label} of {series.name} has the median {_median(median)}"
    if median < 100:
        unit, factor = ("µm", "10000") if median > 1e-3 else ("m", "10000000000")
        fault = f"{what}, as if it were in {unit}"
        return series.doubt("defocus in µm", fault, f"multiply it by {factor} to have Å", refused=True)
    if 1000 < median < 6000 and not (phases is not None and np.any(phases)):
        return series.doubt("defocus in nm", f"{what} Å, as if it were in nm", "multiply it by 10, if it is")
    return None


def _astigmatism(series: _Series, u: Numbers, v: Numbers) -> Iterable[Doubt]:
    if len(u) >= FEW and np.ptp(u) == 0 and np.ptp(v) == 0:
        fault = f"{_DEFOCUS[0]} is {_number(u[0])} Å in all {len(u)} tilts of {series.name}"
        yield series.doubt("same defocus", fault, "estimate the CTF of each tilt, or go on if this is meant")
    mean = np.abs(u + v) / 2
    apart = np.abs(u - v)
    if (odd := (apart > np.maximum(5000, 0.5 * mean)) & (u > 0) & (v > 0)).any():
        fault = f"{' and '.join(_DEFOCUS)} of {series.name} differ by {_values(apart[odd])} Å in {_rows(odd)}"
        cure = "estimate the CTF of these tilts again, or remove their rows"
        yield series.doubt("astigmatism", fault, cure)


def _exposures(series: _Series) -> Iterable[Doubt]:
    """The exposure before each image in e/Å²: one for each, in the order of acquisition."""
    exposure, tilts = series.get(_EXPOSURE), series.get(_TILT)
    if exposure is None:
        return
    if len(exposure) > 1 and np.ptp(exposure) == 0:
        fault = f"{_EXPOSURE} is the same in all tilts: no dose weighting"
        yield series.doubt("same exposure", fault, "give each tilt the exposure before it in e/Å²")
        return
    if len(exposure) < FEW or POSSIBLE[_EXPOSURE].excludes(exposure).any():
        return
    if (far := _far(exposure, least=50.0, deviations=4)).any():
        yield series.far(_EXPOSURE, exposure, far, _CORRECT_TILTS, _middle(exposure), " e/Å²")
        return
    if exposure.max() < 15 and np.ptp(exposure) < 0.5 * exposure.min():
        fault = (
            f"{_EXPOSURE} of {series.name} is {_number(exposure.min())} to {_number(exposure.max())} e/Å² in all "
            "tilts, as if it were each image's own"
        )
        yield series.doubt("exposure of each", fault, "give each tilt the sum of those before it")
        return
    if (again := _repeated(exposure, digits=4)).any():
        fault = (
            f"{_EXPOSURE} of {series.name} is the same in {_rows(again)} ({_values(exposure[again])} e/Å²)"
        )
        yield series.doubt("repeated exposure", fault, "give each tilt the exposure before it in e/Å²")
        return
    if tilts is not None and len(tilts) == len(exposure):
        yield from _order_of_exposure(series, tilts, exposure)


def _order_of_exposure(series: _Series, tilts: Numbers, exposure: Numbers) -> Iterable[Doubt]:
    """Whether a scheme of acquisition can have given these exposures.

    Each of them starts at some angle, and goes away from it on either side: dose-symmetric to both in turn,
    bidirectional to one after the other, unidirectional to one.
    """
    by_angle = exposure[np.argsort(tilts, kind="stable")]
    steps = np.diff(by_angle)
    if min(-tilts.min(), tilts.max()) > 20 and ((steps > 0).all() or (steps < 0).all()):
        way = "rises" if steps[0] > 0 else "falls"
        fault = (
            f"{_EXPOSURE} of {series.name} {way} with the tilt angle from {_number(tilts.min())} to "
            f"{_number(tilts.max())} degrees, as if it were counted in the order of the angles"
        )
        cure = "give the exposures in the order of acquisition, unless the series was taken in this order"
        yield series.doubt("exposure in order of tilt", fault, cure)
    elif _agreement(tilts, exposure) < 0.5:
        fault = f"{_EXPOSURE} of {series.name} does not rise away from the angle that it starts at"
        yield series.doubt("order of exposure", fault, "give the exposures in the order of acquisition")


def _agreement(tilts: Numbers, exposure: Numbers) -> float:
    """1 if the exposure rises with the distance from the first tilt on either side of it, -1 if it falls."""
    away = tilts - tilts[int(np.argmin(exposure))]
    same_side = np.sign(away)[:, None] * np.sign(away)[None, :] > 0
    distance = np.abs(away)
    concordant = np.sign(distance[:, None] - distance[None, :]) * np.sign(
        exposure[:, None] - exposure[None, :]
    )
    pairs = same_side & (concordant != 0)
    return float(concordant[pairs].mean()) if pairs.any() else 1.0


# The tomograms' table


def check_tomograms(
    file: str, table: Table, shapes: Mapping[str, tuple[int, int]] | None = None
) -> list[Doubt]:
    """What is wrong with a tomograms' table, a row each. `shapes` (y, x): of the tilt images in px, by rlnTomoName."""
    return [*_ranges_of_tomograms(file, table), *_sizes(file, table, shapes or {})]


def _ranges_of_tomograms(file: str, table: Table) -> Iterable[Doubt]:
    for label, possible in POSSIBLE.items():
        if (values := _numbers(table, label)) is None:
            continue
        if (bad := possible.excludes(values)).any():
            fault = _outside(label, values, bad, possible)
            yield Doubt(True, f"impossible {label} {file}", file, "", fault, _CORRECT)
        if label in _LIKELY and (odd := _LIKELY[label].excludes(values) & ~bad).any():
            fault = _outside(label, values, odd, _LIKELY[label])
            yield Doubt(False, f"unlikely {label} {file}", file, "", fault, "look whether it is right")
    if (hand := _numbers(table, _HAND)) is not None and (bad := np.abs(hand) != 1).any():
        fault = f"{_HAND} is {_values(hand[bad])} in {_rows(bad)}, not 1 or -1"
        yield Doubt(True, f"hand {file}", file, "", fault, _CORRECT)
    if (voltage := _numbers(table, _VOLTAGE)) is not None:
        apart = np.abs(voltage[:, None] - np.array(_VOLTAGES)).min(axis=1) > 1
        if (odd := apart & ~POSSIBLE[_VOLTAGE].excludes(voltage)).any():
            fault = f"{_VOLTAGE} is {_values(voltage[odd])} kV in {_rows(odd)}, as in no common microscope"
            yield Doubt(False, f"unlikely voltage {file}", file, "", fault, "look whether it is right")


def _sizes(file: str, table: Table, shapes: Mapping[str, tuple[int, int]]) -> Iterable[Doubt]:
    """Sizes in whole px, and of about the images' size: both are unbinned."""
    sizes = [_numbers(table, label) for label in SIZE]
    for label, values in zip(SIZE, sizes, strict=True):
        if values is not None and (bad := values != np.round(values)).any():
            fault = f"{label} is {some(map('{:g}'.format, values[bad]))} in {_rows(bad)}, not a whole number of px"
            yield Doubt(True, f"fraction {label} {file}", file, "", fault, _CORRECT)
    if (x := sizes[0]) is None or (y := sizes[1]) is None or "rlnTomoName" not in table:
        return
    images = np.array([max(shapes.get(str(name), (0, 0))) for name in table["rlnTomoName"]], float)
    largest = np.maximum(x, y)
    if (odd := (images > 0) & ((3 * largest < images) | (largest > 3 * images))).any():
        row = int(np.flatnonzero(odd)[0])
        fault = (
            f"rlnTomoSizeX and rlnTomoSizeY are {x[row]:g} and {y[row]:g} in {_rows(odd)}, but the tilt images have "
            f"{images[row]:g} px"
        )
        cure = "give the tomogram's size in unbinned px, if it is of a binned tomogram"
        yield Doubt(False, f"binned size {file}", file, "", fault, cure)


# All series


class Summary(NamedTuple):
    """What a tilt series is compared by with the others; nan where its table does not tell."""

    name: str
    axis: float  # median rlnTomoZRot, degrees
    defocus: float  # median, Å
    tilts: int
    exposure: float  # before the last image, e/Å²
    shape: tuple[int, int]  # of the images (y, x) in px; (0, 0) if unknown


def summary(name: str, table: Table, shape: tuple[int, int] = (0, 0)) -> Summary:
    """What the other series are compared with."""
    axis, defocus, exposure, tilts = (
        _numbers(table, label) for label in (_AXIS, _DEFOCUS[0], _EXPOSURE, _TILT)
    )
    return Summary(
        name,
        np.nan if axis is None else _circular_median(axis),
        np.nan if defocus is None else float(_middle(defocus)),
        0 if tilts is None else len(tilts),
        np.nan if exposure is None else float(exposure.max()),
        shape,
    )


def check_together(tomograms: Table, series: Sequence[Summary]) -> list[Doubt]:
    """What tells a series from the others: `tomograms` is the table of all, `series` has as many in any order."""
    return [*_mixed(tomograms), *_axes(series), *_amounts(series), *_shapes(series)]


def _mixed(tomograms: Table) -> Iterable[Doubt]:
    """Settings of the microscope that all tomograms should share."""
    names = [str(name) for name in tomograms.get("rlnTomoName", [])]
    if (pixels := _numbers(tomograms, PIXEL)) is not None and np.ptp(pixels) > 0:
        yield _mixed_pixels(pixels)
    cures = {
        _HAND: "correct it, unless they are of different microscopes",
        _VOLTAGE: "correct it, or average them apart",
        "rlnSphericalAberration": "correct it, or average them apart",
    }
    for label, cure in cures.items():
        values = _numbers(tomograms, label)
        if values is None or len(names) != len(values):
            continue
        kinds, counts = np.unique(values, return_counts=True)
        if len(kinds) == 1 or (label == _HAND and set(np.abs(kinds)) != {1}):
            continue
        usual = kinds[np.argmax(counts)]
        others = [name for name, value in zip(names, values, strict=True) if value != usual]
        fault = (
            f"{label} is {_number(usual)} in {counts.max()} tomograms, but {_values(values[values != usual])} in "
            f"{some(others)}"
        )
        yield Doubt(False, f"mixed {label}", "", "", fault, cure)


def _mixed_pixels(pixels: Numbers) -> Doubt:
    """RELION's programs take the tilt series' pixel size from one of them."""
    low, high = float(pixels.min()), float(pixels.max())
    if high > low * (1 + SAME_PIXEL):
        fault = f"The tilt series differ in pixel size, {low:g} to {high:g} Å"
        return Doubt(True, "pixel sizes", "", "", fault, "rescale them to one, or average them apart")
    fault = f"The tilt series differ a little in pixel size, {low:.7g} to {high:.7g} Å"
    return Doubt(False, "pixel sizes", "", "", fault, "write the same number in all, if it is only rounded")


def _axes(series: Sequence[Summary]) -> Iterable[Doubt]:
    known = [one for one in series if np.isfinite(one.axis)]
    if len(known) < 2:
        return
    axes = np.array([one.axis for one in known])
    usual = _circular_median(axes)
    if len(known) == 2:
        usual = float(axes[0])
    turned = np.abs(_wrapped(axes - usual))
    opposite = turned > 165
    for which, how, cure in (
        (
            opposite,
            ", turned by 180 degrees",
            "align all with one direction of the axis, or maps are mirrored",
        ),
        (
            (turned > 10) & ~opposite,
            "",
            "look whether they are aligned rightly, or are of another microscope",
        ),
    ):
        if which.any():
            fault = f"the tilt axis (rlnTomoZRot) of {{}} is far from the others'{how}"
            yield _unlike(fault, known, which, lambda one: one.axis, usual, "°", cure)


def _unlike(
    fault: str,
    series: Sequence[Summary],
    which: Mask,
    of: Callable[[Summary], float],
    usual: float,
    unit: str,
    cure: str,
) -> Doubt:
    """That some series are far from the others; `fault` has {} where their names belong."""
    odd = [one for one, far in zip(series, which, strict=True) if far]
    names = some(one.name for one in odd)
    values = _values(np.array([of(one) for one in odd], float))
    text = f"{fault.format(names)} ({values}{unit}; median {_median(usual)}{unit})"
    return Doubt(False, fault, "", "", text[0].upper() + text[1:], cure)


def _amounts(series: Sequence[Summary]) -> Iterable[Doubt]:
    """Defocus, exposure and number of tilts, by how many times they differ from the median."""
    look = "look whether it is right"
    amounts: list[tuple[str, Callable[[Summary], float], float, str]] = [
        ("the median defocus", lambda one: one.defocus, 4.0, " Å"),
        ("the total exposure (rlnMicrographPreExposure)", lambda one: one.exposure, 2.5, " e/Å²"),
        ("the number of tilts", lambda one: one.tilts, 2.0, ""),
    ]
    for what, of, most, unit in amounts:
        known = [one for one in series if np.isfinite(of(one)) and of(one) > 0]
        if len(known) < 3:
            continue
        values = np.array([of(one) for one in known], float)
        usual = _middle(values)
        far = (values > most * usual) | (values * most < usual)
        if far.any():
            yield _unlike(f"{what} of {{}} is far from the others'", known, far, of, usual, unit, look)


def _shapes(series: Sequence[Summary]) -> Iterable[Doubt]:
    """Images of clearly another size than those of most series: of another binning."""
    shapes = [one.shape for one in series if min(one.shape) > 0]
    if not shapes:
        return
    usual = max(dict.fromkeys(shapes), key=shapes.count)
    odd = [one for one in series if min(one.shape) > 0 and _other_binning(one.shape, usual)]
    if odd:
        y, x = odd[0].shape
        fault = (
            f"The tilt images of {some(one.name for one in odd)} have another size than the others' ({x} x {y} px, "
            f"not {usual[1]} x {usual[0]})"
        )
        yield Doubt(False, "image size", "", "", fault, "look whether they are binned alike")


def _other_binning(shape: tuple[int, int], usual: tuple[int, int]) -> bool:
    """Whether two images differ by half or more in size, whichever way they lie."""
    return max(shape) > 1.45 * max(usual) or max(usual) > 1.45 * max(shape)
