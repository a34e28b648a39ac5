"""Tomograms of the embedded engine: particles are dark where they are, and nothing depends on how it is computed."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from staengine import __main__ as engine
from staengine.numerics import weighted_backprojection as backprojection
from staengine.tilt_series.star import as_loop, read_star

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
PROGRAM = "relion_tomo_reconstruct_tomogram"
WHOLE = {"--t": "input/tomograms.star", "--w": "320", "--h": "320", "--d": "160", "--binned_angpix": "20"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "input").symlink_to(GOLDEN / "input")
    monkeypatch.chdir(tmp_path)


def run(*argv, out="out", **changed):
    flags = WHOLE | {f"--{name}": value for name, value in changed.items()}
    return engine.main([PROGRAM, *(word for pair in flags.items() for word in pair), "--o", f"{out}/", *argv])


def volume(name="TS_01", out="out", kind="tomograms"):
    with mrcfile.open(f"{out}/{kind}/rec_{name}.mrc") as mrc:
        return mrc.data.astype(float)


def at_particles(name, density, voxel=20, middle=(0, 0, 0), mirrored=(1, 1, 1)):
    """Values where the true particles of a tomogram are, in standard deviations."""
    truth = as_loop(read_star("input/truth.star")["truth"])
    places = truth.loc[truth["rlnTomoName"] == name, [f"true{x}Angst" for x in "XYZ"]]
    at = (places.to_numpy(float) * mirrored - middle) / voxel + np.array(density.shape[::-1]) / 2
    inside = at[((at > 2) & (at < np.array(density.shape[::-1]) - 2)).all(axis=1)].round().astype(int)
    return (density[tuple(inside.T[::-1])] - density.mean()) / density.std(), len(inside)


def test_particles_are_dark_where_they_are_and_only_there(project):
    assert run("--j", "2") == 0
    for name in ("TS_01", "TS_02"):
        soft = gaussian_filter(volume(name), 2)
        there, number = at_particles(name, soft)
        assert number > 10
        assert there.mean() < -2.5
        for mirrored in ((1, 1, -1), (-1, 1, 1), (1, -1, 1)):
            assert at_particles(name, soft, mirrored=mirrored)[0].mean() > -1.2


def test_a_slab_is_a_part_of_the_tomogram_at_the_height_that_is_asked_for(project):
    assert run("--tn", "TS_01") == 0
    assert run("--tn", "TS_01", out="slab", d="40", z0="20") == 0
    whole, slab = volume(), volume(out="slab")
    assert slab.shape == (10, 80, 80)
    alike = [np.corrcoef(slab[5].ravel(), image.ravel())[0, 1] for image in whole]
    assert np.argmax(alike) == 25  # 20 px of 5 Å are 5 voxels above the middle
    assert max(alike) > 0.9


def test_without_a_name_all_are_made_and_a_tomograms_star_names_them(project):
    assert run("--do_proj") == 0
    table = as_loop(read_star("out/tomograms.star")["global"])
    for _, row in table.iterrows():
        assert Path(row["rlnTomoReconstructedTomogram"]).is_file()
        assert Path(row["rlnTomogramProjection"]).is_file()
        assert row["rlnTomoTomogramBinning"] == 4
    middle = volume()[20 - 5 : 20 + 6].sum(axis=0)
    np.testing.assert_allclose(volume(kind="projections"), middle, rtol=1e-4, atol=1e-3)


def test_threads_and_a_second_run_change_nothing(project):
    assert run("--tn", "TS_01") == run("--tn", "TS_01", "--j", "3", out="again") == 0
    np.testing.assert_array_equal(volume(), volume(out="again"))
    before = Path("out/tomograms/rec_TS_01.mrc").stat().st_mtime_ns
    assert run("--tn", "TS_01", "--only_do_unfinished") == 0
    assert Path("out/tomograms/rec_TS_01.mrc").stat().st_mtime_ns == before


def test_the_weights_are_the_lines_of_a_point_in_fourier_space():
    """A slice through the origin for each tilt, and all of them together there."""
    angles = np.radians([-40, 0, 40])
    matrices = np.array([[[np.cos(a), 0, np.sin(a)], [0, 1, 0]] for a in angles])
    weight = backprojection.weights(matrices, (32, 32, 32), 1)
    assert weight.max() == weight[0, 0, 0]
    assert weight[0, 5, 8] > 10 * weight[8, 5, 0]  # in the slice of the untilted image; in none


@pytest.mark.parametrize(
    ("argv", "changed", "sentence"),
    [
        (["--tn", "TS_9"], {}, "input/tomograms.star has no tomogram TS_9."),
        ([], {"d": "0"}, "--w, --h, --d and --SNR must be positive."),
        ([], {"d": "2"}, "of 320 x 320 x 2 px no voxel of 20 Å is left."),
        (
            [],
            {"binned_angpix": "2.5"},
            "a binning of 0.5 was asked for, but pixels can only be binned, by 1 or more.",
        ),
        (["--fourier"], {}, "the embedded engine does not have --fourier; leave it out or use RELION 5."),
    ],
)
def test_a_mistake_is_one_sentence(project, capsys, argv, changed, sentence):
    assert run(*argv, **changed) == 1
    assert capsys.readouterr().err.endswith(f"{sentence}\n")
    assert not Path("out").exists()
