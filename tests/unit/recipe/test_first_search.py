"""One key for picks without angles: the round begins with models of them, and its first search goes everywhere."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from stacycle.errors import UserError
from stacycle.recipe import config
from stacycle.recipe.first_search import begun_with_model
from stacycle.recipe.rounds import Recipe

INPUTS = {"inputs": [{"tomograms": "t.star", "particles": "p.star"}], "particle": {"diameter": 260}}


def loaded(**bin4: Any) -> dict[str, Any]:
    """The rounds of a config that names a few settings of bin4, laid over the default."""
    return config.validate(config.for_module({**INPUTS, "rounds": {"bin4": bin4}}, None))


def test_one_key_puts_the_step_and_searches_everywhere() -> None:
    rounds = loaded(start="initial_model")["rounds"]
    default = loaded()["rounds"]["bin4"]["steps"]
    assert default[:3] == ["extract", "reconstruct", "align"]
    assert rounds["bin4"]["steps"] == ["extract", "initial_model", *default[2:]]
    assert rounds["bin4"]["align"]["local_range"] is None
    assert rounds["bin4"]["initial_model"]["seeds"] == 3
    assert rounds["bin2"]["steps"] == loaded()["rounds"]["bin2"]["steps"]


def test_its_settings_beside_it_are_those_of_the_step_and_alone_they_are_noted() -> None:
    mine = {"seeds": 5}
    with_key, alone = (loaded(initial_model=mine, **more) for more in ({"start": "initial_model"}, {}))
    assert with_key["rounds"]["bin4"]["initial_model"]["seeds"] == 5
    assert config.notes(with_key) == []
    assert "initial_model" not in alone["rounds"]["bin4"]["steps"]
    (note,) = map(str, config.notes(alone))
    assert "initial_model: has no effect, as initial_model is not among the round's steps" in note


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        (["extract", "reconstruct", "align", "mask"], ["extract", "initial_model", "align", "mask"]),
        (["extract", "align", "reconstruct"], ["extract", "initial_model", "align", "reconstruct"]),
        (["extract", "duplicates", "align"], ["extract", "duplicates", "initial_model", "align"]),
        (["extract", "initial_model", "duplicates", "align"],) * 2,
        (["extract", "refine3d"], ["extract", "initial_model", "refine3d"]),
        (["align"], ["align"]),
    ],
)
def test_the_model_comes_before_the_first_alignment(steps: list[str], found: list[str]) -> None:
    assert begun_with_model(steps) == found


def test_the_range_of_a_search_is_the_tutorials_unless_a_model_stands_before_it() -> None:
    own = ["extract", "initial_model", "align", "mask", "refine3d", "postprocess"]
    assert loaded()["rounds"]["bin4"]["align"]["local_range"] == 4
    assert loaded(steps=own)["rounds"]["bin4"]["align"]["local_range"] is None
    assert loaded(align={"local_range": 9})["rounds"]["bin4"]["align"]["local_range"] == 9


def test_a_local_search_after_a_model_is_refused() -> None:
    asked = loaded(start="initial_model", align={"local_range": 9})
    with pytest.raises(UserError, match="put align after initial_model, with local_range: auto or null"):
        Recipe.from_config(asked)


def test_validating_twice_changes_nothing() -> None:
    once = loaded(start="initial_model")
    assert config.validate(copy.deepcopy(once)) == once
