"""Which files of a project the report is made of, by its recipe."""

from __future__ import annotations

from stacycle.files.job_folder import DECISION, FINAL_DATA, MERGED, PARTICLES, POSTPROCESS, REFERENCE
from stacycle.recipe import parts
from stacycle.recipe.rounds import DECISIONS, INPUTS, Recipe
from stacycle.recipe.step_settings import kind_of


def of_recipe(recipe: Recipe) -> dict[str, str | list[str]]:
    """The files that `Project` takes, by its fields, of a finished run; but for the rungs (`of_rungs`)."""

    def each(file: str, *kinds: str) -> list[str]:
        return [f"results/{round_}/{step}/{file}" for round_, step in recipe if kind_of(step) in kinds]

    decided = each(DECISION, *DECISIONS, "mask", "local_resolution", "multibody")
    return {
        "preflight": f"{INPUTS}/preflight.json",
        "particles": each(PARTICLES, "extract"),
        "averages": each(MERGED, "reconstruct") + each(REFERENCE, "initial_model"),
        "decisions": decided + [f"{folder}/{DECISION}" for folder in recipe.poses_compared()],
        "montages": each("classes.png", "select"),
        "masks": each("mask.mrc", "mask"),
        "refined": each(FINAL_DATA, "refine3d"),
        "postprocess": each(POSTPROCESS, "postprocess"),
        "maps": each("postprocess.mrc", "postprocess"),
        "parts": [f"results/{name}/parts/composite.mrc" for name in parts.rounds(recipe)],
    }


def of_rungs(recipe: Recipe) -> list[str]:
    """The files of the ladder of resolutions, and of the decisions on its rungs."""
    named = (rung[key] for rung in recipe.rungs() for key in ("postprocess", "state", "decision"))
    return [path for path in named if path]
