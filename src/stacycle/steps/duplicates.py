"""Removing duplicates: of particles that have come to lie on one place, the best one stays."""

from __future__ import annotations

from collections.abc import Iterator

from stacycle.files.job_folder import DECISION
from stacycle.steps import sizes
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import Settings, Step


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    yield size.need("tables", size.rows() + sizes.tables(4))


STEP = Step(
    "duplicates", "Duplicates", space=space, last=DECISION, pictures=("distances",), candidates_shown=0
)
