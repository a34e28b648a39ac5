"""All steps: each module of this package that holds a `STEP`."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from stacycle import steps
from stacycle.recipe.rounds import Recipe
from stacycle.recipe.step_settings import kind_of
from stacycle.resources.site import ALL_COMPUTE, Layout, layout
from stacycle.steps import shares
from stacycle.steps.dry_run import MANY, DryRun
from stacycle.steps.step import MakeCommand, Step

OUTSIDE = ("tomogram",)  # steps of no round that run a program


@cache
def all_steps() -> Mapping[str, Step]:
    """The steps by name."""
    found = pkgutil.iter_modules(steps.__path__)
    modules = (import_module(f"{steps.__name__}.{one.name}") for one in found)
    return {module.STEP.name: module.STEP for module in modules if hasattr(module, "STEP")}


@cache
def _by_rule() -> Mapping[str, Step]:
    return {rule: step for step in all_steps().values() for rule in (step.name, *step.runs_alike)}


def devices() -> Mapping[str, str]:
    """What the jobs of each rule compute on that tells it."""
    steps = all_steps().values()
    return {
        rule: device for step in steps for rule, device in [(step.name, step.device), *step.devices.items()]
    }


def shared() -> Mapping[str, str]:
    """What the MPI ranks of each rule's jobs share on CPUs."""
    return {rule: step.shared for rule, step in _by_rule().items()}


def layout_of_rule(
    rule: str, resources: Mapping[str, Any], cores: int, engine: Mapping[str, Any] | None = None
) -> Layout:
    """How a rule's jobs divide what Snakemake gives them, if there are many tomograms to share and memory is no limit;
    without an `engine`, as if ranks could be started."""
    step = _by_rule().get(rule)
    if step and step.shared in ALL_COMPUTE:
        job = SimpleNamespace(resources=resources, threads=cores)
        return shares.layout_of(job, engine or {"kind": "embedded"}, (MANY, 0))
    return layout(resources, cores, step is not None and step.half_sets)


def command_of_rule(rule: str) -> MakeCommand | None:
    """What makes the command line of a rule's jobs; None if they run no program."""
    step = _by_rule().get(rule)
    return step.command if step else None


def command_of(job: Any) -> MakeCommand | None:
    """What makes the command line of a job of Snakemake's, by its rule's param `step`; None if it runs no program."""
    return command_of_rule(job.rule.params.get("step", ""))


def command_lines(
    recipe: Recipe, config: Mapping[str, Any], asked: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, list[str]]]:
    """(rule, command line) of all that a recipe can run, before there are files. `asked` has what the profile makes of
    a rule's jobs; one that is not there has one rank, on CPUs."""
    moved = False
    for name in OUTSIDE:
        step = all_steps()[name]
        yield from step.dry_run(step, DryRun(recipe, config, asked, "", name, moved))
    for round_, name in recipe:
        step = all_steps()[kind_of(name)]
        run = DryRun(recipe, config, asked, round_, name, moved)
        yield from step.dry_run(step, run)
        moved = moved or step.may_leave_trajectories(run.settings)
