"""Select good classes: a picture of all of them first, then the choice."""

from __future__ import annotations

from collections.abc import Iterator

from stacycle.files.job_folder import DECISION
from stacycle.steps import sizes
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import Settings, Step


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    state = size.rows() + sizes.tables(4) + sizes.plots()
    yield size.need("reference and tables", sizes.maps(1, size.image) + state)


STEP = Step(
    "select", "Subset selection", space=space, last=DECISION, pictures=("class_montage", "class_sizes")
)
