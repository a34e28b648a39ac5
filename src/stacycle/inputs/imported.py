"""The inputs of a config, or one set, as STAR files of RELION 5 alone: what `stacycle import` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from stacycle.errors import UserError
from stacycle.inputs import merge
from stacycle.recipe import config as configs
from stacycle.recipe.config_text import read


def write(config: str | None, options: Mapping[str, str], out: str) -> str:
    """Check and merge the sets of a config, or the one that options give as a config would, into the folder `out`;
    returns what was taken and found, for a terminal. UserError with a sentence per problem."""
    if (config is None) == (not options):
        raise UserError("a config or options say what to import", "give one of the two, and the folder OUT")
    if config is not None:
        loaded = configs.load(configs.DEFAULT, config)
        sets = loaded["inputs"]
    else:
        given = {key: _value(text) for key, text in options.items()}
        # the config asks for picks, which this does not
        whole = read(configs.DEFAULT) | {"inputs": [{"particles": "none", **given}]}
        loaded, sets = configs.validate(whole), [given]
    return f"{out}: {merge.describe(merge.merge(sets, out, duplicates=loaded['particle']['duplicates']))}"


def _value(text: str) -> Any:
    """A value as YAML reads it, if it is a number, list or block; else the text."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    is_name = isinstance(value, bool) or (isinstance(value, int) and str(value) != text)  # such as 001
    return value if isinstance(value, int | float | list | dict) and not is_name else text
