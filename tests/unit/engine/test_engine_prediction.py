"""What CTF refinement and polishing are built on: the reference, the particles' images and their prediction."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from staengine.errors import EngineError
from staengine.fits.series import half_sets_of
from staengine.numerics import fourier, maps
from staengine.simulation import simulate
from staengine.tilt_series import prediction
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.reference import CORRECTED_FSC, read_fsc, read_reference, shell_weights
from staengine.tilt_series.star import write_star
from staengine.tilt_series.tomograms import common_pixel_size, load_tilt_images, load_tomograms

BOX, PIXEL = 64, 4.0


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A noiseless series of one particle at its true geometry; the phantom, on RELION's scale, as both halves."""
    folder = tmp_path_factory.mktemp("prediction")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exact = dict.fromkeys(("angle_error", "position_error", "shift_error", "defocus_error"), 0.0)
        few = {"tomos": 1, "particles": 1, "size": 256, "depth": 128, "diameter": 100.0, "tilt_step": 20.0}
        none = {"junk": 0.0, "fraction_b": 0.0, "defocus_offset": 0.0, "snr": 1e6}
        simulate.simulate(simulate.SimulationSettings(folder, **few, **none, **exact, angpix=PIXEL))
        phantom, _ = maps.read_map("phantom_A.mrc")
        half = fourier.window(phantom, BOX, 3) * np.sqrt(BOX)
        for name, values in (("half1", half), ("half2", half), ("mask", np.ones_like(half))):
            maps.write_map(f"{name}.mrc", values, PIXEL)
        write_fsc("post.star", np.ones(BOX // 2 + 1), BOX)
    return folder


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project)


def write_fsc(path, fsc, box):
    frequency = np.r_[1 / 999, np.arange(1, box // 2 + 1) / (box * PIXEL)]
    table = pd.DataFrame({"rlnResolution": frequency, CORRECTED_FSC: fsc})
    write_star({"general": {"rlnFinalResolution": 8.0}, "fsc": table}, path)


def flags(**changed):
    files = {"ref1": "half1.mrc", "ref2": "half2.mrc", "mask": "mask.mrc", "fsc": "post.star"}
    rest = {"b": 80, "freq_cutoff": -1.0, "fsc_thresh_width": 5.0, "use_SNR_weight": False, "j": 2}
    return SimpleNamespace(**files | rest | changed)


def reference(**changed):
    return read_reference("program", flags(**changed), PIXEL)


def series():
    """The tilt series, and its particle four times over."""
    particles = ParticleSet.read("particles.star").subset([0, 0, 0, 0])
    return load_tomograms("tomograms.star")["TS_01"], particles


# ---------------------------------------------------------------- images and predictions


def test_a_prediction_is_the_image_and_its_scale_the_contrast(here):
    tomogram, particles = series()
    ref, positions = reference(), particles.positions
    visible = prediction.visible_tilts(tomogram, ref, positions)
    observed = prediction.observe(tomogram, load_tilt_images(tomogram), ref, positions, 2)
    halves = np.zeros(len(particles), int)
    predicted = prediction.slices(tomogram, ref, particles.rotations, halves, visible, 2)
    unscaled = dataclasses.replace(tomogram, scale=np.ones(len(tomogram)))
    predicted = predicted * prediction.transfer_functions(unscaled, ref, positions, visible, 2)
    assert visible.all()

    def sums(a, b):
        return ((a * b.conj()).real @ ref.weights)[0]

    cross, power = sums(observed, predicted), sums(predicted, predicted)
    assert (cross / np.sqrt(power * sums(observed, observed)) > 0.97).all()
    contrast = np.cos(np.radians([-60, -40, -20, 0, 20, 40, 60]))
    np.testing.assert_allclose(cross / power, contrast, rtol=0.08)


def test_what_is_not_visible_is_zero(here):
    tomogram, particles = series()
    ref = reference()
    positions = particles.positions + np.outer(np.arange(4) == 3, [3000, 0, 0])
    visible = prediction.visible_tilts(tomogram, ref, positions)
    observed = prediction.observe(tomogram, load_tilt_images(tomogram), ref, positions)
    assert not visible[3].any()
    assert (observed.any(axis=2) == visible).all()


def test_images_follow_a_trajectory_by_the_phase_of_its_displacement(here):
    tomogram, particles = series()
    ref, images = reference(), load_tilt_images(tomogram)
    at_rest = np.repeat(particles.positions[:, None], len(tomogram), axis=1)
    still = prediction.observe(tomogram, images, ref, particles.positions)
    np.testing.assert_array_equal(still, prediction.observe(tomogram, images, ref, at_rest))
    moved_by = np.array([3.0, -5.0, 2.0])
    moved = prediction.observe(tomogram, images, ref, at_rest + moved_by)
    shift = tomogram.rotations[:, :2] @ moved_by / PIXEL  # px
    k = np.stack([ref.components.kx, ref.components.ky])
    expected = still * np.exp(2j * np.pi / ref.box * (shift @ k))
    error = np.linalg.norm(moved - expected) / np.linalg.norm(moved)
    assert error < 0.1
    assert np.linalg.norm(moved - still) > 0.3 * np.linalg.norm(moved)


def test_slices_are_of_the_half_map_that_is_asked_for(here):
    maps.write_map("twice.mrc", 2 * maps.read_map("half1.mrc")[0], PIXEL)
    tomogram, particles = series()
    ref = reference(ref2="twice.mrc")
    visible = np.ones((4, len(tomogram)), bool)

    def cut(halves):
        return prediction.slices(tomogram, ref, particles.rotations, np.array(halves), visible)

    first, mixed = cut([0, 0, 0, 0]), cut([0, 1, 1, 0])
    np.testing.assert_allclose(mixed[[0, 3]], first[[0, 3]])
    np.testing.assert_allclose(mixed[[1, 2]], 2 * first[[1, 2]], rtol=1e-5)


@pytest.mark.parametrize("per_tilt", [False, True])
def test_noise_power_is_that_of_each_shell(here, per_tilt):
    components, rng = reference().components, np.random.default_rng(1)
    level = np.array([1.0, 2.0, 3.0])[:, None] * (1 + components.shell / 10)
    values = rng.normal(size=(500, 3, len(components), 2)) @ [1, 1j] * np.sqrt(level / 2)
    visible = np.ones((500, 3), bool)
    visible[:, 2] = False
    values[:, 2] = 0
    power = prediction.noise_power(values, visible, components, per_tilt)
    both = level[:2].mean(axis=0)
    expected = [level[0], level[1], both] if per_tilt else [both] * 3
    np.testing.assert_allclose(power, expected, rtol=0.2)
    np.testing.assert_allclose(power.mean(axis=1), np.mean(expected, axis=1), rtol=0.02)


def test_without_any_image_noise_is_infinite_so_that_nothing_has_weight(here):
    components = reference().components
    nothing = np.zeros((2, 3, len(components)), complex)
    assert np.isinf(prediction.noise_power(nothing, np.zeros((2, 3), bool), components)).all()


# ---------------------------------------------------------------- resolution


def test_shells_are_used_up_to_where_the_fsc_falls_below_0143():
    fsc = np.r_[np.ones(20), 0.5, 0.142, 0.9, np.zeros(20)]
    weights = shell_weights(fsc, width=4)
    assert (weights[:19] == 1).all()
    assert weights[20] == pytest.approx(0.5)
    assert not weights[22:].any()
    assert (shell_weights(fsc, width=0) == (np.arange(43) <= 20)).all()
    assert shell_weights(fsc, cutoff=10, width=0).sum() == 11


def test_an_fsc_of_another_box_is_read_at_the_same_resolutions(here):
    write_fsc("steps.star", np.where(np.arange(33) < 16, 1.0, 0.0), 64)
    fsc = read_fsc("steps.star", 128, PIXEL)
    assert (fsc[:31] == 1).all()
    assert fsc[31] == pytest.approx(0.5)
    assert not fsc[32:].any()


def test_components_end_where_the_resolution_does_and_the_mean_has_no_weight(here):
    write_fsc("half.star", np.where(np.arange(33) < 16, 0.8, 0.0), 64)
    ref = reference(fsc="half.star", fsc_thresh_width=0.0)
    assert ref.frequency.max() == pytest.approx(0.5 / (2 * PIXEL), rel=0.05)
    assert ref.components.box < ref.box
    assert ref.weights[0] == 0
    assert (ref.weights[1:100] == 1).all()
    snr = reference(fsc="half.star", fsc_thresh_width=0.0, use_SNR_weight=True)
    np.testing.assert_allclose(snr.weights[1:100], 0.8 / 0.2)


# ---------------------------------------------------------------- faults


def fault(change):
    def make():
        values, _ = maps.read_map("mask.mrc")
        maps.write_map("faulty.mrc", *change(values))
        return {"mask": "faulty.mrc"}

    return make


def no_signal():
    write_fsc("none.star", np.zeros(33), 64)
    return {"fsc": "none.star"}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (lambda: {"mask": "", "fsc": ""}, "program: --mask and --fsc must be given."),
        (lambda: {"ref2": "gone.mrc"}, "the half map gone.mrc does not exist."),
        (fault(lambda v: (v[4:-4, 4:-4, 4:-4], PIXEL)), "faulty.mrc has a box of 56 px, half1.mrc of 64 px"),
        (fault(lambda v: (v, 16.0)), "faulty.mrc has a pixel size of 16 Å, the tilt series of 4 Å"),
        (fault(lambda v: (v * 2, PIXEL)), "the values of faulty.mrc go from 2 to 2; a mask is 0 to 1."),
        (lambda: {"b": 60}, "--b 60 must be even and at least the half maps' 64 px."),
        (lambda: {"b": 81}, "--b 81 must be even"),
        (lambda: {"fsc": "tomograms.star"}, "tomograms.star has no table data_fsc with rlnResolution"),
        (no_signal, "none.star: the FSC is below 0.143 from the first shell on"),
    ],
)
def test_a_faulty_reference_is_refused_in_a_sentence(here, changed, sentence):
    with pytest.raises(EngineError) as error:
        reference(**changed())
    assert sentence in str(error.value)


def test_particles_without_half_sets_are_refused(here):
    with pytest.raises(EngineError, match=r"particles.star has no half sets \(rlnRandomSubset\)"):
        half_sets_of("program", series()[1])


def test_tilt_series_of_different_pixel_sizes_are_refused(here):
    tomogram, _ = series()
    finer = dataclasses.replace(tomogram, pixel_size=2.0)
    with pytest.raises(EngineError, match="different pixel sizes"):
        common_pixel_size("program", [tomogram, finer])
