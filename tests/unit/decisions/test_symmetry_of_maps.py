"""Whether a map has a point group: told by how it agrees with itself turned, by the group's turns and by others."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

import symmetry as simulated
from stacycle.decisions import point_groups
from stacycle.decisions.decision import Decision
from stacycle.decisions.likeness import Likeness
from stacycle.decisions.point_groups import about
from stacycle.decisions.symmetry import LEAST, has_symmetry
from stacycle.errors import UserError
from stacycle.recipe.geometry import turns_of_group
from staengine.numerics import rotation, symmetry
from staengine.numerics.symmetry_search import find_axes

RESOLUTION = 40
KEY = "rounds.bin4.align_symmetry.least"


@cache
def averaged(group: str, seed: int = 0, lost: float = 1.0) -> NDArray[np.floating]:
    """A noisy map of a group on its axes."""
    rng = np.random.default_rng(seed)
    exact = simulated.particle(simulated.Case(group, group, lost=lost), rng)
    return simulated.with_noise(exact, RESOLUTION, rng)


def decided(density: NDArray[np.floating], group: str, least: float | str = "auto") -> Decision:
    likeness = Likeness(density, simulated.PIXEL, simulated.DIAMETER, RESOLUTION)
    return has_symmetry(likeness, group, least, KEY)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", ["C1", "C6", "C13", "D2", "D7", "T", "O", "I", "I1", "I2", "I3", "I4"])
def test_the_turns_of_a_group_are_those_that_the_engine_has(group: str) -> None:
    """Which are compared with RELION's."""
    ours, theirs = point_groups.turns(group), symmetry.rotations(group)
    assert len(ours) == turns_of_group(group) == len(theirs)
    assert max(np.abs(theirs - turn).max(axis=(1, 2)).min() for turn in ours) < 1e-6


@pytest.mark.parametrize(
    ("group", "axes"),
    [
        ("C1", []),
        ("C6", [(6, 1)]),
        ("D6", [(6, 1), (2, 3), (2, 3)]),
        ("D7", [(7, 1), (2, 7)]),
        ("T", [(3, 4), (2, 3)]),
        ("O", [(4, 3), (3, 4), (2, 6)]),
        ("I3", [(5, 6), (3, 10), (2, 15)]),
    ],
)
def test_axes_that_a_group_takes_to_each_other_are_told_together(
    group: str, axes: list[tuple[int, int]]
) -> None:
    assert [(found.order, len(found.directions)) for found in point_groups.axes(group)] == axes


@pytest.mark.parametrize("group", ["C2", "C6", "D2", "D6", "T", "O", "I1"])
def test_a_noisy_map_has_its_symmetry(group: str) -> None:
    found = decided(averaged(group), group)
    assert found.choice == {"symmetry": group}
    assert found.numbers["agreement"] > 0.75
    assert (found.by, found.warnings) == ("rule", [])


@pytest.mark.parametrize(
    ("true", "asked"),
    [
        ("C6", "C5"),
        ("C6", "C7"),
        ("C6", "C12"),
        ("C6", "D6"),
        ("C7", "C6"),
        ("C1", "C2"),
        ("C1", "T"),
        ("D2", "T"),
    ],
)
def test_a_symmetry_that_is_not_there_is_refused(true: str, asked: str) -> None:
    with pytest.raises(UserError, match=f"the map has no {asked} symmetry at 4. Å"):
        decided(averaged(true), asked)


def test_the_refusal_names_what_fits_and_shows_the_table() -> None:
    with pytest.raises(UserError) as refused:
        decided(averaged("C6"), "C5")
    sentence, *table = str(refused.value).splitlines()
    assert re.fullmatch(
        r"the map has no C5 symmetry at 4\d Å: about its 5-fold axis it agrees with itself by -0\.\d+, and 0.5 is "
        r"needed; set symmetry: C6, which fits, or, if the particle is only nearly symmetric, lower "
        r"rounds.bin4.align_symmetry.least.",
        sentence,
    )
    assert [line.split()[0] for line in table] == ["group", "C5", "C4", "C6", "C10", "C15", "D5"]


@pytest.mark.parametrize(("axis", "off"), [((1, 0, 0), 90), ((1, 2, 0), 20)])
def test_the_right_symmetry_about_a_wrong_axis_is_refused(axis: tuple[int, ...], off: float) -> None:
    away = rotation.turned(averaged("C6"), about(axis, off))
    with pytest.raises(UserError, match="no C6 symmetry"):
        decided(away, "C6")


@pytest.mark.parametrize(
    ("true", "asked", "said"), [("C6", "C3", "C6"), ("D3", "C3", "D3"), ("D6", "D3", "D6")]
)
def test_more_symmetry_than_was_asked_for_is_told(true: str, asked: str, said: str) -> None:
    found = decided(averaged(true), asked)
    assert found.warnings == [
        f"{said} fits as well as {asked} does: look whether the particle has more symmetry than that."
    ]


def test_an_octahedral_map_on_tetrahedral_axes_is_told_to_have_more() -> None:
    _, turn, _ = find_axes(averaged("O"), symmetry.rotations("T"))
    found = decided(rotation.turned(averaged("O"), turn), "T")
    assert found.warnings[0].startswith("O fits as well as T does")


def test_the_table_has_the_axes_of_the_group_and_groups_like_it() -> None:
    table = decided(averaged("D2"), "D2").candidates
    assert table["group"].tolist() == ["D2"] * 3 + ["C2", "C3", "C4", "C6"]
    assert table["axis"].tolist() == ["2-fold"] * 4 + ["3-fold", "4-fold", "6-fold"]
    assert table["chosen"].tolist() == [True] * 3 + [False] * 4
    assert table["agreement"][4:].max() < 0.25


def test_the_config_may_ask_for_less_of_a_nearly_symmetric_particle() -> None:
    nearly = averaged("C2", lost=0.4)
    with pytest.raises(UserError, match="only nearly symmetric"):
        decided(nearly, "C2", 0.99)
    found = decided(nearly, "C2", 0.05)
    assert found.by == "config"
    assert "where 0.05 is enough" in found.reason


def test_likeness_to_itself_is_that_of_shells_and_not_of_the_outline() -> None:
    """Two maps of one outline: within a smooth ball any turn would be alike, and none of their details are."""
    likeness = Likeness(averaged("C1"), simulated.PIXEL, simulated.DIAMETER, RESOLUTION)
    assert likeness(np.eye(3)) == pytest.approx(1, abs=1e-6)
    assert likeness(about((0, 0, 1), 180)) < 0.5
    ball = 10 * np.exp(-np.square(np.indices((48,) * 3) - 24).sum(0) / 200)
    more = Likeness(averaged("C1") + ball, simulated.PIXEL, simulated.DIAMETER, RESOLUTION)
    assert more.agreement(np.array([0, 0, 1]), 2) < LEAST


def test_the_map_is_compared_as_far_as_its_resolution_and_its_size_need() -> None:
    fine = Likeness(averaged("C6"), simulated.PIXEL, simulated.DIAMETER, 1.0)
    coarse = Likeness(averaged("C6"), simulated.PIXEL, simulated.DIAMETER, 80.0)
    assert coarse.resolution >= 80 > fine.resolution >= 2 * simulated.PIXEL
