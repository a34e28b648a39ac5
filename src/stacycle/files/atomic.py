"""Files that appear complete or not at all, even if the program that writes them is killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_text(path: str | Path, text: str, durable: bool = False) -> None:
    """Write a file, and its folder if need be. A `durable` one survives a crash of the machine, but takes longer."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: str | Path, value: Any, durable: bool = False) -> None:
    """Write a value that JSON can hold."""
    write_text(path, json.dumps(value, indent=1) + "\n", durable)


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file; {} if there is no such file, or it is damaged."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
