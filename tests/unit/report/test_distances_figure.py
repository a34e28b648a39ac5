"""The histogram of distances between particles."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from stacycle.report.curve_figures import distances_figure
from stacycle.report.drawing import BLUE, ORANGE


def test_pairs_nearer_than_the_cut_are_orange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}
    bar = Axes.bar

    def recorded(self: Axes, left: np.ndarray, *args: object, **options: object) -> object:
        drawn.update(zip(left.tolist(), options["color"], strict=True))
        return bar(self, left, *args, **options)

    monkeypatch.setattr(Axes, "bar", recorded)
    pairs = pd.DataFrame({"from": [0.0, 10, 20], "to": [10.0, 20, 30], "pairs": [8, 0, 3]})
    distances_figure(pairs, 20, tmp_path / "distances.png")
    assert drawn == {0: ORANGE, 10: ORANGE, 20: BLUE}
    assert (tmp_path / "distances.png").read_bytes().startswith(b"\x89PNG")
    distances_figure(pairs.assign(pairs=0), 20, tmp_path / "none.png")
