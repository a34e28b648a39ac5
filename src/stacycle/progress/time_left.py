"""How long a program will still take: pure functions of its own pace so far, and of like programs that have ended.

The course of a like run (another T, the round before), stretched so that it fits what has been seen of this one, is the
forecast; without one, the pace of the last iterations goes on. An auto-refinement does not say how many iterations it
will do, but why it goes on: its angular step is halved until it is finer than three quarters of the accuracy of angles,
at each step it does about two iterations, and the last is one of its own. That accuracy becomes finer with the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2
from statistics import mean, median

from stacycle.progress.timeline import Search, Timeline

RECENT = 3  # parts, whose pace goes on
OVERDUE = 0.2  # of its time so far, that a program goes on for which has taken as long as those like it
LEAST_SEEN = 0.05  # of a work, below which its pace says nothing
FINE_ENOUGH = 0.75  # of the accuracy of angles: a step below that is not halved
PER_STEP = 2  # iterations of an auto-refinement at each angular step
GOES_ON = 0.5  # how often one more follows at the same step, if resolution or poses still gain
# What the accuracy told first and second is multiplied by in the end: of four refinements, RELION's own the first.
BECOMES = ((0.45, 0.58, 0.82, 0.82), (0.67, 0.93, 0.92, 0.91))
# Times as long: an iteration at half the angular step, and the last one, if no run tells.
HALVED, LAST = 1.7, 1.2


@dataclass(frozen=True)
class Ended:
    """A program that has ended well: how long it took in all (s), to its first part (`lead`) and for each, if that is
    known; `nearness` says how like it is, least is nearest, 0 is a variant of the same step."""

    seconds: float
    each: tuple[float, ...] = ()
    nearness: int = 0
    lead: float = 0.0


def of_program(timeline: Timeline, now: float, like: Sequence[Ended] = ()) -> float | None:
    """Seconds that a running program will still take; None if nothing tells."""
    if timeline.what == "iteration":
        with_courses = _nearest([one for one in like if one.each])
        if (left := _of_iterations(timeline, now, with_courses)) is not None:
            return left
    like = _nearest(like)
    gone = max(0.0, now - timeline.started)
    if timeline.parts and (share := (timeline.done + timeline.fraction) / timeline.parts) > LEAST_SEEN:
        own = gone * (1 - share) / share
        if not like:
            return own
        # the own pace counts the more, the more of it was seen
        return share * own + (1 - share) * _as_like(like, gone)
    return _as_like(like, gone) if like else None


def of_part(timeline: Timeline, now: float) -> float | None:
    """Seconds that the present part will still take, by the ones before it and its progress bar."""
    each = durations(timeline)
    pace = _pace(each) if each else None
    since = _since(timeline, now)
    if pace is None and timeline.fraction <= LEAST_SEEN:
        return None
    return _rest(pace or 0.0, since, timeline.fraction)


def of_waiting(like: Sequence[Ended]) -> float | None:
    """Seconds that a program will take that has not begun; None if there is none like it."""
    return _typical(_nearest(like)) if like else None


def durations(timeline: Timeline) -> list[float]:
    """Seconds of each part whose end is known, in order."""
    begins = [timeline.begun or timeline.started, *timeline.ends]
    return [end - begin for begin, end in zip(begins, timeline.ends, strict=False)]


def _nearest(like: Sequence[Ended]) -> list[Ended]:
    least = min((one.nearness for one in like), default=0)
    return [one for one in like if one.nearness == least]


def _typical(like: Sequence[Ended]) -> float:
    return median(one.seconds for one in like)


def _as_like(like: Sequence[Ended], gone: float) -> float:
    """What is left of a program that has run so long, if it takes as long as those like it."""
    return max(OVERDUE * gone, _typical(like) - gone)


def _since(timeline: Timeline, now: float) -> float:
    """Seconds since the present part began."""
    begin = timeline.ends[-1] if timeline.ends else timeline.begun or timeline.started
    return max(0.0, now - begin)


def _of_iterations(timeline: Timeline, now: float, like: Sequence[Ended]) -> float | None:
    each, since = durations(timeline), _since(timeline, now)
    ahead = 0.0
    if not timeline.begun and not each:  # it still reads its input
        if not like or timeline.first:
            return None
        lead = median(one.lead for one in like)
        ahead, since = max(0.0, lead - since), max(0.0, since - lead)
    of_kind = _by_steps if timeline.parts is None else _by_number
    costs = of_kind(timeline, each, like, since)
    if not costs:
        return None
    return ahead + _rest(costs[0], since, timeline.fraction) + sum(costs[1:])


def _rest(cost: float, since: float, fraction: float) -> float:
    """What is left of a part that takes `cost` s, of which `since` have gone; its bar says more, if it has come far."""
    by_pace = max(cost - since, 0.1 * cost if fraction < 0.9 else 0.0)
    if fraction <= LEAST_SEEN:
        return by_pace
    by_bar = since * (1 - fraction) / fraction
    return by_bar if not cost else fraction * by_bar + (1 - fraction) * by_pace


def _by_number(timeline: Timeline, each: Sequence[float], like: Sequence[Ended], since: float) -> list[float]:
    """What the present iteration and those after it take, of a run that says how many it does. A variant that was ended
    early tells that this one may be, too."""
    assert timeline.parts is not None
    siblings = [len(one.each) for one in like if one.nearness == 0]
    last = min(timeline.parts, max(siblings)) if siblings else timeline.parts
    left = max(1, last - timeline.done)
    at = timeline.done - timeline.first
    courses = [_from(one.each, each, at, left) for one in like]
    if courses:
        return [median(costs) for costs in zip(*courses, strict=True)]
    if each:
        return [_pace(each)] * left
    return [since / timeline.fraction] * left if timeline.fraction > LEAST_SEEN and since > 1 else []


def _from(course: Sequence[float], each: Sequence[float], at: int, left: int) -> list[float]:
    """A course from a place on, as long as need be, stretched to the iterations that were seen of this one."""
    longer = [*course, *[median(course[-RECENT:])] * max(0, at + left - len(course))]
    known = longer[at - len(each) : at]
    if len(each) > 1 or (known and known[0] > 2 * median(course)):
        known, each = known[1:], each[1:]  # the first of all runs may have compiled or read its input
    stretch = sum(each) / sum(known) if known and sum(known) > 0 else 1.0
    if at == 1:  # the first tells little of the others
        stretch = mean([stretch, 1.0])
    if len(each) > 1:  # what was late counts more: it is more like what comes
        stretch = mean([stretch, sum(each[-2:]) / max(sum(known[-2:]), 1e-9)])
    return [stretch * cost for cost in longer[at : at + left]]


def _by_steps(timeline: Timeline, each: Sequence[float], like: Sequence[Ended], since: float) -> list[float]:
    """What the present iteration and those after it take, of an auto-refinement."""
    search = timeline.search
    if search.converged:
        return [_pace(each, 2) * _ratio(like, "last")] if each else []
    if not search.step or not search.accuracy:  # it has not told yet
        return (
            _from(like[-1].each, each, timeline.done - timeline.first, _untold(timeline, like))
            if like
            else []
        )
    if not each:
        return []
    halved, here = _ratio(like, "halved"), each[-(search.at_step - 1) :] if search.at_step > 1 else []
    pace = median(here[-PER_STEP:]) if here else _pace(each, 2)
    if not here and len(each) > 1:  # its iterations so far were at the step before
        pace *= halved
    more = max(GOES_ON * search.gains, PER_STEP - search.at_step)  # after the present one
    at_this = [pace, more * pace]
    last = _ratio(like, "last")
    courses = []
    for halvings in _halvings(search):
        finer = [pace * halved**number for number in range(1, halvings + 1) for _ in range(PER_STEP)]
        courses.append([*finer, last * [pace, *finer][-1]])
    return [*at_this, median(map(sum, courses))]


def _halvings(search: Search) -> list[int]:
    """How often the angular step may still be halved."""
    shares = BECOMES[search.told - 1] if 1 <= search.told <= len(BECOMES) else (1.0,)
    enough = (FINE_ENOUGH * search.accuracy * share for share in shares)
    return [max(0, ceil(log2(search.step / one))) for one in enough]


def _untold(timeline: Timeline, like: Sequence[Ended]) -> int:
    """Iterations that are to come of an auto-refinement that has not told of its angular step, by others."""
    return max(1, round(median(len(one.each) for one in like)) - timeline.done + timeline.first)


def _ratio(like: Sequence[Ended], which: str) -> float:
    """How much longer an iteration takes at half the angular step, or the last one, by like runs and in general."""
    found = []
    for course in (one.each for one in like if len(one.each) >= 5):
        early, late = course[1 : len(course) // 2], course[len(course) // 2 : -1]
        found.append(median(late) / median(early) if which == "halved" else course[-1] / course[-2])
    general = {"halved": HALVED, "last": LAST}[which]
    return mean([median(found), general]) if found else general


def _pace(each: Sequence[float], recent: int = RECENT) -> float:
    """Seconds of an iteration to come: the median of the last, without the first, which is unlike the others."""
    return median(each[1:][-recent:] or each)
