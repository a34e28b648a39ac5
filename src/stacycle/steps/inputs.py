"""Inputs: one or several sets of tomograms and picks, checked and merged with unique names."""

from __future__ import annotations

from collections.abc import Iterator

from stacycle.steps import sizes
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import Settings, Step


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    yield size.need("tables", size.rows() + size.tilt_series() + sizes.tables(3))


STEP = Step("inputs", space=space)
