"""After a pilot the better half of a sweep's variants goes on, and what is about as good."""

import pytest
from test_cycle_decision import fsc

from stacycle.decisions.cycle import Candidate
from stacycle.decisions.pilot import ERROR, pilot

SHELLS = 25  # that are compared where the finest curve ends at shell 20


def tried(**ends: float | None) -> list[Candidate]:
    """Variants whose curves have so many shells of integral more than the poorest; None: without a curve."""
    return [Candidate(name, None if more is None else fsc(20, better=more)) for name, more in ends.items()]


def ended(variants: list[Candidate], choice: str = "auto") -> list[str]:
    decision = pilot(variants, 4, choice)
    table = decision.candidates.set_index("variant")
    assert list(table.index[table["kept"]]) == decision.choice["variants"]
    assert list(table.index[table["ended"] == ""]) == decision.choice["variants"]
    return [one.name for one in variants if one.name not in decision.choice["variants"]]


def test_the_poorer_half_is_ended():
    assert ended(tried(a=0.0, b=2.0, c=1.0, d=3.0)) == ["a", "c"]
    assert ended(tried(a=0.0, b=2.0, c=1.0)) == ["a"]
    assert ended(tried(a=2.0, b=0.0)) == ["b"]


@pytest.mark.parametrize(("below", "out"), [(0.9 * ERROR, []), (1.1 * ERROR, ["a"])])
def test_what_is_within_the_error_of_the_better_half_goes_on(below, out):
    assert ended(tried(a=1 - below * SHELLS, b=1.0)) == out


def test_what_has_no_curve_goes_on_and_does_not_count():
    assert ended(tried(finished=None, a=0.0, b=2.0)) == ["a"]
    assert ended(tried(finished=None, a=0.0)) == []
    assert ended(tried(finished=None)) == []


def test_what_the_config_names_goes_on():
    assert ended(tried(a=0.0, b=2.0, c=1.0, d=3.0), choice="a") == ["c"]


def test_it_says_on_how_much_and_by_how_much():
    decision = pilot(tried(a=0.0, b=2.0), 4)
    assert decision.reason.startswith("On 1/4 of the tomograms")
    assert decision.reason.endswith("over 25 shells, b go on.")
    assert "is 2.00 of 25 shells below the best variant's" in decision.candidates["ended"][0]
