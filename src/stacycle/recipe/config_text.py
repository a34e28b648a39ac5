"""A config file as it was written: where each key stands, and why a file is not YAML, with a caret under the place."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stacycle.errors import UserError, together, unreadable

Keys = tuple[str | int, ...]  # from a config's top to a value
_WIDEST = 100  # characters of a line that are shown
# PyYAML's words -> what is wrong, and what to do. {context} is the line of what was opened before, {0} what is named.
_FAULTS = {
    r"found character '\\t'": "there is a tab; indent with blanks",
    r"found character '(.)' that cannot start": "text cannot begin with {0}; put it in quotes",
    r"mapping values are not allowed": (
        "a colon stands where none can; is one missing in the line before, is this line indented too far, or does "
        "text with a colon need quotes?"
    ),
    r"could not find expected ':'": "a key has no colon; write key: value",
    r"expected ',' or '([\]}])'": (
        "the bracket opened in line {context} is not closed with {0}, or a comma is missing; close it, or put the comma"
    ),
    r"expected <block end>": "this is not indented as what it belongs to; let the keys of a block begin in one column",
    r"unexpected end of stream|found unexpected document": "the quote opened in line {context} is not closed; close it",
    r"found undefined alias '?(.*?)'?$": "*{0} stands for nothing; put text that begins with * in quotes",
    r"could not determine a constructor for the tag": "a word begins with !; put it in quotes",
    r"found unknown escape character '?(.*?)'?$": "\\{0} means nothing within double quotes; write it in single quotes",
    r"found unhashable key|unacceptable key": "a key stands in brackets; put it in quotes",
    r"special characters are not allowed|unacceptable character": "there is a control character; take it out",
    r"another document": "a second document begins with ---; keep one",
    r"expected the node content": "a value is missing here; write one, or null",
}


def read(path: str | Path) -> dict[str, Any]:
    """What a config file holds. UserError, with the place, if it cannot be read, is not YAML, or holds no keys."""
    text = _text(path)
    content = copy.deepcopy(_parsed(path, text))
    if not isinstance({} if content is None else content, dict):
        raise UserError(f"{path}: must hold `key: value` lines")
    return content or {}


def _text(path: str | Path) -> str:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        # Snakemake's --configfile takes all words up to the next option
        no_config = Path(path).suffix not in (".yaml", ".yml", ".json")
        target = f"check the path; if it is no config, but what is to be made: --configfile ... -- {path}"
        raise unreadable(path, error, cure=target if no_config else "") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # byte order marks
        raise UserError(f"{path}: is text in UTF-16", "save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _end_of(data[: error.start].decode("utf-8", errors="replace"))
        said = f"byte 0x{data[error.start]:02x} is no character; save the file as UTF-8"
        raise _at(path, "UTF-8", data.decode("latin-1"), *place, said) from None


@cache  # Snakemake reads a config once, and we do
def _parsed(path: str | Path, text: str) -> Any:
    """The content of JSON, as Snakemake tries first, or YAML."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _fault(path, text, error) from None
    except (ValueError, RecursionError) as error:  # a date such as 2024-02-30; brackets without an end
        raise UserError(f"{path}: is not valid YAML ({error})", "put dates in quotes") from None


def _fault(path: str | Path, text: str, error: yaml.YAMLError) -> UserError:
    """Why a text is not YAML, in other words than PyYAML's."""
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    if "unexpected end of stream" in problem or "unexpected document" in problem:
        mark = context or mark  # where the quote opens
    if mark is None:
        line, column = _end_of(text[: getattr(error, "position", 0)])
    else:
        line, column = mark.line + 1, mark.column + 1
    said = problem
    for pattern, words in _FAULTS.items():
        if found := re.search(pattern, problem):
            said = words.format(*found.groups(""), context=context.line + 1 if context else line)
            break
    return _at(path, "valid YAML", text, line, column, said)


def _end_of(text: str) -> tuple[int, int]:
    """The line and the column, from 1, that come after a text."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def _at(path: str | Path, what: str, text: str, line: int, column: int, said: str) -> UserError:
    """A sentence that says where a file is not `what` it should be, then the line and a caret under the column."""
    lines = text.splitlines()
    if line > len(lines):  # the fault is that the file ends
        line, column = max(1, len(lines)), len(lines[-1]) + 1 if lines else 1
    shown = "".join(c if c.isprintable() else " " for c in (lines[line - 1] if lines else ""))
    start = max(0, column - 1 - _WIDEST // 2) if len(shown) > _WIDEST else 0
    end = "" if said.endswith("?") else "."
    caret = " " * (column - 1 - start) + "^"
    sentence = f"{path}: is not {what} in line {line}, column {column}: {said}{end}"
    return UserError(f"{sentence}\n  {shown[start : start + _WIDEST]}\n  {caret}")


@dataclass(frozen=True)
class Place:
    """Where a value stands, and as what: `raw` is its text, without its quotes if it is `quoted`."""

    path: Path
    line: int
    raw: str = ""
    quoted: bool = False
    plain: bool = False  # a word or number without quotes

    def __str__(self) -> str:
        whole, here = self.path.resolve(), Path.cwd()
        path = whole.relative_to(here) if whole.is_relative_to(here) else self.path
        return f" ({path}, line {self.line})"


class Places:
    """The places of keys and values in config files, by the keys that lead there; the last file that has one counts.
    UserError for a key that stands twice in one block: YAML would silently take the last."""

    def __init__(self, paths: Sequence[str | Path] = ()) -> None:
        self.values: dict[Keys, Place] = {}
        self.keys: dict[Keys, Place] = {}
        self._twice: list[UserError] = []
        for path in map(Path, paths):
            text = _text(path)
            try:
                json.loads(text)
            except ValueError:
                try:
                    self._walk(path, yaml.compose(text), ())
                except yaml.YAMLError as error:
                    raise _fault(path, text, error) from None
        if self._twice:
            raise together(self._twice)

    def where(self, *keys: Any) -> str:
        """The place of a value, to be put at the end of a sentence; empty if no file has it."""
        return str(self.values.get(keys) or self.keys.get(keys) or "")

    def _walk(self, path: Path, node: yaml.Node | None, keys: Keys) -> None:
        if node is None:
            return
        style = getattr(node, "style", None)
        scalar = isinstance(node, yaml.ScalarNode)
        raw = str(node.value) if scalar else ""
        line, quoted = node.start_mark.line + 1, style in ("'", '"')
        self.values[keys] = Place(path, line, raw, quoted, plain=scalar and style is None)
        if isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self._walk(path, item, (*keys, number))
        elif isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                name = str(key.value)
                here = (*keys, name)
                if name in seen:
                    problem = f"{path}: {dotted(here)} stands there twice"
                    self._twice.append(UserError(problem, "keep one of the two"))
                seen.add(name)
                self.keys[here] = Place(path, key.start_mark.line + 1, name, plain=key.style is None)
                self._walk(path, value, here)


def dotted(keys: Iterable[str | int]) -> str:
    """The keys to a value with dots between, as messages name it; items of a list are counted from 1."""
    return ".".join(str(key + 1) if isinstance(key, int) else str(key) for key in keys) or "config"


def give_types(config: Any, given: Any) -> Any:
    """The config with the values that came by --config (`given`) as YAML reads them: Snakemake makes text of all within
    { }."""
    if isinstance(given, Mapping):
        for key, inner in given.items():
            config[key] = give_types(config[key], inner)
        return config
    if isinstance(given, list | tuple):
        return [give_types(one, one) for one in given]
    if not isinstance(given, str):
        return config
    try:
        return yaml.safe_load(given)
    except yaml.YAMLError:
        return given
