"""What YAML made of a config's values, and what was meant.

YAML 1.1 takes 2.6e2 and 1,5 for text, 010 for eight, 12:30 for 750, and no for false.
"""

from __future__ import annotations

import datetime
import difflib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from stacycle.errors import UserError
from stacycle.recipe.config_schema import Schema
from stacycle.recipe.config_text import Keys, Place, Places, dotted

Valid = Callable[[Any], bool]
_UNITS = r"(å|a|å²|angstroms?|ångströms?|nm|px|pix|pixels?|°|deg|degrees?|e/å²|e/å\^2)"
_NUMBER = re.compile(rf"([-+]?(?:\d[\d ',_]*)?\.?[\d ',_.]*\d\.?(?:e[-+]?\d+)?)\s*{_UNITS}?", re.IGNORECASE)
_MINUS = str.maketrans("−–—", "---")
_OCTAL, _SIXTIES = re.compile(r"[-+]?0[0-7_]+"), re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?")
_WORDS = dict.fromkeys(("y", "yes", "true", "on"), True) | dict.fromkeys(("n", "no", "false", "off"), False)
_NOTHING = ("none", "null", "nil", "~", "")


def misread(value: Any, places: Places, keys: Keys = ()) -> Iterator[UserError]:
    """What passes for something else than was written: numbers in eights and sixties, dates, names that are no text."""
    key, place = dotted(keys), places.values.get(keys)
    if isinstance(value, Mapping):
        for name, inner in value.items():
            written = name if isinstance(name, str) else _key_as_written(name, places, keys)
            if not isinstance(name, str | int) or isinstance(name, bool):
                cure = f"put it in quotes: {json.dumps(written)}{places.keys.get((*keys, written), '')}"
                yield UserError(f"YAML reads the name {written} as {_made(name)}", cure, key)
            yield from misread(inner, places, (*keys, written))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from misread(inner, places, (*keys, number))
    elif fault := _misread(value, place):
        yield UserError(fault[0], f"{fault[1]}{place or ''}", key)


def _misread(value: Any, place: Place | None) -> tuple[str, str] | None:
    """What YAML made of a single value, and what to write instead; None if it is what was written."""
    raw = place.raw if place and place.raw else str(value)
    if isinstance(value, datetime.date):
        return f"YAML reads {raw} as a date", f"put it in quotes: {json.dumps(raw)}"
    if isinstance(value, bytes | set):
        return f"YAML reads this as {type(value).__name__}", "write plain text or a list"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{raw} is not a finite number", "write one, or null where the key allows it"
    if isinstance(value, int | float) and place and place.plain and not isinstance(value, bool):
        if _OCTAL.fullmatch(raw) and (decimal := int(raw, 10)) != value:
            cure = f"write {decimal}, or {value}, or put a name in quotes"
            return f"YAML reads {raw} as the octal number {value}", cure
        if _SIXTIES.fullmatch(raw):
            return f"YAML reads {raw} as {value:g}, counted in sixties", "write a plain number"
    return None


def numbered(config: Any, places: Places, keys: Keys = ()) -> Iterator[UserError]:
    """Names that YAML made numbers of, in a config whose keys are known to be right otherwise."""
    for name, inner in config.items() if isinstance(config, Mapping) else ():
        if isinstance(name, int):
            cure = f'put it in quotes: "{name}"{places.keys.get((*keys, str(name)), "")}'
            yield UserError(f"YAML reads the name {name} as a number", cure, dotted(keys))
        yield from numbered(inner, places, (*keys, str(name)))


def _key_as_written(name: Any, places: Places, keys: Keys) -> str:
    """A key that YAML made something else of, as it stands in a file."""
    for here, place in places.keys.items():
        if here[:-1] == keys and place.plain and _same(name, place.raw):
            return str(here[-1])
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


def hint(value: Any, place: Place | None, valid: Valid, schema: Schema) -> str:
    """What YAML made of a value that does not fit, and the first of what it may mean that is `valid`, as it is written:
    "YAML reads 2.6e2 as text: write 260"; empty if no meaning is known."""
    raw = place.raw if place and place.raw else value if isinstance(value, str) else ""
    read = _as_read(value, raw, place)
    for meant, written in _meanings(value, raw, valid, schema):
        if valid(meant):
            return f"{read + ': ' if read and not isinstance(meant, str) else ''}write {written}"
    return "" if isinstance(value, str) else read


def _as_read(value: Any, raw: str, place: Place | None) -> str:
    if isinstance(value, str) and raw and raw.isprintable():
        if place and place.quoted:
            return f'YAML reads "{raw}" as text, for its quotes'
        return f"YAML reads {raw} as text" if any(c.isdigit() for c in raw) else ""
    if place and place.plain and raw != _made(value) and raw.isprintable() and not isinstance(value, list):
        return f"YAML reads {raw or 'no value'} as {_made(value)}"
    return ""


def _meanings(value: Any, raw: str, valid: Valid, schema: Schema) -> Iterator[tuple[Any, str]]:
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


def _item(one: Any, valid: Valid, schema: Schema) -> Any:
    """What an item of a list may mean; itself, if it is right in a list."""
    meanings = [one]
    if isinstance(one, str):
        meanings += [meant for meant, _ in _meanings(one, "", valid, schema)]
    if isinstance(one, float) and one.is_integer():
        meanings.append(int(one))
    return next((meant for meant in meanings if valid([meant])), one)


def _numbers(text: str, schema: Schema) -> Iterator[int | float]:
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


def _choices(schema: Schema) -> list[str]:
    """The words that a schema allows."""
    parts = [schema, *schema.get("anyOf", [])]
    words = [word for part in parts for word in [*part.get("enum", []), part.get("const")]]
    return [word for word in words if isinstance(word, str)]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_shown(one) for one in value) + "]"
    return value if isinstance(value, str) else json.dumps(value)
