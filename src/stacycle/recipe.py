"""The recipe: rounds as data, and which file feeds which step.

A round is a binning and an ordered list of steps. A step's input is what the steps before it left, across rounds:
the *state* (`optimisation_set.star` with its particles), the newest reference map, mask, pair of half maps, and the
files that tell a resolution. Only names are worked out here, nothing is read: the DAG is static.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stacycle.errors import UserError

INPUTS = "results/inputs"

# What each step leaves for the ones that follow, by file name in the step's folder.
STATE = {
    "extract": ("optimisation_set.star", "particles.star"),
    "align": ("optimisation_set.star", "particles.star"),
    "select": ("optimisation_set.star", "particles.star"),
    "refine3d": ("run_optimisation_set.star", "run_data.star"),
}
REFERENCE = {
    "reconstruct": "merged.mrc",
    "align": "reference.mrc",
    "select": "reference.mrc",
    "refine3d": "run_class001.mrc",
}
MASK = {"mask": "mask.mrc"}
HALF_MAPS = {"refine3d": ("run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc")}
RESOLUTION = {"align": "decision.json", "select": "decision.json", "postprocess": "postprocess.star"}


@dataclass(frozen=True)
class Recipe:
    """The rounds of a config, in order.

    `rounds` maps a round's name to its settings as in `config/config.yaml`; a round set to null is left out.
    """

    rounds: dict[str, dict[str, Any]]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Recipe:
        """The recipe of a validated config. Raises UserError if a step comes before what it needs."""
        recipe = cls({name: settings for name, settings in config["rounds"].items() if settings is not None})
        for round_, step in recipe:
            recipe._check(round_, step)
        return recipe

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(round, step), in the order of work."""
        return ((name, step) for name, settings in self.rounds.items() for step in settings["steps"])

    def has(self, round_: str, step: str) -> bool:
        """Whether this round has this step."""
        return step in self.rounds[round_]["steps"]

    def settings(self, round_: str, step: str) -> dict[str, Any]:
        """The config's settings of one step; empty if the config says nothing about it."""
        return dict(self.rounds[round_].get(step) or {})

    def summary(self) -> list[dict[str, Any]]:
        """Each round's name, binning and steps, for the report."""
        return [
            {"name": name, "binning": settings["binning"], "steps": list(settings["steps"])}
            for name, settings in self.rounds.items()
        ]

    def state(self, round_: str, step: str) -> list[str]:
        """The optimisation set that the step starts from, and the particles file that it names."""
        return self._newest(STATE, round_, step) or [
            f"{INPUTS}/optimisation_set.star",
            f"{INPUTS}/particles.star",
        ]

    def reference(self, round_: str, step: str) -> str:
        """The newest reference map before the step."""
        return self._need(REFERENCE, round_, step, "a reference map", "reconstruct")[0]

    def mask(self, round_: str, step: str) -> list[str]:
        """The newest mask of this round before the step; an empty list if there is none."""
        return self._newest(MASK, round_, step, within_round=True)

    def half_maps(self, round_: str, step: str) -> list[str]:
        """The newest pair of half maps before the step."""
        return self._need(HALF_MAPS, round_, step, "half maps", "refine3d")

    def resolution(self, round_: str, step: str) -> list[str]:
        """All files before the step that tell a resolution, newest first: the newest may tell none (`inf`)."""
        return [
            f"results/{earlier_round}/{earlier}/{RESOLUTION[earlier]}"
            for earlier_round, earlier in self._before(round_, step)
            if earlier in RESOLUTION
        ]

    def _before(self, round_: str, step: str) -> Iterator[tuple[str, str]]:
        """The steps before this one, newest first."""
        steps = list(self)
        return reversed(steps[: steps.index((round_, step))])

    def _newest(self, offers: dict, round_: str, step: str, within_round: bool = False) -> list[str]:
        for earlier_round, earlier in self._before(round_, step):
            if earlier in offers and (earlier_round == round_ or not within_round):
                names = offers[earlier]
                names = [names] if isinstance(names, str) else names
                return [f"results/{earlier_round}/{earlier}/{name}" for name in names]
        return []

    def _need(self, offers: dict, round_: str, step: str, what: str, cure: str) -> list[str]:
        found = self._newest(offers, round_, step)
        if not found:
            raise UserError(
                f"rounds.{round_}.steps: {step} needs {what}, but no step before it makes one; "
                f"put {cure} before {step}"
            )
        return found

    def _check(self, round_: str, step: str) -> None:
        steps = self.rounds[round_]["steps"]
        if steps.count(step) > 1:
            raise UserError(
                f"rounds.{round_}.steps: {step} stands there twice; list each step once per round"
            )
        if step not in ("extract", "select") and "extract" not in steps[: steps.index(step)]:
            raise UserError(
                f"rounds.{round_}.steps: {step} comes before extract; a round begins with extract"
            )
        if step in ("align", "class3d", "refine3d", "mask"):
            self.reference(round_, step)
        if step == "postprocess":
            self.half_maps(round_, step)
        if step == "select" and "class3d" not in steps[: steps.index(step)]:
            raise UserError(
                f"rounds.{round_}.steps: select needs class3d before it, whose classes it chooses from"
            )
        if step == "class3d" and not self.has(round_, "select"):
            raise UserError(
                f"rounds.{round_}.steps: class3d without select; its classes would be used by nothing"
            )


def variant(tau: float, classes: int | None = None) -> str:
    """Folder name of one variant of a sweep: `T0.5_K6`, or `T1` for an alignment to one reference."""
    return f"T{tau:g}" + (f"_K{classes}" if classes is not None else "")


def variants(settings: dict[str, Any]) -> dict[str, list[float]]:
    """Folder name -> [T, number of classes] of a class3d or align sweep, in the order of the config.

    `T` and `classes` are each one number or a list; without `classes` the sweep is an alignment, K = 1.
    """
    taus, counts = _listed(settings["T"]), _listed(settings.get("classes"))
    return {variant(T, K): [T, K or 1] for T in taus for K in counts}


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]
