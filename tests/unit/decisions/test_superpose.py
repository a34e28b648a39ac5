"""Turning one map onto another."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stacycle.decisions.superpose import agreed, fsc, mirrored, superpose

BOX, PIXEL, DIAMETER = 32, 16.0, 260.0


def particle(rotation: Rotation, shift: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Eight balls without any symmetry, turned and shifted (Å)."""
    rng = np.random.default_rng(7)
    centres = rotation.apply(rng.normal(0, 55, (8, 3))) + shift
    grid = (np.indices((BOX,) * 3)[::-1] - BOX // 2) * PIXEL
    return sum(
        weight * np.exp(-((grid - at[:, None, None, None]) ** 2).sum(0) / 2 / 22**2)
        for weight, at in zip(rng.uniform(0.5, 1.5, 8), centres, strict=True)
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_map_is_turned_and_shifted_onto_another_whatever_their_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn, noise = Rotation.random(rng=rng), rng.normal(0, 0.15, (2, BOX, BOX, BOX))
    one, other = particle(Rotation.identity()) + noise[0], particle(turn, (20, -30, 10)) + noise[1]
    found = superpose(one, other, PIXEL, DIAMETER, 50)
    assert np.degrees((Rotation.from_matrix(found.rotation) * turn.inv()).magnitude()) < 3
    np.testing.assert_allclose(found.shift, (20, -30, 10), atol=12)
    assert agreed(fsc(found.density, other, PIXEL, DIAMETER), PIXEL) < 70
    assert found.correlation > 0.9


def test_a_map_of_the_other_hand_or_of_another_particle_does_not_lie_on_it() -> None:
    one = particle(Rotation.identity())
    same = superpose(mirrored(mirrored(one)), one, PIXEL, DIAMETER, 50)
    assert same.correlation > 0.99
    other_hand = superpose(mirrored(one), one, PIXEL, DIAMETER, 50)
    assert other_hand.correlation < 0.93
    assert agreed(fsc(other_hand.density, one, PIXEL, DIAMETER), PIXEL) > 50


def test_what_two_maps_agree_on_is_where_their_fsc_first_falls_below_one_half() -> None:
    assert agreed(np.array([1, 0.9, 0.7, 0.4, 0.8]), 10) == pytest.approx(8 * 10 / 2)
    assert agreed(np.array([1, 0.4, 0.9]), 10) == np.inf
    assert agreed(np.ones(5), 10) == pytest.approx(20)
