"""The histogram of scores."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from stacycle.report.curve_figures import scores_figure
from stacycle.report.drawing import ORANGE


@pytest.mark.parametrize("flagged", [0, 20, 120])
def test_the_flagged_are_the_lowest_and_in_orange(
    flagged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, hist = {}, Axes.hist

    def recorded(self: Axes, values: np.ndarray, *args: object, color: str) -> object:
        drawn[color] = values
        return hist(self, values, *args, color=color)

    monkeypatch.setattr(Axes, "hist", recorded)
    scores = np.concatenate([np.linspace(0.9, 1.2, 100), np.linspace(0.1, 0.3, 20)])
    scores_figure(scores, flagged, tmp_path / "scores.png")
    assert len(drawn[ORANGE]) == flagged
    assert drawn[ORANGE].max(initial=0) < (0.4 if flagged == 20 else 1.3)
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
