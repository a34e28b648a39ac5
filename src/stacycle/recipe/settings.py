"""The config as types: every key with its kind, range, default, and the sentence that explains it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    create_model,
    model_validator,
)

from stacycle.recipe.optional_settings import Hand
from stacycle.recipe.setting_types import (
    TAGS,
    Count,
    Different,
    Hook,
    Module,
    NotNegative,
    Paths,
    Positive,
    RoundName,
    Section,
    Several,
    Size,
    Symmetry,
    Text,
    tag,
)
from stacycle.recipe.step_names import with_steps
from stacycle.recipe.step_settings import Round


class PickOptions(Section):
    """What the files of some formats of picks do not say."""

    tomogram: Text | None = None
    """Name of the tomogram that all these picks are in, where their files do not name one."""
    pixel: Positive | None = None
    """Å per voxel of the tomogram that they were picked in, where neither they nor its header say it."""
    size: Size | None = None
    """Its voxels x, y, z, likewise."""
    unit: Literal["px", "angstrom"] | None = None
    """What the positions in text count in, from the tomogram's corner."""


class PickFiles(PickOptions):
    """Picks with what their files do not say: one key for each module in inputs/pick_formats."""

    star: Paths | None = None
    """STAR files, as without this key, with what they do not say."""
    dynamo: Paths | None = None
    """Tables of Dynamo (.tbl)."""
    imod: Paths | None = None
    """Models of IMOD (.mod); these picks have no angles."""
    text: Paths | None = None
    """Text with x, y, z in each line, with or without three angles; set unit."""
    copick: Paths | None = None
    """Picks of copick (.json)."""
    stopgap: Paths | None = None
    """Motive lists of STOPGAP (.star)."""
    em: Paths | None = None
    """Motive lists of AV3 or the TOM toolbox (.em)."""


PICK_FORMATS = tuple(key for key in PickFiles.model_fields if key not in PickOptions.model_fields)


class SetOptions(Section):
    """What belongs to a set of any source."""

    particles: Annotated[
        Annotated[Text, Tag(TAGS[0])] | Annotated[Several, Tag(TAGS[1])] | Annotated[PickFiles, Tag(TAGS[2])],
        Discriminator(tag),
    ]
    """STAR file of the set's picks (RELION, pytom-match-pick, Warp or M), several, or picks in another format, such as
    {dynamo: Picks/*.tbl}; * stands for any characters."""
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")] = Field(default_factory=str)
    """What is put before a name of this set that an earlier set has too; set2, set3, ... if left out."""
    dose: Positive | None = None
    """Dose of a tilt image in e/Å²; null takes it from the files of the source, or refuses."""
    hand: Literal[1, -1, "auto"] | None = None
    """RELION's rlnTomoHand; null takes what the files of the source say, or its usual value, which preflight tells;
    auto begins with that, and each round but the last compares averages with both (step hand)."""
    size: Size | None = None
    """Size x, y, z of the tomograms in unbinned px; null takes it from the files of the source."""
    voltage: Positive | None = None
    """Acceleration voltage in kV; null takes it from the files of the source, or refuses."""
    cs: NotNegative | None = None
    """Spherical aberration in mm, likewise."""
    amplitude_contrast: Annotated[int | float, Field(ge=0, le=1)] | None = None
    """Amplitude contrast, likewise."""
    pixel: Positive | None = None
    """Unbinned pixel size in Å; null takes it from the files of the source."""
    include: Paths | None = None
    """Names of the tilt series to take, with * for any characters; null takes all."""


class InputSet(SetOptions):
    """A set of tilt series and picks: one key for each module in inputs/sources, and RELION's own."""

    model_config = ConfigDict(json_schema_extra={"usual": ["tomograms", "particles"]})

    tomograms: Text | None = None
    """RELION 5 tomograms.star of the set."""
    aretomo3: Text | None = None
    """Or the folder with the output of AreTomo3, 2 or 1 (.aln, _CTF.txt, _TLT.txt and stacks)."""
    scipion: Text | None = None
    """Or the folder that Scipion exported to RELION 5."""
    warp: Text | None = None
    """Or the folder of Warp or WarpTools (.tomostar and .xml files)."""
    imod: Text | None = None
    """Or the folder of IMOD's etomo, or one that holds several."""


SOURCES = tuple(key for key in InputSet.model_fields if key not in SetOptions.model_fields)


class Particle(Section):
    diameter: Positive = 350
    """Longest extent of the particle in Å."""
    symmetry: Symmetry = "C1"
    """Point group in RELION's notation; C1 at first, even for a symmetric particle. Helices are not known: no step
    refines rise and twist."""
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
    """What becomes of results that another version of the programs made: keep warns and keeps them, redo makes them
    anew."""


class Cleanup(Section):
    iterations: Literal["all", "needed"] = "all"
    """Maps of the iterations of align, class3d and refine3d; needed keeps those of the chosen and of the last
    iteration once the round is finished. Tables always stay."""
    stacks: Literal["all", "current"] = "all"
    """Extracted images of particles; current removes those of a finished round once the next one has extracted its
    own."""
    parts: Literal["all", "needed"] = "all"
    """The data and weight maps that averages are made from; needed removes them once the round is finished, as
    nothing reads them."""


class Config(Section):
    inputs: Annotated[list[InputSet], Field(min_length=1)]
    """The sets of tilt series and picks, merged with unique names; each has one of tomograms, aretomo3, scipion, warp
    and imod. File names are relative to the project folder."""
    particle: Particle = Particle()
    engine: Engine = Engine()
    cleanup: Cleanup = Cleanup()
    pause: Paths | None = None
    """Steps after which `stacycle run` stops, for you to look and to decide: select, or bin4/select for one round; it
    goes on when you run it again. Snakemake by itself does not stop."""
    onsuccess: Hook | None = None
    """What a run does when it has ended well: a command, or a URL that is sent JSON by POST. In a command {message},
    {project}, {status} and {page} are filled in, quoted."""
    onerror: Hook | None = None
    """The same when it has failed; {message} says why."""
    rounds: Annotated[dict[RoundName, Round | None], Field(min_length=1)]
    """The rounds in their order, by name; `NAME: null` leaves one out."""

    @model_validator(mode="after")
    def _look_for_hands(self) -> Config:
        """Where the hand of a set is unknown, each round but the last looks for it, unless one names the step."""
        rounds = [one for one in self.rounds.values() if one]
        if any(one.hand == "auto" for one in self.inputs) and not any(one.has("hand") for one in rounds):
            for one in rounds[:-1] or rounds:
                last = one.steps.index("cycle") if "cycle" in one.steps else len(one.steps)
                one.steps.insert(last, "hand")
                one.hand = one.hand or Hand()
        return self


def config_type(config: Mapping[str, Any]) -> type[Config]:
    """The type of a config as YAML has it: its rounds may have steps with names of their own."""
    rounds = config.get("rounds")
    named = [
        one for one in (rounds.values() if isinstance(rounds, Mapping) else ()) if isinstance(one, Mapping)
    ]
    steps = [step for one in named if isinstance(one.get("steps"), list) for step in one["steps"]]
    names = (name for name in [*steps, *(key for one in named for key in one)] if isinstance(name, str))
    return _with_rounds(with_steps(names))


@cache
def _with_rounds(of: type[Round]) -> type[Config]:
    if of is Round:
        return Config
    rounds = Annotated[dict[RoundName, of | None], Field(min_length=1)]  # type: ignore[valid-type]
    return create_model("Config", __base__=Config, rounds=(rounds, ...))
