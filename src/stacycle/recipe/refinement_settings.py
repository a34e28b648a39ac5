"""The settings of the steps that relion_refine does: align, class3d and refine3d."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from stacycle.files.job_folder import FINAL_DATA, STATE_FILE
from stacycle.recipe.flow import CHOICE, Flow
from stacycle.recipe.setting_types import Auto, Count, Different, Pixels, Positive, Sampling, Section

_HALF_MAPS = ("run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc")


class Refinement(Section):
    """What align, class3d and refine3d have in common."""

    mask_diameter: Auto | Positive = "auto"
    """Diameter in Å of the spherical mask; auto is 90 % of the box, rounded down to 10 Å."""
    absolute_greyscale: bool = False
    """Whether the reference is on RELION's absolute greyscale; if not, the first iteration is by cross-correlation."""
    ctf_intact_first_peak: bool = False
    """Ignore CTFs until their first peak, which acts like a low-pass filter (RELION only)."""
    blush: bool = False
    """Blush regularisation (RELION only, with its Python environment)."""
    seed: Pixels | None = None
    """Random seed; null takes a new one for each run, as RELION does."""


class Posed(Refinement):
    """A step that changes poses."""

    poses: Literal["auto", "after", "before"] = "auto"
    """The poses to go on with, those after the step or before it; auto keeps those after it unless averages with both
    show that it made them worse; after makes no such averages."""


class Align(Posed):
    flow: ClassVar = replace(CHOICE, accuracy=(STATE_FILE,), needs=("reference",))

    T: Positive | Different[Positive] = Field(default=[1])  # type: ignore[assignment]
    """Regularisation parameter T; one run for each value of a list."""
    iterations: Annotated[int, Field(ge=1, le=999)] = 25
    """Number of iterations."""
    iteration: Auto | Count = "auto"
    """The iteration to continue from; auto is the first of the plateau in resolution."""
    variant: str = "auto"
    """The run to continue from, by the name of its folder (T1); auto compares them."""
    lowpass: Auto | Positive = 50
    """Low-pass filter in Å of the first reference."""
    sampling: Auto | Sampling = "auto"
    """Angular sampling interval in degrees; auto is at most 7.5, and at most 2.5 times as coarse as the angles are
    known, which RELION estimates in a run of five iterations before, or in the refinement before."""
    local_range: Auto | Positive | None = "auto"
    """Degrees around the pose so far that are searched; null searches everywhere; auto is 4, but everywhere right after
    an initial model, whose poses are coarse."""
    offset_range: Auto | Positive = "auto"
    """Binned px around the position so far that are searched; auto is 15 Å in half px, at least one."""
    offset_step: Auto | Positive = "auto"
    """Step of that search in binned px; auto is 1, or 0.5 or 0.25 where pixels are large or positions known better."""
    highres_limit: Auto | Positive | None = "auto"
    """Resolution limit in Å of the expectation step; auto is Nyquist, rounded down; null sets none."""


class Class3D(Refinement):
    flow: ClassVar = Flow(decides=True, needs=("reference",), repeats=True)

    classes: Auto | Annotated[int, Field(ge=2)] | Different[Annotated[int, Field(ge=2)]] = "auto"
    """Number of classes K; one run for each value of a list, with each T; auto is 6, or 3 for fewer than 1000
    picks."""
    T: Auto | Positive | Different[Positive] = "auto"
    """Regularisation parameter T; one run for each value of a list; auto is [0.5, 1, 2, 4], or [0.1, 0.5] for fewer
    than 1000 picks."""
    repeats: Auto | Annotated[int, Field(ge=1, le=20)] = "auto"
    """Runs with each T and K, each from other random classes; auto is 1, or 2 for `T: auto` and fewer than 1000
    picks."""
    iterations: Annotated[int, Field(ge=1, le=999)] = 25
    """Number of iterations."""
    stop_early: bool = True
    """End a run before the last iteration once more would not change which of them is taken; without alignment."""
    iteration: Auto | Count = "auto"
    """The iteration to continue from; auto is the first of the plateau in changing classes."""
    variant: str = "auto"
    """The run to continue from, by the name of its folder (T1_K6); auto is the one that separates best."""
    lowpass: Auto | Positive = "auto"
    """Low-pass filter in Å of the first reference; auto is the next 5 Å above 1.1 times the resolution reached."""
    highres_limit: Auto | Positive | None = "auto"
    """Resolution limit in Å of the expectation step; auto is Nyquist, rounded down, or 30 % of the diameter for fewer
    than 1000 picks, but not for a part; null sets none."""
    mask: bool = False
    """Compare classes within the round's mask, which must stand before; for a classification after refine3d."""
    alignment: Literal["none", "local", "global"] = "none"
    """Keep the poses, or search them as well, for each class: around the pose so far (local) or everywhere; on GPUs."""
    sampling: Auto | Sampling = "auto"
    """Angular sampling interval in degrees of that search; auto as in align, from the accuracy of the step before."""
    local_range: Positive = 4
    """Degrees around the pose so far that a local search covers."""
    offset_range: Auto | Positive = "auto"
    """Binned px around the position so far that it covers; auto as in align."""
    offset_step: Auto | Positive = "auto"
    """Step of that in binned px; auto as in align."""


# Settings of a classification that have no effect unless it aligns.
SEARCHED = ("sampling", "local_range", "offset_range", "offset_step")


class Refine3D(Posed):
    flow: ClassVar = Flow(
        ("run_optimisation_set.star", FINAL_DATA),
        reference=("run_class001.mrc",),
        half_maps=_HALF_MAPS,
        accuracy=("run_model.star",),
        needs=("reference",),
        repeats=True,
    )

    lowpass: Auto | Positive = "auto"
    """Low-pass filter in Å of the first reference; auto is the next 5 Å above 1.1 times the resolution reached."""
    sampling: Auto | Sampling = "auto"
    """Angular sampling interval in degrees to begin with; auto as in align, from the accuracy of the step before."""
    local_sampling: Auto | Sampling = "auto"
    """Sampling from which on searches are local; auto is the same as `sampling`, which makes all of them local."""
    offset_range: Positive = 2
    """Binned px around the position so far that are searched."""
    offset_step: Positive = 1
    """Step of that search in binned px."""
    solvent_correct_fsc: bool = True
    """Use FSCs corrected for the mask during refinement."""
    finer_faster: bool = True
    """Go to finer angular sampling faster."""
    join_halves: Positive = 40
    """Resolution in Å up to which the half maps are joined, so that they keep one orientation."""
