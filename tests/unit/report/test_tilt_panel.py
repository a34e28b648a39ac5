"""What a sweep changed in the tilt images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.report import tilt_panel
from stacycle.report.project import Project


def state(name: str, series: int, defocus: float = 0, shift: float = 0) -> str:
    """The optimisation set of so many tilt series of five tilts, of which defocus and shift grow with the tilt."""
    tilts = np.array([-60.0, -30, 0, 30, 60])
    rows = []
    for number in range(series):
        table = pd.DataFrame({"rlnTomoYTilt": tilts, "rlnDefocusU": 3e4 + defocus * tilts})
        table = table.assign(rlnDefocusV=table["rlnDefocusU"], rlnTomoYShiftAngst=0.0)
        table["rlnTomoXShiftAngst"] = number + shift * tilts
        path = f"{name}/TS_{number}.star"
        star.write(path, {f"TS_{number}": table})
        rows.append({"rlnTomoName": f"TS_{number}", "rlnTomoTiltSeriesStarFile": path})
    star.write(f"{name}/tomograms.star", {"global": pd.DataFrame(rows)})
    OptimisationSet("particles.star", f"{name}/tomograms.star").write(f"{name}/set.star")
    return f"{name}/set.star"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_changes_of_defocus_and_place_are_those_of_the_files() -> None:
    state("before", 3)
    state("after", 3, defocus=10, shift=0.1)
    tilts, defocus, moved, read, all_ = tilt_panel._changed("before/tomograms.star", "after/tomograms.star")
    assert (read, all_) == (3, 3)
    assert defocus == pytest.approx(10 * tilts)
    assert moved == pytest.approx(0.1 * np.abs(tilts))  # a common shift moves the tomogram: it does not count


def test_only_what_changed_is_drawn() -> None:
    before, after = state("before", 2), state("after", 2, defocus=10)
    made = tilt_panel.changes(Project(), before, after)
    assert len(made.svgs) == 1
    assert "Change of defocus" in made.svgs[0]
    assert tilt_panel.changes(Project(), before, state("same", 2)) is None
    assert tilt_panel.changes(Project(), before, before) is None


def test_of_many_series_some_are_read_and_the_caption_says_so() -> None:
    before, after = state("before", 70), state("after", 70, shift=1)
    made = tilt_panel.changes(Project(), before, after)
    assert f"{tilt_panel.MOST} of 70 tilt series" in made.caption
