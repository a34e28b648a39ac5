"""The config's keys as a JSON schema with their sentences, for messages and for the table in config/README.md, which
`make keys` writes anew."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from stacycle.recipe.settings import Config

Schema = dict[str, Any]


@cache
def schema() -> Schema:
    """The JSON schema of the config, without references, each key with its meaning as `description`."""
    whole = Config.model_json_schema()
    return _resolved(whole, whole.pop("$defs"))


def keys(node: Schema, prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """Every key that has a meaning, with dots (NAME for one of the user's), and its schema."""
    named = [("NAME", inner) for inner in node.get("patternProperties", {}).values()]
    for name, inner in [*node.get("properties", {}).items(), *named]:
        if "description" in inner:
            yield prefix + name, inner
        yield from keys(inner.get("items", inner), f"{prefix}{name}.")


def table() -> str:
    """Every key with its default and meaning as a Markdown table, for config/README.md."""
    rows = [
        f"| `{key}` | {shown(node['default']) if 'default' in node else ''} | {node['description']} |"
        for key, node in keys(schema())
    ]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def expected(node: Schema) -> str:
    """What a schema allows, in words."""
    if "anyOf" in node:
        return " or ".join(map(expected, node["anyOf"]))
    if "enum" in node:
        return "one of " + ", ".join(map(shown, node["enum"]))
    if "const" in node:
        return shown(node["const"])
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    return " or ".join(_kind(kind, node) for kind in kinds)


def shown(value: Any) -> str:
    """A value as one would write it."""
    return value if isinstance(value, str) and value and value.isprintable() else json.dumps(value)


def _kind(kind: str, node: Schema) -> str:
    if kind in ("integer", "number"):
        bounds = [word.format(shown(node[key])) for key, word in _BOUNDS.items() if key in node]
        return " ".join([{"integer": "a whole number", "number": "a number"}[kind], *bounds])
    if kind == "array":
        count = f"{node['minItems']} " if node.get("minItems", 0) == node.get("maxItems") else ""
        return (
            f"a list of {count}{'different ' * ('uniqueItems' in node)}items, each {expected(node['items'])}"
        )
    if kind == "object" and (usual := node.get("usual") or node.get("required")):
        return "{" + ", ".join(f"{key}: ..." for key in usual) + "}"
    return {"boolean": "true or false", "string": "text", "null": "null", "object": "a block of keys"}[kind]


_BOUNDS = {
    "minimum": "of at least {}",
    "maximum": "of at most {}",
    "exclusiveMinimum": "above {}",
    "multipleOf": "that {} divides",
}


def _resolved(node: Any, models: Schema) -> Any:
    """A schema with each reference replaced by what it refers to; a block that may be null stays a block, and the keys
    of one that is a value among others stand beside them."""
    if isinstance(node, list):
        return [_resolved(inner, models) for inner in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        node = models[node["$ref"].rpartition("/")[2]] | {key: node[key] for key in node if key != "$ref"}
    names = {"oneOf": "anyOf"}
    node = {names.get(key, key): _resolved(inner, models) for key, inner in node.items() if key != "title"}
    blocks = [inner for inner in node.get("anyOf", []) if inner.get("type") == "object"]
    if blocks and any(inner.get("type") not in ("object", "null") for inner in node["anyOf"]):
        node["properties"] = blocks[0]["properties"]
    elif blocks:
        del node["anyOf"]
        node = blocks[0] | node | {"type": ["object", "null"]}
    return node


def _write_table(path: Path) -> None:
    """Put the table into a Markdown file, in the place of the one between the markers."""
    old = re.compile(r"(<!-- keys: made by make keys -->\n).*?(<!-- end of keys -->)", re.DOTALL)
    path.write_text(old.sub(lambda marks: f"{marks[1]}{table()}\n{marks[2]}", path.read_text()))


if __name__ == "__main__":
    _write_table(Path(sys.argv[1]))
