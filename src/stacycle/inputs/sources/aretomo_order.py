"""In which order the images of a tilt series were acquired, at which angle of the stage, and after which dose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stacycle.errors import UserError
from stacycle.inputs.sources import mdoc
from stacycle.inputs.sources.aretomo_tables import COMPLETE, Alignment, numbers_of
from stacycle.inputs.sources.common import read_text
from stacycle.inputs.sources.source import Asked

_SAME_TILT = 0.05  # degrees; files have two decimals, sums of them less
_EQUAL = 0.01  # doses that differ by less of their mean are one
_FALLING = (
    -0.5
)  # correlation of dose and tilt of doses that were measured through the sample, not of ones that vary


@dataclass(frozen=True)
class Order:
    """When n images of a stack were acquired: `acquired` (n) from 0, `stage` (n) in degrees, and `dose` (n) in e/Å² of
    each where the file says it. `sorted` is whether they stand in order of the tilt rather than of the stack."""

    path: Path
    stage: NDArray[np.floating]
    acquired: NDArray[np.integer]
    dose: NDArray[np.floating] | None
    sorted: bool


def read_order(path: Path) -> Order:
    """When images were acquired, from a _TLT.txt file (CTsPackage.cpp: stage angle, number from 1, dose), a list of
    the order (CSaveCsv.cpp: a row per image as it was acquired), or an .mdoc file. UserError if that is not there."""
    if path.suffix == ".mdoc":
        notes = mdoc.read(path)
        return _sorted_by_tilt(path, notes.angles[np.argsort(notes.order)])
    if path.suffix == ".csv":
        return _order_of_list(path)
    lines = enumerate(read_text(path).splitlines(), 1)
    rows = [numbers_of(path, number, line.split(), 2, 3) for number, line in lines if line.strip()]
    if not rows or len({len(row) for row in rows}) > 1:
        raise UserError(f"{path}: its rows are not of one length", COMPLETE)
    table = np.array(rows)
    acquired = table[:, 1].astype(int) - 1
    if len(set(acquired)) < len(acquired) or acquired.min() < 0:
        raise UserError(
            f"{path}: its second column does not number the images from 1 as they were acquired", COMPLETE
        )
    return Order(path, table[:, 0], acquired, table[:, 2] if table.shape[1] > 2 else None, sorted=False)


def _order_of_list(path: Path) -> Order:
    """AreTomo2 writes it without a title, and without numbers that it was not given (-AngFile)."""
    lines = enumerate(read_text(path).splitlines(), 1)
    rows = [(number, line.split(",")) for number, line in lines if line.strip()[:1].isdigit()]
    table = np.array([numbers_of(path, number, words, 2) for number, words in rows]).reshape(-1, 2)
    if table[:, 0].tolist() != list(range(1, len(table) + 1)):
        problem = f"{path}: does not number the images from 1 as they were acquired"
        raise UserError(problem, "remove it, and give their .mdoc")
    return _sorted_by_tilt(path, table[:, 1])


def _sorted_by_tilt(path: Path, angles: NDArray[np.floating]) -> Order:
    """The order of images whose angles (n) stand there as they were acquired."""
    if not len(angles) or len(np.unique(angles)) < len(angles):
        fault = "has the same tilt angle twice" if len(angles) else "names no image"
        raise UserError(
            f"{path}: {fault}, so that the order of the images is not known", "give their _TLT.txt"
        )
    acquired = np.argsort(angles)
    return Order(path, angles[acquired], acquired, None, sorted=True)


def stage_of(alignment: Alignment, order: Order, which: NDArray[np.integer]) -> NDArray[np.floating]:
    """The stage's angle (k) of each tilt of an alignment, which stands in the rows `which` (k) of `order`.

    UserError unless the alignment's tilts are these, but for AreTomo3's AlphaOffset, which a list of the order has in
    it too; or for any one offset of all (-TiltCor) in AreTomo 1 and 2, which do not tell it.
    """
    offset = alignment.tilt - order.stage[which]
    added = 0.0
    if alignment.alpha is None:
        expected = float(np.median(offset))
    else:
        expected = alignment.alpha
        if order.path.suffix == ".csv" and abs(np.median(offset)) < abs(np.median(offset) - expected):
            expected, added = 0.0, alignment.alpha
    away = np.abs(offset - expected)
    if away.max() > _SAME_TILT:
        row = int(np.argmax(away))
        said = f"TILT {alignment.tilt[row]:.2f}° in row {row + 1} is {order.stage[which[row]]:.2f}° there"
        problem = f"{alignment.path}: its images are not those of {order.path.name}: {said}"
        raise UserError(problem, "give the files of one run of AreTomo")
    return order.stage[which] - added


def exposures_of(asked: Asked, order: Order) -> tuple[NDArray[np.floating], str]:
    """e/Å² before each image of the stack (n), in the rows of `order`, and where it is from; dark images count too.

    UserError if the files do not say a dose that can be true.
    """
    key, cure = f"{asked.label}.dose", "give the dose per tilt image in e/Å² as dose"
    name = order.path.name
    if asked.dose is not None:
        return asked.dose * order.acquired, f"{asked.dose:g} e/Å² per image, of the config; order of {name}"
    if order.dose is None or (order.dose <= 0).any():
        raise UserError(f"{order.path}: does not say the dose of its images", cure, key)
    if np.ptp(order.dose) <= _EQUAL * order.dose.mean():
        dose = float(np.median(order.dose))
        return dose * order.acquired, f"{dose:g} e/Å² per image, {name}"
    if np.corrcoef(np.abs(order.stage), order.dose)[0, 1] < _FALLING:
        falls = f"says {order.dose.max():g} to {order.dose.min():g} e/Å², less at high tilt: measured behind the sample"
        raise UserError(f"{order.path}: {falls}", cure, key)
    if sorted(order.acquired) != list(range(len(order.acquired))):
        gap = "says different doses, and lacks some of the images that were acquired"
        raise UserError(f"{order.path}: {gap}", cure, key)
    before = np.concatenate([[0.0], np.cumsum(order.dose[np.argsort(order.acquired)])[:-1]])
    return before[order.acquired], f"{order.dose.min():g} to {order.dose.max():g} e/Å² per image, {name}"
