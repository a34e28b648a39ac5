"""Command lines before there are files: made as a job will make them, of one whose paths and boxes are made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs.refine import FEWEST_WITH_HALVES
from stacycle.recipe.auto import State
from stacycle.recipe.rounds import DECIDED, Recipe
from stacycle.recipe.step_settings import kind_of
from stacycle.recipe.variants import SWEPT
from stacycle.resources.site import ALL_COMPUTE
from stacycle.steps.step import Reader, Settings, Step

BOX = 64  # px
MANY = 1_000_000  # tomograms


class _Named(list[Any]):
    """Values in order that have names too, as the parts of Snakemake's jobs."""

    def __init__(self, **named: Any) -> None:
        super().__init__(named.values())
        self.__dict__.update(named)
        self.get = named.get


@dataclass(frozen=True)
class DryRun:
    """A step of a round; `asked` is what the profile makes of each rule's jobs: gpu, ranks (whether they
    are `given`, too), launcher."""

    recipe: Recipe
    config: Mapping[str, Any]
    asked: Mapping[str, Mapping[str, Any]]
    round: str
    step: str
    moved: bool

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the step in the config."""
        return self.recipe.settings(self.round, self.step)

    def command(self, step: Step, settings: Settings, rule: str = "", **params: Any) -> list[str]:
        """The command line of a job of a step with these settings and further params of its `rule`."""
        assert step.command
        engine, particle = self.config["engine"], self.config["particle"]
        left_out = (
            *DECIDED,
            *(SWEPT if "iteration" in settings else ()),
        )  # of a sweep, which its variant tells
        params = {
            "settings": {key: value for key, value in settings.items() if key not in left_out},
            "binning": self.recipe.rounds[self.round]["binning"],
            "symmetry": self.recipe.symmetry(self.round, self.step),
            "diameter": particle["diameter"],
            "key": f"rounds.{self.round}.{self.step}",
        } | params
        files = OptimisationSet("particles", "tomograms", "trajectories" if self.moved else None)
        reader = Reader(
            files=lambda path: files,
            state=lambda path: State(path, files, BOX, 1),
            estimation_box=lambda box, half_map, key: BOX,
            tomograms=lambda files: (MANY, 0),
        )
        scratch = engine["scratch"] and "scratch"
        return step.command(
            self._job(step, rule or step.name, params), {**engine, "scratch": scratch}, reader
        )

    def _mask(self) -> list[str]:
        if self.step == "cycle":
            return ["mask"]
        of = self.recipe.class_mask if kind_of(self.step) == "class3d" else self.recipe.mask
        return of(self.round, self.step)

    def _job(self, step: Step, rule: str, params: Mapping[str, Any]) -> SimpleNamespace:
        files = _Named(
            state=["state"],
            reference="map",
            map="map",
            resolution=[],
            half_maps=["half1", "half2"],
            mask=self._mask(),
            postprocess="fsc",
        )
        ask = self.asked.get(rule, {})
        # `environment.check_mpi` reports too few ranks for two half sets.
        ranks = max(FEWEST_WITH_HALVES if step.half_sets else 1, ask.get("ranks", 1))
        launcher = ask.get("launcher", "mpirun")
        resources = {"gpu": ask.get("gpu", 0)}
        if launcher != "mpirun":
            resources |= {"mpi": launcher, "tasks": ranks}
        elif step.shared not in ALL_COMPUTE or ask.get("given"):
            resources["ranks"] = ranks
        output = _Named(mask="out/mask")
        return SimpleNamespace(
            input=files, output=output, params=_Named(**params), threads=ranks, resources=resources
        )
