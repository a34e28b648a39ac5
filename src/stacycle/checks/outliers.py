"""Values far from the others', by robust statistics: medians, which a few wrong values do not move."""

from __future__ import annotations

from typing import Any

import numpy as np

from stacycle.checks.doubts import Mask, Numbers

FEW = 5  # values, fewer of which say nothing about each other
FAR = 8  # robust standard deviations from the median


def far_from_median(values: Numbers, least: float, deviations: float = FAR) -> Mask:
    """Values far from the median: by so many robust deviations, and by `least`, in their unit."""
    if len(values) < FEW:
        return np.zeros(len(values), bool)
    return np.abs(values - middle(values)) > max(deviations * robust_deviation(values), least)


def middle(values: Numbers) -> float:
    """The median; NumPy's own takes ten times as long for so few."""
    ordered, half = np.sort(values), len(values) // 2
    return float(ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2)


def robust_deviation(values: Numbers) -> float:
    """Robust standard deviation, from the median of absolute deviations."""
    return 1.4826 * middle(np.abs(values - middle(values)))


def circular_median(angles: Numbers) -> float:
    """The angle (degrees) that all are nearest to, going round the circle."""
    apart = np.abs(wrapped(angles[:, None] - angles[None, :])).sum(axis=0)
    central = float(angles[np.argmin(apart)])
    return central + middle(wrapped(angles - central))


def wrapped(angles: Any) -> Any:
    """Angles (degrees) as -180 to 180."""
    return (np.asarray(angles, float) + 180) % 360 - 180


def repeated(values: Numbers, digits: int) -> Mask:
    """Rows whose value three rows or more have, or all those of pairs if more than a quarter of the rows are in pairs.
    One angle that was taken twice, as some schemes do at the start, is none."""
    _, group, count = np.unique(np.round(values, digits), return_inverse=True, return_counts=True)
    of_each = count[group.ravel()]
    return of_each > 1 if (of_each > 1).mean() > 0.25 else of_each > 2
