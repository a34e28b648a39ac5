"""The picture of a multi-body refinement."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from stacycle.report.body_figures import motions_figure

TABLE = pd.DataFrame(
    {
        "iteration": [1, 1, 2, 2],
        "body": ["large", "small"] * 2,
        "offset": [3.0, 9.0, 4.0, 12.0],
        "together": [0.5, 1.0, 0.5, 1.5],
        "searched": [60.0] * 4,
    }
)


@pytest.mark.parametrize("explained", [[], [60.0, 30.0, 10.0]])
def test_each_body_has_its_line_and_components_stand_beside_them_if_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, explained: list[float]
) -> None:
    lines: dict[str, list[float]] = {}
    bars: list[float] = []
    plot, bar = Axes.plot, Axes.bar

    def plotted(self: Axes, x: pd.Series, y: pd.Series, *args: object, **options: object) -> object:
        if "label" in options:
            lines[str(options["label"])] = list(y)
        return plot(self, x, y, *args, **options)

    def barred(self: Axes, x: np.ndarray, heights: list[float], *args: object, **options: object) -> object:
        bars.extend(heights)
        return bar(self, x, heights, *args, **options)

    monkeypatch.setattr(Axes, "plot", plotted)
    monkeypatch.setattr(Axes, "bar", barred)
    motions_figure(TABLE, explained, tmp_path / "motions.png")
    assert lines == {"large": [3, 4], "small": [9, 12]}
    assert bars == explained
    assert (tmp_path / "motions.png").read_bytes().startswith(b"\x89PNG")
