"""The files that stand for steps and rounds: what Snakemake is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from stacycle.errors import UserError, some
from stacycle.files.job_folder import DECISION
from stacycle.jobs.redo import MONTAGE
from stacycle.recipe.rounds import POSES, Recipe
from stacycle.recipe.step_settings import kind_of
from stacycle.steps.registry import all_steps


def targets_of(recipe: Recipe, steps: Sequence[str], until: str | None) -> list[str]:
    """The files to ask for, for steps and rounds by name; none for the whole run. UserError for a name that is none."""
    found = [file for name in steps for place in places(recipe, name) for file in ends_of(recipe, *place)]
    if until:
        last = places(recipe, until)[-1]
        order = list(recipe)
        found += [file for place in order[: order.index(last) + 1] for file in ends_of(recipe, *place)]
    return list(dict.fromkeys(found))


def places(recipe: Recipe, name: str) -> list[tuple[str, str]]:
    """(round, step) of a name: bin4 is all steps of that round, bin4/select one; select is that of the first round that
    has one. UserError, with the nearest name, if there is none."""
    round_, _, step = name.removeprefix("results/").strip("/").partition("/")
    if round_ in recipe.rounds:
        if not step:
            return [(round_, one) for one in recipe.rounds[round_]["steps"]]
        if recipe.has(round_, step):
            return [(round_, step)]
    elif found := [place for place in recipe if place[1] == name]:
        return found[:1]
    known = [
        *recipe.rounds,
        *(f"{one}/{two}" for one, two in recipe),
        *dict.fromkeys(two for _, two in recipe),
    ]
    close = difflib.get_close_matches(name, known, n=1)
    cure = (
        f"did you mean {close[0]}?"
        if close
        else f"the rounds are {some(recipe.rounds)}; a step is bin4/select"
    )
    raise UserError(f"{name}: the config has no such step or round", cure)


def ends_of(recipe: Recipe, round_: str, step: str) -> list[str]:
    """The files that a step ends with, what decides about its poses included."""
    folder = f"results/{round_}/{step}"
    if step == "cycle":
        return [f"results/{round_}/{cycle}/{sweep}/{DECISION}" for cycle, sweep in recipe.sweeps(round_)]
    found = [f"{folder}/{all_steps()[kind_of(step)].last}"]
    found += [f"{folder}/{MONTAGE}"] if kind_of(step) == "select" else []
    return found + ([f"{folder}{POSES}/{DECISION}"] if recipe.compares_poses(round_, step) else [])
