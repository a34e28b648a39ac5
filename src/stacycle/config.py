"""The config: laid over the default, checked against its schema, and refused with a sentence per mistake."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from stacycle.errors import UserError
from stacycle.recipe import SWEEPS, variants

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA, DEFAULT = CONFIG / "config.schema.yaml", CONFIG / "config.yaml"


def load(default: str | Path, *overlays: str | Path) -> dict[str, Any]:
    """The default config with each overlay laid over it, validated; UserError for a file that is not YAML."""
    config: dict[str, Any] = {}
    for path in (default, *overlays):
        config = _laid_over(config, _read(path))
    return validate(config)


def validate(config: dict[str, Any]) -> dict[str, Any]:
    """Check a whole config, in place: rounds set to null go, what a round's steps leave out gets its default.

    The default's rounds come first, in its order, whatever the order in which an overlay names them.
    UserError with one sentence per mistake, each naming the key with dots.
    """
    schema = _read(SCHEMA)
    _refuse(_schema_problems(config, schema))
    _refuse(list(_wrong_engine(config["engine"])))
    config["keep"] = _filled(config.get("keep"), schema["properties"]["keep"])
    order = [*_read(DEFAULT)["rounds"], *config["rounds"]]
    given = {name: settings for name, settings in config["rounds"].items() if settings is not None}
    rounds = config["rounds"] = {name: given[name] for name in dict.fromkeys(order) if name in given}
    _refuse([] if rounds else ["rounds: all are null; leave at least one round in the config."])
    (of_a_round,) = schema["properties"]["rounds"]["patternProperties"].values()
    for settings in rounds.values():
        _fill(settings, of_a_round["properties"])
    _refuse([problem for name, settings in rounds.items() for problem in _wrong_choices(name, settings)])
    return config


def for_module(config: dict[str, Any], prefix: str | None) -> dict[str, Any]:
    """The config of a workflow that imports this one, laid over the default; the importer's own stays as it is.

    UserError for a `prefix` of all paths: STAR files name others by their paths from the project folder.
    """
    if prefix:
        raise UserError(
            "module: leave out prefix, as files name each other by their paths from the folder that Snakemake runs in; "
            "give stacycle a folder of its own with --directory."
        )
    return copy.deepcopy(_laid_over(_read(DEFAULT), config))


def table() -> str:
    """Every key with its default and meaning as a Markdown table, for config/README.md."""
    rows = [
        f"| `{key}` | {_shown(node['default']) if 'default' in node else ''} | {node['description']} |"
        for key, node in _leaves(_read(SCHEMA), "")
    ]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UserError("\n".join(problems))


def _read(path: str | Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}: is not valid YAML{where} ({getattr(error, 'problem', error)}).") from None
    if not isinstance(content or {}, dict):
        raise UserError(f"{path}: must hold `key: value` lines.")
    return content or {}


def _laid_over(base: Any, overlay: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return {
        key: _laid_over(base.get(key), overlay[key]) if key in overlay else base[key]
        for key in [*base, *overlay]
    }


def _fill(settings: dict[str, Any], properties: dict[str, Any]) -> None:
    settings.setdefault("box", properties["box"]["default"])
    for step in settings["steps"]:
        settings[step] = _filled(settings.get(step), properties[step])


def _filled(value: Any, schema: dict[str, Any]) -> Any:
    """A block of the config with what it leaves out, at every depth; variants set to null go."""
    if (value is None and "default" in schema) or not isinstance(value, dict | None):
        return value
    value = value or {}
    named = {
        key: _filled(
            _laid_over(node.get("default"), value[key]) if key in value else node.get("default"), node
        )
        for key, node in schema.get("properties", {}).items()
    }
    for of_a_variant in schema.get("patternProperties", {}).values():
        named |= {key: _filled(one, of_a_variant) for key, one in value.items() if one is not None}
    return named


def _wrong_engine(engine: dict[str, Any]) -> Iterator[str]:
    """What excludes each other in the section `engine`."""
    for key in ("modules", "container"):
        if engine[key] is not None and engine["kind"] == "embedded":
            yield f"engine.{key}: the embedded engine needs none; set engine.kind to relion, or leave it out."
    if engine["modules"] is not None and engine["container"] is not None:
        yield (
            "engine.modules, engine.container: the one replaces the other; leave one out. A module that Apptainer "
            "needs is loaded before Snakemake is started."
        )
    if engine["container_args"] and engine["container"] is None:
        yield "engine.container_args: belong to engine.container; name the image there, or leave them out."


def _wrong_choices(name: str, settings: dict[str, Any]) -> Iterator[str]:
    """What the schema cannot see: the user's choice of a run or iteration that there will not be."""
    for step in {"align", "class3d"} & set(settings["steps"]):
        where, chosen, runs = f"rounds.{name}.{step}", settings[step], list(variants(settings[step]))
        if chosen["variant"] != "auto" and chosen["variant"] not in runs:
            yield f"{where}.variant: there is no run {chosen['variant']}; choose auto, {', '.join(runs)}."
        if chosen["iteration"] != "auto" and chosen["iteration"] > chosen["iterations"]:
            yield (
                f"{where}.iteration: {chosen['iteration']} comes after the last, {chosen['iterations']}; "
                "choose an earlier one or raise iterations."
            )
    if "cycle" in settings["steps"]:
        yield from _wrong_cycle(f"rounds.{name}.cycle", settings["cycle"])


def _wrong_cycle(where: str, settings: dict[str, Any]) -> Iterator[str]:
    """What cannot work in a cycle: variants that do nothing or the same as another, boxes, the choice to keep."""
    for sweep in SWEEPS:
        seen: dict[str, str] = {}
        for variant, chosen in (settings[sweep] or {}).items():
            what = json.dumps(chosen, sort_keys=True)
            if variant in ("before", "auto"):
                yield f"{where}.{sweep}.{variant}: the name has a meaning of its own; give the variant another."
            if what in seen:
                yield f"{where}.{sweep}: {variant} is the same as {seen[what]}; change one, or leave it out with null."
            if sweep == "ctfrefine" and not chosen["defocus"] and not chosen["scale"]:
                yield f"{where}.{sweep}.{variant}: refines neither defocus nor scale; turn one on, or leave it out."
            seen.setdefault(what, variant)
        keep = settings["keep"][sweep]
        if keep not in ("auto", "before", *seen.values()):
            choices = ", ".join(["auto", "before", *seen.values()])
            yield f"{where}.keep.{sweep}: there is no variant {keep}; choose one of {choices}."
    box, estimation_box = settings["box"], settings["estimation_box"]
    if "auto" not in (box, estimation_box) and estimation_box < box:
        yield f"{where}.estimation_box: {estimation_box} px is smaller than the box of {box}; give at least that."


def refuse_keys_twice(path: str | Path) -> None:
    """UserError for a key that stands twice in one block of a YAML file: YAML would silently take the last."""
    tree = yaml.compose(Path(path).read_text())
    _refuse([f"{path}: {key} stands there twice; keep one of the two." for key in _keys_twice(tree, "")])


def _keys_twice(node: yaml.Node | None, prefix: str) -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _keys_twice(item, prefix)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield f"{prefix}{key.value}"
            seen.add(key.value)
            yield from _keys_twice(value, f"{prefix}{key.value}.")


def _schema_problems(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    as_json = json.loads(json.dumps(config, default=str))  # YAML knows more kinds of keys and values
    errors = jsonschema.Draft202012Validator(schema).iter_errors(as_json)
    return [sentence for error in sorted(errors, key=lambda e: e.json_path) for sentence in _sentences(error)]


def _sentences(error: jsonschema.ValidationError) -> Iterator[str]:
    parts = [part + 1 if isinstance(part, int) else part for part in error.absolute_path]
    schema: dict[str, Any] = error.schema  # type: ignore[assignment]
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        for key in sorted(_unknown(error.instance, schema)):
            close = difflib.get_close_matches(key, known, n=1)
            hint = (
                f"did you mean {close[0]}?"
                if close
                else f"known here: {', '.join(known) or 'names in letters'}."
            )
            yield f"{_dotted(*parts, key)}: unknown key; {hint}"
    elif error.validator == "minProperties":
        yield f"{_dotted(*parts)}: is empty; give at least one setting, or leave it out with null."
    elif error.validator == "required":
        key = error.message.split("'")[1]
        yield f"{_dotted(*parts, key)}: missing; give {_expected(schema['properties'][key])}."
    else:
        meaning = f" ({schema['description'].rstrip('.')})" if "description" in schema else ""
        yield f"{_dotted(*parts)}: {_shown(error.instance)} is not {_expected(schema)}{meaning}."


def _unknown(instance: Any, schema: dict[str, Any]) -> list[str]:
    patterns = schema.get("patternProperties", {})
    return [
        key
        for key in instance
        if key not in schema.get("properties", {})
        and not any(re.search(pattern, key) for pattern in patterns)
    ]


def _expected(schema: dict[str, Any]) -> str:
    """What a schema allows, in words."""
    if "anyOf" in schema:
        return " or ".join(map(_expected, schema["anyOf"]))
    if "enum" in schema:
        return "one of " + ", ".join(map(_shown, schema["enum"]))
    if "const" in schema:
        return _shown(schema["const"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_kind(kind, schema) for kind in kinds)


def _kind(kind: str, schema: dict[str, Any]) -> str:
    if kind in ("integer", "number"):
        bounds = [word.format(_shown(schema[key])) for key, word in _BOUNDS.items() if key in schema]
        return " ".join([{"integer": "a whole number", "number": "a number"}[kind], *bounds])
    if kind == "array":
        return f"a list of {'different ' * ('uniqueItems' in schema)}items, each {_expected(schema['items'])}"
    if kind == "object" and "required" in schema:
        return "{" + ", ".join(f"{key}: ..." for key in schema["required"]) + "}"
    return {"boolean": "true or false", "string": "text", "null": "null", "object": "a block of keys"}[kind]


_BOUNDS = {
    "minimum": "of at least {}",
    "maximum": "of at most {}",
    "exclusiveMinimum": "above {}",
    "multipleOf": "that {} divides",
}


def _leaves(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    named = [("NAME", node) for node in schema.get("patternProperties", {}).values()]
    for name, node in [*schema.get("properties", {}).items(), *named]:
        if "description" in node:
            yield prefix + name, node
        yield from _leaves(node.get("items", node), f"{prefix}{name}.")


def _dotted(*parts: str | int) -> str:
    return ".".join(map(str, parts)) or "config"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value and value.isprintable() else json.dumps(value)
