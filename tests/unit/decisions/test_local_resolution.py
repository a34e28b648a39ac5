"""What is said of a map of local resolutions."""

from __future__ import annotations

import numpy as np
import pytest

from stacycle.decisions.local_resolution import inside, summary

KEY = "rounds.bin4.local_resolution"
N = 16
ALL = np.ones((N, N, N), bool)


def told(values: np.ndarray, within: np.ndarray = ALL, reached: float = 30):
    limits = {"nyquist": 20.0, "coarsest": 80.0}
    return summary(values, within, **limits, reached=reached, key=KEY)


def test_percentiles_are_of_the_voxels_inside_the_mask() -> None:
    values = np.full((N, N, N), 79.0)
    values[:8] = np.linspace(25, 35, values[:8].size).reshape(8, N, N)
    within = np.zeros_like(ALL)
    within[:8] = True
    decision = told(values, within)
    assert decision.choice == {"median": 30, "finest": 25.5, "coarsest": 34.5}
    assert decision.candidates["percent"].tolist() == [1, 5, 25, 50, 75, 95, 99]
    assert decision.candidates["resolution"].tolist() == pytest.approx(
        [25.1, 25.5, 27.5, 30, 32.5, 34.5, 34.9]
    )
    assert decision.numbers == {"resolution": 30, "nyquist": 20, "voxels": within.sum()}
    assert decision.warnings == []
    assert decision.reason == (
        "Inside the mask half of the map is finer than 30.0 Å, and nine tenths lie between 25.5 and 34.5 Å; as a whole "
        "it reaches 30.0 Å."
    )


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        (0.25, 0, "25% of the mask is farther out than any sphere"),
        (0.25, 80, "25% of the mask is at 80 Å, the coarsest local resolution that was asked for"),
        (0.75, 20, "75% of the mask reaches 20 Å, Nyquist of this binning"),
        (0.75, 50, "The local resolutions are around 50.0 Å, but the whole map's is 30.0 Å"),
    ],
)
def test_what_is_wrong_is_said(part: float, value: float, sentence: str) -> None:
    values = np.random.default_rng(0).uniform(28, 32, (N, N, N))
    values[: round(part * N)] = value
    warnings = told(values).warnings
    assert any(one.startswith(sentence) for one in warnings)
    if value != 20:  # half of which is also finer than the whole map's
        assert len(warnings) == 1


def test_outside_the_spheres_is_no_resolution_of_0() -> None:
    values = np.full((N, N, N), 30.0)
    values[0, 0, 0] = 0
    assert told(values).choice["finest"] == 30


def test_without_a_mask_a_sphere_of_the_particles_diameter_counts() -> None:
    within = inside(None, N, 10, 80)
    assert within[8, 8, 4]
    assert not within[8, 8, 3]
    assert within.sum() == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.1)
    soft = np.linspace(0, 1, N**3).reshape(N, N, N)
    assert (inside(soft, N, 10, 80) == (soft > 0.5)).all()
