"""A fault is one sentence, whichever of problem, cure and key it has."""

import pickle

import pytest

from stacycle.errors import UserError, together


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("a.star: is empty"), "a.star: is empty."),
        (UserError("a.star: is empty", "make it again"), "a.star: is empty; make it again."),
        (UserError("a.star: is empty", "was it cut short?"), "a.star: is empty; was it cut short?"),
        (UserError("It broke.", "Mend it."), "It broke. Mend it."),
        (
            UserError("0 is too small", "give more", "particle.diameter"),
            "particle.diameter: 0 is too small; give more.",
        ),
        (UserError("no YAML\n  a: b: c\n      ^"), "no YAML\n  a: b: c\n      ^"),
    ],
)
def test_problem_cure_and_key_make_one_sentence(error: UserError, sentence: str) -> None:
    assert str(error) == sentence
    assert str(pickle.loads(pickle.dumps(error))) == sentence


def test_several_faults_are_a_line_each_and_one_alone_keeps_its_parts() -> None:
    one, other = UserError("a", "b", "c"), UserError("d")
    assert together([one]) is one
    assert str(together([one, other])) == "c: a; b.\nd."
