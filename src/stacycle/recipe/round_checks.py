"""Whether each step of a recipe comes after what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

from stacycle.errors import UserError
from stacycle.recipe import bodies, symmetry_steps
from stacycle.recipe.step_names import flow_of
from stacycle.recipe.step_settings import kind_of


class Recipe(Protocol):
    """What is asked of a recipe (recipe.rounds.Recipe) to check it."""

    @property
    def rounds(self) -> Mapping[str, Mapping[str, Any]]: ...

    def __iter__(self) -> Iterator[tuple[str, str]]: ...

    def settings(self, round_: str, step: str) -> dict[str, Any]: ...

    def part(self, round_: str, step: str) -> str: ...

    def left(self, kind: str, round_: str, step: str) -> list[str]: ...

    def part_mask(self, round_: str, step: str) -> list[str]: ...

    def mask(self, round_: str, step: str) -> list[str]: ...

    def shape(self, round_: str, step: str) -> list[str]: ...

    def classification(self, round_: str, select: str) -> str: ...

    def expanded(self, round_: str, step: str) -> bool: ...

    def resolution(self, round_: str, step: str) -> list[str]: ...

    def sweeps(self, round_: str) -> list[tuple[str, str]]: ...

    def needed(self, kind: str, round_: str, step: str, what: str = "") -> list[str]: ...


_FOCUSED = ("class3d", "refine3d", "postprocess")  # kinds that are of use to a part within a mask of it alone


def notes(recipe: Recipe) -> list[str]:
    """What is allowed but seldom meant, a sentence each."""
    return [*_notes(recipe.rounds)]


def _notes(rounds: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name in list(rounds)[-1:]:
        if rounds[name]["steps"][-1] == "hand":
            yield (
                f"rounds.{name}: its maps are made before hand, its last step: what that finds is for a further round."
            )
    for before, name in pairwise(rounds):
        if rounds[name]["binning"] >= rounds[before]["binning"]:
            yield (
                f"rounds.{name}: its binning {rounds[name]['binning']} is not finer than the "
                f"{rounds[before]['binning']} of {before} before it; no finer detail can come of it."
            )
    yield from symmetry_steps.notes(rounds)


def check(recipe: Recipe, round_: str, step: str) -> None:
    """UserError if a step comes before what it needs, or is of no use where it stands."""
    key, steps = f"rounds.{round_}.steps", recipe.rounds[round_]["steps"]
    kind, before = kind_of(step), steps[: steps.index(step)]
    if steps.count(step) > 1:
        cure = f"list each step once per round{f', or name one {step}_again' * flow_of(step).repeats}"
        raise UserError(f"{step} stands there twice", cure, key)
    if kind not in ("extract", "select") and "extract" not in before:
        raise UserError(f"{step} comes before extract", "a round begins with extract", key)
    for needed in flow_of(step).needs:
        recipe.needed(needed, round_, step)
    if kind in _FOCUSED and recipe.part(round_, step) and not recipe.part_mask(round_, step):
        problem = f"{step} is for a part, but no mask of it stands before"
        raise UserError(problem, f"put {step.replace(kind, 'mask')} there", key)
    if kind == "initial_model":
        _check_first_search(recipe, round_, step)
    if kind == "mask" and recipe.settings(round_, step).get("difference") and not recipe.shape(round_, step):
        problem = f"{step} is to show where classes differ, but no class3d stands before it"
        raise UserError(problem, f"put class3d before it, or set {step}.difference: null", key)
    if kind == "select":
        _check_select(recipe, round_, step)
    if kind == "class3d":
        _check_class3d(recipe, round_, step)
    if kind == "score" and not any(kind_of(one) == "refine3d" for one in before):
        raise UserError("score needs refine3d before it, whose half maps it compares with", key=key)
    if kind == "local_resolution" and not _post_processed(recipe, round_, step, before):
        raise UserError(f"{step} needs postprocess before it, whose resolution it starts from", key=key)
    if kind == "hand" and set(steps[steps.index(step) + 1 :]) - {"cycle"}:
        problem = "steps after hand would use images that were made with another"
        raise UserError(problem, "put it last, or before cycle", key)
    if kind == bodies.STEP:
        bodies.check(recipe, round_)
    symmetry_steps.check(recipe, round_, step)
    if kind == "cycle":
        recipe.needed("half_maps", round_, step, "half sets")
        if steps[-1] != step:
            raise UserError("cycle makes bin1 maps, so it comes last in a round", key=key)
        if not recipe.sweeps(round_):
            problem = "neither ctfrefine nor polish has a variant"
            raise UserError(problem, f"name one, or take cycle out of {key}", f"rounds.{round_}.cycle")
    _check_resolution(recipe, round_, step)


def _check_resolution(recipe: Recipe, round_: str, step: str) -> None:
    """A low-pass filter that follows from the resolution so far needs a step before that reaches one."""
    settings, key = recipe.settings(round_, step), f"rounds.{round_}.{step}"
    if step == "cycle":
        settings, key = settings.get("mask") or {}, f"{key}.mask"
    if settings.get("lowpass") == "auto" and not recipe.resolution(round_, step):
        problem = "auto follows from the resolution so far, but no step before it reaches one"
        raise UserError(problem, "give it in Å, or put align or postprocess before", f"{key}.lowpass")


def _post_processed(recipe: Recipe, round_: str, step: str, before: Sequence[str]) -> bool:
    """Whether a post-processing of the step's part stands before it."""
    part = recipe.part(round_, step)
    return any(kind_of(one) == "postprocess" and recipe.part(round_, one) == part for one in before)


def _check_first_search(recipe: Recipe, round_: str, step: str) -> None:
    """The first search after an initial model must be everywhere: the model's own poses are coarse."""
    places = list(recipe)
    after = places[places.index((round_, step)) + 1 :]
    first = next((one for one in after if kind_of(one[1]) in ("align", "class3d", "refine3d")), None)
    if first is None:
        return
    settings = recipe.settings(*first)
    everywhere = {
        "align": settings.get("local_range", 4) is None,
        "class3d": settings.get("alignment") == "global",
        "refine3d": settings.get("local_sampling", "auto") != "auto",
    }
    if not everywhere[kind_of(first[1])]:
        problem = f"after {step}, {first[0]}.{first[1]} searches poses locally or not at all"
        cure = f"put align after {step}, with local_range: auto or null"
        raise UserError(problem, cure, f"rounds.{round_}.steps")


def _check_select(recipe: Recipe, round_: str, step: str) -> None:
    key, steps = f"rounds.{round_}.steps", recipe.rounds[round_]["steps"]
    classification = recipe.classification(round_, step)
    if not classification:
        raise UserError(f"{step} needs class3d before it, whose classes it chooses from", key=key)
    between = steps[steps.index(classification) + 1 : steps.index(step)]
    part = recipe.part(round_, step)
    for one in between:
        if flow_of(one).state and recipe.part(round_, one) == part:
            problem = f"{step} would undo what {one} did after {classification}"
            raise UserError(problem, f"put {step} right after {classification}", key)


def _check_class3d(recipe: Recipe, round_: str, step: str) -> None:
    key, steps = f"rounds.{round_}.steps", recipe.rounds[round_]["steps"]
    selections = [one for one in steps if kind_of(one) == "select"]
    if not any(recipe.classification(round_, one) == step for one in selections):
        raise UserError(f"{step} without select", "its classes would be used by nothing", key)
    if recipe.settings(round_, step).get("mask") and not recipe.mask(round_, step):
        problem = f"{step} is to compare classes within a mask, but mask does not stand before it"
        raise UserError(problem, f"put it there, or set {step}.mask: false", key)
