"""A given map as the simulated particle: the same density, centred, in the phantom's greyscale."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import shift

from staengine.errors import EngineError
from staengine.numerics import maps
from staengine.programs import simulate as simulate_program
from staengine.simulation.given_map import TIP, map_phantom, weaken_second_half
from staengine.simulation.phantom import Grid, build_phantom, phantom_map, projection, residue_filter

PIXEL, BOX, DIAMETER = 6.0, 40, 180.0
MODEL = build_phantom(DIAMETER, np.random.default_rng(1))
BLOBS = (
    ((-30, 10, 5), 22.0, 1.0),
    ((35, -8, 0), 18.0, 0.8),
    ((10, 40, -20), 10.0, 1.2),
)  # centre Å, radius Å, height


def blobs(offset: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """An asymmetric particle of three blobs, moved by an offset x y z in Å."""
    z, y, x = (np.indices((BOX,) * 3) - BOX // 2) * PIXEL
    parts = (
        height
        * np.exp(
            -((x - c[0] - offset[0]) ** 2 + (y - c[1] - offset[1]) ** 2 + (z - c[2] - offset[2]) ** 2) / r**2
        )
        for c, r, height in BLOBS
    )
    return sum(parts)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    maps.write_map(tmp_path / "given.mrc", blobs((11.0, -7.0, 4.0)), PIXEL)
    return tmp_path / "given.mrc"


@pytest.mark.parametrize("angpix", [PIXEL, 5.0, 7.3])
def test_the_density_is_the_maps_about_its_centre_of_mass(given, angpix):
    cloud = map_phantom(given, angpix, DIAMETER, MODEL).A
    expected = blobs()
    centre = [np.average(axis, weights=expected) - BOX // 2 for axis in np.indices(expected.shape)]
    expected = shift(expected, np.negative(centre), order=3)
    assert np.corrcoef(phantom_map(cloud, BOX, PIXEL).ravel(), expected.ravel())[0, 1] > 0.995


def test_greyscale_and_background_of_the_file_do_not_matter(given, tmp_path):
    maps.write_map(tmp_path / "other.mrc", 7 * maps.read_map(given)[0] + 3, PIXEL)
    first, other = (map_phantom(path, 5.0, DIAMETER, MODEL).A for path in (given, tmp_path / "other.mrc"))
    np.testing.assert_allclose(first, other, rtol=0.02, atol=0.01)
    dense, model = (np.sort(phantom_map(p, 40, 5.0), axis=None)[::-1] for p in (first, MODEL.A))
    assert (dense**2).sum() / dense.sum() == pytest.approx((model**2).sum() / model.sum(), rel=0.01)


def test_conformation_b_has_the_tip_of_its_longest_axis_turned(given):
    A, B = map_phantom(given, 5.0, DIAMETER, MODEL)
    moved = np.linalg.norm(A - B, axis=1) > 1
    assert A[moved, 3].sum() == pytest.approx(TIP * A[:, 3].sum(), rel=0.2)
    assert abs(A[moved, 0].mean()) > 40  # x is the longest
    assert np.linalg.norm((A - B)[moved, :3], axis=1).max() < 0.6 * DIAMETER


@pytest.mark.parametrize("phantom", ["given", "built"])
def test_occupancy_is_the_weight_of_one_half(given, phantom):
    whole = map_phantom(given, 5.0, DIAMETER, MODEL) if phantom == "given" else MODEL
    weights = whole.A[:, 3] if phantom == "given" else np.ones(len(whole.A))
    weakened = weaken_second_half(whole, 0.4)
    ratio = weakened.A[:, 3] / weights
    assert np.allclose(ratio, np.where(ratio < 0.7, 0.4, 1), atol=1e-5)
    assert weights[ratio < 0.7].sum() / weights.sum() == pytest.approx(0.5, abs=0.15)
    np.testing.assert_array_equal(weakened.B[:, :3], whole.B[:, :3])


def test_a_weight_of_two_is_a_point_twice():
    points = MODEL.A[::200]
    twice = np.column_stack([points, np.full(len(points), 2)]).astype(np.float32)
    grid, turn = Grid(32, 8.0, residue_filter(32, 8.0, 2)), np.eye(3)[[1, 2, 0]]
    image, both = (projection(p, turn, np.zeros(2), grid) for p in (twice, np.vstack([points, points])))
    np.testing.assert_allclose(image, both, atol=1e-5)
    np.testing.assert_allclose(phantom_map(twice, 32, 8.0), 2 * phantom_map(points, 32, 8.0), atol=1e-5)


def test_the_simulator_takes_it_and_writes_it_as_the_truth(given, tmp_path):
    what = f"--o {tmp_path} --map {given} --diameter {DIAMETER} --occupancy 0.5"
    where = "--tomos 1 --particles 1 --junk 0 --size 128 --depth 80 --angpix 8 --tilt_step 60"
    simulate_program.main(f"{what} {where}".split())
    truth = mrcfile.read(tmp_path / "phantom_A.mrc").astype(float)
    cloud = weaken_second_half(map_phantom(given, 8.0, DIAMETER, MODEL), 0.5).A
    expected = phantom_map(cloud, len(truth), 8.0)
    assert np.corrcoef(truth.ravel(), expected.ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    ("values", "pixel", "message"),
    [
        (blobs(), 0.0, "no pixel size"),
        (np.ones((16,) * 3), PIXEL, "is empty"),
        (blobs(), 3 * PIXEL, "density up to .* Å from its centre; give its --diameter"),
    ],
)
def test_a_map_that_is_no_such_particle_is_refused(tmp_path, values, pixel, message):
    maps.write_map(tmp_path / "bad.mrc", values, pixel)
    with pytest.raises(EngineError, match=message):
        map_phantom(tmp_path / "bad.mrc", 6.0, DIAMETER, MODEL)
