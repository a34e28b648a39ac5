"""Checks of the tomograms' table, and of each tilt series against the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stacycle.checks.doubts import Doubt, Mask, Numbers, Table, listed, numbers, rows, shown, shown_median
from stacycle.checks.outliers import circular_median, middle, wrapped
from stacycle.checks.ranges import CORRECT, LIKELY, POSSIBLE, out_of_range
from stacycle.checks.tilt_series import AXIS, DEFOCUS_U, EXPOSURE, TILT_ANGLE
from stacycle.errors import some
from stacycle.files.mrc import SAME_PIXEL
from stacycle.files.star_labels import PIXEL, SIZE

_HAND, _VOLTAGE = "rlnTomoHand", "rlnVoltage"
_VOLTAGES = (60, 80, 100, 120, 150, 160, 200, 300, 400, 1000, 1250)  # kV, of microscopes that are made


def check_tomograms(
    file: str, table: Table, shapes: Mapping[str, tuple[int, int]] | None = None
) -> list[Doubt]:
    """What is wrong with a tomograms' table, a row each. `shapes` (y, x): of the tilt images in px, by rlnTomoName."""
    return [*_ranges_of_tomograms(file, table), *_sizes(file, table, shapes or {})]


def _ranges_of_tomograms(file: str, table: Table) -> Iterable[Doubt]:
    for label, possible in POSSIBLE.items():
        if (values := numbers(table, label)) is None:
            continue
        if (bad := possible.excludes(values)).any():
            fault = out_of_range(label, values, bad, possible)
            yield Doubt(True, f"impossible {label} {file}", file, "", fault, CORRECT)
        if label in LIKELY and (odd := LIKELY[label].excludes(values) & ~bad).any():
            fault = out_of_range(label, values, odd, LIKELY[label])
            yield Doubt(False, f"unlikely {label} {file}", file, "", fault, "look whether it is right")
    if (hand := numbers(table, _HAND)) is not None and (bad := np.abs(hand) != 1).any():
        fault = f"{_HAND} is {listed(hand[bad])} in {rows(bad)}, not 1 or -1"
        yield Doubt(True, f"hand {file}", file, "", fault, CORRECT)
    if (voltage := numbers(table, _VOLTAGE)) is not None:
        apart = np.abs(voltage[:, None] - np.array(_VOLTAGES)).min(axis=1) > 1
        if (odd := apart & ~POSSIBLE[_VOLTAGE].excludes(voltage)).any():
            fault = f"{_VOLTAGE} is {listed(voltage[odd])} kV in {rows(odd)}, as in no common microscope"
            yield Doubt(False, f"unlikely voltage {file}", file, "", fault, "look whether it is right")


def _sizes(file: str, table: Table, shapes: Mapping[str, tuple[int, int]]) -> Iterable[Doubt]:
    """Sizes in integers of px, and of about the images' size: both are unbinned."""
    sizes = [numbers(table, label) for label in SIZE]
    for label, values in zip(SIZE, sizes, strict=True):
        if values is not None and (bad := values != np.round(values)).any():
            fractions = some(map("{:g}".format, values[bad]))
            fault = f"{label} is {fractions} in {rows(bad)}, not a whole number of px"
            yield Doubt(True, f"fraction {label} {file}", file, "", fault, CORRECT)
    if (x := sizes[0]) is None or (y := sizes[1]) is None or "rlnTomoName" not in table:
        return
    images = np.array([max(shapes.get(str(name), (0, 0))) for name in table["rlnTomoName"]], float)
    largest = np.maximum(x, y)
    if (odd := (images > 0) & ((3 * largest < images) | (largest > 3 * images))).any():
        row = int(np.flatnonzero(odd)[0])
        fault = (
            f"rlnTomoSizeX and rlnTomoSizeY are {x[row]:g} and {y[row]:g} in {rows(odd)}, but the tilt images have "
            f"{images[row]:g} px"
        )
        cure = "give the tomogram's size in unbinned px, if it is of a binned tomogram"
        yield Doubt(False, f"binned size {file}", file, "", fault, cure)


class Summary(NamedTuple):
    """What a tilt series is compared by with the others; nan for what its table lacks."""

    name: str
    axis: float  # median rlnTomoZRot, degrees
    defocus: float  # median, Å
    tilts: int
    exposure: float  # before the last image, e/Å²
    shape: tuple[int, int]  # of the images (y, x) in px; (0, 0) if unknown


def summarise(name: str, table: Table, shape: tuple[int, int] = (0, 0)) -> Summary:
    """What the other series are compared with."""
    labels = (AXIS, DEFOCUS_U, EXPOSURE, TILT_ANGLE)
    axis, defocus, exposure, tilts = (numbers(table, label) for label in labels)
    return Summary(
        name,
        np.nan if axis is None else circular_median(axis),
        np.nan if defocus is None else float(middle(defocus)),
        0 if tilts is None else len(tilts),
        np.nan if exposure is None else float(exposure.max()),
        shape,
    )


def check_together(tomograms: Table, series: Sequence[Summary]) -> list[Doubt]:
    """How a series differs from the others: `tomograms` is the table of all, `series` has as many in any order."""
    return [*_mixed(tomograms), *_axes(series), *_amounts(series), *_shapes(series)]


def _mixed(tomograms: Table) -> Iterable[Doubt]:
    """Settings of the microscope that all tomograms should share."""
    names = [str(name) for name in tomograms.get("rlnTomoName", [])]
    if (pixels := numbers(tomograms, PIXEL)) is not None and np.ptp(pixels) > 0:
        yield _mixed_pixels(pixels)
    cures = {
        _HAND: "correct it, unless they are of different microscopes",
        _VOLTAGE: "correct it, or average them apart",
        "rlnSphericalAberration": "correct it, or average them apart",
    }
    for label, cure in cures.items():
        values = numbers(tomograms, label)
        if values is None or len(names) != len(values):
            continue
        kinds, counts = np.unique(values, return_counts=True)
        if len(kinds) == 1 or (label == _HAND and set(np.abs(kinds)) != {1}):
            continue
        usual = kinds[np.argmax(counts)]
        others = [name for name, value in zip(names, values, strict=True) if value != usual]
        unusual = f"{listed(values[values != usual])} in {some(others)}"
        fault = f"{label} is {shown(usual)} in {counts.max()} tomograms, but {unusual}"
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
    usual = circular_median(axes) if len(known) > 2 else float(axes[0])
    turned = np.abs(wrapped(axes - usual))
    opposite = turned > 165
    align = "align all with one direction of the axis, or maps are mirrored"
    look = "look whether they are aligned rightly, or are of another microscope"
    kinds = [(opposite, ", turned by 180 degrees", align), ((turned > 10) & ~opposite, "", look)]
    for which, how, cure in kinds:
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
    values = listed(np.array([of(one) for one in odd], float))
    text = f"{fault.format(names)} ({values}{unit}; median {shown_median(usual)}{unit})"
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
        usual = middle(values)
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
