"""Which variants of a sweep go on after a pilot, which is each of them on one share of the tomograms."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from stacycle.decisions.cycle import Candidate, area, integrated
from stacycle.decisions.decision import Decision

# Of the integrated shells: variants that are no farther apart on a share may change places on all tomograms
# (docs/decisions-evidence.md).
ERROR = 0.005


def pilot(variants: Sequence[Candidate], of: int, choice: str = "auto") -> Decision:
    """The better half of a sweep's variants by the integral of the corrected FSC on one `of` so many shares of the
    tomograms, and those that are within `ERROR` of its shells of the last of that half.

    The variant that the config names (`choice`) goes on, and so does one without an FSC: its result is there already,
    or its own job is to say why it failed. The column `ended` of the candidates says why a variant does not go on.
    """
    tried = {one.name: one.fsc for one in variants if one.fsc is not None}
    shells = integrated(tried.values()) if tried else 0
    areas = {name: area(fsc, shells) for name, fsc in tried.items()}
    ranked = sorted(areas.values(), reverse=True)
    least = ranked[(len(ranked) - 1) // 2] - ERROR * shells if ranked else 0.0
    ended = {
        name: f"on 1/{of} of the tomograms the integral of its corrected FSC is {ranked[0] - found:.2f} of {shells} "
        "shells below the best variant's, and the better half went on"
        for name, found in areas.items()
        if found < least and name != choice
    }
    on = [one.name for one in variants if one.name not in ended]
    rows = [
        {
            "variant": one.name,
            "resolution": one.fsc and one.fsc.resolution,
            "area": areas.get(one.name),
            "kept": one.name in on,
            "ended": ended.get(one.name, ""),
            "failed": one.failed,
        }
        for one in variants
    ]
    said = f"{', '.join(on)} go on" if ended else "no variant is so much worse that it cannot win"
    return Decision(
        question="Variants that go on",
        choice={"variants": on},
        by="rule",
        reason=f"On 1/{of} of the tomograms, by the integral of the corrected FSC over {shells} shells, {said}.",
        candidates=pd.DataFrame(rows),
        numbers={"of": of},
    )
