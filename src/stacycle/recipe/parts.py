"""The parts of a particle that a round focused on, which are shown together over the consensus."""

from __future__ import annotations

from stacycle.recipe.rounds import Recipe
from stacycle.recipe.step_settings import kind_of


def focused(recipe: Recipe, round_: str) -> dict[str, str]:
    """The parts of a round that a map was post-processed of, to the step that did."""
    steps = recipe.rounds[round_]["steps"]
    done = [step for step in steps if kind_of(step) == "postprocess"]
    return {part: step for step in done if (part := recipe.part(round_, step))}


def rounds(recipe: Recipe) -> list[str]:
    """The rounds whose parts are shown together: those with a post-processed map of the whole, too."""
    return [name for name in recipe.rounds if focused(recipe, name) and recipe.has(name, "postprocess")]
