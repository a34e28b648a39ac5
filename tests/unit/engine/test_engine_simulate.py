"""The simulator: geometry, contrast and bookkeeping, checked against formulas rather than against itself."""

from dataclasses import replace

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from staengine.errors import EngineError
from staengine.numerics import fourier, maps
from staengine.numerics.euler import euler_matrix
from staengine.programs import simulate as simulate_program
from staengine.simulation import simulate
from staengine.simulation.hinge import hinge_of, poses_of_part, swung
from staengine.simulation.phantom import (
    RESIDUE_SIGMA,
    Grid,
    build_phantom,
    phantom_map,
    projection,
    residue_filter,
)
from staengine.simulation.settings import SimulationSettings
from staengine.tilt_series import ctf
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import read_star
from staengine.tilt_series.tomograms import load_tilt_images, load_tomograms

EULER = ["trueRot", "trueTilt", "truePsi"]
BEYOND = ["beyondRot", "beyondTilt", "beyondPsi"]
SMALL = SimulationSettings(
    tomos=2,
    optics_groups=2,
    particles=3,
    junk=0.4,
    size=128,
    depth=80,
    angpix=8.0,
    diameter=200.0,
    tilt_step=30.0,
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two sets of two tilt series of 5 tilts, 3 particles and 2 junk picks each."""
    folder = tmp_path_factory.mktemp("demo")
    simulate.simulate(replace(SMALL, o=folder, sets=2))
    return folder


@pytest.fixture
def in_project(project, monkeypatch):
    monkeypatch.chdir(project)
    return project


def one_particle_image(tilt_deg, position, A=np.eye(3), point=(0, 0, 0), **settings):  # noqa: B008
    """A noise-free image of a particle with all its mass in one point, and the tilt's row."""
    s = replace(SMALL, tilt_max=abs(tilt_deg), tilt_step=2 * abs(tilt_deg) or 1, snr=1e12, **settings)
    tilts = simulate._acquisition(30000.0, s, np.random.default_rng(3))
    row = next(tilts[np.isclose(tilts.tilt, tilt_deg)].itertuples())
    cloud = np.tile(np.array(point, np.float32), (500, 1))
    scene = simulate.Scene([cloud], A[None], np.array([position], float))
    box = 64
    grid = Grid(box, s.angpix, residue_filter(box, s.angpix, 2))
    return simulate._tilt_image(scene, row, grid, 0.0, np.random.default_rng(0), s), row


@pytest.mark.parametrize("tilt_deg", [0.0, 40.0, -40.0])
def test_particles_project_where_relions_geometry_says(tilt_deg):
    centre, point = np.array([120.0, -80.0, 60.0]), np.array([70.0, 20.0, -40.0])
    A = euler_matrix(40.0, 70.0, -110.0)[0]
    image, row = one_particle_image(tilt_deg, centre, A, point, shift=15.0)
    position = centre + A @ point
    z, y = np.deg2rad(row.zrot), np.deg2rad(row.tilt)
    x1 = np.cos(y) * position[0] + np.sin(y) * position[2]  # Ry, then Rz
    x = np.cos(z) * x1 - np.sin(z) * position[1] + row.trueXShiftAngst
    y = np.sin(z) * x1 + np.cos(z) * position[1] + row.trueYShiftAngst
    box = SMALL.size
    fy, fx = fourier.frequencies(box, 2)
    # A dark point at (x, y) has the phases of minus a plane wave, where the CTF is still positive.
    wave = np.exp(-2j * np.pi * (fx * x + fy * y) / (box * SMALL.angpix))
    low = fourier.radius(box, 2) < 10
    assert np.median(np.abs(np.angle(-fourier.rfft(image, 2) / wave)[low])) < 0.02


@pytest.mark.parametrize("hand", [1, -1])
def test_contrast_transfer_and_dose_are_those_of_the_tilt_and_the_height(hand):
    position = np.array([0.0, 0.0, 3000.0])
    image, row = one_particle_image(0.0, position, shift=0.0, hand=hand)
    box = SMALL.size
    spectrum = np.abs(fourier.rfft(image, 2))
    k = fourier.radius(box, 2) / (box * SMALL.angpix)
    defocus = row.trueDefocus + hand * position[2]
    expected = np.abs(
        500
        * ctf.ctf(box, SMALL.angpix, defocus, defocus, 0, 300, 2.7, 0.1)
        * ctf.dose_weight(box, SMALL.angpix, row.exposure + SMALL.dose / 2)
        * np.exp(-2 * (np.pi * RESIDUE_SIGMA * k) ** 2)
    )
    low = k < 0.4 / SMALL.angpix
    assert np.corrcoef(spectrum[low], expected[low])[0, 1] > 0.98


def test_a_projection_is_the_phantoms_own():
    points = build_phantom(200.0, np.random.default_rng(0)).A
    box, angpix = 64, 8.0
    grid = Grid(box, angpix, residue_filter(box, angpix, 2))
    volume = phantom_map(points, box, angpix)
    image = projection(points, np.eye(3), np.zeros(2), grid)
    np.testing.assert_allclose(image, volume.sum(0), atol=2e-2 * image.max())
    assert volume.sum() == pytest.approx(len(points), rel=1e-3)
    centre = np.array([np.average(axis, weights=volume) for axis in np.indices(volume.shape)]) - box // 2
    np.testing.assert_allclose(centre[::-1] * angpix, points.mean(0), atol=0.5)


def test_conformations_differ_in_the_head_only():
    phantom = build_phantom(260.0, np.random.default_rng(0))
    moved = np.linalg.norm(phantom.A - phantom.B, axis=1) > 1
    assert 0.005 < moved.mean() < 0.1
    assert np.linalg.norm(phantom.A, axis=1).max() < 0.65 * 260


@pytest.mark.parametrize("half_turn", [(1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
def test_the_particle_has_no_symmetry(half_turn):
    points = build_phantom(200.0, np.random.default_rng(0)).A
    volume, turned = (phantom_map(p, 48, 10.0) for p in (points, points * np.array(half_turn, np.float32)))
    assert np.corrcoef(volume.ravel(), turned.ravel())[0, 1] < 0.8


def test_sets_have_clashing_names_and_files_of_their_own(in_project):
    first, second = (load_tomograms(f"set{k}/tomograms.star") for k in (1, 2))
    assert list(first) == list(second) == ["TS_01", "TS_02"]
    assert [t.optics_group for t in first.values()] == ["opticsGroup1", "opticsGroup2"]
    assert first["TS_01"].images[0][1] == "set1/tilt_series/TS_01.mrcs"
    assert (first["TS_01"].pre_exposure / SMALL.dose).tolist() == [3, 1, 0, 2, 4]
    a, b = (load_tilt_images(tomograms["TS_01"]) for tomograms in (first, second))
    assert a.shape == (5, 128, 128)
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1


def test_stacks_are_half_precision_with_the_pixel_size(in_project):
    with mrcfile.open("set1/tilt_series/TS_01.mrcs") as mrc:
        assert mrc.header.mode == 12
        assert mrc.voxel_size.x == 8


def test_truth_has_a_row_per_pick_with_errors_of_the_given_size(tmp_path):
    settings = replace(
        SMALL, o=tmp_path, tomos=1, particles=60, junk=0.25, size=400, depth=200, tilt_max=0, snr=1
    )
    simulate.simulate(settings)
    picks = ParticleSet.read(tmp_path / "particles.star")
    truth = read_star(tmp_path / "truth.star")["truth"]
    assert truth.trueClass.value_counts().to_dict() == {"A": 42, "junk": 20, "B": 18}
    moved = picks.positions - truth[["trueXAngst", "trueYAngst", "trueZAngst"]].to_numpy()
    assert np.sqrt((moved**2).sum(1).mean()) == pytest.approx(settings.position_error, rel=0.2)
    true = Rotation.from_matrix(euler_matrix(*truth[["trueRot", "trueTilt", "truePsi"]].to_numpy().T))
    angle = np.degrees((true.inv() * Rotation.from_matrix(picks.rotations)).magnitude())
    assert np.sqrt((angle**2).mean()) == pytest.approx(settings.angle_error, rel=0.2)


def test_recorded_shifts_and_defoci_are_wrong_as_asked(tmp_path):
    settings = replace(SMALL, shift_error=5.0, defocus_error=400.0, defocus_offset=900.0, tilt_step=0.5)
    tilts = simulate._acquisition(30000.0, settings, np.random.default_rng(0))
    error = tilts.recordedDefocus - tilts.trueDefocus
    assert error.mean() == pytest.approx(900, abs=100)
    assert error.std() == pytest.approx(400, rel=0.15)
    assert (tilts.recordedXShiftAngst - tilts.trueXShiftAngst).std() == pytest.approx(5, rel=0.15)


def test_exposure_is_dose_symmetric():
    tilts = simulate._acquisition(30000.0, SMALL, np.random.default_rng(0))
    assert tilts.tilt.tolist() == [-60, -30, 0, 30, 60]
    assert (tilts.exposure / SMALL.dose).tolist() == [3, 1, 0, 2, 4]


def test_noise_has_the_asked_signal_to_noise_ratio():
    points = build_phantom(SMALL.diameter, np.random.default_rng(0)).A
    grid = Grid(64, SMALL.angpix, residue_filter(64, SMALL.angpix, 2))
    quiet, loud = (simulate._noise_level(points, grid, replace(SMALL, snr=snr)) for snr in (1.0, 0.01))
    assert loud == pytest.approx(10 * quiet)
    disc = fourier.distance(64, 2) * SMALL.angpix < SMALL.diameter / 2
    assert quiet == pytest.approx(projection(points, np.eye(3), np.zeros(2), grid)[disc].std(), rel=0.3)


def test_same_seed_same_data_whatever_the_threads(tmp_path):
    names = "tilt_series/TS_01.mrcs", "particles.star"
    for threads, seed, folder in ((1, 1, "a"), (3, 1, "b"), (1, 2, "c")):
        simulate.simulate(replace(SMALL, o=tmp_path / folder, tomos=1, j=threads, seed=seed))
    stacks = [mrcfile.read(tmp_path / folder / names[0]) for folder in "abc"]
    np.testing.assert_array_equal(stacks[0], stacks[1])
    assert not np.array_equal(stacks[0], stacks[2])


def test_clumps_put_density_under_junk(tmp_path):
    settings = replace(SMALL, clumps=1.0, junk=0.5, particles=1)
    phantom = build_phantom(SMALL.diameter, np.random.default_rng(0))
    scene, picks, truth = simulate._populate(phantom, settings, np.random.default_rng(0))
    assert len(scene.clouds) == len(picks) == 2
    assert truth.trueClass.tolist() == ["A", "junk"]


def test_root_makes_paths_relative_to_the_project(tmp_path):
    simulate_program.main(
        f"--o {tmp_path}/data/demo --root {tmp_path} --tomos 1 --particles 1 --junk 0 --size 96 --depth 80 "
        "--angpix 10 --tilt_step 60".split()
    )
    table = read_star(tmp_path / "data/demo/tomograms.star")["global"]
    assert table.rlnTomoTiltSeriesStarFile[0] == "data/demo/tilt_series/TS_01.star"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--particles 20 --size 160", "of 24 picks fit"),
        ("--size 64", "larger than the tomogram"),
        ("--junk 1", "--junk is a fraction of all picks, below 1, not 1"),
        ("--fraction_b -0.1", "--fraction_b is a fraction"),
        ("--tomos 0", "--tomos must be at least 1, not 0"),
        ("--angpix 0", "--angpix must be positive"),
        ("--shift_error -3", "--shift_error must not be negative"),
        ("--tilt_max 90", "--tilt_max is an angle"),
        ("--hand 0", "--hand must be 1 or -1, not 0"),
        ("--tilts 3", "unknown flag --tilts"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, flags, message):
    with pytest.raises(EngineError, match=message):
        simulate_program.main(["--o", str(tmp_path), *flags.split()])


def many(one: Rotation) -> Rotation:
    """A rotation as one of several."""
    return Rotation.from_matrix(one.as_matrix()[None])


def test_a_part_that_swings_has_the_poses_of_a_rigid_particle_that_it_is_of(tmp_path):
    settings = replace(SMALL, o=tmp_path, hinge=15.0, junk=0.0, fraction_b=0.0, tilt_step=60.0)
    cloud = build_phantom(settings.diameter, np.random.default_rng(1)).A
    hinge = hinge_of(cloud)
    assert 0.2 < hinge.part.mean() < 0.8
    turn, pose, at = Rotation.from_rotvec([0.2, -0.1, 0.3]), Rotation.random(rng=4), np.array([50.0, -20, 9])
    moved = swung(cloud, hinge, turn)
    assert np.array_equal(moved[~hinge.part], cloud[~hinge.part])
    row = poses_of_part(at[None], many(pose), hinge, many(turn), simulate.TRUE_POSE).iloc[0]
    as_rigid = Rotation.from_matrix(euler_matrix(*row[["trueRot", "trueTilt", "truePsi"]]))
    placed = as_rigid.apply(cloud[hinge.part, :3]) + row[["trueXAngst", "trueYAngst", "trueZAngst"]].to_numpy(
        float
    )
    np.testing.assert_allclose(placed, pose.apply(moved[hinge.part, :3]) + at, atol=1e-3)
    simulate.simulate(settings)
    truth = read_star(tmp_path / "truth.star")["truth"]
    turns = [Rotation.from_matrix(euler_matrix(*truth[names].to_numpy(float).T)) for names in (EULER, BEYOND)]
    swings = np.degrees((turns[0].inv() * turns[1]).magnitude())
    assert 5 < np.sqrt((swings**2).mean()) < 30
    halves = [maps.read_map(tmp_path / f"phantom_{name}.mrc", "half")[0] for name in ("before", "beyond")]
    whole = maps.read_map(tmp_path / "phantom_A.mrc", "whole")[0]
    np.testing.assert_allclose(sum(halves), whole, atol=0.01 * whole.max())
