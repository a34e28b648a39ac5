"""Local resolution in the embedded engine, on half maps of which a part is known to be worse."""

import numpy as np
import pytest
from scipy import ndimage

from staengine import __main__ as engine
from staengine.numerics import fourier, maps
from staengine.numerics.local_resolution import Spheres
from staengine.programs import postprocess
from staengine.ranks import Launch

BOX, PIXEL = 32, 5.0
FLAGS = ["--locres_sampling", "20", "--locres_maskrad", "15", "--locres_edgwidth", "20"]
FLAGS += ["--locres_randomize_at", "40", "--locres_minres", "80"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """half1.mrc and half2.mrc of white density; where x < 0 both show only their own noise beyond 30 Å."""
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("locres")
    common = rng.normal(size=(BOX,) * 3)
    blurred = ndimage.gaussian_filter(common, 1.2, mode="wrap")
    left = 1 / (1 + np.exp((np.arange(BOX) - BOX // 2) / 0.7))  # along x
    for half in (1, 2):
        density = common + left * (blurred + rng.normal(size=common.shape) / 4 - common)
        noisy = density + 0.2 * rng.normal(size=common.shape)
        maps.write_map(folder / f"half{half}.mrc", noisy * fourier.soft_sphere(BOX, 12, 4), PIXEL)
    return folder


@pytest.fixture(scope="module")
def made(folder):
    """Local resolution and locally filtered map."""
    words = ["--locres", "--i", str(folder / "half1.mrc"), "--o", str(folder / "relion"), *FLAGS]
    assert postprocess.main(words) == 0
    return [maps.read_map(folder / f"relion_locres{kind}.mrc")[0] for kind in ("", "_filtered")]


def test_the_blurred_side_is_coarser(made):
    """And it is the side of low x, the last axis: an exchange of axes would show."""
    resolution, _ = made
    inner = fourier.distance(BOX, 3) < 10
    x = np.broadcast_to(np.arange(BOX) - BOX // 2, resolution.shape)
    blurred, sharp = (np.median(resolution[inner & part]) for part in (x < -4, x > 4))
    assert sharp < 13  # next to Nyquist, 10 Å
    assert blurred > 1.5 * sharp
    assert resolution[inner].min() >= 2 * PIXEL
    for axis in (0, 1):  # along y and z nothing changes
        first, last = (np.median(np.take(resolution, part, axis)) for part in (range(8, 14), range(18, 24)))
        assert first == pytest.approx(last, rel=0.2)


def test_the_filtered_map_has_less_detail_where_the_resolution_is_coarser(folder, made):
    _, filtered = made
    average = sum(maps.read_map(folder / f"half{h}.mrc")[0] for h in (1, 2)) / 2
    detail = [np.abs(m - ndimage.gaussian_filter(m, 1.5))[10:22, 10:22] for m in (filtered, average)]
    left, right = (detail[0][..., s].std() / detail[1][..., s].std() for s in (slice(6, 12), slice(20, 26)))
    assert left < 0.75 * right


def test_mpi_gives_identical_maps(folder, made, tmp_path):
    words = ["--locres", "--i", str(folder / "half1.mrc"), "--o", str(tmp_path / "relion"), *FLAGS]
    assert postprocess.main(words, Launch()) == 0
    for kind, serial in zip(("", "_filtered"), made, strict=True):
        np.testing.assert_array_equal(maps.read_map(tmp_path / f"relion_locres{kind}.mrc")[0], serial)


def test_outside_all_spheres_the_maps_are_0(made):
    centres = Spheres(step=4, radius=3, edge=4).centres(BOX)[:, ::-1] + BOX // 2  # z, y, x
    points = np.moveaxis(np.indices((BOX,) * 3), 0, -1)
    reached = np.min([np.linalg.norm(points - c, axis=-1) for c in centres], axis=0) < 7
    for values in made:
        np.testing.assert_array_equal(values != 0, reached)


def test_halves_without_anything_in_common_have_the_coarsest_resolution(tmp_path):
    rng = np.random.default_rng(2)
    for half in (1, 2):
        maps.write_map(tmp_path / f"half{half}.mrc", rng.normal(size=(24,) * 3), PIXEL)
    words = ["--locres", "--i", str(tmp_path / "half1.mrc"), "--o", str(tmp_path / "relion"), *FLAGS]
    assert postprocess.main(words) == 0
    resolution, _ = maps.read_map(tmp_path / "relion_locres.mrc")
    assert (
        np.median(resolution[resolution > 0]) > 35
    )  # of at most 80; the sphere itself correlates some shells


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--locres_sampling", "2.4"],
            "--locres_sampling 2.4 Å is less than half a voxel; give at least 5, a voxel.",
        ),
        (["--auto_bfac"], "--auto_bfac does not work with --locres; give --adhoc_bfac."),
        (["--low_pass", "20"], "--locres filters by the local resolution; leave out --low_pass."),
        (["--locres_maskrad", "80"], "--locres_maskrad 80 Å leaves no room in a box of 160 Å; lower it."),
        (["--locres_randomize_at", "200"], "--locres_randomize_at 200 is no resolution of a box of 160 Å."),
        (["--mask", "small.mrc"], "small.mrc has a box of 16 px, the first half map 32 px."),
    ],
)
def test_a_mistake_is_refused_before_anything_is_written(
    folder, tmp_path, monkeypatch, capsys, flags, sentence
):
    monkeypatch.chdir(tmp_path)
    maps.write_map("small.mrc", np.ones((16,) * 3), PIXEL)
    words = ["relion_postprocess", "--locres", "--i", str(folder / "half1.mrc"), "--o", "x/relion", *flags]
    assert engine.main(words) == 1
    assert capsys.readouterr().err.endswith(f"{sentence}\n")
    assert not (tmp_path / "x").exists()


def test_flags_that_make_the_result_useless_are_warned_of(folder, tmp_path, capsys):
    words = ["--locres", "--i", str(folder / "half1.mrc"), "--o", str(tmp_path / "relion")]
    words += ["--locres_sampling", "60", "--locres_randomize_at", "8", "--locres_minres", "9"]
    assert postprocess.main(words) == 0
    log = capsys.readouterr().out
    assert "WARNING: that is beyond Nyquist, 10 A" in log
    assert "WARNING: every voxel gets --locres_minres, 9 A" in log


def test_a_length_is_rounded_to_voxels_and_half_a_voxel_upwards(folder, tmp_path, capsys):
    """12.5 Å at 5 Å per voxel are 3 voxels, not the 2 of rounding to even numbers."""
    words = ["--locres", "--i", str(folder / "half1.mrc"), "--o", str(tmp_path / "relion")]
    postprocess.main(
        [*words, "--locres_sampling", "12.5", "--locres_maskrad", "40", "--locres_edgwidth", "5"]
    )
    expected = len(Spheres(step=3, radius=8, edge=1).centres(BOX))
    assert f"Calculating local resolution in {expected} sampling points" in capsys.readouterr().out
