"""The recipe: rounds as data, and which file feeds which step.

A step starts from what the steps before it left, in all rounds: the *state* (`optimisation_set.star` with its
particles), the newest map, mask and half maps, and the files that hold a resolution. In a round's cycle each sweep
starts from the result of the one before it. Only names are worked out, and nothing is read: the DAG is static.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import Any

from stacycle.errors import UserError
from stacycle.files.job_folder import (
    DECISION,
    HALF_MAPS,
    MERGED,
    OPTIMISATION_SET,
    PARTICLES,
    POSTPROCESS,
    STATE_FILE,
)
from stacycle.recipe.geometry import TUTORIAL_SAMPLING
from stacycle.recipe.round_checks import check, notes
from stacycle.recipe.step_names import classification_of, flow_of, part_of
from stacycle.recipe.step_settings import FLOW, kind_of
from stacycle.recipe.symmetry_steps import EXPAND, symmetry_of

INPUTS = "results/inputs"
SWEEPS = ("ctfrefine", "polish")  # of a cycle, in their order
# What a step may need: in words, and the step that makes it.
_MAKER = {"reference": ("a reference map", "reconstruct"), "half_maps": ("half maps", "refine3d")}
LYING = ("reference", "mask", "half_maps")  # what lies as the particles do
# Steps that decide: what follows depends on the content of their state.
DECISIONS = tuple(step for step, flow in FLOW.items() if flow.decides)
# Settings that the command line of no program follows from.
DECIDED = ("iteration", "variant", "poses", "stop_early")
# The settings of the short run before an alignment, from which its sampling follows, and its file of the round.
PROBING = {"iterations": 5, "sampling": TUTORIAL_SAMPLING}
PROBE = "align_probe/run_it005_model.star"
# Steps whose poses can be compared with those before them, and by what name the folder of that ends.
MOVES = ("align", "refine3d")
POSES = "_poses"
PILOT = (
    "_pilot"  # how the folder ends, beside a sweep's, in which each variant is on a share of the tomograms
)


@dataclass(frozen=True)
class Start:
    """What a sweep of a cycle starts from: a state, the map and half maps made of it, and their FSC."""

    state: list[str]  # optimisation set first
    half_maps: list[str]
    map: str
    postprocess: str


@dataclass(frozen=True)
class Recipe:
    """The rounds of a config, in order, by name, with their settings as in `config/config.yaml`."""

    rounds: dict[str, dict[str, Any]]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Recipe:
        """The recipe of a validated config. Raises UserError if a step comes before what it needs."""
        recipe = cls({name: settings for name, settings in config["rounds"].items() if settings is not None})
        for round_, step in recipe:
            check(recipe, round_, step)
        return recipe

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(round, step), in the order of work."""
        return ((name, step) for name, settings in self.rounds.items() for step in settings["steps"])

    def has(self, round_: str, step: str) -> bool:
        """Whether this round has this step."""
        return step in self.rounds[round_]["steps"]

    def named(self, kind: str) -> list[str]:
        """The names of all steps of a kind, the kind itself first."""
        return list(dict.fromkeys([kind, *(step for _, step in self if kind_of(step) == kind)]))

    def part(self, round_: str, step: str) -> str:
        """The part of the particle that a step is for; "" if it is for the whole."""
        return part_of(step, self.rounds[round_].get("parts"))

    def classification(self, round_: str, select: str) -> str:
        """The classification that a selection chooses from."""
        settings = self.rounds[round_]
        return classification_of(select, settings["steps"], settings.get("parts"))

    def settings(self, round_: str, step: str) -> dict[str, Any]:
        """The config's settings of one step; empty if the config says nothing about it."""
        return dict(self.rounds[round_].get(step) or {})

    def symmetry(self, round_: str, step: str) -> str:
        """The point group that a step uses."""
        return symmetry_of(self, round_, step)

    def expanded(self, round_: str, step: str) -> bool:
        """Whether a step starts from copies of particles."""
        return any(kind_of(one) == EXPAND for _, one in self._before(round_, step))

    def aligns(self, round_: str, step: str) -> bool:
        """Whether a classification searches poses as well."""
        return self.settings(round_, step).get("alignment", "none") != "none"

    def summary(self) -> list[dict[str, Any]]:
        """Each round's name, binning, steps and parts, for the report."""
        kept = ("binning", "steps", "parts")
        return [
            {"name": name} | {key: settings[key] for key in kept if key in settings}
            for name, settings in self.rounds.items()
        ]

    def rungs(self) -> list[dict[str, Any]]:
        """The rungs of the ladder of resolutions, in the order of work, each with `round`, `binning` of its map,
        `label`, `cycle` (0 outside), `part` ("" for the whole particle), `postprocess`, `state` and `decision` (None
        where nothing was decided)."""
        return [rung for round_, step in self for rung in self._rungs(round_, step)]

    def notes(self) -> list[str]:
        """What is allowed but seldom meant, a sentence each."""
        return notes(self)

    def state(self, round_: str, step: str) -> list[str]:
        """The optimisation set that the step starts from, and the files that tell whether it is still the same."""
        inputs = [f"{INPUTS}/{OPTIMISATION_SET}", f"{INPUTS}/{PARTICLES}"]
        return self._newest("state", round_, step) or inputs

    def reference(self, round_: str, step: str) -> str:
        """The newest reference map before the step."""
        return self.needed("reference", round_, step)[0]

    def mask(self, round_: str, step: str) -> list[str]:
        """The newest mask of this round before the step, of its own part if there is one; else an empty list."""
        return self.part_mask(round_, step) or self._newest("mask", round_, step, within_round=True)

    def part_mask(self, round_: str, step: str) -> list[str]:
        """The newest mask before a step that is of its own part; an empty list if there is none."""
        part = self.part(round_, step)
        lying_so = takewhile(lambda one: not flow_of(one[1]).turns, self._before(round_, step))
        own = (one for one in lying_so if part and self.part(*one) == part)
        return next((files for one in own if (files := self._offered("mask", *one))), [])

    def class_mask(self, round_: str, step: str) -> list[str]:
        """The mask that classes are compared in: that of a part; of the whole particle, if the config wants one."""
        asked = self.settings(round_, step).get("mask")
        return self.part_mask(round_, step) or (self.mask(round_, step) if asked else [])

    def earlier_mask(self, round_: str, step: str) -> list[str]:
        """The newest mask before the step, of this round or another; an empty list if there is none, or if the step is
        for a part: masks of parts are not alike."""
        return [] if self.part(round_, step) else self._newest("mask", round_, step)

    def shape(self, round_: str, step: str) -> list[str]:
        """What a mask is made of besides the newest map: a file of one's own, or the table of the newest classes; an
        empty list if the newest map is enough."""
        settings = self.settings(round_, step)
        settings = settings.get("mask") or {} if step == "cycle" else settings
        if settings.get("difference"):
            classes = (one for one in self._before(round_, step) if kind_of(one[1]) == "class3d")
            return [f"results/{round_}/{step}/classes.tsv" for round_, step in islice(classes, 1)]
        return [settings["file"]] if settings.get("file") else []

    def half_maps(self, round_: str, step: str) -> list[str]:
        """The newest pair of half maps before the step."""
        return self.needed("half_maps", round_, step)

    def resolution(self, round_: str, step: str) -> list[str]:
        """All files before the step that tell a resolution, newest first: the newest may tell none (`inf`).

        A class's map is coarser than that of all particles: its resolution comes last, unless the step is given it.
        """
        given = next((one for one in self._before(round_, step) if self._offered("reference", *one)), None)
        return self._resolutions(round_, step, given)

    def accuracy(self, round_: str, step: str) -> list[str]:
        """The newest file that tells how accurate poses are, if the step's sampling follows from that: of a step
        before, or of the short run before an `align` that has none. An empty list if there is none."""
        keeps_poses = kind_of(step) == "class3d" and not self.aligns(round_, step)
        if keeps_poses or "auto" not in map(self.settings(round_, step).get, ("sampling", "offset_step")):
            return []
        told = (files for earlier in self._before(round_, step) if (files := self.left("accuracy", *earlier)))
        probe = [f"results/{round_}/{PROBE}"] if step == "align" else []
        return next(told, probe)

    def scores(self, round_: str, step: str) -> list[str]:
        """The newest scores of particles before the step; an empty list if there are none."""
        return self._newest("scores", round_, step)

    def decided(self, round_: str, step: str, cycle: str = "", sweep: str = "") -> list[str]:
        """The state files of all decisions before the step, or before a sweep (or, if "", the start) of a cycle."""
        earlier = reversed(list(self._before(round_, step)))
        before = [folder for one in earlier for folder in self._decision_folders(*one)]
        inside = [self._sweep_folder(round_, *one) for one in self._sweeps_before(round_, cycle, sweep)]
        return [f"{folder}/{STATE_FILE}" for folder in before + inside]

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
        return self._state_of_sweep(round_, *earlier[-1]) if earlier else self.state(round_, "cycle")

    def cycle_resolution(self, round_: str, cycle: str) -> list[str]:
        """The files before a cycle that tell a resolution, as `resolution`; it makes its own map, of all particles."""
        inside = reversed(self._sweeps_before(round_, cycle))
        files = [f"{self._sweep_folder(round_, *one)}/{STATE_FILE}" for one in inside]
        return files + self._resolutions(round_, "cycle")

    def start(self, round_: str, cycle: str, sweep: str) -> Start:
        """What a sweep's variants start from and are compared with: the winner of the sweep before it in the same
        cycle, or the cycle's own reference."""
        earlier = [one for one in self._sweeps_before(round_, cycle, sweep) if one[0] == cycle]
        if earlier:
            state, maps = self._state_of_sweep(round_, *earlier[-1]), self._sweep_folder(round_, *earlier[-1])
            postprocess = f"{maps}/{POSTPROCESS}"
        else:
            state, folder = self.cycle_state(round_, cycle), f"results/{round_}/{cycle}"
            maps, postprocess = f"{folder}/reference", f"{folder}/postprocess/{POSTPROCESS}"
        return Start(state, [f"{maps}/{half}" for half in HALF_MAPS], f"{maps}/{MERGED}", postprocess)

    def compares_poses(self, round_: str, step: str) -> bool:
        """Whether the poses after a step are compared with those before it, which may be what goes on."""
        return self.settings(round_, step).get("poses", "after") != "after"

    def poses_compared(self) -> list[str]:
        """The folders of these comparisons, in the order of work."""
        return [self._folder(*one) for one in self if self.compares_poses(*one)]

    def left(self, kind: str, round_: str, step: str) -> list[str]:
        """The files of a kind (a field of Flow) that a step itself leaves, whether they go on or not."""
        return [f"results/{round_}/{step}/{name}" for name in getattr(flow_of(step), kind)]

    def averaged_before(self, round_: str, step: str) -> str:
        """The folder of the average, with half maps, at the poses before a step: that of the round's `reconstruct` if
        it is of the same state, and that has half sets; else one that is made for the comparison."""
        steps = self.rounds[round_]["steps"]
        if "reconstruct" in steps[: steps.index(step)]:
            place = round_, "reconstruct"
            if self.state(*place) == self.state(round_, step) and self._newest("half_maps", *place):
                return f"results/{round_}/reconstruct"
        return f"{self._folder(round_, step)}/before/reconstruct"

    def _sweeps_before(self, round_: str, cycle: str, sweep: str = "") -> list[tuple[str, str]]:
        """The sweeps of the round before a sweep, or before the start of a cycle."""
        if not cycle:
            return []
        order = ["", *SWEEPS]
        place = {name: number for number, name in enumerate(self.cycles(round_))}
        position = place[cycle], order.index(sweep)
        return [one for one in self.sweeps(round_) if (place[one[0]], order.index(one[1])) < position]

    def _sweep_folder(self, round_: str, cycle: str, sweep: str) -> str:
        return f"results/{round_}/{cycle}/{sweep}"

    def _state_of_sweep(self, round_: str, cycle: str, sweep: str) -> list[str]:
        return [f"{self._sweep_folder(round_, cycle, sweep)}/{name}" for name in FLOW["cycle"].state]

    def _rungs(self, round_: str, step: str) -> Iterator[dict[str, Any]]:
        rung = {"round": round_, "binning": 1, "label": "", "cycle": 0, "part": ""}
        if kind_of(step) == "postprocess":
            refined = next(one for one in self._before(round_, step) if self._offered("half_maps", *one))
            star, state = f"{self._folder(round_, step)}/{POSTPROCESS}", self._offered("state", *refined)[0]
            part = self.part(round_, step)
            label = f"Refine3D of {part}, post-processed" if part else "Refine3D, post-processed"
            rung |= {"binning": self.rounds[round_]["binning"], "label": label, "part": part}
            decision = f"{self._folder(*refined)}/{DECISION}" if self.compares_poses(*refined) else None
            yield rung | {"postprocess": star, "state": state, "decision": decision}
        for number, cycle in enumerate(self.cycles(round_) if step == "cycle" else (), 1):
            star, state = (
                f"results/{round_}/{cycle}/postprocess/{POSTPROCESS}",
                self.cycle_state(round_, cycle)[0],
            )
            rung |= {"label": "Reconstruct bin1", "cycle": number}
            yield rung | {"postprocess": star, "state": state, "decision": None}
            for sweep, label in zip(SWEEPS, ("CTF refinement", "Polishing"), strict=True):
                if (cycle, sweep) in self.sweeps(round_):
                    files = {"postprocess": POSTPROCESS, "state": OPTIMISATION_SET, "decision": DECISION}
                    folder = self._sweep_folder(round_, cycle, sweep)
                    yield rung | {"label": label} | {key: f"{folder}/{name}" for key, name in files.items()}

    def _folder(self, round_: str, step: str) -> str:
        """Where the files are that go on from a step; of a cycle, those of its last sweep."""
        if step == "cycle":
            return self._sweep_folder(round_, *self.sweeps(round_)[-1])
        if self.compares_poses(round_, step):
            return f"results/{round_}/{step}{POSES}"
        return f"results/{round_}/{step}"

    def _decision_folders(self, round_: str, step: str) -> list[str]:
        if step == "cycle":
            return [self._sweep_folder(round_, *one) for one in self.sweeps(round_)]
        own = [f"results/{round_}/{step}"] if flow_of(step).decides else []
        return own + [self._folder(round_, step)] * self.compares_poses(round_, step)

    def _before(self, round_: str, step: str) -> Iterator[tuple[str, str]]:
        """The steps before this one whose results it can start from, newest first: those of the whole particle, and
        for a step of a part, those of this part in its round."""
        steps, part = list(self), self.part(round_, step)
        before = reversed(steps[: steps.index((round_, step))])
        return (one for one in before if self.part(*one) in ("", part if one[0] == round_ else ""))

    def _offered(self, kind: str, round_: str, step: str) -> list[str]:
        """The files of a kind (a field of Flow) that go on from a step."""
        flow = flow_of(step)
        if flow.of_class and self.part(round_, step):
            flow = replace(flow, reference=(), resolution=())  # a map of the part alone, within its mask
        if self.compares_poses(round_, step):
            flow = replace(flow, state=(OPTIMISATION_SET, STATE_FILE))
        return [f"{self._folder(round_, step)}/{name}" for name in getattr(flow, kind)]

    def _resolutions(self, round_: str, step: str, given: tuple[str, str] | None = None) -> list[str]:
        def of_class(one: tuple[str, str]) -> bool:
            return flow_of(one[1]).of_class and one != given

        before = sorted(self._before(round_, step), key=of_class)
        return [file for one in before for file in self._offered("resolution", *one)]

    def _newest(self, kind: str, round_: str, step: str, within_round: bool = False) -> list[str]:
        before = (one for one in self._before(round_, step) if one[0] == round_ or not within_round)
        for one in before:
            if files := self._offered(kind, *one):
                return files
            if kind in LYING and flow_of(one[1]).turns:
                break  # what is before it lies otherwise
        return []

    def needed(self, kind: str, round_: str, step: str, what: str = "") -> list[str]:
        """The newest files of a kind before the step; UserError if there are none."""
        found = self._newest(kind, round_, step)
        if not found:
            words, maker = _MAKER[kind]
            problem = f"{step} needs {what or words}, but no step before it makes one"
            raise UserError(problem, f"put {maker} before {step}", f"rounds.{round_}.steps")
        return found
