"""What `auto` became, as far as it is known before the run: from the inputs, and from what was decided so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stacycle.errors import UserError
from stacycle.files.atomic import read_json
from stacycle.files.job_folder import DECISION
from stacycle.recipe import auto
from stacycle.recipe.rounds import Recipe
from stacycle.recipe.step_settings import kind_of
from stacycle.recipe.variants import variants


def text(config: Mapping[str, Any], recipe: Recipe, facts: Mapping[str, Any] | None) -> str:
    """A line for each round: its box, what its sweeps try, what was decided; "" if nothing is known. `facts` are those
    of the inputs (`merge.read`)."""
    lines = []
    for name in recipe.rounds:
        known = [*_planned(config, recipe, name, facts), *_decided(recipe, name)]
        lines += [f"  {name}: {'; '.join(known)}."] if known else []
    return "\n".join(["Numbers known by now, auto worked out:", *lines]) if lines else ""


def _planned(
    config: Mapping[str, Any], recipe: Recipe, name: str, facts: Mapping[str, Any] | None
) -> Iterator[str]:
    """What follows from the config and the inputs."""
    round_ = recipe.rounds[name]
    if facts:
        pixel = facts["pixel_size"] * round_["binning"]
        with suppress(UserError):  # preflight tells of it
            yield f"box {auto.box(round_['box'], config['particle']['diameter'], pixel)} px of {pixel:.4g} Å"
    for step in round_["steps"]:
        if kind_of(step) in ("align", "class3d"):
            yield f"{step} {', '.join(variants(recipe.settings(name, step)))}"


def _decided(recipe: Recipe, name: str) -> Iterator[str]:
    """What was decided in a round so far."""
    for step in recipe.rounds[name]["steps"]:
        choice = read_json(Path("results", name, step, DECISION)).get("choice")
        if isinstance(choice, dict) and choice:
            yield f"{step} chose " + ", ".join(f"{key} {_plain(value)}" for key, value in choice.items())


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
