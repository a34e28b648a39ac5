"""Pictures of maps: complete, of one greyscale, and the same file each time."""

from math import inf, nan
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from stacycle.report import map_figures

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
    map_figures.class_montage(classes, tmp_path / "one_row.png", columns=7)
    map_figures.class_montage(classes, tmp_path / "two_rows.png")
    one, two = imread(tmp_path / "one_row.png"), imread(tmp_path / "two_rows.png")
    assert two.shape[0] == 2 * one.shape[0]
    assert one.shape[1] > two.shape[1]


def test_weak_classes_look_weak_and_rejected_ones_are_as_well_to_be_seen(classes, tmp_path):
    map_figures.class_montage(classes, tmp_path / "classes.png", columns=7)
    picture = imread(tmp_path / "classes.png")[..., :3].mean(axis=2)
    height, width = picture.shape
    row = picture[int(height * 0.19)]  # through the centres of the first row of slices
    centres = row[((np.arange(7) + 0.5) * (width * 0.99 - width * 0.024) / 7 + width * 0.024).astype(int)]
    assert (np.diff(centres[:6]) > 0.05).all()
    assert centres[6] > centres[5] + 0.05
    corner = picture[int(height * 0.08), int(width * 0.94)]
    assert corner < 0.1  # the ground of the rejected class is as black as that of the others
    colours = imread(tmp_path / "classes.png")[..., :3]
    framed = {
        name: (np.abs(colours - np.array(rgb) / 255).sum(axis=2) < 0.1).sum(axis=0)
        for name, rgb in (("kept", (0, 0x72, 0xB2)), ("rejected", (0xD5, 0x5E, 0)))
    }
    assert framed["rejected"][: width * 6 // 7].sum() == 0 < framed["rejected"][width * 6 // 7 :].sum()
    assert framed["kept"][: width * 6 // 7].sum() > 1000


def test_a_montage_needs_no_choice(classes, tmp_path):
    map_figures.class_montage(classes.drop(columns=["kept", "likeness"]), tmp_path / "classes.png")
    assert (tmp_path / "classes.png").stat().st_size > 10_000


def test_a_figure_is_the_same_file_each_time(classes, tmp_path):
    for name in ("a.png", "b.png"):
        map_figures.class_montage(classes[:1], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_slices_are_drawn_from_what_relion_wrote(tmp_path):
    map_figures.slices_figure(GOLDEN / "postprocess/postprocess.mrc", tmp_path / "slices.png")
    assert imread(tmp_path / "slices.png")[..., :3].std() > 0.05
