"""The config as types: every key with its kind, range, default, and the sentence that explains it.

A class is a block of the config; the text under a key is its meaning in messages and in config/README.md. The defaults
of a round are those for rounds of one's own; config/config.yaml, which spells out the tutorial, repeats them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from stacycle.recipe.setting_types import (
    Auto,
    Box,
    Count,
    Different,
    Module,
    NotNegative,
    Number,
    Pixels,
    Positive,
    RoundName,
    Sampling,
    Section,
    Text,
    Variants,
)


class InputSet(Section):
    tomograms: Text
    """RELION 5 tomograms.star of the set."""
    particles: Text
    """STAR file of the set's picks, with angles."""
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")] = Field(default_factory=str)
    """What is put before a name of this set that an earlier set has too; set2, set3, ... if left out."""


class Particle(Section):
    diameter: Positive = 350
    """Longest extent of the particle in Å."""
    symmetry: Annotated[str, StringConstraints(pattern=r"^([CD][1-9][0-9]*|T|O|I[1-5]?)$")] = "C1"
    """Point group in RELION's notation; C1 at first, even for a symmetric particle."""
    duplicates: Literal["refuse", "keep_one"] = "refuse"
    """Particles picked twice, nearer than four unbinned pixels: refuse them if they are less than one apart, or keep
    one of each, the better score first."""


class Engine(Section):
    kind: Literal["relion", "embedded"] = "relion"
    """Which programs run: RELION 5, or the embedded engine (small data, no installation)."""
    bin: str | None = None
    """Folder of RELION's programs; null looks on the PATH."""
    modules: Module | Different[Module] | None = None
    """Environment module that RELION's programs run with, or several in the order of loading; one word each."""
    container: Text | None = None
    """Apptainer (Singularity) image that RELION's programs run in; engine.bin is then a folder in the image."""
    container_args: list[Text] = Field(default=[])
    """More options of `apptainer exec`, such as [--bind, /data]; project, scratch folder and input files are bound
    anyway."""
    scratch: str | None = "$TMPDIR"
    """Fast local folder that RELION copies particles to; a variable that is not set means none."""
    pool: Count = 10
    """Particles that RELION reads at a time."""
    new_version: Literal["keep", "redo"] = "keep"
    """What becomes of results of another version of the programs than is there now: keep warns and keeps them, redo
    makes them anew."""


class Cleanup(Section):
    iterations: Literal["all", "needed"] = "all"
    """Maps of the iterations of align, class3d and refine3d; needed keeps those of the chosen and of the last
    iteration once the round is finished. Tables always stay."""
    stacks: Literal["all", "current"] = "all"
    """Extracted 2D stacks; current removes those of a finished round once the next one has extracted its own."""
    parts: Literal["all", "needed"] = "all"
    """The data and weight maps that averages are made from; needed removes them once the round is finished, as
    nothing reads them."""


class Extract(Section):
    crop: Box | None = None
    """Box size in binned px that the extracted images are cropped to; null leaves them as they are."""
    max_dose: Positive | None = None
    """Tilt images with more than this dose in e/Å² are left out; null takes all."""
    min_frames: Count = 1
    """Particles seen in fewer tilt images are left out."""
    float16: bool = True
    """Write images with 16 bits per pixel instead of 32."""


class Reconstruct(Section):
    snr: NotNegative = 0
    """Signal-to-noise ratio of a Wiener filter; 0 lets RELION choose."""


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


class Align(Refinement):
    T: Positive | Different[Positive] = Field(default=[1])  # type: ignore[assignment]
    """Regularisation parameter T; one run for each value of a list."""
    iterations: Annotated[int, Field(ge=1, le=999)] = 25
    """Number of iterations."""
    iteration: Auto | Count = "auto"
    """The iteration to go on from; auto is the first of the plateau in resolution."""
    variant: str = "auto"
    """The run to go on from, by the name of its folder (T1); auto compares them."""
    lowpass: Auto | Positive = 50
    """Low-pass filter in Å of the first reference."""
    sampling: Sampling = 7.5
    """Angular sampling interval in degrees."""
    local_range: Positive | None = 4
    """Degrees around the pose so far that are searched; null searches everywhere."""
    offset_range: Positive = 2
    """Binned px around the position so far that are searched."""
    offset_step: Positive = 1
    """Step of that search in binned px."""
    highres_limit: Auto | Positive | None = "auto"
    """Resolution limit in Å of the expectation step; auto is Nyquist, rounded down; null sets none."""


class Class3D(Refinement):
    classes: Annotated[int, Field(ge=2)] | Different[Annotated[int, Field(ge=2)]] = 6
    """Number of classes K; one run for each value of a list, with each T."""
    T: Positive | Different[Positive] = Field(default=[0.5, 1, 2, 4])
    """Regularisation parameter T; one run for each value of a list."""
    iterations: Annotated[int, Field(ge=1, le=999)] = 25
    """Number of iterations."""
    iteration: Auto | Count = "auto"
    """The iteration to go on from; auto is the first of the plateau in changing classes."""
    variant: str = "auto"
    """The run to go on from, by the name of its folder (T1_K6); auto is the one that separates best."""
    lowpass: Auto | Positive = "auto"
    """Low-pass filter in Å of the first reference; auto is the next 5 Å above 1.1 times the resolution reached."""
    highres_limit: Auto | Positive | None = "auto"
    """Resolution limit in Å of the expectation step; auto is Nyquist, rounded down; null sets none."""


class Select(Section):
    classes: Auto | Different[Count] = "auto"
    """The classes to keep, such as [2, 3]; auto weighs accuracy, resolution and size."""


class Mask(Section):
    threshold: Auto | Number = "auto"
    """Density at which the map is cut; auto finds it from the map."""
    lowpass: Auto | Positive = "auto"
    """Low-pass filter in Å of the map before it is cut; auto is the next 5 Å above the resolution reached."""
    extend: Pixels = 3
    """Binned px by which the mask is extended."""
    soft_edge: Pixels = 3
    """Width of the soft edge in binned px."""


class Refine3D(Refinement):
    lowpass: Auto | Positive = "auto"
    """Low-pass filter in Å of the first reference; auto is the next 5 Å above 1.1 times the resolution reached."""
    sampling: Sampling = 7.5
    """Angular sampling interval in degrees to begin with."""
    local_sampling: Sampling = 7.5
    """Sampling from which on searches are local; the same as `sampling` makes all of them local."""
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


class Postprocess(Section):
    bfactor: Auto | Number = -200
    """B-factor in Å²; negative sharpens; auto estimates it (works well from about 6 Å on)."""
    autob_lowres: Positive = 10
    """Coarsest resolution in Å of that estimate."""
    skip_fsc_weighting: bool = False
    """Leave the final map unfiltered by its FSC."""


class UnbinnedMask(Mask):
    extend: Pixels = 6
    """Unbinned px by which the mask is extended."""
    soft_edge: Pixels = 6
    """Width of the soft edge in unbinned px."""


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
    """The variant of CTF refinement to go on from, by name, or `before` to keep what was before it; auto compares
    them."""
    polish: str = "auto"
    """The variant of polishing to go on from, by name, or `before` to keep what was before it; auto compares them."""


class Cycle(Section):
    repeat: Annotated[int, Field(ge=1, le=20)] = 1
    """How many times the cycle is run, each from what the one before it kept."""
    box: Auto | Box = "auto"
    """Box size in unbinned px of the cycle's maps; auto is the round's box times its binning."""
    estimation_box: Auto | Box = "auto"
    """Box size in unbinned px in which images are compared; auto is the next product of twos and threes above 1.1
    times the box."""
    reconstruct: Reconstruct = Reconstruct()
    mask: UnbinnedMask = UnbinnedMask()
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
    "extract", "reconstruct", "align", "class3d", "select", "mask", "refine3d", "postprocess", "cycle"
]
STEPS: tuple[Step, ...] = get_args(Step)


LEFT_OUT: Any = None  # settings of a step that the round has not; in the config, null is not allowed


class Round(Section):
    binning: Count
    """How many pixels of the tilt series make one."""
    steps: Different[Step]
    """The steps in their order; each starts from what the one before it left."""
    box: Auto | Box = "auto"
    """Box size in binned px; auto is the largest FFT-friendly one up to twice the diameter."""
    extract: Extract = LEFT_OUT
    reconstruct: Reconstruct = LEFT_OUT
    align: Align = LEFT_OUT
    class3d: Class3D = LEFT_OUT
    select: Select = LEFT_OUT
    mask: Mask = LEFT_OUT
    refine3d: Refine3D = LEFT_OUT
    postprocess: Postprocess = LEFT_OUT
    cycle: Cycle = LEFT_OUT

    @model_validator(mode="after")
    def _defaults_of_its_steps(self) -> Round:
        for step in self.steps:
            if getattr(self, step) is None:
                settings: Any = Round.model_fields[step].annotation
                setattr(self, step, settings())
        return self


class Config(Section):
    inputs: Annotated[list[InputSet], Field(min_length=1)]
    """The sets of tomograms and picks, merged with unique names; file names are relative to the project folder."""
    particle: Particle = Particle()
    engine: Engine = Engine()
    cleanup: Cleanup = Cleanup()
    rounds: Annotated[dict[RoundName, Round | None], Field(min_length=1)]
    """The rounds in their order, by name; `NAME: null` leaves one out."""
