"""The settings of steps that the tutorial has not: a round has them only if its `steps` name them."""

from __future__ import annotations

from typing import ClassVar

from stacycle.files.job_folder import STATE_FILE
from stacycle.recipe.flow import TABLES, Flow
from stacycle.recipe.setting_types import Auto, Positive, Section


class Duplicates(Section):
    flow: ClassVar = Flow((*TABLES, STATE_FILE), decides=True)

    distance: Auto | Positive = "auto"
    """Particles nearer than so many Å are one; auto is at most half of the diameter, and less where neighbours are so
    near: the distance at which the fewest pairs lie."""
