"""The optimiser of relion_tomo_align, on cross-correlations made from known shifts, positions and motion."""

import numpy as np
import pytest

from staengine.fits import joint_fit, motion_prior
from staengine.fits.correlations import correlate
from staengine.fits.joint_fit import Freedom, Geometry, Objective, fit

BOX, RADIUS, REACH = 64, 20, 5.0
IMAGE = 160.0  # px, half the width of an image


def frequencies(lowest=1.0):
    ky, kx = np.meshgrid(np.arange(-RADIUS, RADIUS + 1), np.arange(RADIUS + 1), indexing="ij")
    r = np.hypot(kx, ky)
    chosen = (r <= RADIUS) & (r >= lowest) & ((kx > 0) | (ky > 0))
    return kx[chosen], ky[chosen]


def correlations(u, evidence=60.0, seed=0, visible=None, lowest=1.0, reach=REACH):
    """Maps of particle images that lie at u (m, n, 2) px, with noise; their peaks are about `evidence` (m, 1) high."""
    kx, ky = frequencies(lowest)
    visible = np.ones(u.shape[:2], bool) if visible is None else visible
    power = np.broadcast_to(np.asarray(evidence) / (2 * len(kx)), u.shape[:2])[visible][:, None]
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, len(power), len(kx))) / np.sqrt(2)
    phases = np.exp(-2j * np.pi / BOX * (u[visible] @ np.stack([kx, ky])))
    products = power * phases + np.sqrt(power) * (noise[0] + 1j * noise[1])
    return correlate(products.astype(np.complex64), kx, ky, visible, BOX, reach)


def tilt_series(m=40, n=15, seed=0):
    """Particles in a slab seen in dose-symmetric tilts from -56 to 56 degrees."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform([-150, -150, -40], [150, 150, 40], (m, 3))
    tilts = np.linspace(-56, 56, n)
    angles = np.radians(np.stack([np.full(n, 85.0), tilts, np.zeros(n)], axis=-1))
    order = np.argsort(np.abs(tilts) + 0.1 * (tilts < 0), kind="stable")
    return Geometry(np.repeat(positions[:, None], n, axis=1), angles, order)


def displacements(geometry, shifts=0.0, angles=0.0, moves=0.0, motion=0.0):
    """Where images lie (m, n, 2) compared with what the geometry says."""
    R0, R1 = (joint_fit.tilt_rotations(geometry.angles + turn)[0] for turn in (0 * geometry.angles, angles))
    moved = geometry.paths + np.reshape(moves, (-1, 1, 3) if np.ndim(moves) else ()) + motion
    return np.einsum("nij,mnj->mni", R1, moved) - np.einsum("nij,mnj->mni", R0, geometry.paths) + shifts


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def shift_error(geometry, shifts, truth):
    """rms (px) of shifts about what a translation of the whole tomogram explains."""
    R = joint_fit.tilt_rotations(geometry.angles)[0].reshape(-1, 3)
    wrong = (shifts - truth).ravel()
    return rms(wrong - R @ np.linalg.lstsq(R, wrong, rcond=None)[0])


EVERYTHING = Freedom(shift=REACH, angle=REACH / IMAGE, position=REACH)


# ---------------------------------------------------------------- cross-correlations


def test_a_spline_has_the_value_of_the_fourier_sum_between_its_nodes():
    kx, ky = frequencies()
    rng = np.random.default_rng(1)
    product = rng.normal(size=len(kx)) + 1j * rng.normal(size=len(kx))
    maps = correlate(product[None].astype(np.complex64), kx, ky, np.ones((1, 1), bool), BOX, REACH)
    tolerance = 0.02 * np.sqrt(2 * (np.abs(product) ** 2).sum())  # of the map's standard deviation
    for u in rng.uniform(-REACH, REACH, (20, 2)):
        exact = 2 * (product * np.exp(2j * np.pi / BOX * (u @ [kx, ky]))).real.sum()
        assert maps.evaluate(u[None, None])[0] == pytest.approx(exact, abs=tolerance)


def test_the_highest_value_is_where_the_image_lies():
    u = np.array([[[1.3, -2.6], [-4.0, 0.2]]])
    maps = correlations(u, evidence=1e6)
    at, (up, down) = maps.evaluate(u)[0], (maps.evaluate(u + d)[0] for d in (0.3, -0.3))
    assert at > up
    assert at > down
    slope_at, slope_near = (np.abs(maps.evaluate(u + d)[1]).max() for d in (0.0, 0.3))
    assert slope_at < 0.1 * slope_near  # within about 0.03 px


def test_invisible_images_count_for_nothing():
    u = np.zeros((2, 3, 2))
    visible = np.array([[True, False, True], [False, False, True]])
    maps = correlations(u, visible=visible)
    assert len(maps.coefficients) == 3
    slopes = maps.evaluate(u + 0.5)[1]
    assert (slopes[~visible] == 0).all()
    assert (slopes[visible] != 0).all()


# ---------------------------------------------------------------- objective


@pytest.mark.parametrize("motion", [False, True])
def test_the_gradient_is_that_of_the_objective(motion):
    geometry = tilt_series(m=6, n=5)
    modes = motion_prior.deformation_modes(geometry.paths[:, 0], 0.3, 200.0) if motion else None
    objective = Objective(
        correlations(displacements(geometry)), geometry, Freedom(1, 0.02, 1, modes), range_reg=3.0
    )
    rng = np.random.default_rng(2)
    z = rng.normal(size=sum(objective.sizes))
    z[:4] = [8, -8, 0.1, 0.2]  # the first two tilts beyond the range
    gradient = objective(z)[1]
    step = 1e-5
    for k in range(len(z)):
        e = step * (np.arange(len(z)) == k)
        slope = (objective(z + e)[0] - objective(z - e)[0]) / (2 * step)
        assert gradient[k] == pytest.approx(slope, rel=1e-3, abs=1e-2), k
    assert len(z) == 5 * 2 + 5 * 3 + 6 * 3 + (6 * 4 * 3 if motion else 0)


def test_the_range_is_soft_with_a_penalty_and_free_without():
    geometry = tilt_series(m=3, n=3)
    maps = correlations(displacements(geometry))
    far = np.full(6, 9.0)
    free, held = (Objective(maps, geometry, Freedom(shift=1.0), reg)(far)[0] for reg in (0.0, 2.0))
    assert held - free == pytest.approx(2.0 * 3 * 6 * (9 - REACH) ** 2)


def test_the_first_guess_is_the_best_shifts_of_which_the_particles_take_what_they_can():
    geometry = tilt_series()
    R = joint_fit.tilt_rotations(geometry.angles)[0]
    everywhere = R @ [2.0, -1.0, 0.5]  # a translation of all particles
    maps = correlations(displacements(geometry, everywhere), evidence=600.0)
    shifts, angles, moves, _ = (o := Objective(maps, geometry, EVERYTHING)).unpack(o.first_guess())
    best = maps.best_shifts(REACH)
    np.testing.assert_allclose(best, everywhere, atol=maps.step / 2 + 1e-6)
    np.testing.assert_allclose(shifts + R @ moves[0], best, atol=1e-9)
    assert not angles.any()
    assert rms(shifts) < 0.8 * rms(best)
    assert (moves == moves[0]).all()
    alone = Objective(maps, geometry, Freedom(shift=REACH))
    np.testing.assert_allclose(alone.unpack(alone.first_guess())[0], best)


def test_no_first_guess_lies_beyond_the_range():
    far = correlations(np.full((3, 2, 2), REACH + 0.7), evidence=600.0)
    assert np.abs(far.best_shifts(1e6)).max() <= REACH


# ---------------------------------------------------------------- fit


def known(geometry, seed=3, shift=1.2, turn=0.004, move=0.8):
    rng = np.random.default_rng(seed)
    m, n = geometry.paths.shape[:2]
    return rng.normal(0, shift, (n, 2)), rng.normal(0, turn, (n, 3)), rng.normal(0, move, (m, 3))


def test_shifts_angles_and_positions_are_found_together():
    geometry = tilt_series()
    shifts, angles, moves = known(geometry)
    maps = correlations(displacements(geometry, shifts, angles, moves))
    change, _, converged = fit(maps, geometry, EVERYTHING)
    assert converged
    assert shift_error(geometry, change.shifts, shifts) < 0.15
    assert rms(change.angles - angles) < 0.5 * rms(angles)
    wrong = change.positions - moves
    assert rms(wrong - wrong.mean(axis=0)) < 0.3 * rms(moves)
    assert change.motion is None


def test_the_posterior_has_the_same_optimum_from_anywhere_so_that_nothing_drifts():
    """Without errors, what images cannot tell (a common motion of all) stays at zero."""
    geometry = tilt_series()
    maps = correlations(displacements(geometry), evidence=600.0)
    change, _, _ = fit(maps, geometry, EVERYTHING)
    assert np.abs(change.positions.mean(axis=0)).max() < 0.05
    assert np.abs(change.shifts.mean(axis=0)).max() < 0.05


def test_a_shift_beyond_the_next_wave_of_the_correlation_is_found():
    geometry = tilt_series(m=20, n=7)
    shifts = np.zeros((7, 2))
    shifts[2], shifts[5] = (4.4, -3.6), (-4.2, 4.0)
    maps = correlations(displacements(geometry, shifts), lowest=12.0)  # waves of about 4 px
    change, _, _ = fit(maps, geometry, EVERYTHING)
    assert shift_error(geometry, change.shifts, shifts) < 0.15


def test_junk_and_particles_at_the_border_do_not_throw_the_fit_off():
    geometry = tilt_series()
    m, n = geometry.paths.shape[:2]
    shifts, angles, moves = known(geometry)
    u = displacements(geometry, shifts, angles, moves)
    good = np.arange(m) >= 8
    visible = np.ones((m, n), bool)
    visible[8:14, 3:] = False
    u[~good] = np.random.default_rng(7).uniform(
        -REACH, REACH, u[~good].shape
    )  # a different place in each tilt
    change, _, _ = fit(correlations(u, visible=visible), geometry, EVERYTHING)
    assert shift_error(geometry, change.shifts, shifts) < 0.3
    wrong = (change.positions - moves)[14:]
    assert rms(wrong - wrong.mean(axis=0)) < 0.4 * rms(moves)


@pytest.mark.parametrize("held", ["shift", "angle", "position"])
def test_what_is_held_constant_does_not_change(held):
    geometry = tilt_series(m=8, n=5)
    maps = correlations(displacements(geometry, *known(geometry)))
    free = {"shift": REACH, "angle": 0.03, "position": REACH} | {held: 0.0}
    change, _, _ = fit(maps, geometry, Freedom(**free))
    for name, value in zip(("shift", "angle", "position"), change, strict=False):
        assert (np.abs(value).max() == 0) == (name == held)


def test_iterations_are_reported_and_can_be_limited():
    geometry = tilt_series(m=8, n=5)
    maps = correlations(displacements(geometry, *known(geometry)))
    seen = []
    _, iterations, converged = fit(maps, geometry, EVERYTHING, 3, report=lambda *now: seen.append(now))
    assert [number for number, _ in seen] == [1, 2, 3]
    assert iterations == 3
    assert not converged
    values = [value for _, value in seen]
    assert values == sorted(values, reverse=True)


# ---------------------------------------------------------------- motion


@pytest.mark.parametrize("squared", [False, True])
def test_modes_have_the_covariance_of_the_prior(squared):
    positions = np.random.default_rng(0).uniform(-100, 100, (12, 3))
    modes = motion_prior.deformation_modes(positions, 0.4, 150.0, squared)
    d = np.linalg.norm(positions[:, None] - positions, axis=-1) / 150.0
    expected = 0.16 * np.exp(-(d**2) / 2 if squared else -d)
    np.testing.assert_allclose(modes @ modes.T, expected, atol=1e-6)


def test_the_largest_modes_are_kept():
    positions = np.random.default_rng(0).uniform(-100, 100, (12, 3))
    everything, few = (motion_prior.deformation_modes(positions, 1, 100, at_most=k) for k in (-1, 3))
    assert everything.shape == (12, 12)
    np.testing.assert_array_equal(few, everything[:, :3])
    sizes = (everything**2).sum(axis=0)
    assert (np.diff(sizes) < 0).all()
    assert motion_prior.deformation_modes(positions, 1, 100, at_most=0).shape == (12, 0)


def test_trajectories_start_at_rest_in_the_least_exposed_tilt_and_add_up_velocities():
    order = np.array([2, 1, 3, 0])
    modes, coefficients = np.array([[1.0], [-2.0]]), np.arange(1.0, 10.0).reshape(1, 3, 3)
    path = motion_prior.trajectories(modes, coefficients, order)
    assert (path[:, 2] == 0).all()
    np.testing.assert_array_equal(path[0, 1], [1, 2, 3])
    np.testing.assert_array_equal(path[0, 3], [5, 7, 9])
    np.testing.assert_array_equal(path[1, 0], [-24, -30, -36])


@pytest.mark.parametrize(("exposures", "expected"), [([30, 0, 10, 20], 10.0), ([4.0, 4.0, 4.0], 1.0)])
def test_the_exposure_of_a_tilt_is_the_mean_step(exposures, expected):
    assert motion_prior.dose_per_tilt(np.array(exposures)) == expected


S_VEL, S_DIV = 0.25, 200.0  # px per tilt, px


def smooth_motion(geometry, seed=5):
    """A doming of the slab that slows down with exposure, up to about 4 px: no draw from the prior."""
    positions = geometry.paths[:, 0]
    rank = np.argsort(geometry.order)
    course = 1 - np.exp(-rank / 5)
    direction = np.stack([positions[:, 0], positions[:, 1], 1.5 * positions[:, 0] + 40], axis=-1) / 60
    return course[None, :, None] * direction[:, None]


def relative(motion):
    """Motion about that of all particles together, which shifts of the tilts explain as well."""
    return motion - motion.mean(axis=0)


def fit_with_motion(geometry, u, seed=0):
    modes = motion_prior.deformation_modes(geometry.paths[:, 0], S_VEL, S_DIV)
    freedom = Freedom(EVERYTHING.shift, 0.0, EVERYTHING.position, modes)
    return fit(correlations(u, seed=seed), geometry, freedom)[0]


def test_the_motion_prior_recovers_known_trajectories(record_property):
    geometry = tilt_series()
    true = smooth_motion(geometry)
    u = displacements(geometry, known(geometry)[0], motion=true)
    still, _, _ = fit(correlations(u), geometry, Freedom(REACH, 0.0, REACH))
    moving = fit_with_motion(geometry, u)

    def error(change):
        motion = 0 if change.motion is None else change.motion
        return rms(relative(motion - true + (change.positions)[:, None]))

    record_property(
        "align: rms of simulated motion, error without and with --motion, px",
        f"{rms(relative(true)):.2f} {error(still):.2f} {error(moving):.2f}",
    )
    assert rms(relative(true)) > 0.8
    assert error(moving) < 0.5 * error(still)
    assert (moving.motion[:, geometry.order[0]] == 0).all()


def test_where_nothing_moves_nearly_no_motion_is_invented():
    geometry = tilt_series()
    change = fit_with_motion(geometry, displacements(geometry, known(geometry)[0]))
    assert rms(relative(change.motion)) < 0.15
