"""Slices of maps, and back."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from staengine.numerics import symmetry
from staengine.numerics.projector import Components, array_shape, backproject, padded_transform, project
from staengine.refinement.expectation_kernels import score
from staengine.refinement.maximisation import BackProjection

BOX, PAD = 16, 2
RNG = np.random.default_rng(3)


def blobs(box: int, points: np.ndarray, sigma: float = 1.6) -> np.ndarray:
    """Gaussians at points (n, d) in px from the centre; axes of the array are the reverse of the points'."""
    grid = np.stack(np.indices((box,) * points.shape[1])[::-1], -1) - box // 2
    return sum(np.exp(-((grid - p) ** 2).sum(-1) / (2 * sigma**2)) for p in points).astype(np.float32)


def slices(transform, matrices, components):
    out = np.empty((*matrices.shape[:1], 2, matrices.shape[1], len(components)), np.float32)
    project(transform, PAD, matrices.astype(np.float32), components.kx, components.ky, out)
    return out


def test_a_slice_is_the_transform_of_the_projection():
    points = RNG.uniform(-2.5, 2.5, (6, 3))
    rotation = Rotation.random(rng=RNG).as_matrix()
    components = Components.within(BOX, 6)
    out = slices(padded_transform(blobs(BOX, points), PAD), rotation[None, None], components)[0, :, 0]
    image = blobs(BOX, points @ rotation[:2].T) * 1.6 * np.sqrt(2 * np.pi)
    expected = components.pick(np.fft.rfft2(np.fft.ifftshift(image))) / BOX**2
    error = np.abs(out[0] + 1j * out[1] - expected).max() / np.abs(expected).max()
    assert error < 0.06  # what trilinear interpolation leaves at padding 2


def test_back_projection_is_the_adjoint_of_projection():
    components = Components.within(BOX, BOX / 2)
    matrices = Rotation.random(3, rng=RNG).as_matrix()[:, None].astype(np.float32)
    shape = array_shape(BOX, PAD)
    volume = (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype(np.complex64)
    values = RNG.normal(size=(3, 2, 1, len(components))).astype(np.float32)
    data, weight = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    backproject(values, np.ones((3, 1, len(components)), np.float32), PAD, matrices,
                components.kx, components.ky, data, weight)  # fmt: skip
    forward = (slices(volume, matrices, components) * values).sum()
    backward = (data[..., 0] * volume.real + data[..., 1] * volume.imag).sum()
    assert forward == pytest.approx(backward, rel=1e-4)
    assert weight.sum() == pytest.approx(3 * len(components), rel=1e-4)


def test_transforms_up_to_a_radius_give_the_same_slices_and_the_same_map():
    volume, radius = blobs(BOX, RNG.uniform(-2.5, 2.5, (6, 3))), 5
    components = Components.within(BOX, radius)
    matrices = Rotation.random(60, rng=RNG).as_matrix()[:, None].astype(np.float32)
    found = []
    for r in (None, radius):
        shape = array_shape(BOX, PAD, r)
        transform = padded_transform(volume, PAD, radius=r)
        assert transform.shape == shape
        values = slices(transform, matrices, components)
        data, weight = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
        ones = np.ones((len(matrices), 1, len(components)), np.float32)
        backproject(values, ones, PAD, matrices, components.kx, components.ky, data, weight)
        gathered = BackProjection.of(data, weight, PAD, BOX, np.eye(3)[None])
        spectrum = gathered.inverse_variance()[: radius + 1]
        found.append((values, spectrum, gathered.map(None, radius)))
    assert shape[0] < array_shape(BOX, PAD)[0]
    for whole, part in zip(*found, strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-5, atol=1e-6)


def test_scores_are_the_products_of_slices_and_moved_images():
    components = Components.within(BOX, 7)
    k, tilts, scale = len(components), 2, np.float32(1.3)
    transform = padded_transform(blobs(BOX, RNG.uniform(-2.5, 2.5, (6, 3))), PAD)
    matrices = Rotation.random(19 * tilts, rng=RNG).as_matrix().reshape(19, tilts, 3, 3).astype(np.float32)
    images = (RNG.normal(size=(tilts, k)) + 1j * RNG.normal(size=(tilts, k))).astype(np.complex64)
    shifts = RNG.normal(0, 2, (5, tilts, 2)).astype(np.float32)
    ctf2, weight = RNG.random((tilts, k)).astype(np.float32), RNG.random(k).astype(np.float32)
    out, power = np.empty((19, 5), np.float32), np.empty(19, np.float32)
    score(transform, PAD, matrices, images, shifts, components.kx, components.ky, BOX,
          ctf2, weight, scale, out, power)  # fmt: skip
    seen = slices(transform, matrices, components)
    seen = seen[:, 0] + 1j * seen[:, 1]
    phase = shifts[..., :1] * components.kx + shifts[..., 1:] * components.ky
    moved = images * np.exp(-2j * np.pi / BOX * phase)
    expected = scale * np.einsum("k,nmk,tmk->nt", weight, seen.conj(), moved).real
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    expected_power = scale**2 / 2 * np.einsum("k,mk,nmk->n", weight, ctf2, np.abs(seen) ** 2)
    np.testing.assert_allclose(power, expected_power, rtol=1e-4)


@pytest.mark.parametrize("group", ["C1", "D2"])
def test_a_map_is_recovered_from_many_slices(group):
    points = RNG.uniform(-2.5, 2.5, (5, 3))
    operators = symmetry.rotations(group)
    volume = sum(blobs(BOX, points @ operator) for operator in operators)
    matrices = Rotation.random(400, rng=RNG).as_matrix()[:, None].astype(np.float32)
    components = Components.within(BOX, BOX / 2)
    if len(operators) > 1:  # only the asymmetric density is projected; symmetry must fill in the rest
        values = sum(
            slices(padded_transform(blobs(BOX, points @ o), PAD), matrices, components) for o in operators
        )
    else:
        values = slices(padded_transform(volume, PAD), matrices, components)
    shape = array_shape(BOX, PAD)
    data, weight = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    ones = np.ones((len(matrices), 1, len(components)), np.float32)
    backproject(values, ones, PAD, matrices, components.kx, components.ky, data, weight)
    gathered = BackProjection.of(data, weight, PAD, BOX, operators)
    found = gathered.map(None, BOX // 2 - 1)
    assert np.corrcoef(found.ravel(), volume.ravel())[0, 1] > 0.995
    assert np.abs(found - volume).max() < 0.1 * volume.max()


def test_symmetry_fills_in_what_was_not_seen():
    points = np.array([[3.0, 1.0, 2.0]])
    components = Components.within(BOX, BOX / 2)

    matrices = Rotation.random(300, rng=RNG).as_matrix()[:, None].astype(np.float32)
    values = slices(padded_transform(blobs(BOX, points), PAD), matrices, components)
    shape = array_shape(BOX, PAD)
    data, weight = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    ones = np.ones((len(matrices), 1, len(components)), np.float32)
    backproject(values, ones, PAD, matrices, components.kx, components.ky, data, weight)
    operators = symmetry.rotations("C4")
    found = BackProjection.of(data, weight, PAD, BOX, operators).map(None, BOX // 2 - 1)
    expected = sum(blobs(BOX, points @ operator) for operator in operators) / 4
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


def test_the_prior_takes_down_what_the_data_do_not_support():
    components = Components.within(BOX, BOX / 2)
    matrices = Rotation.random(100, rng=RNG).as_matrix()[:, None].astype(np.float32)
    values = slices(padded_transform(blobs(BOX, RNG.uniform(-2.5, 2.5, (5, 3))), PAD), matrices, components)
    shape = array_shape(BOX, PAD)
    data, weight = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    ones = np.ones((len(matrices), 1, len(components)), np.float32)
    backproject(values, ones, PAD, matrices, components.kx, components.ky, data, weight)
    gathered = BackProjection.of(data, weight, PAD, BOX, np.eye(3)[None])
    half = 1 / gathered.inverse_variance().clip(1e-9)  # as much prior as data in each shell
    full, damped = gathered.map(None, 7), gathered.map(half, 7)
    assert (full * damped).sum() / (full**2).sum() == pytest.approx(0.5, abs=0.1)


def test_components_are_one_of_each_pair_and_sorted_by_radius():
    components = Components.within(BOX, 5.0)
    every = {(x, y) for x in range(-5, 6) for y in range(-5, 6) if x * x + y * y <= 25}
    mine = set(zip(components.kx.tolist(), components.ky.tolist(), strict=True))
    assert mine | {(-x, -y) for x, y in mine} == every
    assert len(mine) == (len(every) + 1) // 2
    assert (np.diff(components.radius) >= 0).all()
    assert (
        components.radius[components.count_within(3.0) - 1]
        <= 3
        < components.radius[components.count_within(3.0)]
    )


def test_the_origin_counts_once_and_is_a_shell_of_its_own():
    shape = array_shape(BOX, PAD)
    data, weight, c = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32), shape[0] // 2
    weight[c, c, 0], weight[c, c + 1, 0], weight[c, c - 1, 0] = 2, 5, 1
    found = BackProjection.of(data, weight, PAD, BOX, symmetry.rotations("C1"))
    assert found.inverse_variance()[0] == 2 * PAD**3
    assert found.weight[c, c + 1, 0] == found.weight[c, c - 1, 0] == 6
