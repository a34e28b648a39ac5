"""How long a program will still take, of courses whose end is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from stacycle.progress import time_left
from stacycle.progress.time_left import Ended
from stacycle.progress.timeline import Search, Timeline, parse

GROWING = [10.0 * 1.05**number for number in range(25)]  # s of iterations that become longer


def begun(each: Sequence[float], parts: int | None = 25, lead: float = 5.0, **facts: object) -> Timeline:
    """A program whose iterations so far took so many seconds each, at the moment when the last one ended."""
    ends = [lead + sum(each[: number + 1]) for number in range(len(each))]
    return Timeline(0.0, len(each), parts, tuple(ends), what="iteration", begun=lead, **facts)  # type: ignore[arg-type]


def test_iterations_of_one_length_go_on_so() -> None:
    each = [10.0] * 8
    assert time_left.of_program(begun(each), 85.0) == pytest.approx(170)
    assert time_left.of_program(begun(each), 90.0) == pytest.approx(165)


def test_a_third_of_a_growing_course_tells_the_rest_within_30_percent_and_a_like_run_tells_it_better() -> (
    None
):
    seen, rest = GROWING[:8], sum(GROWING[8:])
    now = 5.0 + sum(seen)
    alone = time_left.of_program(begun(seen), now)
    assert alone == pytest.approx(rest, rel=0.5)  # it knows nothing of the growth: 0.6 of it
    twice = Ended(sum(GROWING) * 2, tuple(2 * one for one in GROWING))
    assert time_left.of_program(begun(seen), now, [twice]) == pytest.approx(rest, rel=0.01)


def test_a_variant_that_was_ended_early_tells_that_this_one_may_be() -> None:
    sibling = Ended(130, tuple([10.0] * 13))
    seen = [10.0] * 5
    assert time_left.of_program(begun(seen), 55.0, [sibling]) == pytest.approx(80)
    other_round = Ended(130, tuple([10.0] * 13), nearness=1)
    assert time_left.of_program(begun(seen), 55.0, [other_round]) == pytest.approx(200)


def test_the_nearest_like_runs_count() -> None:
    near, far = Ended(100, (), 0), Ended(1000, (), 1)
    assert time_left.of_waiting([far, near]) == 100
    assert time_left.of_waiting([]) is None


def test_what_takes_longer_than_those_like_it_is_not_about_to_end() -> None:
    assert time_left.of_program(Timeline(0.0), 15.0, [Ended(10)]) == pytest.approx(3)


def test_an_auto_refinement_goes_on_until_its_step_is_finer_than_its_accuracy() -> None:
    """The demo's at bin1: 4.6, 5.0, 7.2, 9.1, 9.1 at 0.94 degrees, 14.9, 13.5, 15.0 at 0.47, 17.9 the last one."""
    each = [4.6, 5.0, 7.2, 9.1]
    search = Search(step=0.9375, accuracy=0.66, at_step=4, gains=True, told=4)
    left = time_left.of_program(begun(each, None, 2.7, search=search), 2.7 + sum(each))
    assert left == pytest.approx(9.1 + 14.9 + 13.5 + 15.0 + 17.9, rel=0.3)
    last = Search(step=0.46875, accuracy=0.66, at_step=3, converged=True, told=8)
    all_but_last = [*each, 9.1, 14.9, 13.5, 15.0]
    left = time_left.of_program(begun(all_but_last, None, 2.7, search=last), 2.7 + sum(all_but_last))
    assert left == pytest.approx(17.9, rel=0.3)


def test_the_accuracy_told_first_becomes_finer() -> None:
    """The demo's at bin4: 1.9, 1.7 at 0.94 degrees, 1.3, 2.9, 2.8 at 0.47, 1.8 the last one: 1.86 became 1.08."""
    search = Search(step=0.9375, accuracy=1.86, at_step=1, gains=True, told=1)
    left = time_left.of_program(begun([1.9], None, 1.7, search=search), 1.7 + 1.9)
    assert left == pytest.approx(1.7 + 1.3 + 2.9 + 2.8 + 1.8, rel=0.3)


def test_nothing_is_told_where_nothing_is_known() -> None:
    assert time_left.of_program(Timeline(0.0, what="iteration"), 10.0) is None
    assert time_left.of_program(Timeline(0.0), 10.0) is None


def test_tomograms_are_counted() -> None:
    assert time_left.of_program(Timeline(0.0, 3, 12, what="tomogram"), 30.0) == pytest.approx(90)
    assert time_left.of_program(Timeline(0.0, 3, 12, what="tomogram", fraction=0.5), 35.0) == pytest.approx(
        85
    )


def test_a_progress_bar_tells_of_the_present_part() -> None:
    seen = begun([10.0] * 3, fraction=0.75)
    assert time_left.of_part(seen, 35.0 + 15.0) == pytest.approx(5, abs=1)  # slower than those before it
    assert time_left.of_part(Timeline(0.0, what="iteration"), 5.0) is None


OUT = """\
# 2026-11-29T14:00:00+0000 $ relion_refine_mpi --o results/bin4/refine3d/run
 Auto-refine: Resolution= 43.6 (no gain for 1 iter)
 Auto-refine: Changes in angles= 10.5 degrees; and in offsets= 12.0 Angstroms (no gain for 0 iter)
 Auto-refine: Estimated accuracy angles= 3.39062 degrees; offsets= 4.8125 Angstroms
 Auto-refine: Angular step= 3.75 degrees; local searches= true
 CurrentResolution= 43.6364 Angstroms, which requires orientationSampling of at least 12 degrees
 Expectation iteration 2
 0.5/   2 min ...............~~(,_,">                                                       [oo]"""


def test_what_relion_says_at_the_end_of_its_output_is_understood() -> None:
    told = parse("# an earlier start\n Expectation iteration 7 of 25\n" + OUT)
    assert (told["what"], told["part"], told.get("parts"), told["resolution"]) == (
        "iteration",
        2,
        None,
        43.6364,
    )
    assert told["bar"] == pytest.approx(0.25)
    assert told["search"] == Search(3.75, 3.39062, 1, True, False, 1)
    told = parse(" + Tomogram 3 / 12: \n - Loading\n")
    assert (told["what"], told["part"], told["parts"], told["bar"]) == ("tomogram", 3, 12, 0)
