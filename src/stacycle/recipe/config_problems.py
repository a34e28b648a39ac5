"""What is wrong with a config's keys and values, a sentence each: the key, what stands there, and what to write."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from stacycle.errors import UserError
from stacycle.recipe.config_meaning import hint
from stacycle.recipe.config_schema import Schema, expected, schema, shown
from stacycle.recipe.config_text import Keys, Places, dotted
from stacycle.recipe.setting_types import TAGS
from stacycle.recipe.settings import config_type
from stacycle.recipe.step_settings import is_step, kind_of

RENAMED = {"keep": ("cleanup", "choose")}  # since 0.1: an old key, and the new ones
# Steps that someone who knows RELION would look for: why they are none here, and what to do.
NO_STEPS = {
    "subtract": (
        "on 2D stacks relion_particle_subtract of RELION 5.0.1 writes one image in place of each particle's stack",
        "focus on parts instead, with nothing subtracted: parts: [head] (docs: States and parts)",
    ),
    "helix": (
        "helices need a rise, a twist and searches along the axis, which no step here has",
        "refine them in RELION's GUI, or take asymmetric units as particles",
    ),
}


def problems(config: dict[str, Any], error: ValidationError, places: Places) -> list[UserError]:
    """A sentence for each key and value that the models refuse, in their order."""
    tell = {"unknown": _unknown, "missing": _missing, "empty": _empty, "misfit": _misfit}
    return [tell[kind](config, keys, places) for keys, kind in _faults(error).items()]


def _faults(error: ValidationError) -> dict[Keys, str]:
    """The keys to what is refused, and how; a value of none of several kinds counts once, an unknown key as a whole."""
    found = dict(_fault(one["type"], one["loc"]) for one in error.errors(include_url=False))
    unknown = [keys for keys, kind in found.items() if kind == "unknown"]
    return {
        keys: kind
        for keys, kind in found.items()
        if not any(keys != other and keys[: len(other)] == other for other in unknown)
    }


def _fault(kind: str, location: Keys) -> tuple[Keys, str]:
    """What pydantic found, without its own names, and ours, of the kinds that a value may have."""
    location = tuple(part for part in location if part not in TAGS)
    if location[-1] == "[key]":
        return location[:-1], "unknown"
    if kind == "extra_forbidden":
        return location, "unknown"
    keys = next(location[:end] for end in range(len(location), -1, -1) if _node(location[:end]))
    if kind == "missing":
        return keys, "missing"
    return keys, "empty" if kind == "too_short" and "object" in _node(keys).get("type", ()) else "misfit"


def _node(keys: Keys) -> Schema:
    """The schema of what stands at `keys`; empty if there is no such key."""
    node = schema()
    named: Schema
    for key in keys:
        named = next(iter(node.get("patternProperties", {}).values()), {})
        node = (
            node.get("items", {}) if isinstance(key, int) else _inner(node.get("properties", {}), key, named)
        )
    return node


def _inner(properties: Schema, key: str, otherwise: Schema) -> Schema:
    """The schema of a key; that of a step with a name of its own is its kind's."""
    kind = kind_of(key) if "steps" in properties and is_step(key) else key
    return properties.get(kind, otherwise)


def _value(config: Any, keys: Keys) -> Any:
    for key in keys:
        config = config[key]
    return config


def _missing(config: Any, keys: Keys, places: Places) -> UserError:
    return UserError("missing", f"give {expected(_node(keys))}", dotted(keys))


def _empty(config: Any, keys: Keys, places: Places) -> UserError:
    return UserError("is empty", "give at least one setting, or leave it out with null", dotted(keys))


def _unknown(config: Any, keys: Keys, places: Places) -> UserError:
    known, key = _node(keys[:-1]).get("properties", {}), str(keys[-1])
    renamed = [new for new in RENAMED.get(key, ()) if new in known]
    close = renamed or difflib.get_close_matches(key, known, n=1)
    cure = _split_key(key, _value(config, keys), known) or (
        f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'names in letters'}."
    )
    return UserError("unknown key", f"{cure}{places.where(*keys)}", dotted(keys))


def _split_key(key: str, value: Any, known: Iterable[str]) -> str:
    """What to do about a key that is one only because of a comma or a missing blank; empty for any other."""
    name, colon, rest = key.partition(":")
    if colon and name in known and value is None:
        return f"put a blank after the colon: {name}: {rest.strip()}."
    if key.isdigit() and value is None:
        return "it comes after a comma; write a number with a decimal point."
    return ""


def _misfit(config: Any, keys: Keys, places: Places) -> UserError:
    """What stands at a key and what is expected there; and what to write, where that can be known."""

    def fits(meant: Any) -> bool:
        changed = copy.deepcopy(config)
        _value(changed, keys[:-1])[keys[-1]] = meant
        try:
            config_type(changed).model_validate(changed)
        except ValidationError as error:
            return not any(other[: len(keys)] == keys for other in _faults(error))
        return True

    node, value, place = _node(keys), _value(config, keys), places.where(*keys)
    if keys[-2:-1] == ("steps",) and value in NO_STEPS:
        why, instead = NO_STEPS[value]
        return UserError(f"{value}: {why}", f"{instead}{place}", dotted(keys))
    meaning = f" ({node['description'].rstrip('.')})" if "description" in node else ""
    problem = f"{shown(value)} is not {expected(node)}{meaning}"
    cure = _missing_colon(value, node) or hint(value, places.values.get(keys), fits, node)
    return UserError(problem if cure else f"{problem}{place}", cure and f"{cure}{place}", dotted(keys))


def _missing_colon(value: Any, node: Schema) -> str:
    """What to do about text that would be a key and its value with a colon and a blank; empty for any other."""
    found = re.fullmatch(r"(\w+)\s*[:=]?\s*(\S.*)", value) if isinstance(value, str) else None
    if found and found[1] in node.get("properties", {}):
        return f"write it as {found[1]}: {found[2]}"
    return ""
