"""Scoring particles: how much of the other half's map each one's images show; those that show little are left out."""

from __future__ import annotations

from collections.abc import Iterator

from stacycle.files.job_folder import DECISION
from stacycle.steps import sizes
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import Settings, Step


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    yield size.need("tables", size.rows() * 2 + sizes.tables(3))


STEP = Step("score", "Scores of particles", space=space, last=DECISION, pictures=("scores",))
