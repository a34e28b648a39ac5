"""A config as it was written: where each key stands, what YAML made of what stands there, and what was meant.

YAML 1.1 takes 2.6e2 and 1,5 for text, 010 for eight, 12:30 for 750, and no for false. Each is refused with what YAML
made of it and what to write; a file that is not YAML, with the place, a caret under it and what to mend.
"""

from __future__ import annotations

import copy
import datetime
import difflib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stacycle.errors import UserError

_WIDEST = 100  # characters of a line that are shown
_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
# PyYAML's words -> what is wrong, and what to do. {context} is the line of what was begun before, {0} what is named.
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
    r"unexpected end of stream": "the quote opened in line {context} is not closed; close it",
    r"found unexpected document": "the quote opened in line {context} is not closed; close it",
    r"found undefined alias '?(.*?)'?$": "*{0} stands for nothing; put text that begins with * in quotes",
    r"could not determine a constructor for the tag": "a word begins with !; put it in quotes",
    r"found unknown escape character '?(.*?)'?$": "\\{0} means nothing within double quotes; write it in single quotes",
    r"found unhashable key|unacceptable key": "a key stands in brackets; put it in quotes",
    r"special characters are not allowed|unacceptable character": "there is a control character; take it out",
    r"another document": "a second document begins with ---; keep one",
    r"expected the node content": "a value is missing here; write one, or null",
}
_UNITS = r"(å|a|å²|angstroms?|ångströms?|nm|px|pix|pixels?|°|deg|degrees?|e/å²|e/å\^2)"
_NUMBER = re.compile(rf"([-+]?(?:\d[\d ',_]*)?\.?[\d ',_.]*\d\.?(?:e[-+]?\d+)?)\s*{_UNITS}?", re.IGNORECASE)
_MINUS = str.maketrans("−–—", "---")
_OCTAL, _SIXTIES = re.compile(r"[-+]?0[0-7_]+"), re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?")
_WORDS = {
    "y": True,
    "yes": True,
    "true": True,
    "on": True,
    "n": False,
    "no": False,
    "false": False,
    "off": False,
}
_NOTHING = ("none", "null", "nil", "~", "")

Valid = Callable[[Any], bool]


# ---------------------------------------------------------------- reading


def read(path: str | Path) -> dict[str, Any]:
    """What a config file holds. UserError, with the place, if it cannot be read, is not YAML, or holds no keys."""
    text = _text(path)
    content = copy.deepcopy(_parsed(path, text))
    if not isinstance({} if content is None else content, dict):
        raise UserError(f"{path}: must hold `key: value` lines.")
    return content or {}


def _text(path: str | Path) -> str:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path.") from None
    for mark, name in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            raise UserError(f"{path}: is text in {name}; save it as UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", errors="replace")
        column = len(before) - before.rfind("\n")
        said = f"byte 0x{data[error.start]:02x} is no character; save the file as UTF-8"
        line = before.count("\n") + 1
        raise UserError(_at(path, "UTF-8", data.decode("latin-1"), line, column, said)) from None


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
        raise UserError(_fault(path, text, error)) from None
    except (ValueError, RecursionError) as error:  # a date such as 2024-02-30; brackets without an end
        raise UserError(f"{path}: is not valid YAML ({error}); put dates in quotes.") from None


def _fault(path: str | Path, text: str, error: yaml.YAMLError) -> str:
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    if "unexpected end of stream" in problem or "unexpected document" in problem:
        mark = context or mark  # where the quote opens
    if mark is None:
        position = getattr(error, "position", 0)
        before = text[:position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    else:
        line, column = mark.line + 1, mark.column + 1
    said = problem
    for pattern, words in _FAULTS.items():
        if found := re.search(pattern, problem):
            said = words.format(*found.groups(""), context=context.line + 1 if context else line)
            break
    return _at(path, "valid YAML", text, line, column, said)


def _at(path: str | Path, what: str, text: str, line: int, column: int, said: str) -> str:
    """A sentence that says where a file is not `what` it should be, then the line and a caret under the column."""
    lines = text.splitlines()
    if line > len(lines):  # the fault is that the file ends
        line, column = max(1, len(lines)), len(lines[-1]) + 1 if lines else 1
    shown = "".join(c if c.isprintable() else " " for c in (lines[line - 1] if lines else ""))
    start = max(0, column - 1 - _WIDEST // 2) if len(shown) > _WIDEST else 0
    end = "" if said.endswith("?") else "."
    caret = " " * (column - 1 - start) + "^"
    told = f"{path}: is not {what} in line {line}, column {column}: {said}{end}"
    return f"{told}\n  {shown[start : start + _WIDEST]}\n  {caret}"


def explain_to_snakemake() -> None:
    """Let Snakemake, which reads config files before any Snakefile, say a file's fault as `read` does."""
    from snakemake.common import configfile
    from snakemake.exceptions import WorkflowError
    from snakemake.settings import types

    load = configfile.load_configfile

    def load_configfile(path: Any) -> dict[str, Any]:
        try:
            return load(path)
        except (WorkflowError, ValueError, OSError, RecursionError):
            try:
                if read(path) == {}:  # all of it is comments
                    return {}
            except UserError as told:
                raise WorkflowError(str(told)) from None
            raise

    configfile.load_configfile = types.load_configfile = load_configfile


# ---------------------------------------------------------------- where what stands


@dataclass(frozen=True)
class Place:
    """Where a value stands, and as what: `raw` is its text, without its quotes if it is `quoted`."""

    path: Path
    line: int
    raw: str = ""
    quoted: bool = False
    plain: bool = False  # a word or number without quotes

    def __str__(self) -> str:
        return f" ({_near(self.path)}, line {self.line})"


class Places:
    """The places of keys and values in config files, by the keys that lead there; the last file that has one counts.

    UserError for a key that stands twice in one block: YAML would silently take the last.
    """

    def __init__(self, paths: Sequence[str | Path] = ()) -> None:
        self.values: dict[tuple, Place] = {}
        self.keys: dict[tuple, Place] = {}
        self._twice: list[str] = []
        for path in map(Path, paths):
            text = _text(path)
            try:
                json.loads(text)
            except ValueError:
                try:
                    self._walk(path, yaml.compose(text), ())
                except yaml.YAMLError as error:
                    raise UserError(_fault(path, text, error)) from None
        if self._twice:
            raise UserError("\n".join(self._twice))

    def where(self, *keys: Any) -> str:
        """The place of a value, to be put at the end of a sentence; empty if no file has it."""
        found = self.values.get(keys) or self.keys.get(keys)
        return str(found or "")

    def _walk(self, path: Path, node: yaml.Node | None, keys: tuple) -> None:
        if node is None:
            return
        style = getattr(node, "style", None)
        scalar = isinstance(node, yaml.ScalarNode)
        raw = str(node.value) if scalar else ""
        self.values[keys] = Place(
            path, node.start_mark.line + 1, raw, style in ("'", '"'), scalar and style is None
        )
        if isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self._walk(path, item, (*keys, number))
        elif isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                name = str(key.value)
                here = (*keys, name)
                if name in seen:
                    dotted = ".".join(str(one + 1) if isinstance(one, int) else one for one in here)
                    self._twice.append(f"{path}: {dotted} stands there twice; keep one of the two.")
                seen.add(name)
                self.keys[here] = Place(path, key.start_mark.line + 1, name, plain=key.style is None)
                self._walk(path, value, here)


def _near(path: Path) -> str:
    """A path from the working folder, if it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


# ---------------------------------------------------------------- what YAML made of it


def misread(config: Any, places: Places) -> Iterator[str]:
    """What passes for something else than was written: numbers in eights and sixties, dates, names that are no text."""
    yield from _misread(config, places, ())


def _misread(value: Any, places: Places, keys: tuple) -> Iterator[str]:
    key = ".".join(str(one + 1) if isinstance(one, int) else str(one) for one in keys)
    place = places.values.get(keys)
    if isinstance(value, Mapping):
        for name, inner in value.items():
            written = name if isinstance(name, str) else _key_as_written(name, places, keys)
            if not isinstance(name, str | int) or isinstance(name, bool):
                where = places.keys.get((*keys, written))
                yield (
                    f"{key}: YAML reads the name {written} as {_made(name)}; put it in quotes: "
                    f"{json.dumps(written)}{where or ''}."
                )
            yield from _misread(inner, places, (*keys, written))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _misread(inner, places, (*keys, number))
    elif isinstance(value, datetime.date | datetime.datetime):
        raw = place.raw if place and place.raw else value.isoformat()
        yield f"{key}: YAML reads {raw} as a date; put it in quotes: {json.dumps(raw)}{place or ''}."
    elif isinstance(value, bytes | set):
        yield f"{key}: YAML reads this as {type(value).__name__}; write plain text or a list{place or ''}."
    elif isinstance(value, float) and not math.isfinite(value):
        raw = place.raw if place and place.raw else str(value)
        yield f"{key}: {raw} is not a finite number; write one, or null where the key allows it{place or ''}."
    elif isinstance(value, int | float) and place and place.plain and not isinstance(value, bool):
        raw = place.raw
        if _OCTAL.fullmatch(raw) and int(raw, 10) != value:
            yield (
                f"{key}: YAML reads {raw} as the octal number {value}; write {int(raw, 10)}, or {value}, or put a name "
                f"in quotes{place}."
            )
        elif _SIXTIES.fullmatch(raw):
            yield f"{key}: YAML reads {raw} as {value:g}, counted in sixties; write a plain number{place}."


def numbered(config: Any, places: Places, keys: tuple = ()) -> Iterator[str]:
    """Names that YAML made numbers of, in a config whose keys are known to be right otherwise."""
    for name, inner in config.items() if isinstance(config, Mapping) else ():
        if isinstance(name, int):
            where = places.keys.get((*keys, str(name)), "")
            yield f'{".".join(keys)}: YAML reads the name {name} as a number; put it in quotes: "{name}"{where}.'
        yield from numbered(inner, places, (*keys, str(name)))


def _key_as_written(name: Any, places: Places, keys: tuple) -> str:
    """A key that YAML made something else of, as it stands in a file."""
    for here, place in places.keys.items():
        if here[:-1] == keys and place.plain and _same(name, place.raw):
            return here[-1]
    return _made(name)


def _same(name: Any, raw: str) -> bool:
    try:
        made = yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError):
        return False
    return type(made) is type(name) and bool(made == name)


def _made(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def give_types(config: Any, given: Any) -> Any:
    """The config with the values that came by --config as YAML reads them: Snakemake makes text of all within { }.

    `given` is what Snakemake made of the command line.
    """
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


# ---------------------------------------------------------------- what was meant


def hint(value: Any, place: Place | None, valid: Valid, schema: Mapping[str, Any]) -> str:
    """What YAML made of a value that does not fit, and what to write: the first of what it may mean that is `valid`.

    "; YAML reads 2.6e2 as text: write 260"; empty if no meaning is known.
    """
    raw = place.raw if place and place.raw else value if isinstance(value, str) else ""
    read = _as_read(value, raw, place)
    for meant, written in _meanings(value, raw, valid, schema):
        if valid(meant):
            return f"; {read + ': ' if read and not isinstance(meant, str) else ''}write {written}"
    return "" if isinstance(value, str) or not read else f"; {read}"


def _as_read(value: Any, raw: str, place: Place | None) -> str:
    if isinstance(value, str) and raw and raw.isprintable():
        if place and place.quoted:
            return f'YAML reads "{raw}" as text, for its quotes'
        return f"YAML reads {raw} as text" if any(c.isdigit() for c in raw) else ""
    if place and place.plain and raw != _made(value) and raw.isprintable() and not isinstance(value, list):
        return f"YAML reads {raw or 'no value'} as {_made(value)}"
    return ""


def _meanings(value: Any, raw: str, valid: Valid, schema: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    if isinstance(value, str):
        yield from ((number, _shown(number)) for number in _numbers(value, schema))
        word = value.strip().lower()
        if word in _WORDS:
            yield _WORDS[word], _shown(_WORDS[word])
        if word in _NOTHING:
            yield None, "null"
        for text in (value.strip(), value.upper(), value.lower(), re.sub(r"\s", "", value).upper()):
            yield text, text
        for text in difflib.get_close_matches(word, _choices(schema), n=1):
            yield text, text
        items = [one.strip() for one in re.split(r"[,;\s]\s*", value.strip("[](){} ")) if one.strip()]
        read = [next(_numbers(one, schema), one) for one in items]
        yield read, _shown(read)
        return
    if isinstance(value, list):
        yield (read := [_item(one, valid, schema) for one in value]), _shown(read)
        if len(value) == 1:
            yield value[0], _shown(value[0])
        return
    if raw and value is not None:
        yield raw, json.dumps(raw, ensure_ascii=False)
    if isinstance(value, float) and value.is_integer():
        yield int(value), str(int(value))
    if value in (0, 1) and not isinstance(value, bool):
        yield bool(value), _shown(bool(value))
    if value is not None and not isinstance(value, dict):
        yield [value], _shown([value])


def _item(one: Any, valid: Valid, schema: Mapping[str, Any]) -> Any:
    """What an item of a list may mean; itself, if it is right in a list."""
    meanings = (
        [one, *(meant for meant, _ in _meanings(one, "", valid, schema))] if isinstance(one, str) else [one]
    )
    if isinstance(one, float) and one.is_integer():
        meanings.append(int(one))
    return next((meant for meant in meanings if valid([meant])), one)


def _numbers(text: str, schema: Mapping[str, Any]) -> Iterator[int | float]:
    """The number that a text may mean: 2.6e2, "260", 1,5, 1 000, 260 Å, 26 nm."""
    plain = unicodedata.normalize("NFKC", text).translate(_MINUS).strip()
    if re.fullmatch(r"0o[0-7]+", plain):
        yield int(plain, 8)
    found = _NUMBER.fullmatch(plain)
    if not found:
        return
    grouped = re.split(r"[ '_]", found[1])
    if any(len(re.match(r"\d*", group)[0]) != 3 for group in grouped[1:]):  # type: ignore[index]
        return  # several numbers
    digits = "".join(grouped)
    if "," in digits and "." in digits:
        digits = digits.replace(*((",", "") if digits.rfind(",") < digits.rfind(".") else (".", "")))
    if re.fullmatch(r"[-+]?\d{1,3}(,\d{3}){2,}", digits) or digits.count(",") > 1:
        digits = digits.replace(",", "")
    try:
        number = float(digits.replace(",", "."))
    except ValueError:
        return
    if (found[2] or "").lower() == "nm" and "Å" in str(schema.get("description", "")):
        number *= 10
    if math.isfinite(number):
        yield int(number) if number.is_integer() and abs(number) < 1e15 else number


def _choices(schema: Mapping[str, Any]) -> list[str]:
    """The words that a schema allows."""
    parts = [schema, *schema.get("anyOf", [])]
    return [
        one for part in parts for one in [*part.get("enum", []), part.get("const")] if isinstance(one, str)
    ]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_shown(one) for one in value) + "]"
    return value if isinstance(value, str) else json.dumps(value)
