"""The files of a project that the report is made of; what cannot be read is noted, not fatal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import nan
from pathlib import Path
from typing import Any

from stacycle.decisions.decision import Decision, read_decision
from stacycle.errors import UserError
from stacycle.files import job_folder, relion_output, star
from stacycle.jobs.record import versions
from stacycle.recipe.config import notes as config_notes
from stacycle.recipe.rounds import Recipe
from stacycle.report import files
from stacycle.report.how_far import HowFar, how_far


@dataclass(frozen=True)
class Project:
    """The files that the report shows, each `results/ROUND/STEP/...`; any may be missing.

    `rounds` is `Recipe.summary()`, `steps_with_resolution` is `Recipe.rungs()`, `notes` are of `Recipe.notes()` and of
    the config, which `config` is, validated; `engine` is its `engine.kind`, `versions` those of the programs that made
    the results (`record.versions()`), `so_far` is how far the run is. What cannot be read is noted in `unreadable`, a
    sentence each, while the report is made.
    """

    rounds: Sequence[dict[str, Any]] = ()
    steps_with_resolution: Sequence[dict[str, Any]] = ()
    notes: Sequence[str] = ()
    engine: str = ""
    versions: Sequence[str] = ()
    preflight: str | None = None
    particles: Sequence[str] = ()
    averages: Sequence[str] = ()
    decisions: Sequence[str] = ()
    montages: Sequence[str] = ()
    masks: Sequence[str] = ()
    refined: Sequence[str] = ()
    postprocess: Sequence[str] = ()
    maps: Sequence[str] = ()
    parts: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    so_far: HowFar = field(default_factory=HowFar)
    unreadable: list[str] = field(default_factory=list)
    _counts: dict[str, float] = field(default_factory=dict, repr=False)

    @classmethod
    def of_config(cls, config: Mapping[str, Any], results: str = "results") -> Project:
        """The project in the current folder, of a validated config, whatever of it is there."""
        recipe = Recipe.from_config(dict(config))
        return cls(
            rounds=recipe.summary(),
            steps_with_resolution=recipe.rungs(),
            notes=[*recipe.notes(), *map(str, config_notes(dict(config)))],
            engine=config["engine"]["kind"],
            versions=versions(results),
            config=config,
            so_far=how_far(recipe, results),
            **files.of_recipe(recipe),  # type: ignore[arg-type]
        )

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What preflight found in the inputs: `particles`, `tomograms`, `pixel_size`, `warnings`; {} if unknown."""
        return self.read(self.preflight, lambda name: json.loads(Path(name).read_text())) or {}

    @cached_property
    def decided(self) -> dict[str, Decision]:
        """The decisions that were made, by their file, in the order of work."""
        of_cycles = [decision_file(step) for step in self.steps_with_resolution]
        names = [*self.decisions, *(name for name in of_cycles if name and Path(name).exists())]
        read = {name: self.read(name, read_decision) for name in dict.fromkeys(names)}
        return {name: decision for name, decision in read.items() if decision}

    def of(self, kind: str, folder: str) -> str | None:
        """The existing file of a kind in `ROUND/STEP`."""
        found = (path for path in getattr(self, kind) if Path(path).parent.as_posix().endswith(f"/{folder}"))
        return next((path for path in found if Path(path).exists()), None)

    def decision_of(self, folder: str) -> Decision | None:
        """The decision of `ROUND/STEP`."""
        return self.decided.get(self.of("decisions", folder) or "")

    def read(self, path: str | None, reader: Callable[[str], Any], otherwise: Any = None) -> Any:
        """What `reader` makes of a file; `otherwise` if there is none, or if it cannot be read, which is noted. What is
        not there yet is not."""
        if path is None or (self.so_far.missing and not Path(path).exists()):
            return otherwise
        try:
            return reader(path)
        except (UserError, OSError, ValueError, KeyError) as error:
            self.unreadable.append(str(error) if isinstance(error, UserError) else f"{path}: {error}")
            return otherwise

    def fsc(self, path: str | None) -> relion_output.PostProcess | None:
        """What a `postprocess.star` says."""
        return self.read(path, relion_output.fsc)

    def count(self, path: str | None) -> float:
        """Number of particles in a particles file; nan if there is none."""
        return self.read(path, lambda name: star.count(name, "particles"), nan)

    def counted(self, path: str) -> float:
        """As `count`, of a file that may not be there; each is read once."""
        if path not in self._counts:
            self._counts[path] = self.count(path) if Path(path).is_file() else nan
        return self._counts[path]

    def finer_round(self, binning: float) -> str:
        """The first round of a finer binning; "" if there is none."""
        return next((round_["name"] for round_ in self.rounds if round_["binning"] < binning), "")


def decision_file(step: dict[str, Any]) -> str | None:
    """The decision of a step of `Recipe.rungs()`: a sweep's, or that on the mask of a cycle's reference."""
    if step["decision"] or not step["cycle"]:
        return step["decision"]
    return str(Path(step["postprocess"]).parents[1] / "mask" / job_folder.DECISION)
