"""Every number that follows from the specimen equals the tutorial's, and is sensible for other specimens."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacycle.errors import UserError
from stacycle.recipe import geometry

BIN4 = 4 * 1.91  # Å, the tutorial's pixels


def test_the_ribosome_at_bin_4_gives_the_tutorials_numbers():
    box = geometry.box(350, BIN4)
    assert box == 84
    assert geometry.bin1_box(box, 4) == 336
    assert geometry.estimation_box(336) == 384
    assert geometry.mask_diameter(box, BIN4) == 570
    assert geometry.nyquist(BIN4) == pytest.approx(15.28)
    assert geometry.estep_limit(BIN4) == 15
    assert geometry.sigma_ang(4) == pytest.approx(1.33333, abs=1e-5)
    assert geometry.healpix_order(7.5) == 2
    assert geometry.angular_sampling(3.128) == 7.5
    assert geometry.offset_range(BIN4) == 2
    assert geometry.offset_step(BIN4, 4.935) == geometry.offset_step(BIN4) == 1


@pytest.mark.parametrize(
    ("accuracy", "sampling"), [(30, 7.5), (3, 7.5), (2.9, 3.7), (1.0, 1.8), (0.65, 0.9), (0.001, 0.1)]
)
def test_the_sampling_is_at_most_two_and_a_half_times_the_accuracy(accuracy, sampling):
    assert geometry.angular_sampling(accuracy) == sampling


@pytest.mark.parametrize(
    ("pixel", "accuracy", "reach", "step"),
    [
        (16, 6, 1, 0.5),
        (16, 2.6, 1, 0.25),
        (4, 5, 4, 1),
        (30, 30, 1, 1),
        (10, None, 1.5, 1),
        (16, None, 1, 0.5),
    ],
)
def test_positions_are_searched_as_far_and_as_finely_in_angst_as_the_tutorials(pixel, accuracy, reach, step):
    assert (geometry.offset_range(pixel), geometry.offset_step(pixel, accuracy)) == (reach, step)


@pytest.mark.parametrize("picks", [22_372, 1000, None])
def test_many_picks_or_an_unknown_number_are_classified_as_in_the_tutorial(picks):
    many = {"classes": 6, "T": [0.5, 1, 2, 4], "repeats": 1, "highres_limit": "auto"}
    assert geometry.classification(picks, 350) == many


def test_few_picks_are_classified_with_a_low_t_to_a_coarse_limit_from_two_beginnings():
    few = {"classes": 3, "T": [0.1, 0.5], "repeats": 2, "highres_limit": 80}
    assert geometry.classification(164, 260) == few


@pytest.mark.parametrize(("resolution", "lowpass"), [(21.075862, 25), (22, 25), (24.448, 30), (3.9, 5)])
def test_the_reference_is_filtered_slightly_above_the_resolution_reached(resolution, lowpass):
    assert geometry.initial_lowpass(resolution) == lowpass


@pytest.mark.parametrize(("resolution", "lowpass"), [(24.448, 25), (25, 25), (25.1, 30), (40, 40)])
def test_a_mask_is_made_from_a_map_filtered_to_about_its_resolution(resolution, lowpass):
    assert geometry.mask_lowpass(resolution) == lowpass


@pytest.mark.parametrize(
    ("resolution", "pixel", "diameter", "margin"),
    [
        (24.448, BIN4, 350, (3, 3)),  # the tutorial's bin4
        (15.28, 1.91, 350, (6, 6)),  # and bin1
        (60, 16, 260, (1, 3)),  # no further than the voxels beside the density, but with an edge
        (15, 4, 260, (3, 3)),
        (60, 1.91, 350, (9, 9)),  # not as far as a poor resolution
    ],
)
def test_a_mask_reaches_about_a_resolution_beyond_the_density(resolution, pixel, diameter, margin):
    assert geometry.mask_margin(resolution, pixel, diameter) == margin


@pytest.mark.parametrize("resolution", [math.inf, math.nan, 0])
def test_no_filter_follows_from_a_resolution_that_is_none(resolution):
    with pytest.raises(UserError, match="set lowpass in the config"):
        geometry.initial_lowpass(resolution)


@settings(deadline=None)
@given(diameter=st.floats(80, 2000), pixel=st.floats(0.5, 9))
def test_a_box_transforms_fast_halves_twice_and_holds_the_particle(diameter, pixel):
    def transforms_fast(size):
        return (2 * 3 * 5 * 7) ** 13 % size == 0  # no other prime factor

    box = geometry.box(diameter, pixel)
    assert box % 4 == 0
    assert transforms_fast(box)
    assert box * pixel <= 2 * diameter * 1.001
    assert not any(transforms_fast(size) for size in range(box + 4, int(2 * diameter / pixel), 4))
    if box >= 28:
        assert box * pixel > 1.4 * diameter


def test_a_particle_of_a_few_pixels_is_refused_with_what_to_do():
    with pytest.raises(
        UserError, match=r"particle.diameter: 20 Å is only 2.5 px of 8 Å.* lower the round's binning"
    ):
        geometry.box(20, 8)


@settings(deadline=None)
@given(st.integers(16, 1000))
def test_an_estimation_box_is_even_has_factors_2_and_3_only_and_is_the_smallest(box):
    size = geometry.estimation_box(box)

    def good(n):
        while n % 3 == 0:
            n //= 3
        return n & (n - 1) == 0

    assert size % 2 == 0
    assert good(size)
    assert not any(good(n) for n in range(math.ceil(1.1 * box), size) if n % 2 == 0)


@settings(deadline=None)
@given(st.floats(0.3, 20))
def test_the_e_step_limit_is_never_coarser_than_nyquist_nor_much_finer(pixel):
    limit = geometry.estep_limit(pixel)
    assert limit <= geometry.nyquist(pixel) + 1e-5
    assert limit > 0.8 * geometry.nyquist(pixel)


def test_angular_samplings_are_relions_and_others_are_refused():
    assert [geometry.healpix_order(x) for x in geometry.SAMPLINGS] == list(range(9))
    assert geometry.healpix_order(1.8, oversampling=0) == 5
    with pytest.raises(UserError, match=r"no angular sampling of 5 degrees; choose one of 30, 15, 7.5"):
        geometry.healpix_order(5)


@pytest.mark.parametrize(
    ("value", "text"), [(4 / 3, "1.33333"), (570.0, "570"), (0.00294, "0.00294"), (-200, "-200"), (15, "15")]
)
def test_numbers_are_printed_as_relion_prints_them(value, text):
    assert geometry.number(value) == text
