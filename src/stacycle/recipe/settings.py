"""The config as types: every key with its kind, range, default, and the sentence that explains it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from stacycle.recipe.setting_types import Count, Different, Module, Positive, RoundName, Section, Text
from stacycle.recipe.step_settings import Round


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
    """What becomes of results that another version of the programs made: keep warns and keeps them, redo makes them
    anew."""


class Cleanup(Section):
    iterations: Literal["all", "needed"] = "all"
    """Maps of the iterations of align, class3d and refine3d; needed keeps those of the chosen and of the last
    iteration once the round is finished. Tables always stay."""
    stacks: Literal["all", "current"] = "all"
    """Extracted 2D stacks; current removes those of a finished round once the next one has extracted its own."""
    parts: Literal["all", "needed"] = "all"
    """The data and weight maps that averages are made from; needed removes them once the round is finished, as
    nothing reads them."""


class Config(Section):
    inputs: Annotated[list[InputSet], Field(min_length=1)]
    """The sets of tomograms and picks, merged with unique names; file names are relative to the project folder."""
    particle: Particle = Particle()
    engine: Engine = Engine()
    cleanup: Cleanup = Cleanup()
    rounds: Annotated[dict[RoundName, Round | None], Field(min_length=1)]
    """The rounds in their order, by name; `NAME: null` leaves one out."""
