"""Where a refinement looks: orientations and offsets."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from staengine.numerics.euler import euler_matrix
from staengine.refinement.sampling import OrientationGrid, Sampling


def sampling(order: int = 2, reach: float = 40.0, step: float = 40.0, **more) -> Sampling:
    return Sampling(order, reach, step, **more)


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees((Rotation.from_matrix(a).inv() * Rotation.from_matrix(b)).magnitude())


@pytest.mark.parametrize("instance", [0.0, 0.45, -0.3])
def test_offsets_are_as_many_as_relion_says_whatever_the_perturbation(instance):
    counts = {(40, 40): 7, (52, 20): 81, (30.27, 10): 123, (10.76, 5): 33}  # golden/logs
    for (reach, step), expected in counts.items():
        assert len(sampling(2, reach, step, instance=instance).offsets()) == expected


@pytest.mark.parametrize("instance", [0.0, 0.25, 0.49, -0.49])
def test_some_offset_is_near_the_centre_whatever_the_perturbation(instance):
    offsets = sampling(instance=instance).offsets()
    assert np.linalg.norm(offsets, axis=1).min() <= 40 * 3**0.5 / 2 + 1e-9
    assert np.linalg.norm(offsets.mean(0)) < 15  # and they surround it


def test_each_offset_is_split_into_eight_around_it():
    s = sampling()
    children = s.split_offsets(s.offsets())
    assert children.shape == (7, 8, 3)
    np.testing.assert_allclose(children.mean(1), s.offsets(), atol=1e-9)
    assert set(np.abs(children - s.offsets()[:, None]).ravel()) == {10.0}


@pytest.mark.parametrize("instance", [0.0, 0.4])
def test_local_search_holds_the_nearest_grid_point_of_any_orientation(instance):
    grid = OrientationGrid(sampling(instance=instance))
    everywhere = grid.rotations(grid.everywhere())
    for angles in np.random.default_rng(1).uniform((-180, 20, -180), (180, 160, 180), (10, 3)):
        around = grid.rotations(grid.around(angles, 15.0))
        target = np.broadcast_to(euler_matrix(*angles), (1, 3, 3))
        assert angle_between(around, target).min() == pytest.approx(
            angle_between(everywhere, target).min(), abs=1e-6
        )
        assert angle_between(around, target).min() < 15


def test_local_search_narrower_than_the_grid_keeps_one_orientation():
    grid = OrientationGrid(sampling(instance=0.2))
    assert len(grid.around(np.array([10.0, 70.0, 30.0]), 4 / 3)) == 1  # as in golden/logs/align.log


def test_priors_fall_with_distance_and_sum_to_one():
    grid = OrientationGrid(sampling(3))
    found = grid.around(np.array([10.0, 70.0, 30.0]), 10.0)
    assert np.exp(found.log_prior).sum() == pytest.approx(1)
    far = angle_between(grid.rotations(found), euler_matrix(10, 70, 30))
    assert np.corrcoef(far, found.log_prior)[0, 1] < -0.7


def test_children_of_an_orientation_surround_it():
    grid = OrientationGrid(sampling(3, instance=-0.2))
    found = grid.around(np.array([40.0, 80.0, 10.0]), 10.0)
    children = grid.split_rotations(found, np.array([0, 5]))
    assert children.shape == (2, 8, 3, 3)
    for child, parent in zip(children, grid.rotations(found)[[0, 5]], strict=True):
        assert angle_between(child, parent[None]).max() < 7.5


def test_perturbations_move_on_and_stay_within_half_a_step():
    rng, s, seen = np.random.default_rng(0), sampling(), []
    for _ in range(200):
        s = s.perturbed(rng)
        seen.append(s.instance)
    assert min(seen) >= -0.5
    assert max(seen) <= 0.5
    assert np.histogram(seen, 4, (-0.5, 0.5))[0].min() > 20
