"""Multi-body refinement in a recipe: what it goes on from, the masks of its bodies, and what cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from stacycle.errors import UserError
from stacycle.recipe.optional_settings import Multibody
from stacycle.recipe.step_settings import is_step, kind_of

STEP = "multibody"
DIVERGES = (
    "on 2D stacks the multi-body refinement of RELION 5.0.1 diverges, its bodies' offsets grow in every iteration, "
    "and it exits with 0"
)
FOCUS = "focus on parts: parts: [head], with steps mask_head and refine3d_head (docs: States and parts)"


class Recipe(Protocol):
    """What is asked of a recipe (recipe.rounds.Recipe)."""

    @property
    def rounds(self) -> Mapping[str, Mapping[str, Any]]: ...

    def settings(self, round_: str, step: str) -> dict[str, Any]: ...

    def part(self, round_: str, step: str) -> str: ...

    def left(self, kind: str, round_: str, step: str) -> list[str]: ...


def consensus(recipe: Recipe, round_: str) -> str:
    """The refinement of the whole particle that a round's multi-body refinement goes on from; "" if there is none."""
    steps = recipe.rounds[round_]["steps"]
    before = reversed(steps[: steps.index(STEP)])
    found = (step for step in before if kind_of(step) == "refine3d" and not recipe.part(round_, step))
    return next(found, "")


def masks(recipe: Recipe, round_: str) -> dict[str, str]:
    """The file of each body's mask, by the body's name: of a step before, or of one's own."""
    bodies = recipe.settings(round_, STEP)["bodies"]
    return {
        name: recipe.left("mask", round_, body["mask"])[0] if _is_mask(body["mask"]) else body["mask"]
        for name, body in bodies.items()
    }


def check(recipe: Recipe, round_: str) -> None:
    """UserError if no refinement stands before it in its round, or a mask that a body names does not."""
    steps = recipe.rounds[round_]["steps"]
    if not consensus(recipe, round_):
        problem = f"{STEP} goes on from a refinement of its own round, but no refine3d stands before it"
        raise UserError(problem, f"put refine3d before {STEP}", f"rounds.{round_}.steps")
    for name, body in recipe.settings(round_, STEP)["bodies"].items():
        if _is_mask(mask := body["mask"]) and mask not in steps[: steps.index(STEP)]:
            key = f"rounds.{round_}.{STEP}.bodies.{name}.mask"
            raise UserError(f"no step {mask} stands before {STEP}", f"put {mask} there, or name a file", key)


def contradictions(where: str, given: Multibody, stack2d: bool) -> Iterator[UserError]:
    """Fewer than two bodies, or one that turns against none; images on which it diverges."""
    key = f"{where}.{STEP}"
    if stack2d:
        cure = f"set {where}.extract: {{stack2d: false}} to try it on 3D pseudo-subtomograms, or {FOCUS}"
        yield UserError(DIVERGES, cure, key)
    bodies = {name: body for name, body in given.bodies.items() if body}
    if len(bodies) < 2:
        found = "a body moves against another, but there is " + (
            ", ".join(bodies) + " alone" if bodies else "none"
        )
        yield UserError(found, "name two bodies or more, each with its mask", f"{key}.bodies")
    for name, body in bodies.items():
        others = [other for other in bodies if other != name]
        if body.relative_to is not None and body.relative_to not in others:
            problem = "is itself" if body.relative_to == name else f"{body.relative_to} is none of the bodies"
            cure = f"name {' or '.join(others) or 'another body'}, or leave it out"
            yield UserError(problem, cure, f"{key}.bodies.{name}.relative_to")


def own_file(mask: str) -> str | None:
    """The mask of a body, if it is a file of one's own."""
    return None if _is_mask(mask) else mask


def _is_mask(name: str) -> bool:
    """Whether the mask of a body is named by its step, not by its file."""
    return is_step(name) and kind_of(name) == "mask"
