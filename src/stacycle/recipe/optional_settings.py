"""The settings of steps that the tutorial has not: a round has them only if its `steps` name them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from stacycle.files.job_folder import OPTIMISATION_SET, REFERENCE, STATE_FILE
from stacycle.recipe.flow import TABLES, Flow
from stacycle.recipe.setting_types import (
    Auto,
    Count,
    Number,
    Pixels,
    Positive,
    Sampling,
    Section,
    Symmetry,
    Text,
    Variants,
)


class InitialModel(Section):
    flow: ClassVar = Flow(
        (*TABLES, STATE_FILE), reference=("reference.mrc",), resolution=(STATE_FILE,), decides=True
    )

    reference: Text | None = None
    """A map of your own to begin with, from EMDB or an earlier project, instead of models made of the particles; it is
    brought to the round's pixels and box, and both hands of it are tried."""
    seeds: Annotated[int, Field(ge=2, le=20)] = 3
    """Models made side by side from other random numbers: only that some agree tells that they are right."""
    agreement: Auto | Positive = "auto"
    """Resolution in Å to which two models must agree (FSC 0.5), or the step fails; auto is 30 % of the diameter."""
    iterations: Annotated[int, Field(ge=10, le=999)] = 200
    """Number of iterations."""
    T: Positive = 4
    """Regularisation parameter T."""
    sampling: Sampling = 15
    """Angular sampling interval in degrees to begin with."""
    offset_range: Positive = 6
    """Binned px around the pick that are searched."""
    offset_step: Positive = 1
    """Step of that search in binned px."""
    mask_diameter: Auto | Positive = "auto"
    """Diameter in Å of the spherical mask; auto is 15 % more than the particle's, rounded up to 10 Å."""
    seed: Pixels = 1
    """Random seed of the first model; the others take those after it."""


class Duplicates(Section):
    flow: ClassVar = Flow((*TABLES, STATE_FILE), decides=True)

    distance: Auto | Positive = "auto"
    """Particles nearer than so many Å are one; auto is at most half of the diameter, and less where neighbours are so
    near: the distance at which the fewest pairs lie."""


class Hand(Section):
    flow: ClassVar = Flow((OPTIMISATION_SET, STATE_FILE), decides=True)

    binning: Auto | Count = "auto"
    """Binning of the averages that are compared; auto is half of the round's."""
    choose: Auto | Literal[1, -1] = "auto"
    """The hand (rlnTomoHand) to take for all sets with `hand: auto`; auto compares both."""


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


class Body(Section):
    mask: Text
    """The body's mask: a step before it, such as mask_head, or a file with the round's box and pixel size."""
    relative_to: str | None = None
    """The body that it turns against; null is the largest other one."""
    angles: Positive = 10
    """Degrees that it is expected to turn, as a standard deviation."""
    offset: Positive = 2
    """Binned px that it is expected to shift, likewise."""


class Multibody(Section):
    flow: ClassVar = Flow(needs=("half_maps",))

    bodies: Variants[Body] = Field(default={}, validate_default=True)
    """The bodies that move against each other, by names of your own; two or more (RELION only, of particles with
    `stack2d: false`)."""
    sampling: Sampling = 1.8
    """Angular sampling interval in degrees to begin with; all searches are local."""
    offset_range: Positive = 3
    """Binned px around the position so far that are searched."""
    offset_step: Positive = 0.75
    """Step of that search in binned px."""
    offsets_twice: bool = True
    """Whether RELION multiplies these two by the pixel size twice at the start, as 5.0.1 does: they are divided by it
    before. What was searched is looked at afterwards."""
    subtract: bool = True
    """Reconstruct each body from images from which the others are subtracted."""
    components: Annotated[int, Field(ge=1, le=6)] = 3
    """Principal components of the motion along which maps are made (relion_flex_analyse)."""


class AlignSymmetry(Section):
    flow: ClassVar = Flow(
        (*TABLES, STATE_FILE), reference=(REFERENCE,), decides=True, needs=("reference",), turns=True
    )

    lowpass: Auto | Positive = "auto"
    """Detail of the map finer than this in Å is not looked at; auto is the resolution reached."""
    least: Auto | Annotated[int | float, Field(ge=0, le=1)] = "auto"
    """Agreement of the map with itself, turned by the round's `symmetry`, that is needed to use it; auto is 0.5."""


class Expand(Section):
    flow: ClassVar = Flow(TABLES, repeats=True)

    symmetry: Auto | Symmetry = "auto"
    """Point group whose every rotation gives a copy of each particle; auto is the round's. After it the group is C1."""
