"""The pictures of a multi-body refinement."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from stacycle.decisions.decision import Decision, write_decision
from stacycle.report import pictures
from stacycle.report.body_figures import motions_figure
from stacycle.report.project import Project

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


def test_the_page_has_the_motions_and_beside_them_the_components_that_were_worked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    decision = Decision("Motions", {"iteration": 2}, "rule", "They settle.", TABLE)
    path = "results/bin4/multibody/decision.json"
    write_decision(path, decision)
    project = Project(decisions=[path])
    shown = pictures.body_motions(project, "bin4/multibody")
    assert (len(shown.svgs), shown.files) == (1, (path,))
    assert "large" in shown.svgs[0]
    analysis = Path("results/bin4/multibody_analyse/run.out")
    analysis.parent.mkdir()
    analysis.write_text(
        "".join(f"  + Component {n} explains {100 / 12}% of variance.\n" for n in range(1, 13))
    )
    shown = pictures.body_motions(project, "bin4/multibody")
    assert len(shown.svgs) == 2
    assert shown.files == (path, str(analysis))
    assert pictures.body_motions(Project(), "bin4/multibody") is None
