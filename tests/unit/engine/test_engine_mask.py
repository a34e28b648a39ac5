"""Masks from densities whose right mask is known by geometry."""

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from staengine.__main__ import main as engine
from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.programs import mask_create

BOX = 24


@pytest.fixture
def ball(tmp_path):
    """A file with a ball of radius 4 px and density 1."""
    path = tmp_path / "ball.mrc"
    mrcfile.write(path, (fourier.distance(BOX, 3) <= 4).astype(np.float32), voxel_size=10.0)
    return path


def create(ball, *flags):
    output = ball.with_name("mask.mrc")
    mask_create.main(["--i", str(ball), "--o", str(output), "--ini_threshold", "0.5", *flags])
    return mrcfile.read(output)


def test_threshold_alone_gives_the_density_itself(ball):
    np.testing.assert_array_equal(create(ball), mrcfile.read(ball))


def test_extension_grows_the_mask_by_that_many_pixels(ball):
    along_x = create(ball, "--extend_inimask", "3")[BOX // 2, BOX // 2]
    assert np.flatnonzero(along_x).tolist() == list(range(BOX // 2 - 6, BOX // 2 + 7))


def test_soft_edge_is_a_raised_cosine(ball):
    along_x = create(ball, "--width_soft_edge", "4")[BOX // 2, BOX // 2]
    expected = 0.5 + 0.5 * np.cos(np.pi * np.arange(5) / 4)
    np.testing.assert_allclose(along_x[BOX // 2 + 4 : BOX // 2 + 9], expected, atol=1e-6)


def test_invert_writes_the_solvent(ball):
    flags = ["--extend_inimask", "2", "--width_soft_edge", "3"]
    np.testing.assert_allclose(create(ball, *flags, "--invert"), 1 - create(ball, *flags), atol=1e-6)


def test_low_pass_is_applied_before_the_threshold(ball):
    speckled = mrcfile.read(ball).copy()
    speckled[2, 2, 2] = 1  # one noisy voxel, far from the particle
    mrcfile.write(ball, speckled, voxel_size=10.0, overwrite=True)
    assert create(ball)[2, 2, 2] == 1
    assert create(ball, "--lowpass", "60")[2, 2, 2] == 0


def test_density_at_the_edge_of_the_box_does_not_wrap_round():
    inside = np.zeros((BOX,) * 3, bool)
    inside[0, 12, 12] = True
    mask = mask_create.soft_mask(inside, extend_px=3, edge_px=2)
    assert mask[2, 12, 12] == 1
    assert mask[-3:].max() == 0


def test_cropping_to_the_density_changes_nothing():
    rng = np.random.default_rng(0)
    inside = np.zeros((BOX,) * 3, bool)
    inside[tuple(rng.integers(8, 14, (3, 5)))] = True
    solid = distance_transform_edt(~inside) < 2.5
    expected = fourier.raised_cosine(distance_transform_edt(~solid), 0, 3)
    np.testing.assert_allclose(mask_create.soft_mask(inside, 2.5, 3), expected, atol=1e-6)


def test_empty_mask_is_an_error_that_names_threshold_and_range(ball, capfd):
    status = engine(["relion_mask_create", "--i", str(ball), "--o", str(ball), "--ini_threshold", "7"])
    error = capfd.readouterr().err
    assert status == 1
    assert "--ini_threshold 7" in error
    assert "from 0 to 1" in error


@pytest.mark.parametrize("flag", ["--helix", "--denovo", "--and", "--unheard_of"])
def test_flags_that_it_does_not_have_are_refused(ball, flag):
    with pytest.raises(EngineError, match=flag):
        create(ball, flag)


def test_map_without_a_pixel_size_needs_angpix(ball):
    mrcfile.write(ball, mrcfile.read(ball).copy(), overwrite=True)
    with pytest.raises(EngineError, match="--angpix"):
        create(ball)
    create(ball, "--angpix", "10")


def test_a_truncated_map_is_said_to_be_incomplete(ball):
    ball.write_bytes(ball.read_bytes()[:-100])
    with pytest.raises(EngineError, match="not a complete MRC file"):
        create(ball)
