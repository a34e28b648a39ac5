"""The settings of steps that the tutorial has not: a round has them only if its `steps` name them."""

from __future__ import annotations

from typing import ClassVar

from stacycle.files.job_folder import STATE_FILE
from stacycle.recipe.flow import TABLES, Flow
from stacycle.recipe.setting_types import Auto, Number, Positive, Section


class Duplicates(Section):
    flow: ClassVar = Flow((*TABLES, STATE_FILE), decides=True)

    distance: Auto | Positive = "auto"
    """Particles nearer than so many Å are one; auto is at most half of the diameter, and less where neighbours are so
    near: the distance at which the fewest pairs lie."""


class LocalResolution(Section):
    flow: ClassVar = Flow(needs=("half_maps",), repeats=True)

    sampling: Auto | Positive = "auto"
    """Å between the spheres in which the half maps are compared; auto is 25, or twice the resolution reached where that
    is more, but in a small particle less."""
    mask_radius: Auto | Positive = "auto"
    """Radius of these spheres in Å; auto is half of the sampling."""
    edge_width: Auto | Positive = "auto"
    """Å over which they fall to 0 from there; auto is the sampling."""
    randomise_at: Auto | Positive = "auto"
    """Phases are random beyond this resolution in Å, to tell what the spheres themselves add; auto is 25, or three
    times the resolution reached where that is more."""
    coarsest: Auto | Positive = "auto"
    """Coarsest local resolution in Å; auto is twice the sampling, and 50 at least."""
    bfactor: Auto | Number = "auto"
    """B-factor in Å² of the locally filtered map; auto is that of the post-processing."""
