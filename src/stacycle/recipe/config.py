"""The config: laid over the default, checked, and refused with a sentence for each mistake."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stacycle.errors import UserError, together
from stacycle.recipe import contradictions
from stacycle.recipe.auto import classification
from stacycle.recipe.config_meaning import misread, numbered
from stacycle.recipe.config_problems import problems
from stacycle.recipe.config_text import Places, read
from stacycle.recipe.first_search import local_range
from stacycle.recipe.pick_files import about_how_many
from stacycle.recipe.settings import Particle, config_type
from stacycle.recipe.step_names import part_of
from stacycle.recipe.step_settings import Round, is_step, kind_of
from stacycle.workflow import path as workflow_file

DEFAULT = workflow_file("config/config.yaml")


def load(default: str | Path, *overlays: str | Path) -> dict[str, Any]:
    """The default config with each overlay laid over it, validated; UserError for a file that is not YAML."""
    config: dict[str, Any] = {}
    for path in (default, *overlays):
        config = _laid_over(config, read(path))
    return validate(config, overlays)


def validate(config: dict[str, Any], configfiles: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Check a whole config, in place: rounds set to null go, what a round's steps leave out gets its default.

    The default's rounds come first, in its order, whatever the order in which an overlay names them.
    UserError with one sentence per mistake, each naming the key with dots, and where it stands in the `configfiles`.
    """
    places = Places([path for path in configfiles if Path(path).resolve() != DEFAULT.resolve()])
    _refuse(misread(config, places))
    as_json = json.loads(json.dumps(config, default=str))  # YAML knows more kinds of keys and values
    try:
        typed = config_type(as_json).model_validate(as_json)
    except ValidationError as error:
        raise together(problems(as_json, error, places)) from None
    _refuse(numbered(config, places))
    order = dict.fromkeys([*read(DEFAULT)["rounds"], *typed.rounds])
    rounds = {name: found for name in order if (found := typed.rounds.get(name)) is not None}
    _settle(rounds, config["inputs"], typed.particle)
    if not rounds:
        raise UserError("all are null", "leave at least one round in the config", "rounds")
    _refuse(contradictions.contradictions(typed))
    config.update(typed.model_dump(include={"particle", "engine", "cleanup"}))
    config["rounds"] = {name: _plain(found, config["rounds"][name]) for name, found in rounds.items()}
    return config


def for_module(config: dict[str, Any], prefix: str | None) -> dict[str, Any]:
    """The config of a workflow that imports this one, laid over the default; the importer's own stays as it is.
    UserError for a `prefix` of all paths: STAR files name others by their paths from the project folder."""
    if prefix:
        why = "files name each other by their paths from the folder that Snakemake runs in"
        cure = "give stacycle a folder of its own with --directory"
        raise UserError(f"leave out prefix, as {why}", cure, "module")
    return copy.deepcopy(_laid_over(read(DEFAULT), config))


def notes(config: dict[str, Any]) -> list[UserError]:
    """What a validated config says without effect, or against itself though it could be meant."""
    diameter, default = config["particle"]["diameter"], read(DEFAULT)["rounds"]
    typed: Mapping[str, Any] = config_type(config).model_validate(config).rounds
    return [
        note
        for name, given in config["rounds"].items()
        for note in [
            *contradictions.without_step(name, given, default.get(name) or {}),
            *contradictions.without_effect(name, typed[name], diameter),
        ]
    ]


def _settle(rounds: Mapping[str, Round], inputs: Sequence[Mapping[str, Any]], particle: Particle) -> None:
    """Put values in place of each `auto` that the jobs to be run depend on, and of a symmetry that goes on."""
    picks, symmetry = about_how_many(inputs), particle.symmetry
    for settings in rounds.values():
        symmetry = settings.symmetry = settings.symmetry or symmetry
        if settings.has("align") and settings.align.local_range == "auto":
            settings.align = settings.align.model_copy(update={"local_range": local_range(settings.steps)})
        for step in type(settings).model_fields:
            if is_step(step) and kind_of(step) == "class3d" and (given := getattr(settings, step)):
                settled = classification(given.model_dump(), picks, particle.diameter)
                if part_of(step, settings.parts):
                    settled.pop("highres_limit", None)  # a part is small: it differs in fine detail
                setattr(settings, step, given.model_copy(update=settled))


def _refuse(faults: Iterable[UserError]) -> None:
    if found := list(faults):
        raise together(found)


def _laid_over(base: Any, overlay: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return {
        key: _laid_over(base.get(key), overlay[key]) if key in overlay else base[key]
        for key in [*base, *overlay]
    }


def _plain(settings: Round, given: dict[str, Any]) -> dict[str, Any]:
    """The settings of a round with all defaults; those of steps that it has not are left as they were given."""
    others = {name for name in type(settings).model_fields if is_step(name) and name not in settings.steps}
    return settings.model_dump(exclude=others) | {step: given[step] for step in others if step in given}
