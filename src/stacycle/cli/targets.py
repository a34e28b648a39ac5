"""The files that stand for steps and rounds: what Snakemake is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from stacycle.errors import UserError, some
from stacycle.files.job_folder import DECISION, OPTIMISATION_SET
from stacycle.jobs.redo import MONTAGE
from stacycle.recipe.rounds import INPUTS, POSES, Recipe
from stacycle.recipe.step_settings import kind_of
from stacycle.steps.registry import all_steps


def targets_of(recipe: Recipe, steps: Sequence[str], until: str | None) -> list[str]:
    """The files to ask for, for steps and rounds by name; none for the whole run. UserError for a name that is none."""
    known = ends(recipe)
    found = [file for name in steps for one in matching(recipe, name) for file in known[one]]
    if until:
        last = matching(recipe, until)[-1]
        found += [file for name in up_to(known, last) for file in known[name]]
    return list(dict.fromkeys(found))


def before_end(recipe: Recipe, steps: Sequence[str], until: str | None) -> list[str]:
    """The names of all that comes before the last of what is asked for; of everything, if that is the whole run."""
    names = list(ends(recipe))
    asked = [one for name in (*steps, *([until] if until else [])) for one in matching(recipe, name)]
    return names[: max(map(names.index, asked))] if asked else names


def up_to(known: dict[str, list[str]], last: str) -> list[str]:
    """The names of all that comes before one, and it."""
    names = list(known)
    return names[: names.index(last) + 1]


def ends(recipe: Recipe) -> dict[str, list[str]]:
    """The files that each step ends with, by its name as `stacycle status` has it, in the order of work: the inputs;
    the sweeps of a cycle before the whole cycle; what decides about a step's poses after the step, which it is part
    of."""
    found = {Path(INPUTS).name: [f"{INPUTS}/{OPTIMISATION_SET}"]}
    for round_, step in recipe:
        if step == "cycle":
            for cycle, sweep in recipe.sweeps(round_):
                found[f"{round_}/{cycle}/{sweep}"] = [f"results/{round_}/{cycle}/{sweep}/{DECISION}"]
        found[f"{round_}/{step}"] = ends_of(recipe, round_, step)
        if recipe.compares_poses(round_, step):
            found[f"{round_}/{step}{POSES}"] = [f"results/{round_}/{step}{POSES}/{DECISION}"]
    return found


def matching(recipe: Recipe, name: str) -> list[str]:
    """The steps, as `ends` names them, that a name stands for: bin4 for all of that round, bin4/select for one; select
    for that of the first round that has one. UserError, with the nearest name, if there is none."""
    known, asked = ends(recipe), name.removeprefix("results/").strip("/")
    if asked in recipe.rounds:
        return [f"{asked}/{step}" for step in recipe.rounds[asked]["steps"]]
    of_first = [one for one in known if one.partition("/")[2] == asked]
    if asked in known or of_first:
        return [asked if asked in known else of_first[0]]
    names = [*recipe.rounds, *known, *dict.fromkeys(step for _, step in recipe)]
    close = difflib.get_close_matches(name, names, n=1)
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
