"""Figures: complete, of one greyscale, and the same file each time."""

from math import inf, nan
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from stacycle.files import relion_output
from stacycle.report import figures as report_figures

GOLDEN = Path(__file__).parents[2] / "golden" / "data"


@pytest.fixture
def classes(tmp_path) -> pd.DataFrame:
    """Seven classes, each a sphere of its own strength, the last one rejected."""
    z, y, x = np.indices((16, 16, 16)) - 8
    ball = (z**2 + y**2 + x**2 < 16).astype(np.float32)
    paths = []
    for number in range(1, 8):
        paths.append(str(tmp_path / f"run_it010_class{number:03d}.mrc"))
        mrcfile.write(paths[-1], ball * number, voxel_size=10)
    return pd.DataFrame(
        {
            "class": range(1, 8),
            "n": [10] * 7,
            "fraction": [1 / 7] * 7,
            "resolution": [30.0, inf, nan, 30, 30, 30, 30],
            "accuracy_rotations": [2.0, nan, 2, 2, 2, 2, 2],
            "accuracy_translations": [3.0] * 7,
            "likeness": [1.0] * 7,
            "kept": [True] * 6 + [False],
            "map": paths,
        }
    )


def test_a_montage_shows_every_class_in_rows_of_six(classes, tmp_path):
    report_figures.class_montage(classes, tmp_path / "one_row.png", columns=7)
    report_figures.class_montage(classes, tmp_path / "two_rows.png")
    one, two = imread(tmp_path / "one_row.png"), imread(tmp_path / "two_rows.png")
    assert two.shape[0] == 2 * one.shape[0]
    assert one.shape[1] > two.shape[1]


def test_weak_classes_look_weak_and_rejected_ones_faded(classes, tmp_path):
    report_figures.class_montage(classes, tmp_path / "classes.png", columns=7)
    picture = imread(tmp_path / "classes.png")[..., :3].mean(axis=2)
    height, width = picture.shape
    row = picture[int(height * 0.19)]  # through the centres of the first row of slices
    centres = row[((np.arange(7) + 0.5) * (width * 0.99 - width * 0.024) / 7 + width * 0.024).astype(int)]
    assert (np.diff(centres[:6]) > 0.05).all()
    corner = picture[int(height * 0.08), int(width * 0.94)]
    assert corner > 0.5  # the black ground of the rejected class is grey


def test_a_montage_needs_no_choice(classes, tmp_path):
    report_figures.class_montage(classes.drop(columns=["kept", "likeness"]), tmp_path / "classes.png")
    assert (tmp_path / "classes.png").stat().st_size > 10_000


def test_a_figure_is_the_same_file_each_time(classes, tmp_path):
    for name in ("a.png", "b.png"):
        report_figures.class_montage(classes[:1], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_other_figures_are_drawn_from_what_relion_wrote(tmp_path):
    align = relion_output.iterations(GOLDEN / "align")
    report_figures.iterations_figure({"T1": align, "T2": align[:3]}, tmp_path / "iterations.png", {"T1": 4})
    report_figures.fsc_figure(
        relion_output.fsc(GOLDEN / "postprocess/postprocess.star"), tmp_path / "fsc.png"
    )
    report_figures.slices_figure(GOLDEN / "postprocess/postprocess.mrc", tmp_path / "slices.png")
    report_figures.mask_figure(
        GOLDEN / "postprocess/postprocess.mrc", GOLDEN / "mask/mask.mrc", tmp_path / "mask.png", 0.2
    )
    for name in ("iterations", "fsc", "slices", "mask"):
        assert imread(tmp_path / f"{name}.png")[..., :3].std() > 0.05


def test_a_run_without_any_number_still_gives_a_figure(tmp_path):
    nothing = [relion_output.Iteration(0, inf, nan, nan, nan, nan, nan, nan, nan)]
    report_figures.iterations_figure({"T1": nothing}, tmp_path / "iterations.png")
    assert (tmp_path / "iterations.png").exists()


def test_the_mask_is_outlined_where_it_ends(tmp_path):
    density = np.random.default_rng(0).normal(size=(24, 24, 24)).astype(np.float32)
    mask = np.zeros_like(density)
    mask[8:16, 8:16, 8:16] = 1
    for name, values in (("map", density), ("mask", mask), ("none", mask * 0)):
        mrcfile.write(tmp_path / f"{name}.mrc", values, voxel_size=10)
    for name in ("mask", "none"):
        report_figures.mask_figure(tmp_path / "map.mrc", tmp_path / f"{name}.mrc", tmp_path / f"{name}.png")
    with_mask, without = (imread(tmp_path / f"{name}.png") for name in ("mask", "none"))
    orange = np.abs(with_mask[..., :3] - np.array([0xE6, 0x9F, 0x00]) / 255).sum(axis=2) < 0.1
    assert orange.sum() > 500
    assert not (np.abs(without[..., :3] - np.array([0xE6, 0x9F, 0x00]) / 255).sum(axis=2) < 0.1).any()


@pytest.fixture
def figures(monkeypatch):
    """The figures themselves, laid out but not written."""
    kept = []
    monkeypatch.setattr(
        report_figures, "_save", lambda figure, path: (figure.draw_without_rendering(), kept.append(figure))
    )
    return kept


def rungs_of(resolutions: list[float]) -> pd.DataFrame:
    """A ladder of three rounds with four rungs each."""
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
def test_the_ladders_words_are_apart_and_inside(figures, resolutions):
    report_figures.ladder_figure(rungs_of(resolutions), "ladder.png")
    (figure,) = figures
    axes = figure.axes[0]
    words = [*axes.texts, *axes.get_yticklabels(), *axes.get_xticklabels(), axes.xaxis.label]
    boxes = [word.get_window_extent() for word in words if word.get_text()]
    assert len(axes.texts) == np.isfinite(resolutions).sum()
    assert all(figure.bbox.fully_containsx(box.x0) and figure.bbox.fully_containsx(box.x1) for box in boxes)
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_the_ladder_shows_what_was_rolled_back_as_hollow_points(figures):
    report_figures.ladder_figure(rungs_of(TWELVE), "ladder.png")
    lines = {line.get_label(): line for line in figures[0].axes[0].lines}
    assert list(lines["rolled back"].get_xdata()) == [8.48, 5.6, 4.6]
    assert lines["rolled back"].get_markerfacecolor() == "white"
    assert len(lines["resolution"].get_xdata()) == 9


def test_a_number_stands_where_the_line_does_not_run(figures):
    report_figures.ladder_figure(rungs_of(TWELVE), "ladder.png")
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
    report_figures.sweep_figure(results, kept, "sweep.png")
    (figure,) = figures
    axes = figure.axes[0]
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    looks = {(line.get_color(), line.get_linestyle(), line.get_linewidth()) for line in lines}
    assert len(looks) == len(lines) == 19
    (thick,) = [line for line in lines if line.get_linewidth() == 3]
    assert thick.get_label() == f"{kept}, {results[kept].resolution:.2f} Å (kept)"
    assert not axes.get_tightbbox().overlaps(figure.legends[0].get_window_extent())
    assert axes.get_xlim()[1] < 0.25  # where nothing is resolved, nothing is shown


def test_a_sweep_without_any_resolution_still_gives_a_figure(figures):
    report_figures.sweep_figure({"before": curve(inf)}, "before", "sweep.png")
    assert figures


def test_slices_are_those_of_the_whole_map(tmp_path):
    density = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float16)
    mrcfile.write(tmp_path / "map.mrc", density, voxel_size=10)
    images, pixel_size = report_figures._read_slices(tmp_path / "map.mrc")
    assert pixel_size == 10
    expected = [density[4], density[:, 4], density[:, :, 4]]
    assert all(np.array_equal(a, b) for a, b in zip(images, expected, strict=True))
