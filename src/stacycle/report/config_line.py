"""One line of a config that sets one key."""

from __future__ import annotations

from typing import Any

import yaml


def config_line(key: str, value: str) -> str:
    """The line that sets a key with dots: `a.b` to 1 is `a: {b: 1}`. The value is put in as it is."""
    first, *inner = key.split(".")
    line = value
    for one in reversed(inner):
        line = f"{{{_word(one)}: {line}}}"
    return f"{_word(first)}: {line}"


def _word(key: Any) -> str:
    """A key as YAML writes it, in quotes if need be."""
    return yaml.safe_dump(key, width=1000).removesuffix("...\n").strip()
