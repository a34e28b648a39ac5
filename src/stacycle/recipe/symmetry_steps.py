"""The point group through a recipe: which a step uses, where it may change, and where copies of particles may go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Protocol

from stacycle.errors import UserError
from stacycle.recipe.step_settings import kind_of

ALIGN_SYMMETRY, EXPAND = "align_symmetry", "expand"
# Kinds that may follow an expansion: the others would take copies for particles of their own.
_OF_COPIES = (*("reconstruct", "mask", "class3d", "select", "refine3d", "postprocess", "local_resolution"),)
Rounds = Mapping[str, Mapping[str, Any]]


class Recipe(Protocol):
    """What is asked of a recipe (recipe.rounds.Recipe)."""

    @property
    def rounds(self) -> Rounds: ...

    def settings(self, round_: str, step: str) -> dict[str, Any]: ...

    def part(self, round_: str, step: str) -> str: ...

    def expanded(self, round_: str, step: str) -> bool: ...


def symmetry_of(recipe: Recipe, round_: str, step: str) -> str:
    """The point group that a step uses: its round's; C1 after an expansion; before a step `align_symmetry` of the
    round, that of the round before."""
    if recipe.expanded(round_, step):
        return "C1"
    steps = recipe.rounds[round_]["steps"]
    if ALIGN_SYMMETRY in steps and steps.index(step) < steps.index(ALIGN_SYMMETRY):
        return _before(recipe.rounds, round_)
    return recipe.rounds[round_].get("symmetry") or "C1"


def notes(rounds: Rounds) -> Iterator[str]:
    """Where the group changes though no step turns the particles."""
    for before, name in pairwise(rounds):
        groups = [rounds[one].get("symmetry") or "C1" for one in (before, name)]
        if groups[0] != groups[1] != "C1" and ALIGN_SYMMETRY not in rounds[name]["steps"]:
            yield (
                f"rounds.{name}: its symmetry {groups[1]} is not the {groups[0]} of {before} before it, and no step "
                f"{ALIGN_SYMMETRY} turns the particles to RELION's axes: right only if they lie so already."
            )


def check(recipe: Recipe, round_: str, step: str) -> None:
    """UserError if a step cannot find or use a symmetry where it stands, or cannot work with copies of particles."""
    kind, key = kind_of(step), f"rounds.{round_}.steps"
    if kind == ALIGN_SYMMETRY:
        _check_align_symmetry(recipe, round_)
    if recipe.expanded(round_, step):
        _check_of_copies(recipe, round_, step)
    elif kind == EXPAND and _group(recipe, round_, step) == "C1":
        problem = f"{step} has nothing to expand, as the symmetry is C1 where it stands"
        raise UserError(problem, f"set rounds.{round_}.symmetry, or take {step} out", key)


def _check_align_symmetry(recipe: Recipe, round_: str) -> None:
    key, given = f"rounds.{round_}", recipe.rounds[round_]
    if (given.get("symmetry") or "C1") == "C1":
        problem = f"{ALIGN_SYMMETRY} needs a symmetry to look for, but the round's is C1"
        raise UserError(problem, f"set {key}.symmetry to the particle's point group", f"{key}.steps")
    if (earlier := _before(recipe.rounds, round_)) != "C1":
        problem = f"{ALIGN_SYMMETRY} tells a symmetry by a map without any, but before it is {earlier}"
        cure = "set particle.symmetry and the symmetry of rounds before to C1: a symmetrised map always has its own"
        raise UserError(problem, cure, f"{key}.steps")


def _check_of_copies(recipe: Recipe, round_: str, step: str) -> None:
    """Steps of copies of particles, which must keep near the pose that they have: a global search would take all copies
    of a particle to one."""
    key, settings, kind = f"rounds.{round_}.{step}", recipe.settings(round_, step), kind_of(step)
    if kind not in _OF_COPIES:
        problem = f"{step} comes after expand, and would take the copies of a particle for particles"
        cure = "put it before, or expand in a part alone (parts: [NAME], expand_NAME)"
        raise UserError(problem, cure, f"rounds.{round_}.steps")
    if settings.get("alignment") == "global":
        problem = "a global search after expand takes all copies of a particle to one pose"
        raise UserError(problem, "set it to none or local", f"{key}.alignment")
    if kind == "refine3d":
        coarse, local = settings.get("sampling", "auto"), settings.get("local_sampling", "auto")
        if local != "auto" and (coarse == "auto" or local < coarse):
            problem = "a global search after expand takes all copies of a particle to one pose"
            raise UserError(problem, "set it to auto, which searches locally alone", f"{key}.local_sampling")
        if settings.get("poses", "after") != "after":
            problem = "poses of copies, which have one name, cannot be compared with those before"
            raise UserError(problem, "set it to after", f"{key}.poses")


def _group(recipe: Recipe, round_: str, step: str) -> str:
    asked: str = recipe.settings(round_, step).get("symmetry", "auto")
    return symmetry_of(recipe, round_, step) if asked == "auto" else asked


def _before(rounds: Rounds, round_: str) -> str:
    """The point group that a round begins with, if a step of it changes that."""
    names = list(rounds)
    place = names.index(round_)
    return rounds[names[place - 1]].get("symmetry") or "C1" if place else "C1"
