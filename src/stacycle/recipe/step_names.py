"""What the names of a round's steps tell: what each needs, for which part of the particle it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from pydantic import create_model

from stacycle.recipe.flow import Flow
from stacycle.recipe.step_settings import FLOW, LEFT_OUT, Round, is_step, kind_of, own_name, settings_of


def flow_of(step: str) -> Flow:
    """What a step needs and leaves."""
    return FLOW[kind_of(step)]


def part_of(step: str, parts: Iterable[str] | None) -> str:
    """The part of the particle that a step is for, of a round with these parts; "" if it is for all of it."""
    return own if (own := own_name(step)) and own in (parts or ()) else ""


def classification_of(select: str, steps: Sequence[str], parts: Iterable[str] | None) -> str:
    """The classification that a selection chooses from: the newest before it, of the same part; "" if there is none."""
    before = reversed(steps[: steps.index(select)])
    part = part_of(select, parts)
    return next((one for one in before if kind_of(one) == "class3d" and part_of(one, parts) == part), "")


def with_steps(names: Iterable[str]) -> type[Round]:
    """The type of a round that may also have settings of steps with names of their own."""
    return _with_steps(tuple(sorted({name for name in names if name not in FLOW and is_step(name)})))


@cache
def _with_steps(names: tuple[str, ...]) -> type[Round]:
    if not names:
        return Round
    fields: dict[str, Any] = {name: (settings_of(name), LEFT_OUT) for name in names}
    return create_model("Round", __base__=Round, **fields)
