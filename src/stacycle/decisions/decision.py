"""A decision: what was chosen, by whom, why, and out of what; and its file, `decision.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from stacycle.errors import UserError, unreadable
from stacycle.files.atomic import write_text

By = Literal["rule", "config"]
BEFORE = "before"  # the choice of the state that a step, or a sweep, started from


@dataclass(frozen=True)
class Decision:
    """One decision.

    `choice` names what was chosen (`{"iteration": 20}`); `by` says whether the rule or the config chose; `reason` is
    one sentence for a biologist; `candidates` has one row per candidate; `numbers` are what later steps need to know of
    the chosen one (a resolution in Å, a number of particles); `parts` are decisions that this one rests on.
    """

    question: str
    choice: dict[str, Any]
    by: By
    reason: str
    candidates: pd.DataFrame = field(default_factory=pd.DataFrame)
    warnings: list[str] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)
    parts: list[Decision] = field(default_factory=list)

    @property
    def rolled_back(self) -> bool:
        """Whether the state before the step was kept."""
        return BEFORE in (self.choice.get("variant"), self.choice.get("poses"))

    def add(self, sentence: str) -> Decision:
        """The same with one more sentence in its reason, if there is one."""
        return replace(self, reason=f"{self.reason} {sentence}".strip())

    def __str__(self) -> str:
        """For a log: question, table, reason, warnings."""
        lines = [str(part) + "\n" for part in self.parts]
        if len(self.candidates):
            shown = self.candidates.drop(columns="map", errors="ignore")
            lines.append(shown.map(_plain).to_string(index=False))
        chosen = ", ".join(f"{key} {_plain(value)}" for key, value in self.choice.items())
        lines.append(f"{self.question}: {chosen} (by {self.by}). {self.reason}")
        said = {warning for part in self.parts for warning in part.warnings}
        return "\n".join(lines + [f"Warning: {warning}" for warning in self.warnings if warning not in said])


def combine(question: str, parts: Sequence[Decision]) -> Decision:
    """One decision of several that were made in this order: of choices and numbers of one name, the last counts."""
    return Decision(
        question=question,
        choice={key: value for part in parts for key, value in part.choice.items()},
        by="config" if any(part.by == "config" for part in parts) else "rule",
        reason=" ".join(part.reason for part in parts),
        warnings=[warning for part in parts for warning in part.warnings],
        numbers={key: value for part in parts for key, value in part.numbers.items()},
        parts=list(parts),
    )


def write_decision(path: str | Path, decision: Decision) -> None:
    """Write `decision.json`, complete or not at all; `inf` becomes the string "inf", `nan` becomes null."""
    write_text(path, json.dumps(_to_json(decision), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_decision(path: str | Path) -> Decision:
    """Read a `decision.json`. UserError if it is missing or damaged."""
    try:
        return _from_json(json.loads(Path(path).read_text()))
    except OSError as error:
        raise unreadable(path, error, cure="has its step been run?") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: is not a decision file", "delete it and run its step again") from None


def check_override(key: str, wanted: Any, available: Sequence[Any], what: str) -> None:
    """UserError naming the config key and what there is, unless `wanted` is one of `available`."""
    if wanted not in available:
        raise UserError(f"{key}: there is no {what} {_plain(wanted)}", f"there {_exist(list(available))}")


def _exist(available: list[Any]) -> str:
    if not available:
        return "is none at all: look at the step's log"
    numbers = all(isinstance(x, int) for x in available)
    if numbers and len(available) > 2 and available == list(range(available[0], available[-1] + 1)):
        return f"are {available[0]} to {available[-1]}"
    return ("is only " if len(available) == 1 else "are ") + ", ".join(map(_plain, available))


def _to_json(value: Any) -> Any:
    match value:
        case Decision():
            return {name: _to_json(getattr(value, name)) for name in value.__dataclass_fields__}
        case pd.DataFrame():
            return _to_json(value.to_dict("records"))
        case dict():
            return {str(key): _to_json(item) for key, item in value.items()}
        case list() | tuple() | np.ndarray():
            return [_to_json(item) for item in value]
        case np.generic():
            return _to_json(value.item())
        case float() if math.isnan(value):
            return None
        case float() if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        case float():
            return float(f"{value:.8g}")
    return value


def _from_json(read: dict[str, Any]) -> Decision:
    fields = {name: read[name] for name in Decision.__dataclass_fields__}
    fields["candidates"] = pd.DataFrame([_numbers(row) for row in read["candidates"]])
    fields["numbers"] = _numbers(read["numbers"])
    fields["parts"] = [_from_json(part) for part in read["parts"]]
    return Decision(**fields)


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    special = {None: math.nan, "inf": math.inf, "-inf": -math.inf}
    return {key: special.get(x, x) if isinstance(x, str | None) else x for key, x in row.items()}


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return str(value)
