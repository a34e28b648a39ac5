"""How long a program will still take: pure functions of its own pace so far, and of like programs that have ended.

A refinement's iterations become longer as its resolution becomes finer, and a like run (another T, the round before)
shows how. Its course, stretched so that it fits what has been seen of this one, is the forecast. Without one, the pace
of the last iterations goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from stacycle.progress.timeline import Timeline

RECENT = 3  # parts, whose pace goes on
LEAST_SEEN = 0.02  # of a work, below which its pace says nothing


@dataclass(frozen=True)
class Ended:
    """A program that has ended well: how long it took in all (s), and each of its parts if that is known; `nearness`
    says how like it is, least is nearest."""

    seconds: float
    each: tuple[float, ...] = ()
    nearness: int = 0


def of_program(timeline: Timeline, now: float, like: Sequence[Ended] = ()) -> float | None:
    """Seconds that a running program will still take; None if nothing tells."""
    nearest = sorted(like, key=lambda one: one.nearness)
    like = [one for one in nearest if one.nearness == nearest[0].nearness]
    if timeline.what == "iteration" and (left := _of_iterations(timeline, now, like)) is not None:
        return left
    gone = max(0.0, now - timeline.started)
    if timeline.parts and (share := (timeline.done + timeline.fraction) / timeline.parts) > LEAST_SEEN:
        own = gone * (1 - share) / share
        if not like:
            return own
        # the own pace counts the more, the more of it was seen
        return share * own + (1 - share) * max(0.0, _typical(like) - gone)
    return max(0.0, _typical(like) - gone) if like else None


def of_part(timeline: Timeline, now: float) -> float | None:
    """Seconds that the present part will still take, by the ones before it and its progress bar."""
    each = durations(timeline)
    since = now - (timeline.ends[-1] if timeline.ends else timeline.started)
    if timeline.fraction > LEAST_SEEN and since > 0:
        by_bar = since * (1 - timeline.fraction) / timeline.fraction
        return by_bar if not each else min(by_bar, max(0.0, 3 * each[-1]))
    return max(0.0, each[-1] - since) if each else None


def of_waiting(like: Sequence[Ended]) -> float | None:
    """Seconds that a program will take that has not begun; None if there is none like it."""
    if not like:
        return None
    nearest = min(one.nearness for one in like)
    return _typical([one for one in like if one.nearness == nearest])


def durations(timeline: Timeline) -> list[float]:
    """Seconds of each part whose end is known, in order."""
    begins = [timeline.started, *timeline.ends]
    return [end - begin for begin, end in zip(begins, timeline.ends, strict=False)]


def _typical(like: Sequence[Ended]) -> float:
    return median(one.seconds for one in like)


def _of_iterations(timeline: Timeline, now: float, like: Sequence[Ended]) -> float | None:
    each = durations(timeline)
    since = now - (timeline.ends[-1] if timeline.ends else timeline.started)
    courses = [one.each for one in like if one.each]
    if courses and not timeline.first:
        found = [_stretched(course, each, since) for course in courses]
        return median(found)
    if timeline.parts is None or not (each or timeline.fraction > LEAST_SEEN):
        return None
    pace = _pace(each) if each else since / timeline.fraction
    left = timeline.parts - timeline.done - 1
    present = max(0.0, pace - since)
    if each and timeline.fraction > LEAST_SEEN:
        present = max(present, min(pace, since * (1 - timeline.fraction)))
    return present + max(0, left) * pace


def _pace(each: Sequence[float]) -> float:
    """Seconds of an iteration to come: the median of the last, without the first, which also reads its input."""
    return median(each[1:][-RECENT:] or each)


def _stretched(course: Sequence[float], each: Sequence[float], since: float) -> float:
    """What is left of a course, stretched to the iterations seen; `since` the last, so many seconds have gone."""
    seen = min(len(each), len(course))
    known = sum(course[:seen])
    stretch = sum(each[:seen]) / known if known > 0 else 1.0
    if (
        seen >= 2 and (newest := course[seen - 1]) > 0
    ):  # what was late counts more: it is more like what comes
        stretch = (stretch + each[seen - 1] / newest) / 2
    left = stretch * sum(course[seen:])
    return max(left - since, stretch * sum(course[seen + 1 :]), 0.0)
