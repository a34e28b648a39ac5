"""A round and its steps as types: what each needs, what it leaves, and its settings with their meanings.

The defaults are those for rounds of one's own; config/config.yaml, which spells out the tutorial, repeats them.
A step is named by its kind. Kinds that may stand several times in a round (Flow.repeats) take a name of one's own after
it: `class3d_states` is a second 3D classification, with settings and a folder of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stacycle.files.job_folder import MERGED, OPTIMISATION_SET, POSTPROCESS, STATE_FILE
from stacycle.recipe.first_search import INITIAL_MODEL, begun_with_model
from stacycle.recipe.flow import CHOICE, TABLES, Flow
from stacycle.recipe.optional_settings import (
    AlignSymmetry,
    Duplicates,
    Expand,
    Hand,
    InitialModel,
    LocalResolution,
    Multibody,
)
from stacycle.recipe.refinement_settings import Align, Class3D, Refine3D
from stacycle.recipe.setting_types import (
    Auto,
    Box,
    Count,
    Different,
    NotNegative,
    Number,
    Pixels,
    Positive,
    Section,
    Symmetry,
    Text,
    Variants,
)


class Extract(Section):
    flow: ClassVar = Flow(TABLES)

    crop: Box | None = None
    """Box size in binned px that the extracted images are cropped to; null leaves them as they are."""
    max_dose: Positive | None = None
    """Tilt images with more than this dose in e/Å² are left out; null takes all."""
    min_frames: Count = 1
    """Particles seen in fewer tilt images are left out."""
    float16: bool = True
    """Write images with 16 bits per pixel instead of 32."""
    stack2d: bool = True
    """Write each particle as a 2D stack; false writes 3D pseudo-subtomograms, for multibody
    (RELION only)."""


class Reconstruct(Section):
    flow: ClassVar = Flow(reference=(MERGED,), repeats=True)

    snr: NotNegative = 0
    """Signal-to-noise ratio of a Wiener filter; 0 lets RELION choose."""


class Select(Section):
    flow: ClassVar = replace(CHOICE, of_class=True, repeats=True)

    classes: Auto | Different[Count] = "auto"
    """The classes to keep, such as [2, 3]; auto weighs accuracy, resolution and size."""


class Sphere(Section):
    center: Annotated[list[Number], Field(min_length=3, max_length=3)]
    """x, y, z in Å from the centre of the box."""
    radius: Positive
    """In Å, to the middle of the soft edge."""


class Mask(Section):
    flow: ClassVar = Flow(mask=("mask.mrc",), needs=("reference",), repeats=True)

    threshold: Auto | Number = "auto"
    """Density at which the map is cut; auto finds it from the map."""
    lowpass: Auto | Positive = "auto"
    """Low-pass filter in Å of the map before it is cut; auto is the next 5 Å above the resolution reached."""
    extend: Auto | Pixels = "auto"
    """Px by which the mask is extended; auto is about the resolution in Å, at most 23 Å and 1/15 of the diameter, from
    the density to the middle of the soft edge."""
    soft_edge: Auto | Pixels = "auto"
    """Width of the soft edge in px; auto is three quarters of the same width, and 3 px at least."""
    file: Text | None = None
    """A map or a mask of your own, centred as the round's maps, to make the mask of instead of the newest map."""
    sphere: Sphere | None = None
    """Or a sphere, such as {center: [0, 60, 0], radius: 80}; it is not extended unless `extend` says so."""
    difference: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    """Or where the maps of two classes of the classification before it differ, such as [1, 2]."""


SHAPES = ("file", "sphere", "difference")  # what a mask can be made of, other than the newest map


class Postprocess(Section):
    flow: ClassVar = Flow(resolution=(POSTPROCESS,), needs=("half_maps",), repeats=True)

    bfactor: Auto | Number = -200
    """B-factor in Å²; negative sharpens; auto estimates it (works well from about 6 Å on)."""
    autob_lowres: Positive = 10
    """Coarsest resolution in Å of that estimate."""
    skip_fsc_weighting: bool = False
    """Leave the final map unfiltered by its FSC."""


class Score(Section):
    flow: ClassVar = Flow((*TABLES, STATE_FILE), scores=("scores.star",), decides=True, needs=("half_maps",))

    cut: Auto | Number | None = "auto"
    """Particles that score less are left out: 1 shows all of the other half's map, 0 nothing; auto cuts where scores
    fall into two groups, and else nowhere; null flags only those that auto would."""


class UnbinnedPostprocess(Postprocess):
    bfactor: Auto | Number = -100
    """B-factor in Å²; negative sharpens; auto estimates it (works well from about 6 Å on)."""


class Variant(Section):
    """One variant of a sweep of a cycle."""

    @model_validator(mode="before")
    @classmethod
    def _not_empty(cls, given: Any) -> Any:
        if given == {}:
            raise PydanticCustomError("too_short", "is empty")
        return given

    def effective(self) -> dict[str, Any]:
        """The settings without those that do nothing beside the others."""
        raise NotImplementedError


class CtfRefine(Variant):
    defocus: bool = True
    """Refine the defocus of each tilt image."""
    search_range: Positive = 4000
    """Å around the defocus so far that are searched."""
    regularisation: Positive | None = 0.1
    """Lambda, which holds the defocus changes of a tilt series together; null refines each tilt image freely."""
    scale: Literal["tilt", "tomogram"] | None = "tilt"
    """Refine the contrast scale of each tilt image, of each tomogram, or (null) not."""

    def effective(self) -> dict[str, Any]:
        return self.model_dump(exclude=None if self.defocus else {"search_range", "regularisation"})


class Polish(Variant):
    max_error: Positive = 5
    """Largest error of a position that is looked for in unbinned px."""
    shift_only: bool = False
    """Only shift tilt images as a whole, without motion."""
    motion: bool = True
    """Fit the motion of each particle."""
    sigma_velocity: Positive = 0.2
    """Expected speed of that motion in Å per unit dose."""
    sigma_divergence: Positive = 5000
    """Distance in Å over which motions are alike."""
    gaussian_decay: bool = False
    """Whether that likeness decays as a Gaussian."""

    def effective(self) -> dict[str, Any]:
        if self.motion and not self.shift_only:
            return self.model_dump()
        return self.model_dump(include={"max_error", "shift_only"})


class Choose(Section):
    ctfrefine: str = "auto"
    """The variant of CTF refinement to continue from, by name, or `before` to keep the state before it; auto compares
    them."""
    polish: str = "auto"
    """The variant of polishing to continue from, by name, or `before` to keep the state before it; auto compares
    them."""


class Cycle(Section):
    flow: ClassVar = Flow((OPTIMISATION_SET, STATE_FILE), resolution=(STATE_FILE,))

    repeat: Annotated[int, Field(ge=1, le=20)] = 1
    """How many times the cycle is run; each starts from the state that the last one kept."""
    box: Auto | Box = "auto"
    """Box size in unbinned px of the cycle's maps; auto is the round's box times its binning."""
    estimation_box: Auto | Box = "auto"
    """Box size in unbinned px in which images are compared; auto is the next product of twos and threes above 1.1
    times the box."""
    reconstruct: Reconstruct = Reconstruct()
    mask: Mask = Mask()
    postprocess: UnbinnedPostprocess = UnbinnedPostprocess()
    ctfrefine: Variants[CtfRefine] | None = Field(
        default={
            "regularised": {"defocus": True},
            "unregularised": {"regularisation": None},
            "scale_only": {"defocus": False},
        },
        validate_default=True,
    )
    """The variants of CTF refinement, by name; `NAME: null` leaves one out, `ctfrefine: null` all."""
    polish: Variants[Polish] | None = Field(
        default={"motion": {"motion": True}, "no_motion": {"motion": False}}, validate_default=True
    )
    """The variants of polishing, by name; `NAME: null` leaves one out, `polish: null` all."""
    choose: Choose = Choose()
    pilot: Annotated[float, Field(gt=0, le=0.5)] | None = None
    """Share of the tomograms, such as 0.25, on which each variant of a sweep is tried first; only the better half, and
    what is about as good, goes on to all. It pays for many or unlike variants; null runs all variants on all."""

    @field_validator("ctfrefine", "polish", mode="before")
    @classmethod
    def _over_the_tutorials(cls, given: Any, info: ValidationInfo) -> Any:
        """Variants are added to those of the tutorial, and change them key by key."""
        if not isinstance(given, dict):
            return given
        default = cls.model_fields[str(info.field_name)].default
        return default | {
            name: default[name] | variant if name in default and isinstance(variant, dict) else variant
            for name, variant in given.items()
        }


Step = Literal[
    "extract",
    "initial_model",
    "reconstruct",
    "align",
    "class3d",
    "select",
    "mask",
    "refine3d",
    "postprocess",
    "local_resolution",
    "multibody",
    "score",
    "duplicates",
    "align_symmetry",
    "expand",
    "hand",
    "cycle",
]
STEPS: tuple[Step, ...] = get_args(Step)
OWN_NAME = (
    r"[A-Za-z0-9]+"  # no underscore: folders beside a step's are named after it and one (refine3d_poses)
)


def _known(step: str) -> str:
    if not is_step(step):
        raise ValueError("there is no such step")
    return step


StepName = Annotated[str, AfterValidator(_known), WithJsonSchema({"enum": list(STEPS)})]
LEFT_OUT: Any = None  # settings of a step that the round has not; in the config, null is not allowed


class Round(Section):
    binning: Count
    """How many pixels of the tilt series make one."""
    steps: Different[StepName]
    """The steps in their order; each starts from the result of the last one. Several of one kind take a name after it,
    such as class3d_states, and have their settings under that name."""
    parts: Different[Annotated[str, StringConstraints(pattern=f"^{OWN_NAME}$")]] | None = None
    """Parts of the particle to focus on, by names of your own: steps named after one (mask_head, refine3d_head) begin
    with the consensus so far, and their results go to steps of that part alone."""
    box: Auto | Box = "auto"
    """Box size in binned px; auto is the largest FFT-friendly one up to twice the diameter."""
    symmetry: Symmetry | None = None
    """Point group from this round on, in RELION's notation; null is that of the round before, particle.symmetry at
    first. If the round has a step align_symmetry, from that step on, and C1 before it."""
    start: Literal["poses", "initial_model"] = "poses"
    """What the round's first search begins with: the poses so far, or, for picks without angles, a step initial_model,
    which then takes the place of the reconstruct before it."""
    extract: Extract = LEFT_OUT
    initial_model: InitialModel = LEFT_OUT
    reconstruct: Reconstruct = LEFT_OUT
    align: Align = LEFT_OUT
    class3d: Class3D = LEFT_OUT
    select: Select = LEFT_OUT
    mask: Mask = LEFT_OUT
    refine3d: Refine3D = LEFT_OUT
    postprocess: Postprocess = LEFT_OUT
    local_resolution: LocalResolution = LEFT_OUT
    multibody: Multibody = LEFT_OUT
    score: Score = LEFT_OUT
    duplicates: Duplicates = LEFT_OUT
    align_symmetry: AlignSymmetry = LEFT_OUT
    expand: Expand = LEFT_OUT
    hand: Hand = LEFT_OUT
    cycle: Cycle = LEFT_OUT

    @model_validator(mode="after")
    def _defaults_of_its_steps(self) -> Round:
        if self.start == INITIAL_MODEL:
            self.steps = begun_with_model(self.steps)
        for step in self.steps:
            if getattr(self, step, None) is None:
                setattr(self, step, settings_of(step)())
        return self

    def has(self, kind: str) -> bool:
        """Whether a step of this kind is among the steps."""
        return any(kind_of(step) == kind for step in self.steps)


FLOW: dict[str, Flow] = {step: Round.model_fields[step].annotation.flow for step in STEPS}  # type: ignore[union-attr]
_REPEATED = tuple(step for step, flow in FLOW.items() if flow.repeats)


def kind_of(step: str) -> str:
    """The kind of a step: class3d of class3d_states."""
    return step if step in FLOW else _parted(step)[0]


def own_name(step: str) -> str:
    """What a step's name has beside its kind: states of class3d_states; "" of one that is named by its kind."""
    return "" if step in FLOW else _parted(step)[1]


def is_step(name: str) -> bool:
    """Whether a step can have this name: its kind, and a name of its own if it may stand several times in a round."""
    return name in FLOW or _parted(name)[0] in _REPEATED


def settings_of(step: str) -> Any:
    """The type of a step's settings."""
    return Round.model_fields[kind_of(step)].annotation


def _parted(step: str) -> tuple[str, str]:
    """A step's kind and own name; ("", step) if it has none."""
    kind, _, own = step.rpartition("_")
    return (kind, own) if own.isascii() and own.isalnum() and own != "poses" else ("", step)
