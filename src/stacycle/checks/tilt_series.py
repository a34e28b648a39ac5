"""Checks of one tilt series: values that cannot be, and tilts that do not fit the others.

RELION takes any number, and averages an image at an arbitrary angle or defocus without a word. Each column has its
physical range (`ranges`), and each tilt is compared with its series. What cannot be true is refused, what is merely
strange is a warning. Labels that a table lacks, or whose values are no finite numbers, are left to other checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from stacycle.checks.doubts import Doubt, Mask, Numbers, Table, listed, numbers, rows, shown, shown_median
from stacycle.checks.outliers import (
    FAR,
    FEW,
    circular_median,
    far_from_median,
    middle,
    repeated,
    robust_deviation,
    wrapped,
)
from stacycle.checks.ranges import CORRECT, LIKELY, POSSIBLE, out_of_range
from stacycle.files.star_labels import SHIFT, TILT

_CORRECT_TILTS = f"{CORRECT}, or remove the rows of these tilts"
AXIS, TILT_ANGLE, DEFOCUS_U = "rlnTomoZRot", "rlnTomoYTilt", "rlnDefocusU"
EXPOSURE, _NOMINAL = "rlnMicrographPreExposure", "rlnTomoNominalStageTiltAngle"
_DEFOCUS = (DEFOCUS_U, "rlnDefocusV")
_OF_TILTS = ["rlnTomoXTilt", _NOMINAL, "rlnPhaseShift", "rlnCtfScalefactor", *TILT]


def check_series(
    name: str, file: str, table: Table, shape: tuple[int, int] | None = None, pixel: float | None = None
) -> list[Doubt]:
    """What is wrong with a tilt series' table, a row per tilt. `shape` (y, x) of its images in px, `pixel` in Å."""
    known = {label: values for label in _OF_TILTS if (values := numbers(table, label)) is not None}
    series = _Series(name, file, known)
    size = (shape[1] * pixel, shape[0] * pixel) if shape and pixel and min(shape) > 0 else None
    impossible = list(_ranges(series))
    seen = {doubt.kind.replace("impossible", "far") for doubt in impossible} - {f"far {x}" for x in _DEFOCUS}
    others = [*_angles(series), *_shifts(series, size), *_defocus(series), *_exposures(series)]
    return [*impossible, *(doubt for doubt in others if doubt.kind not in seen)]


@dataclass(frozen=True)
class _Series:
    """The numbers of a tilt series' table by label, in which the checks find doubts."""

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
            f"({listed(which)}{unit}{apart}median {shown_median(median)}) in {rows(far)}"
        )
        return self.doubt(f"far {label}", fault, cure)


def _ranges(series: _Series) -> Iterable[Doubt]:
    """Values of tilts that cannot be, or are unlikely."""
    refused: dict[str, Mask] = {}
    for label, values in series.numbers.items():
        possible = POSSIBLE.get(label)
        if possible is None:  # shifts
            continue
        if (bad := possible.excludes(values)).any():
            if label == _DEFOCUS[1] and np.array_equal(bad, refused.get(_DEFOCUS[0], [])):
                continue  # one sentence for both defocus values
            refused[label] = bad
            fault = f"{out_of_range(label, values, bad, possible)} (tilt series {series.name})"
            yield series.doubt(f"impossible {label}", fault, _CORRECT_TILTS, refused=True)
        if label in LIKELY and (odd := LIKELY[label].excludes(values) & ~bad).any():
            fault = f"{out_of_range(label, values, odd, LIKELY[label])} (tilt series {series.name})"
            yield series.doubt(f"unlikely {label}", fault, "look whether it is right")


def _angles(series: _Series) -> Iterable[Doubt]:
    """Tilt angles and the tilt axis."""
    if (tilts := series.get(TILT_ANGLE)) is not None:
        yield from _tilt_angles(series, tilts)
        if (nominal := series.get(_NOMINAL)) is not None and len(tilts) >= FEW:
            yield from _nominal_angles(series, tilts, nominal)
    if (axis := series.get(AXIS)) is not None and len(axis) >= FEW:
        yield from _tilt_axis(series, axis)
    across = series.get("rlnTomoXTilt")
    if across is not None and (far := far_from_median(across, least=10.0)).any():
        yield series.far("rlnTomoXTilt", across, far, _CORRECT_TILTS, middle(across), "°")


def _tilt_angles(series: _Series, tilts: Numbers) -> Iterable[Doubt]:
    if len(tilts) >= 3 and np.ptp(tilts) < 0.01:
        fault = f"{TILT_ANGLE} is {shown(tilts[0])} in all {len(tilts)} tilts of {series.name}"
        yield series.doubt("same angle", fault, "give each tilt its angle, in degrees", refused=True)
    elif len(tilts) >= FEW and np.abs(tilts).max() <= np.pi / 2:
        fault = (
            f"{TILT_ANGLE} of {series.name} runs only from {shown(tilts.min())} to {shown(tilts.max())} degrees, as if "
            "it were in radians"
        )
        yield series.doubt("radians", fault, "multiply it by 180/π", refused=True)
    elif len(tilts) >= FEW:
        if (lonely := _lonely(tilts)).any():
            yield series.far(TILT_ANGLE, tilts, lonely, _CORRECT_TILTS, middle(tilts), "°")
        if (again := repeated(tilts, digits=2)).any():
            fault = f"{TILT_ANGLE} of {series.name} is the same in {rows(again)} ({listed(tilts[again])}°)"
            cure = "look whether these are different tilts, with angles of their own"
            yield series.doubt("repeated angle", fault, cure)


def _lonely(tilts: Numbers) -> Mask:
    """Tilts whose angle has no other anywhere near: a gap of some missing tilts is none."""
    order = np.argsort(tilts)
    gaps = np.diff(tilts[order])
    apart = np.empty(len(tilts))
    apart[order] = np.minimum(np.r_[np.inf, gaps], np.r_[gaps, np.inf])
    return apart > max(25.0, 8 * middle(gaps))


def _nominal_angles(series: _Series, tilts: Numbers, nominal: Numbers) -> Iterable[Doubt]:
    """The refined angle against the stage's, from which it differs by the same offset in all tilts."""
    if min(np.ptp(nominal), np.ptp(tilts)) < FEW or POSSIBLE[_NOMINAL].excludes(np.r_[tilts, nominal]).any():
        return
    if np.corrcoef(tilts, nominal)[0, 1] < -0.8:
        fault = f"{TILT_ANGLE} of {series.name} falls where {_NOMINAL} rises"
        yield series.doubt("sign of the tilt", fault, "make the signs of the angles agree")
        return
    offset = tilts - nominal
    if (far := far_from_median(offset, least=10.0)).any():
        fault = (
            f"{TILT_ANGLE} of {far.sum()} of {len(tilts)} tilts of {series.name} is not {_NOMINAL} plus the others' "
            f"offset of {shown_median(middle(offset))}° ({listed(tilts[far])}° for {listed(nominal[far])}°) in "
            f"{rows(far)}"
        )
        yield series.doubt("far from the nominal angle", fault, _CORRECT_TILTS)


def _tilt_axis(series: _Series, axis: Numbers) -> Iterable[Doubt]:
    """The rotation of the tilt axis: one, but for what local refinement changes."""
    median = circular_median(axis)
    turned = wrapped(axis - median)
    spread = robust_deviation(turned)
    if spread > 10:
        fault = f"{AXIS} of {series.name} varies by more than 10 degrees among its tilts ({listed(axis)})"
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
        yield series.far(AXIS, axis, far, cure, median)


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
                f"{label} is {listed(values[beyond])} Å in {rows(beyond)}, more than the image of {extent:.0f} Å "
                f"(tilt series {series.name})"
            )
            yield series.doubt(f"impossible {label}", fault, _CORRECT_TILTS, refused=True)
        least = 0.15 * extent if size else 1000.0
        far = far_from_median(values, least, deviations=10) & ~beyond
        if far.any():
            yield series.far(label, values, far, _CORRECT_TILTS, middle(values), " Å")
        outside = (np.abs(values) > extent / 2) & ~far & ~beyond
        if outside.any():
            fault = (
                f"{label} is {listed(values[outside])} Å in {rows(outside)}, so that the tomogram's centre lies "
                f"outside the image of {extent:.0f} Å (tilt series {series.name})"
            )
            yield series.doubt(f"outside {label}", fault, "look whether these tilts are aligned rightly")


def _defocus(series: _Series) -> Iterable[Doubt]:
    """Defocus in Å: its unit, tilts far from the others, astigmatism; and the phase shift's unit."""
    both = [series.get(label) for label in _DEFOCUS]
    phases = series.get("rlnPhaseShift")
    known = [(label, values) for label, values in zip(_DEFOCUS, both, strict=True) if values is not None]
    units = list(filter(None, (_unit_of_defocus(series, *one, phases) for one in known)))
    yield from units[:1]
    seen: Mask = np.zeros(0, bool)  # tilts that the first of the two columns is doubted in
    for label, values in known if not units else []:
        far = far_from_median(values, least=max(5000.0, 0.4 * middle(values)))
        if far.any() and not (len(seen) and (seen | ~far).all()):
            cure = "estimate the CTF of these tilts again, or remove their rows"
            yield series.far(label, values, far, cure, middle(values), " Å")
        seen = far
    if (u := both[0]) is not None and (v := both[1]) is not None and len(u) == len(v):
        yield from _astigmatism(series, u, v)
    if phases is not None and len(phases) >= FEW and middle(phases) > 0.2 and np.abs(phases).max() < np.pi:
        fault = f"rlnPhaseShift of {series.name} runs only to {shown(phases.max())} degrees, as if it were in radians"
        yield series.doubt("phase in radians", fault, "multiply it by 180/π, if it is")


def _unit_of_defocus(series: _Series, label: str, values: Numbers, phases: Numbers | None) -> Doubt | None:
    """Whether a defocus is as small as it would be in µm or nm. With a phase plate it may be as small in Å."""
    above = values[values > 0]
    if 2 * len(above) <= len(values):
        return None
    median = middle(above)
    what = f"{label} of {series.name} has the median {shown_median(median)}"
    if median < 100:
        unit, factor = ("µm", "10000") if median > 1e-3 else ("m", "10000000000")
        fault = f"{what}, as if it were in {unit}"
        return series.doubt("defocus in µm", fault, f"multiply it by {factor} to have Å", refused=True)
    if 1000 < median < 6000 and not (phases is not None and np.any(phases)):
        return series.doubt("defocus in nm", f"{what} Å, as if it were in nm", "multiply it by 10, if it is")
    return None


def _astigmatism(series: _Series, u: Numbers, v: Numbers) -> Iterable[Doubt]:
    if len(u) >= FEW and np.ptp(u) == 0 and np.ptp(v) == 0:
        fault = f"{_DEFOCUS[0]} is {shown(u[0])} Å in all {len(u)} tilts of {series.name}"
        yield series.doubt("same defocus", fault, "estimate the CTF of each tilt, or go on if this is meant")
    mean = np.abs(u + v) / 2
    apart = np.abs(u - v)
    if (odd := (apart > np.maximum(5000, 0.5 * mean)) & (u > 0) & (v > 0)).any():
        fault = f"{' and '.join(_DEFOCUS)} of {series.name} differ by {listed(apart[odd])} Å in {rows(odd)}"
        cure = "estimate the CTF of these tilts again, or remove their rows"
        yield series.doubt("astigmatism", fault, cure)


def _exposures(series: _Series) -> Iterable[Doubt]:
    """The exposure before each image in e/Å²: one for each, in the order of acquisition."""
    exposure, tilts = series.get(EXPOSURE), series.get(TILT_ANGLE)
    if exposure is None:
        return
    if len(exposure) > 1 and np.ptp(exposure) == 0:
        fault = f"{EXPOSURE} is the same in all tilts: no dose weighting"
        yield series.doubt("same exposure", fault, "give each tilt the exposure before it in e/Å²")
        return
    if len(exposure) < FEW or POSSIBLE[EXPOSURE].excludes(exposure).any():
        return
    if (far := far_from_median(exposure, least=50.0, deviations=4)).any():
        yield series.far(EXPOSURE, exposure, far, _CORRECT_TILTS, middle(exposure), " e/Å²")
        return
    if exposure.max() < 15 and np.ptp(exposure) < 0.5 * exposure.min():
        fault = (
            f"{EXPOSURE} of {series.name} is {shown(exposure.min())} to {shown(exposure.max())} e/Å² in all "
            "tilts, as if it were each image's own"
        )
        yield series.doubt("exposure of each", fault, "give each tilt the sum of those before it")
        return
    if (again := repeated(exposure, digits=4)).any():
        fault = f"{EXPOSURE} of {series.name} is the same in {rows(again)} ({listed(exposure[again])} e/Å²)"
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
            f"{EXPOSURE} of {series.name} {way} with the tilt angle from {shown(tilts.min())} to "
            f"{shown(tilts.max())} degrees, as if it were counted in the order of the angles"
        )
        cure = "give the exposures in the order of acquisition, unless the series was taken in this order"
        yield series.doubt("exposure in order of tilt", fault, cure)
    elif _agreement(tilts, exposure) < 0.5:
        fault = f"{EXPOSURE} of {series.name} does not rise away from the angle that it starts at"
        yield series.doubt("order of exposure", fault, "give the exposures in the order of acquisition")


def _agreement(tilts: Numbers, exposure: Numbers) -> float:
    """1 if the exposure rises with the distance from the first tilt on either side of it, -1 if it falls."""
    away = tilts - tilts[int(np.argmin(exposure))]
    same_side = np.sign(away)[:, None] * np.sign(away)[None, :] > 0
    distance = np.abs(away)
    farther, later = (np.sign(each[:, None] - each[None, :]) for each in (distance, exposure))
    concordant = farther * later
    pairs = same_side & (concordant != 0)
    return float(concordant[pairs].mean()) if pairs.any() else 1.0
