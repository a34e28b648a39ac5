"""What is spared on large inputs, data files, memory and time, changes no decision: the same as worked out in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import nan

import numpy as np
import pytest
from scipy import fft, ndimage

from stacycle.decisions import half_maps, mask, tilt_changes
from stacycle.decisions.agreement import shell_sizes, spectra
from stacycle.decisions.iteration import DRIFT, LEVEL, TOLERANCE, class3d_iteration
from stacycle.files.relion_output import Iteration


class Asked(Mapping[int, float]):
    """Values by iteration, and which of them were asked for."""

    def __init__(self, values: Mapping[int, float]) -> None:
        self.values_, self.asked = values, list[int]()

    def __getitem__(self, number: int) -> float:
        self.asked.append(number)
        return self.values_[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def run(changes: np.ndarray) -> list[Iteration]:
    """Iterations from 2 on with these changes of class."""
    return [Iteration(n, nan, change, nan, nan, nan, nan, nan, nan) for n, change in enumerate(changes, 2)]


def by_all(changes: np.ndarray, drift: np.ndarray) -> int:
    """The rule with the drift of all iterations at hand."""
    stretches = np.lib.stride_tricks.sliding_window_view(changes, min(LEVEL, len(changes)))
    level = np.percentile(stretches, 75, axis=1).min()
    settled = drift <= max(DRIFT, 2 * level)
    quiet = settled & (changes <= level * (1 + TOLERANCE))
    return 2 + int(np.argmax(quiet) if quiet.any() else np.argmax(settled))


@pytest.mark.parametrize("seed", range(40))
def test_the_iteration_is_that_by_the_classes_of_all_iterations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    changes = 0.8 * rng.uniform(0.5, 0.9) ** np.arange(24) + rng.uniform(0, 0.02, 24)
    drift = np.linspace(rng.uniform(0.05, 1), 0, 24) ** rng.uniform(0.5, 6)
    if seed % 4 == 3:
        drift[rng.random(24) < 0.5] = 1  # nothing is settled where it is quiet
    asked = Asked(dict(enumerate(drift, 2)))
    decision = class3d_iteration(run(changes), unlike_last=asked)
    assert decision.choice["iteration"] == by_all(changes, drift)


def test_of_a_run_that_settles_few_data_files_are_read() -> None:
    changes = np.maximum(0.8 * 0.6 ** np.arange(24), 0.006)
    asked = Asked(dict(enumerate(0.6 ** np.arange(24), 2)))
    class3d_iteration(run(changes), unlike_last=asked)
    assert len(asked.asked) <= 2


@pytest.mark.parametrize("n", [23, 32])
def test_spectra_are_those_of_the_whole_transform(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(2, n, n, n)).astype(np.float32)
    A, B = (fft.rfftn(x) for x in (a, b))
    twice = np.full(n // 2 + 1, 2.0)
    twice[0] = 1
    if n % 2 == 0:
        twice[-1] = 1
    index = np.rint(mask.frequencies(n)).astype(int).ravel()
    wanted = [
        np.bincount(index, (twice * values).ravel())[: n // 2 + 1]
        for values in ((A * B.conj()).real, np.abs(A) ** 2, np.abs(B) ** 2, np.ones(A.shape))
    ]
    for found, whole in zip((*spectra(a, b), shell_sizes(n)), wanted, strict=True):
        np.testing.assert_allclose(found, whole, rtol=1e-6, atol=1e-6 * np.abs(whole).max())


def test_a_sphere_and_a_low_pass_filter_in_place_are_as_written_out() -> None:
    n, radius, edge = 40, 1.2 * 50 / 2 / 2, 0.1
    whole = 0.5 + 0.5 * np.cos(np.pi * np.clip((mask.distance(n) / radius - 1) / edge + 1, 0, 1))
    np.testing.assert_array_equal(half_maps.sphere(n, 2.0, 50), whole)
    density = np.random.default_rng(0).normal(size=(n,) * 3).astype(np.float32)
    weight = 0.5 + 0.5 * np.cos(np.pi * np.clip((mask.frequencies(n) - (n * 2.0 / 12 - 1)) / 2, 0, 1))
    wanted = fft.irfftn(fft.rfftn(density) * weight, s=density.shape)
    np.testing.assert_array_equal(mask.low_pass(density, 2.0, 12), wanted)


@pytest.mark.parametrize("sigmas", [0.5, 1, 2, 3])
def test_pieces_and_dust_are_those_counted_voxel_by_voxel(sigmas: float) -> None:
    rng, n = np.random.default_rng(1), 40
    smooth = mask.low_pass(rng.normal(size=(n,) * 3), 1.0, 8)
    smooth += 0.3 * (mask.distance(n) < 9)
    threshold, inside = sigmas * smooth.std(), np.ones_like(smooth, bool)
    labels, count = ndimage.label(smooth > threshold)
    sizes = np.array([np.count_nonzero(labels == piece) for piece in range(1, count + 1)])
    kept = 1 + np.flatnonzero(sizes > mask.PIECE * sizes.max())
    in_kept = np.isin(labels, kept)
    found = mask._extent(smooth, inside, threshold, 2.0)
    assert found == (8 * in_kept.sum(), in_kept.mean(), len(kept), 1 - in_kept.sum() / sizes.sum())
    cleaned = np.where((labels > 0) & ~in_kept, smooth.min(), smooth)
    np.testing.assert_array_equal(mask.without_dust(smooth, threshold), cleaned)


@pytest.mark.parametrize("tilts", [1, 2, 4, 5, 6, 41])
def test_tilts_unlike_their_neighbours_are_those_found_one_by_one(tilts: int) -> None:
    rng, width = np.random.default_rng(tilts), tilt_changes.NEIGHBOURS
    for change in (rng.normal(0, 60, tilts), rng.normal(0, 1, (tilts, 2))):
        change[rng.integers(tilts, size=1 + tilts // 8)] += 800
        kind = "shift" if change.ndim == 2 else "defocus"
        rows = change.reshape(tilts, -1)
        far = []
        for row in range(tilts):
            near = [i for i in range(max(0, row - width), min(tilts, row + width + 1)) if i != row]
            far.append(np.linalg.norm(rows[row] - np.median(rows[near], axis=0)) if near else 0)
        least = tilt_changes.FAR * max(1.4826 * np.median(far), tilt_changes.STEPS[kind])
        assert tilt_changes._outliers(change, kind) == sum(one > least for one in far)
