"""Curves: what belongs together can be told apart, and words do not overlap."""

from math import inf, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from stacycle.files import relion_output
from stacycle.report import curve_figures, drawing

GOLDEN = Path(__file__).parents[2] / "golden" / "data"


def test_curves_are_drawn_from_what_relion_wrote(tmp_path):
    align = relion_output.iterations(GOLDEN / "align")
    runs = {"T1": align, "T2": align[:3]}
    assert curve_figures.panels(runs) == ["resolution", "accuracy_rotations"]  # an alignment has one class
    curve_figures.iterations_figure(runs, "resolution", tmp_path / "iterations.png", {"T1": 4})
    result = relion_output.fsc(GOLDEN / "postprocess/postprocess.star")
    curve_figures.fsc_figure(result, tmp_path / "fsc.png")
    for name in ("iterations", "fsc"):
        assert imread(tmp_path / f"{name}.png")[..., :3].std() > 0.05


def test_a_run_without_any_number_still_gives_a_figure(tmp_path):
    nothing = [relion_output.Iteration(0, inf, nan, nan, nan, nan, nan, nan, nan)]
    (name,) = curve_figures.panels({"T1": nothing})
    curve_figures.iterations_figure({"T1": nothing}, name, tmp_path / "iterations.png")
    assert (tmp_path / "iterations.png").exists()


@pytest.fixture
def figures(monkeypatch):
    """The figures themselves, laid out but not written."""
    kept = []
    monkeypatch.setattr(
        drawing, "save", lambda figure, path: (figure.draw_without_rendering(), kept.append(figure))
    )
    return kept


def table_of(resolutions: list[float]) -> pd.DataFrame:
    """The resolutions of three rounds with four steps each."""
    steps = [
        "Refine3D, post-processed",
        *(f"{name}, cycle 1" for name in ("Reconstruct bin1", "CTF refinement")),
    ]
    count = len(resolutions)
    return pd.DataFrame(
        {
            "round": [f"bin{4 // 2 ** (i // 4)}" for i in range(count)],
            "step": ([*steps, "Polishing, cycle 1"] * 3)[:count],
            "resolution": resolutions,
            "nyquist": ([15.28, 3.82, 3.82, 3.82, 7.64, 3.82, 3.82, 3.82] + [3.82] * 4)[:count],
            "kept": ["", "", "rolled back", "motion"] * (count // 4) + [""] * (count % 4),
        }
    )


TWELVE = [15.28, 9.55, 8.48, 5.65, 7.64, 5.6, 5.6, 4.8, 4.91, 4.7, 4.6, 4.4]


@pytest.mark.parametrize(
    "resolutions", [TWELVE, TWELVE[:2], [*TWELVE[:7], inf, nan, *TWELVE[9:]], [8.0] * 12]
)
def test_the_words_beside_resolutions_are_apart_and_inside(figures, resolutions):
    curve_figures.resolution_figure(table_of(resolutions), "resolution.png")
    (figure,) = figures
    axes = figure.axes[0]
    words = [*axes.texts, *axes.get_yticklabels(), *axes.get_xticklabels(), axes.xaxis.label]
    boxes = [word.get_window_extent() for word in words if word.get_text()]
    assert len(axes.texts) == np.isfinite(resolutions).sum()
    assert all(figure.bbox.fully_containsx(box.x0) and figure.bbox.fully_containsx(box.x1) for box in boxes)
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_the_figure_of_resolutions_shows_what_was_rolled_back_as_hollow_points(figures):
    curve_figures.resolution_figure(table_of(TWELVE), "resolution.png")
    lines = {line.get_label(): line for line in figures[0].axes[0].lines}
    assert list(lines["rolled back"].get_xdata()) == [8.48, 5.6, 4.6]
    assert lines["rolled back"].get_markerfacecolor() == "white"
    assert len(lines["resolution"].get_xdata()) == 9


def test_a_number_stands_where_the_line_does_not_run(figures):
    curve_figures.resolution_figure(table_of(TWELVE), "resolution.png")
    beside = {text.get_text(): text.get_horizontalalignment() for text in figures[0].axes[0].texts}
    assert beside["15.28"] == beside["7.64"] == "right"  # the line leaves to the right
    assert beside["8.48"] == beside["5.65"] == beside["4.40"] == "left"


def curve(resolution: float) -> relion_output.PostProcess:
    """A postprocess of this resolution; 2 Å pixels."""
    frequency = np.arange(49) / 192
    corrected = 1 / (1 + np.exp(40 * (frequency - 1 / resolution) + np.log(6)))
    return relion_output.PostProcess(
        resolution, 4.0, nan, nan, pd.DataFrame({"frequency": frequency, "corrected": corrected})
    )


@pytest.mark.parametrize("kept", ["before", "V3"])
def test_twenty_variants_of_a_sweep_can_be_told_apart(figures, kept):
    results = {"before": curve(9)} | {f"V{i}": curve(9 + i / 10) for i in range(18)}
    curve_figures.sweep_figure(results, kept, "sweep.png")
    (figure,) = figures
    axes = figure.axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    looks = {(line.get_color(), line.get_linestyle(), line.get_linewidth()) for line in lines}
    assert len(looks) == len(lines) == 19
    (thick,) = [line for line in lines if line.get_linewidth() == 3]
    key = curve_figures.sweep_key(results, kept)
    (strong,) = [one for one in key if one.strong]
    assert strong.text == f"{kept}, {results[kept].resolution:.2f} Å (kept)"
    assert strong.colour == thick.get_color()
    assert len({(one.colour, one.dash) for one in key}) == 19
    assert axes.get_xlim()[1] < 0.25  # where nothing is resolved, nothing is shown


def test_curves_that_lie_on_one_another_lie_apart_in_the_panel_of_differences(figures):
    results = {"before": curve(9), "a": curve(8.9), "b": curve(9.1)}
    curve_figures.sweep_difference_figure(results, "a", "difference.png")
    axes = figures[0].axes[0]
    before, a, b = [line.get_ydata() for line in axes.lines if len(line.get_xdata()) > 2]
    assert not before.any()
    assert a.max() > 0 > b.min()
    low, high = axes.get_ylim()
    assert low < b.min() < a.max() < high < 3 * a.max()  # they fill the panel


def test_a_guinier_plot_has_the_amplitudes_that_there_are(figures):
    squared = np.linspace(0, 0.01, 11)
    table = pd.DataFrame(
        {"rlnResolutionSquared": squared, "rlnLogAmplitudesOriginal": [-40, *np.linspace(-4, -8, 10)]}
    )
    table["rlnLogAmplitudesWeighted"] = [-40, *np.linspace(-4, -8, 7), -99, -99, -99]
    curve_figures.guinier_figure(table, "guinier.png")
    original, weighted = figures[0].axes[0].lines
    assert np.array_equal(original.get_ydata(), np.linspace(-4, -8, 10))
    assert np.isfinite(weighted.get_ydata()).sum() == 7  # RELION writes -99 where there is none


def test_a_sweep_without_any_resolution_still_gives_a_figure(figures):
    curve_figures.sweep_figure({"before": curve(inf)}, "before", "sweep.png")
    assert figures
