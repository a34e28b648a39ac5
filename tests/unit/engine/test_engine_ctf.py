"""Contrast transfer, exposure filter, Fourier helpers and point groups of the embedded engine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from staengine.errors import EngineError
from staengine.numerics import backprojection, fourier, symmetry
from staengine.numerics.fsc import fsc
from staengine.tilt_series.ctf import ctf, dose_weight, wavelength

BOX, PIXEL = 128, 2.0
K = np.arange(BOX // 2 + 1) / (BOX * PIXEL)  # 1/Å along x


def transfer(defocus=20000.0, **changes):
    values = {
        "defocus_u": defocus,
        "defocus_v": defocus,
        "angle": 0.0,
        "voltage": 300.0,
        "cs": 2.7,
        "q0": 0.1,
    }
    return ctf(BOX, PIXEL, **(values | changes))


def test_the_wavelength_at_300_kv_is_the_relativistic_one():
    assert wavelength(300) == pytest.approx(0.0196875, rel=1e-4)


def test_the_ctf_starts_positive_at_the_amplitude_contrast():
    values = transfer()
    assert values.shape == (BOX, BOX // 2 + 1)
    assert values[0, 0] == pytest.approx(0.1)
    assert (values[0, :8] > 0).all()


def test_the_ctf_is_that_of_the_textbook_along_x():
    lam = wavelength(300)
    gamma = np.pi * lam * 20000 * K**2 - np.pi / 2 * 2.7e7 * lam**3 * K**4
    expected = np.sqrt(1 - 0.01) * np.sin(gamma) + 0.1 * np.cos(gamma)
    np.testing.assert_allclose(transfer()[0], expected, atol=1e-4)


def test_astigmatism_is_defocus_u_along_its_angle_and_v_across():
    along_y = transfer(defocus_u=22000.0, defocus_v=18000.0, angle=90.0)
    np.testing.assert_allclose(along_y[0], transfer(18000.0)[0], atol=1e-4)
    np.testing.assert_allclose(along_y[: BOX // 2, 0], transfer(22000.0)[: BOX // 2, 0], atol=1e-4)
    diagonal = transfer(defocus_u=22000.0, defocus_v=18000.0, angle=45.0)
    np.testing.assert_allclose(diagonal[20, 20], transfer(22000.0)[20, 20], atol=1e-4)
    np.testing.assert_allclose(diagonal[-20, 20], transfer(18000.0)[-20, 20], atol=1e-4)


def test_a_phase_plate_scale_and_bfactor_act_as_named():
    assert transfer(phase_shift=90.0)[0, 0] == pytest.approx(np.sqrt(1 - 0.01))
    np.testing.assert_allclose(transfer(scale=0.5), transfer() / 2, rtol=1e-6)
    np.testing.assert_allclose(transfer(bfactor=100.0)[0], transfer()[0] * np.exp(-25 * K**2), rtol=1e-5)


def test_many_tilts_are_the_same_as_one_at_a_time():
    defocus = np.array([15000.0, 30000.0])
    both = transfer(defocus_u=defocus, defocus_v=defocus)
    assert both.shape == (2, BOX, BOX // 2 + 1)
    np.testing.assert_array_equal(both[1], transfer(30000.0))


def test_the_exposure_filter_is_that_of_grant_and_grigorieff():
    weights = dose_weight(BOX, PIXEL, [0.0, 30.0])
    assert (weights[0] == 1).all()
    k = K[32]
    assert weights[1, 0, 32] == pytest.approx(np.exp(-30 / (2 * (0.245 * k**-1.665 + 2.81))), rel=1e-5)
    assert weights[1, 0, 0] == 1
    assert (np.diff(weights[1, 0]) <= 0).all()


# ---------------------------------------------------------------- Fourier helpers


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("box", [12, 13])
def test_a_point_at_the_origin_has_a_constant_transform_and_comes_back(ndim, box):
    point = np.zeros((box,) * ndim, np.float32)
    point[(box // 2,) * ndim] = 1
    transform = fourier.rfft(point, ndim)
    np.testing.assert_allclose(transform, 1, atol=1e-6)
    np.testing.assert_allclose(fourier.irfft(transform, ndim), point, atol=1e-6)


@pytest.mark.parametrize("ndim", [2, 3])
def test_resampling_keeps_a_smooth_density_and_its_origin(ndim):
    def blob(box, step):
        return np.exp(-((fourier.distance(box, ndim) * step) ** 2) / 40)

    np.testing.assert_allclose(fourier.resample(blob(48, 1.0), 24, ndim), blob(24, 2.0), atol=1e-3)
    np.testing.assert_allclose(fourier.resample(blob(24, 2.0), 48, ndim), blob(48, 1.0), atol=1e-3)


@given(st.sampled_from([8, 9, 12, 15]), st.sampled_from([16, 17, 20]))
def test_padding_and_cropping_a_transform_gives_it_back(small, large):
    transform = fourier.rfft(np.random.default_rng(small).normal(size=(small, small)), 2)
    there = fourier.resize_transform(transform, large, 2)
    np.testing.assert_array_equal(fourier.resize_transform(there, small, 2), transform)


def test_windows_keep_the_origin_and_fill():
    values = np.random.default_rng(0).normal(size=(2, 6, 6))
    larger = fourier.window(values, 9, 2, fill=5.0)
    assert larger[0, 4, 4] == values[0, 3, 3]
    assert larger[0, 0, 0] == 5.0
    np.testing.assert_array_equal(fourier.window(larger, 6, 2), values)


def test_shells_are_means_over_whole_radii():
    shells = fourier.shell_index(16, 3)
    assert shells.shape == (16, 16, 9)
    assert shells[0, 0, 0] == 0
    assert shells[3, -4, 0] == 5
    np.testing.assert_allclose(fourier.shell_mean(fourier.radius(16, 3), shells, 9), np.arange(9), atol=0.3)
    np.testing.assert_allclose(fourier.shell_mean(np.ones(shells.shape), shells, 9), 1)


def test_the_fsc_is_1_for_the_same_map_and_about_0_for_noise():
    first, second = np.random.default_rng(0).normal(size=(2, 32, 32, 32))
    np.testing.assert_allclose(fsc(first, 3 * first), 1)
    np.testing.assert_allclose(fsc(first, -first)[1:], -1)
    assert np.abs(fsc(first, second)[3:]).max() < 0.3
    mixed = fsc(first, first + second)
    assert mixed[5:].mean() == pytest.approx(2**-0.5, abs=0.03)


def test_the_fsc_of_unlike_boxes_is_an_error():
    with pytest.raises(ValueError, match="different size"):
        fsc(np.zeros((4,) * 3), np.zeros((6,) * 3))


def test_a_soft_sphere_is_1_inside_0_outside_and_a_half_in_the_middle_of_its_edge():
    mask = fourier.soft_sphere(32, 8, 4)
    assert mask[16, 16, 16 + 8] == 1
    assert mask[16, 16, 16 + 10] == pytest.approx(0.5)
    assert mask[16, 16, 16 + 12] == 0
    assert set(np.unique(fourier.soft_sphere(32, 8, 0))) == {0, 1}


# ---------------------------------------------------------------- point groups and reconstruction


@pytest.mark.parametrize(
    ("name", "order"),
    [("C1", 1), ("c7", 7), ("D2", 4), ("D3", 6), ("T", 12), ("O", 24)]
    + [(name, 60) for name in ("I", "I1", "I2", "I3", "I4")],
)
def test_a_point_group_is_closed_and_of_its_order(name, order):
    group = symmetry.rotations(name)
    assert len(group) == order
    np.testing.assert_allclose(np.linalg.det(group), 1)
    product = group[-1] @ group[order // 2]
    assert min(np.abs(group - product).max(axis=(1, 2))) < 1e-6


@pytest.mark.parametrize(
    ("name", "fold", "axis"),
    [
        ("C5", 5, (0, 0, 1)),
        ("D3", 2, (1, 0, 0)),
        ("T", 3, (0, 0, 1)),
        ("O", 4, (0, 0, 1)),
        ("I", 2, (0, 0, 1)),
        ("I1", 2, (1, 0, 0)),
        ("I2", 5, (0.5257311, 0, 0.8506508)),
        ("I3", 5, (0, 0, 1)),
        ("I4", 5, (0.8944272, 0, 0.4472136)),
    ],
)
def test_the_axes_are_relions(name, fold, axis):
    group = symmetry.rotations(name)
    kept = np.abs(group @ np.array(axis, float) - axis).max(axis=1) < 1e-5
    assert kept.sum() == fold


@pytest.mark.parametrize("name", ["C0", "X", "Oh", "D", ""])
def test_other_groups_are_refused(name):
    with pytest.raises(EngineError, match="the embedded engine has Cn, Dn"):
        symmetry.rotations(name)


def test_slices_in_all_directions_rebuild_a_density():
    box = 24
    rng = np.random.default_rng(3)
    z, y, x = np.indices((box,) * 3) - box // 2
    density = sum(
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 4.0) for a, b, c in rng.uniform(-4, 4, (6, 3))
    )
    group = symmetry.rotations("I")
    projections = np.stack([_project(density, rotation) for rotation in group])
    slices = np.stack([projections.real, projections.imag, np.ones(projections.shape)], axis=-1)
    volume = backprojection.new_accumulator(box)
    backprojection.backproject(volume, slices.astype(np.float32), group, np.full(60, 13.0), 2)
    inside = (fourier.radius(box, 3) < 5) & (volume[..., 2] > 0.5)
    found = (volume[..., 0] + 1j * volume[..., 1])[inside] / volume[..., 2][inside]
    truth = fourier.rfft(density, 3)[inside]
    assert inside.sum() > 200
    assert np.abs(np.corrcoef(found, truth)[0, 1]) > 0.995


def _project(density, rotation):
    """Half transform of the density turned by `rotation` and projected along z."""
    # voxel (z, y, x) of the turned map comes from rotation^-1 of its position
    matrix = rotation.T[::-1, ::-1]
    centre = np.full(3, density.shape[0] // 2)
    turned = affine_transform(density, matrix, centre - matrix @ centre, order=3)
    return fourier.rfft(turned.sum(axis=0), 2)


def test_backprojection_does_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(0)
    slices = rng.normal(size=(5, 16, 9, 3)).astype(np.float32)
    group = symmetry.rotations("I")[:5]
    volumes = []
    for threads in (1, 3):
        volume = backprojection.new_accumulator(16)
        backprojection.backproject(volume, slices, group, np.full(5, 8.0), threads)
        volumes.append(volume)
    assert np.abs(volumes[0]).max() > 1
    np.testing.assert_array_equal(*volumes)


def test_a_symmetrised_volume_is_the_same_along_all_axes():
    rng = np.random.default_rng(0)
    volume = backprojection.new_accumulator(16)
    group = symmetry.rotations("C4")
    backprojection.backproject(
        volume, rng.normal(size=(1, 16, 9, 3)).astype(np.float32), group[1:2], [8.0], 2
    )
    average = backprojection.symmetrise(volume, group, 2)[..., 0]
    assert np.abs(average).max() > 0.1
    quarter = average[:, 0:7, 0]  # (z, y, 0) is (z, 0, -y) turned: the same real part as (-z, 0, y)
    np.testing.assert_allclose(average[:, 0, 0:7], quarter[(-np.arange(16))], atol=1e-5)
