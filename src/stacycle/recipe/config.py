"""The config: laid over the default, checked against its schema, and refused with a sentence per mistake."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema

from stacycle import workflow
from stacycle.errors import UserError
from stacycle.programs import align, refine_ctf
from stacycle.recipe.config_text import Places, hint, misread, numbered, read
from stacycle.recipe.rounds import SWEEPS, variants

CONFIG = workflow.path("config")
RENAMED = {"keep": {"cleanup", "choose"}}  # what a key of an earlier version is called now
SCHEMA, DEFAULT = CONFIG / "config.schema.yaml", CONFIG / "config.yaml"


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
    schema = read(SCHEMA)
    places = Places([path for path in configfiles if Path(path).resolve() != DEFAULT.resolve()])
    _refuse(list(misread(config, places)))
    _refuse(_schema_problems(config, schema, places))
    _refuse(list(numbered(config, places)))
    _refuse(list(_wrong_engine(config["engine"])))
    config["cleanup"] = _filled(config.get("cleanup"), schema["properties"]["cleanup"])
    order = [*read(DEFAULT)["rounds"], *config["rounds"]]
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
    return copy.deepcopy(_laid_over(read(DEFAULT), config))


def notes(config: dict[str, Any]) -> list[str]:
    """What a validated config says without effect, or against itself though it could be meant: a sentence each."""
    default, diameter = read(DEFAULT)["rounds"], config["particle"]["diameter"]
    (of_a_round,) = read(SCHEMA)["properties"]["rounds"]["patternProperties"].values()
    known = of_a_round["properties"]["steps"]["items"]["enum"]
    autob_lowres = of_a_round["properties"]["postprocess"]["properties"]["autob_lowres"]["default"]
    return [
        note
        for name, settings in config["rounds"].items()
        for note in [
            *_without_step(name, settings, default.get(name) or {}, known),
            *_without_effect(name, settings, diameter, autob_lowres),
        ]
    ]


def _without_step(
    name: str, settings: dict[str, Any], default: dict[str, Any], known: Iterable[str]
) -> Iterator[str]:
    """Settings of steps that a round has not; the default's own do not count."""
    for step in known:
        if step in settings and step not in settings["steps"] and settings[step] != default.get(step):
            yield (
                f"rounds.{name}.{step}: has no effect, as {step} is not among the round's steps; add it to "
                f"rounds.{name}.steps, or leave the settings out."
            )


def _without_effect(
    name: str, settings: dict[str, Any], diameter: float, autob_lowres: float
) -> Iterator[str]:
    """What has no effect beside other settings of the round, or cuts into the particle; a default is not meant."""
    steps = settings["steps"]
    sharpened: dict[str, Any] = {"postprocess": settings["postprocess"]} if "postprocess" in steps else {}
    if "cycle" in steps:
        sharpened["cycle.postprocess"] = settings["cycle"]["postprocess"]
    for where, chosen in sharpened.items():
        if chosen["bfactor"] != "auto" and chosen["autob_lowres"] != autob_lowres:
            yield (
                f"rounds.{name}.{where}.autob_lowres: has no effect beside a bfactor of {chosen['bfactor']:g} Å²; it "
                "belongs to bfactor: auto."
            )
    if "mask" in steps and not {"refine3d", "postprocess"} & set(steps[steps.index("mask") :]):
        yield f"rounds.{name}.steps: the mask is used by no step after it; put mask before refine3d or postprocess."
    for step in ("align", "class3d", "refine3d"):
        wide: Any = settings[step]["mask_diameter"] if step in steps else "auto"
        if wide != "auto" and wide < diameter:
            yield (
                f"rounds.{name}.{step}.mask_diameter: {wide:g} Å cuts into a particle of {diameter:g} Å "
                "(particle.diameter); give more, or auto."
            )


def table() -> str:
    """Every key with its default and meaning as a Markdown table, for config/README.md."""
    rows = [
        f"| `{key}` | {_shown(node['default']) if 'default' in node else ''} | {node['description']} |"
        for key, node in _leaves(read(SCHEMA), "")
    ]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UserError("\n".join(problems))


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
    for key in ("bin", "modules", "container"):
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
    for step in {"align", "refine3d"} & set(settings["steps"]):
        where, chosen = f"rounds.{name}.{step}", settings[step]
        if chosen["offset_step"] > chosen["offset_range"]:
            yield (
                f"{where}.offset_step: {chosen['offset_step']:g} px leads out of the range of "
                f"{chosen['offset_range']:g} px that is searched; give a smaller one, or raise offset_range."
            )
    if "extract" in settings["steps"]:
        crop, box = settings["extract"]["crop"], settings["box"]
        if crop and box != "auto" and crop > box:
            yield (
                f"rounds.{name}.extract.crop: {crop} px is more than the box of {box}; give at most that, or null."
            )
    if {"class3d", "select"} <= set(settings["steps"]):
        yield from _wrong_classes(name, settings)
    if "cycle" in settings["steps"]:
        yield from _wrong_cycle(f"rounds.{name}.cycle", settings["cycle"])


def _wrong_classes(name: str, settings: dict[str, Any]) -> Iterator[str]:
    """Classes to keep that no run of the classification has which can be chosen."""
    runs, classes = variants(settings["class3d"]), settings["select"]["classes"]
    if classes == "auto" or (chosen := settings["class3d"]["variant"]) not in ("auto", *runs):
        return
    most = int(max(K for run, (_, K) in runs.items() if chosen in ("auto", run)))
    if wrong := [number for number in classes if number > most]:
        yield (
            f"rounds.{name}.select.classes: there is no class {', '.join(map(str, wrong))}, as class3d makes {most}; "
            f"name some of 1 to {most}, or auto."
        )


def _effect(sweep: str, chosen: dict[str, Any]) -> list[str]:
    """What a variant asks of its program: settings that do nothing beside others are not among it."""
    against: dict[str, Any] = {"state": "", "half_maps": ["", ""], "mask": "", "postprocess": "", "out": ""}
    build: Callable[..., list[str]] = refine_ctf.argv if sweep == "ctfrefine" else align.argv
    return build(**against, box=0, threads=1, **chosen)


def _wrong_cycle(where: str, settings: dict[str, Any]) -> Iterator[str]:
    """What cannot work in a cycle: variants that do nothing or the same as another, boxes, the choice."""
    for sweep in SWEEPS:
        seen: dict[str, str] = {}
        for variant, chosen in (settings[sweep] or {}).items():
            what = " ".join(_effect(sweep, chosen))
            if variant in ("before", "auto"):
                yield f"{where}.{sweep}.{variant}: the name has a meaning of its own; give the variant another."
            if what in seen:
                yield (
                    f"{where}.{sweep}: {variant} is the same as {seen[what]} in all that has an effect; change one, or "
                    "leave it out with null."
                )
            if sweep == "ctfrefine" and not chosen["defocus"] and not chosen["scale"]:
                yield f"{where}.{sweep}.{variant}: refines neither defocus nor scale; turn one on, or leave it out."
            seen.setdefault(what, variant)
        chosen = settings["choose"][sweep]
        if chosen not in ("auto", "before", *seen.values()):
            choices = ", ".join(["auto", "before", *seen.values()])
            yield f"{where}.choose.{sweep}: there is no variant {chosen}; choose one of {choices}."
    box, estimation_box = settings["box"], settings["estimation_box"]
    if "auto" not in (box, estimation_box) and estimation_box < box:
        yield f"{where}.estimation_box: {estimation_box} px is smaller than the box of {box}; give at least that."


def refuse_keys_twice(path: str | Path) -> None:
    """UserError for a key that stands twice in one block of a YAML file: YAML would silently take the last."""
    Places([path])


def _schema_problems(config: dict[str, Any], schema: dict[str, Any], places: Places) -> list[str]:
    as_json = json.loads(json.dumps(config, default=str))  # YAML knows more kinds of keys and values
    errors = _Validator(schema).iter_errors(as_json)
    return [
        sentence
        for error in sorted(errors, key=lambda e: e.json_path)
        for sentence in _sentences(error, places)
    ]


# 25.0 is no whole number: it would be one in a file's name.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def _sentences(error: jsonschema.ValidationError, places: Places) -> Iterator[str]:
    keys = tuple(error.absolute_path)
    parts = [part + 1 if isinstance(part, int) else part for part in keys]
    schema: dict[str, Any] = error.schema  # type: ignore[assignment]
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        for key in sorted(_unknown(instance, schema)):
            close = RENAMED.get(key, set()) & set(known) or difflib.get_close_matches(key, known, n=1)
            advice = _split_key(key, instance[key], known) or (
                f"did you mean {next(iter(close))}?"
                if close
                else f"known here: {', '.join(known) or 'names in letters'}."
            )
            yield f"{_dotted(*parts, key)}: unknown key; {advice}{places.where(*keys, key)}"
    elif error.validator == "minProperties":
        yield f"{_dotted(*parts)}: is empty; give at least one setting, or leave it out with null."
    elif error.validator == "required":
        key = error.message.split("'")[1]
        yield f"{_dotted(*parts, key)}: missing; give {_expected(schema['properties'][key])}."
    else:
        meaning = f" ({schema['description'].rstrip('.')})" if "description" in schema else ""
        told = f"{_dotted(*parts)}: {_shown(instance)} is not {_expected(schema)}{meaning}"
        meant = _missing_colon(instance, schema) or hint(
            instance, places.values.get(keys), _Validator(schema).is_valid, schema
        )
        yield f"{told}{meant}{places.where(*keys)}."


def _split_key(key: str, value: Any, known: Iterable[str]) -> str:
    """What to do about a key that is one only because of a comma or a missing blank; empty for any other."""
    name, colon, rest = key.partition(":")
    if colon and name in known and value is None:
        return f"put a blank after the colon: {name}: {rest.strip()}."
    if key.isdigit() and value is None:
        return "it comes after a comma; write a number with a decimal point."
    return ""


def _missing_colon(value: Any, schema: dict[str, Any]) -> str:
    """What to do about text that would be a key and its value with a colon and a blank; empty for any other."""
    found = re.fullmatch(r"(\w+)\s*[:=]?\s*(\S.*)", value) if isinstance(value, str) else None
    if found and found[1] in schema.get("properties", {}):
        return f"; write it as {found[1]}: {found[2]}"
    return ""


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
