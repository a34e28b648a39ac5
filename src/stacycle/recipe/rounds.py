"""The recipe: rounds as data, and which file feeds which step.

A round is a binning and an ordered list of steps. A step's input is what the steps before it left, across rounds:
the *state* (`optimisation_set.star` with its particles), the newest reference map, mask, pair of half maps, and the
files that tell a resolution. A round's cycle has sweeps inside, each of which goes on from the one before it. Only
names are worked out here, nothing is read: the DAG is static.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from stacycle.errors import UserError

INPUTS = "results/inputs"
SWEEPS = ("ctfrefine", "polish")  # of a cycle, in their order
STATE_FILE = "state.json"  # a decision's: what its state is made of, by content

# What each step leaves for the ones that follow, by file name in the step's folder.
STATE = {
    "extract": ("optimisation_set.star", "particles.star"),
    "align": ("optimisation_set.star", "particles.star", STATE_FILE),
    "select": ("optimisation_set.star", "particles.star", STATE_FILE),
    "refine3d": ("run_optimisation_set.star", "run_data.star"),
    "cycle": ("optimisation_set.star", STATE_FILE),
}
REFERENCE = {
    "reconstruct": "merged.mrc",
    "align": "reference.mrc",
    "select": "reference.mrc",
    "refine3d": "run_class001.mrc",
}
MASK = {"mask": "mask.mrc"}
HALF_MAPS = {"refine3d": ("run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc")}
RESOLUTION = {
    "align": STATE_FILE,
    "select": STATE_FILE,
    "postprocess": "postprocess.star",
    "cycle": STATE_FILE,
}
# Steps that decide: what follows hangs on the content of their state.
DECISIONS = ("align", "class3d", "select")
# Settings of a sweep over T and K: one run per value, named in its folder; and those that the decision alone uses.
SWEPT = ("T", "classes")
DECIDED = ("iteration", "variant")


@dataclass(frozen=True)
class Start:
    """What a sweep of a cycle starts from: a state, the map and half maps made of it, and their FSC."""

    state: list[str]  # optimisation set first
    half_maps: list[str]
    map: str
    postprocess: str


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

    def rungs(self) -> list[dict[str, Any]]:
        """The rungs of the ladder of resolutions, in the order of work: plain data, for the report.

        Each has `round`, `binning` of its map, `label`, `cycle` (0 outside), `postprocess`, `state`, and `decision`
        (None where nothing was decided).
        """
        return [rung for round_, step in self for rung in self._rungs(round_, step)]

    def notes(self) -> list[str]:
        """What is allowed but seldom meant, a sentence each."""
        names = list(self.rounds)
        return [
            f"rounds.{name}: its binning {self.rounds[name]['binning']} is not finer than the "
            f"{self.rounds[before]['binning']} of {before} before it; no finer detail can come of it."
            for before, name in pairwise(names)
            if self.rounds[name]["binning"] >= self.rounds[before]["binning"]
        ]

    def state(self, round_: str, step: str) -> list[str]:
        """The optimisation set that the step starts from, and the files that tell whether it is still the same."""
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
            f"{self._folder(earlier_round, earlier)}/{RESOLUTION[earlier]}"
            for earlier_round, earlier in self._before(round_, step)
            if earlier in RESOLUTION
        ]

    def decided(self, round_: str, step: str, cycle: str = "", sweep: str = "") -> list[str]:
        """The state files of all decisions before the step, or before a sweep (or, if "", the start) of a cycle."""
        steps = list(self)
        before = [
            folder
            for earlier_round, earlier in steps[: steps.index((round_, step))]
            for folder in self._decision_folders(earlier_round, earlier)
        ]
        inside = [self._sweep_folder(round_, *one) for one in self._sweeps_before(round_, cycle, sweep)]
        return [f"{folder}/{STATE_FILE}" for folder in before + inside]

    # ------------------------------------------------------------ inside a cycle

    def cycles(self, round_: str) -> list[str]:
        """The names of a round's cycles: `cycle1`, `cycle2`, ..."""
        return [f"cycle{number + 1}" for number in range(self.settings(round_, "cycle")["repeat"])]

    def sweeps(self, round_: str) -> list[tuple[str, str]]:
        """(cycle, sweep) of a round, in the order of work; a sweep that the config leaves out is not there."""
        settings = self.settings(round_, "cycle")
        return [(cycle, sweep) for cycle in self.cycles(round_) for sweep in SWEEPS if settings.get(sweep)]

    def cycle_state(self, round_: str, cycle: str) -> list[str]:
        """What a cycle starts from, as `state`."""
        earlier = self._sweeps_before(round_, cycle)
        if not earlier:
            return self.state(round_, "cycle")
        return [f"{self._sweep_folder(round_, *earlier[-1])}/{name}" for name in STATE["cycle"]]

    def cycle_resolution(self, round_: str, cycle: str) -> list[str]:
        """The files before a cycle that tell a resolution, as `resolution`."""
        inside = [
            f"{self._sweep_folder(round_, *one)}/{STATE_FILE}" for one in self._sweeps_before(round_, cycle)
        ]
        return inside[::-1] + self.resolution(round_, "cycle")

    def start(self, round_: str, cycle: str, sweep: str) -> Start:
        """What a sweep's variants start from and are compared with: the winner of the sweep before it in the same
        cycle, or the cycle's own reference."""
        earlier = [one for one in self._sweeps_before(round_, cycle, sweep) if one[0] == cycle]
        if earlier:
            folder = self._sweep_folder(round_, *earlier[-1])
            state = [f"{folder}/{name}" for name in STATE["cycle"]]
            maps, postprocess = folder, f"{folder}/postprocess.star"
        else:
            state, folder = self.cycle_state(round_, cycle), f"results/{round_}/{cycle}"
            maps, postprocess = f"{folder}/reference", f"{folder}/postprocess/postprocess.star"
        halves = [f"{maps}/half{number}.mrc" for number in (1, 2)]
        return Start(state, halves, f"{maps}/merged.mrc", postprocess)

    def _sweeps_before(self, round_: str, cycle: str, sweep: str = "") -> list[tuple[str, str]]:
        """The sweeps of the round before a sweep, or before the start of a cycle."""
        if not cycle:
            return []
        position = self.cycles(round_).index(cycle), SWEEPS.index(sweep) if sweep else -1
        return [
            one
            for one in self.sweeps(round_)
            if (self.cycles(round_).index(one[0]), SWEEPS.index(one[1])) < position
        ]

    def _sweep_folder(self, round_: str, cycle: str, sweep: str) -> str:
        return f"results/{round_}/{cycle}/{sweep}"

    def _rungs(self, round_: str, step: str) -> Iterator[dict[str, Any]]:
        if step == "postprocess":
            binning, refined = (
                self.rounds[round_]["binning"],
                self._newest({"refine3d": STATE["refine3d"]}, round_, step),
            )
            folder = self._folder(round_, step)
            yield _rung(
                round_, binning, "Refine3D, post-processed", 0, f"{folder}/postprocess.star", refined[0]
            )
        if step != "cycle":
            return
        for number, cycle in enumerate(self.cycles(round_), 1):
            star = f"results/{round_}/{cycle}/postprocess/postprocess.star"
            yield _rung(round_, 1, "Reconstruct bin1", number, star, self.cycle_state(round_, cycle)[0])
            for sweep, label in zip(SWEEPS, ("CTF refinement", "Polishing"), strict=True):
                if (cycle, sweep) in self.sweeps(round_):
                    folder = self._sweep_folder(round_, cycle, sweep)
                    star, state = f"{folder}/postprocess.star", f"{folder}/optimisation_set.star"
                    yield _rung(round_, 1, label, number, star, state, f"{folder}/decision.json")

    # ------------------------------------------------------------ which step left what

    def _folder(self, round_: str, step: str) -> str:
        """Where a step leaves its files; a cycle, those of its last sweep."""
        return (
            self._sweep_folder(round_, *self.sweeps(round_)[-1])
            if step == "cycle"
            else f"results/{round_}/{step}"
        )

    def _decision_folders(self, round_: str, step: str) -> list[str]:
        if step == "cycle":
            return [self._sweep_folder(round_, *one) for one in self.sweeps(round_)]
        return [self._folder(round_, step)] if step in DECISIONS else []

    def _before(self, round_: str, step: str) -> Iterator[tuple[str, str]]:
        """The steps before this one, newest first."""
        steps = list(self)
        return reversed(steps[: steps.index((round_, step))])

    def _newest(self, offers: dict, round_: str, step: str, within_round: bool = False) -> list[str]:
        for earlier_round, earlier in self._before(round_, step):
            if earlier in offers and (earlier_round == round_ or not within_round):
                names = offers[earlier]
                names = [names] if isinstance(names, str) else names
                return [f"{self._folder(earlier_round, earlier)}/{name}" for name in names]
        return []

    def _need(self, offers: dict, round_: str, step: str, what: str, cure: str) -> list[str]:
        found = self._newest(offers, round_, step)
        if not found:
            raise UserError(
                f"rounds.{round_}.steps: {step} needs {what}, but no step before it makes one",
                f"put {cure} before {step}",
            )
        return found

    # ------------------------------------------------------------ what cannot work

    def _check(self, round_: str, step: str) -> None:
        steps = self.rounds[round_]["steps"]
        if steps.count(step) > 1:
            raise UserError(
                f"rounds.{round_}.steps: {step} stands there twice", "list each step once per round"
            )
        if step not in ("extract", "select") and "extract" not in steps[: steps.index(step)]:
            raise UserError(
                f"rounds.{round_}.steps: {step} comes before extract", "a round begins with extract"
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
                f"rounds.{round_}.steps: class3d without select", "its classes would be used by nothing"
            )
        if step == "cycle":
            self._check_cycle(round_)

    def _check_cycle(self, round_: str) -> None:
        self._need(HALF_MAPS, round_, "cycle", "half sets", "refine3d")
        if self.rounds[round_]["steps"][-1] != "cycle":
            raise UserError(f"rounds.{round_}.steps: cycle makes bin1 maps, so it comes last in a round")
        if not self.sweeps(round_):
            raise UserError(
                f"rounds.{round_}.cycle: neither ctfrefine nor polish has a variant",
                f"name one, or take cycle out of rounds.{round_}.steps",
            )


def _rung(
    round_: str,
    binning: int,
    label: str,
    cycle: int,
    postprocess: str,
    state: str,
    decision: str | None = None,
) -> dict[str, Any]:
    return {
        "round": round_,
        "binning": binning,
        "label": label,
        "cycle": cycle,
        "postprocess": postprocess,
        "state": state,
        "decision": decision,
    }


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
