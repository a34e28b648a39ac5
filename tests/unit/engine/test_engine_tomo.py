"""Tilt series, particles and optimisation sets as the embedded engine reads, writes and projects them."""

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from staengine.errors import EngineError
from staengine.numerics import fourier
from staengine.numerics.euler import euler_angles, euler_matrix
from staengine.tilt_series import windows
from staengine.tilt_series.optimisation_set import (
    OptimisationSet,
    read_optimisation_set,
    resolve_inputs,
    write_optimisation_set,
)
from staengine.tilt_series.particles import ParticleSet, format_visible, parse_visible
from staengine.tilt_series.star import ANGLES, COORDINATES, SUBTOMOGRAM_ANGLES, read_star, write_star
from staengine.tilt_series.tomograms import load_tilt_images, load_tomograms

ANGLE = st.floats(-179, 179)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with one tilt series `001` of 3 tilts, 40 x 30 px at 2 Å; changes are merged in."""
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).normal(size=(3, 30, 40)).astype(np.float32)
    mrcfile.write("stack.mrcs", images, voxel_size=2.0)

    def write(tilts=None, tomogram=None, drop=()):
        table = {
            "rlnMicrographName": [f"{n}@stack.mrcs" for n in (1, 2, 3)],
            "rlnMicrographPreExposure": [3.0, 0.0, 6.0],
            "rlnTomoXTilt": 0.0,
            "rlnTomoYTilt": [-90.0, 0.0, 30.0],
            "rlnTomoZRot": 0.0,
            "rlnTomoXShiftAngst": [0.0, 4.0, 0.0],
            "rlnTomoYShiftAngst": [0.0, -6.0, 0.0],
            "rlnDefocusU": 30000.0,
            "rlnDefocusV": 29000.0,
            "rlnDefocusAngle": 10.0,
        } | (tilts or {})
        row = {
            "rlnTomoName": "001",
            "rlnVoltage": 300.0,
            "rlnSphericalAberration": 2.7,
            "rlnAmplitudeContrast": 0.1,
            "rlnTomoTiltSeriesPixelSize": 2.0,
            "rlnTomoHand": -1.0,
            "rlnTomoTiltSeriesStarFile": "tilts.star",
        } | (tomogram or {})
        frame = pd.DataFrame(table).drop(columns=[name for name in drop if name in table])
        globals_ = pd.DataFrame([row]).drop(columns=[name for name in drop if name in row])
        write_star({"001": frame}, "tilts.star")
        write_star({"global": globals_}, "tomograms.star")
        return images

    return write


def particles(**changes):
    return pd.DataFrame(
        {
            "rlnTomoName": ["001", "001"],
            **{name: [10.0, -20.0] for name in COORDINATES},
        }
        | changes
    )


# ---------------------------------------------------------------- geometry


@given(ANGLE, st.floats(1, 179), ANGLE)
def test_angles_of_an_euler_matrix_are_those_it_was_made_of(rot, tilt, psi):
    matrix = euler_matrix(rot, tilt, psi)
    assert matrix.shape == (1, 3, 3)
    np.testing.assert_allclose(euler_angles(matrix), [[rot, tilt, psi]], atol=1e-5)


def test_the_euler_matrix_turns_the_frame_by_rot_about_z_then_tilt_about_y_then_psi_about_z():
    np.testing.assert_allclose(euler_matrix(90, 0, 0)[0] @ [1, 0, 0], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(euler_matrix(0, 90, 0)[0] @ [0, 0, 1], [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(euler_matrix(90, 90, 0)[0] @ [0, 0, 1], [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(euler_matrix(0, 90, 90)[0] @ [0, 0, 1], [0, 1, 0], atol=1e-12)


def test_a_gimbal_locked_matrix_gives_angles_of_the_same_matrix():
    matrix = euler_matrix(30, 0, 40)
    np.testing.assert_allclose(euler_matrix(*euler_angles(matrix).T), matrix, atol=1e-6)


def test_the_tomograms_centre_lies_at_the_image_centre_plus_the_tilts_shift(project):
    project()
    tomogram = load_tomograms("tomograms.star")["001"]
    centres = tomogram.project(np.zeros((1, 3)))
    np.testing.assert_allclose(centres[0], [[20, 15], [22, 12], [20, 15]])


def test_an_odd_tomogram_size_moves_points_by_half_a_pixel_as_in_relion(project):
    project(tomogram={"rlnTomoSizeX": 321, "rlnTomoSizeY": 320, "rlnTomoSizeZ": 160})
    tomogram = load_tomograms("tomograms.star")["001"]
    np.testing.assert_allclose(tomogram.project(np.zeros((1, 3)))[0, 1], [22.5, 12])
    assert tomogram.depth(np.zeros((1, 3)))[0, 1] == 0


def test_points_move_against_each_other_as_the_specimen_tilts_about_y(project):
    project()
    tomogram = load_tomograms("tomograms.star")["001"]
    point = np.array([[8.0, 2.0, 6.0]])
    np.testing.assert_allclose(tomogram.project(point)[0, 0], [20 - 6 / 2, 15 + 2 / 2])  # -90 degrees: x = -z
    np.testing.assert_allclose(tomogram.depth(point)[0], [8, 6, 6 * np.cos(np.pi / 6) - 8 * 0.5])
    np.testing.assert_allclose(tomogram.defocus_offset(point), -tomogram.depth(point))  # hand -1


def test_a_trajectory_moves_the_point_in_its_own_tilt_only(project):
    project()
    tomogram = load_tomograms("tomograms.star")["001"]
    path = np.zeros((1, 3, 3))
    path[0, 1] = [2.0, 0, 0]
    moved = tomogram.project(path) - tomogram.project(np.zeros((1, 3)))
    np.testing.assert_allclose(moved[0], [[0, 0], [1, 0], [0, 0]], atol=1e-12)


def test_refined_positions_subtract_the_origin_in_the_subtomograms_frame():
    angles = dict(zip(SUBTOMOGRAM_ANGLES, (90.0, 0.0, 0.0), strict=True))
    table = particles(rlnOriginXAngst=[3.0, 0], rlnOriginYAngst=0.0, rlnOriginZAngst=0.0, **angles)
    np.testing.assert_allclose(ParticleSet(table).positions, [[10, 13, 10], [-20, -20, -20]])


def test_orientations_combine_subtomogram_and_particle_angles():
    first, second = (10.0, 20.0, 30.0), (40.0, 50.0, 60.0)
    table = particles(
        **dict(zip(SUBTOMOGRAM_ANGLES, first, strict=True)),
        **dict(zip(ANGLES, second, strict=True)),
    )
    expected = euler_matrix(*first)[0] @ euler_matrix(*second)[0]
    np.testing.assert_allclose(ParticleSet(table).rotations[1], expected)
    assert Rotation.from_matrix(expected).magnitude() > 0.1


def test_half_sets_are_1_and_2_only():
    assert ParticleSet(particles()).half_sets is None
    assert list(ParticleSet(particles(rlnRandomSubset=[2, 1])).half_sets) == [2, 1]
    with pytest.raises(EngineError, match="rlnRandomSubset must be 1 or 2"):
        assert ParticleSet(particles(rlnRandomSubset=[0, 1])).half_sets


def test_no_particles_have_no_positions():
    none = ParticleSet(particles()).subset([False, False])
    assert none.positions.shape == (0, 3)
    assert none.rotations.shape == (0, 3, 3)


# ---------------------------------------------------------------- files


def test_a_tomogram_named_001_stays_a_string_through_writing_and_reading(tmp_path):
    names = ["001", "tilt series 2"]
    ParticleSet(particles(rlnTomoName=names, rlnTomoParticleName=["1", "2"])).write(tmp_path / "p.star")
    read = ParticleSet.read(tmp_path / "p.star")
    assert list(read.particles["rlnTomoName"]) == names
    assert list(read.particles["rlnTomoParticleName"]) == ["1", "2"]
    assert read.general == {"rlnTomoSubTomosAre2DStacks": 1}


def test_numbers_keep_their_digits(tmp_path):
    values = [1.23456789e-7, -12345.6789]
    ParticleSet(particles(rlnLogLikeliContribution=values)).write(tmp_path / "p.star")
    read = ParticleSet.read(tmp_path / "p.star").particles["rlnLogLikeliContribution"]
    np.testing.assert_allclose(read, values, rtol=1e-8)


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_visible_tilts_are_read_as_written(visible):
    text = format_visible(visible)
    assert text == "[" + ",".join("1" if v else "0" for v in visible) + "]"
    assert list(parse_visible(text)) == visible


def test_an_optimisation_set_is_read_as_written(tmp_path):
    path = tmp_path / "optimisation_set.star"
    write_optimisation_set(path, "a b/particles.star", "tomograms.star", "")
    assert read_optimisation_set(path) == OptimisationSet("a b/particles.star", "tomograms.star")
    assert "\ndata_\n" in path.read_text()


def test_direct_entries_win_over_the_optimisation_set(tmp_path):
    path = tmp_path / "optimisation_set.star"
    write_optimisation_set(path, "p.star", "t.star")
    assert resolve_inputs("prog", str(path)) == OptimisationSet("p.star", "t.star")
    assert resolve_inputs("prog", str(path), particles="q.star").particles == "q.star"


def test_inputs_that_say_nothing_are_refused():
    with pytest.raises(EngineError, match="prog: give --i optimisation_set"):
        resolve_inputs("prog", "", particles="p.star")


def test_the_trajectories_of_an_optimisation_set_are_part_of_the_state(tmp_path):
    path = tmp_path / "optimisation_set.star"
    write_optimisation_set(path, "p.star", "t.star", "m.star")
    assert resolve_inputs("prog", str(path)).trajectories == "m.star"
    assert resolve_inputs("prog", str(path), trajectories="n.star").trajectories == "n.star"


def test_a_tilt_series_without_a_tilt_about_x_has_none(project):
    project()
    given = load_tomograms("tomograms.star")["001"].rotations
    project(drop=["rlnTomoXTilt"])
    np.testing.assert_array_equal(load_tomograms("tomograms.star")["001"].rotations, given)


def test_the_format_after_a_colon_is_taken_for_the_files_extension(project):
    images = project()
    Path("stack.mrcs").rename("stack.mrc")
    project(tilts={"rlnMicrographName": [f"{n}@stack.mrc:mrcs" for n in (1, 2, 3)]})
    np.testing.assert_array_equal(load_tilt_images(load_tomograms("tomograms.star")["001"]), images)


def test_images_are_the_same_from_one_stack_and_from_one_file_per_tilt(project):
    images = project()
    from_stack = load_tilt_images(load_tomograms("tomograms.star")["001"])
    for number, image in enumerate(images):
        mrcfile.write(f"{number}.mrc", image, voxel_size=2.0)
    project(tilts={"rlnMicrographName": ["0.mrc", "1.mrc", "2.mrc"]})
    from_files = load_tilt_images(load_tomograms("tomograms.star")["001"])
    np.testing.assert_array_equal(from_stack, images)
    np.testing.assert_array_equal(from_files, images)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"drop": ["rlnDefocusU"]}, "tilts.star: table data_001 has no column rlnDefocusU"),
        ({"drop": ["rlnVoltage"]}, "tomograms.star: table data_global has no column rlnVoltage"),
        ({"drop": ["rlnTomoHand"]}, "tomograms.star: table data_global has no column rlnTomoHand"),
        ({"tilts": {"rlnTomoYTilt": [0.0, "x", 1.0]}}, "data_001, row 2: rlnTomoYTilt is 'x', not a number"),
        ({"tomogram": {"rlnTomoTiltSeriesPixelSize": 0.0}}, "rlnTomoTiltSeriesPixelSize must be positive"),
        ({"tomogram": {"rlnTomoName": "002"}}, "tilts.star has no table data_002"),
        ({"tomogram": {"rlnTomoTiltSeriesStarFile": "gone.star"}}, "gone.star does not exist"),
        ({"tomogram": {"rlnTomoDeformationGridSizeX": 3}}, "image deformations"),
    ],
)
def test_a_faulty_tilt_series_table_is_refused_by_name(project, changes, sentence):
    project(**changes)
    with pytest.raises(EngineError, match=sentence):
        load_tomograms("tomograms.star")


def test_a_tomogram_that_is_there_twice_is_refused(project):
    project()
    table = read_star("tomograms.star")["global"]
    row = table if isinstance(table, pd.DataFrame) else pd.DataFrame([table])
    write_star({"global": pd.concat([row, row])}, "tomograms.star")
    with pytest.raises(EngineError, match="tomogram 001 appears twice"):
        load_tomograms("tomograms.star")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tilts": {"rlnMicrographName": ["1@gone.mrcs"] * 3}}, "gone.mrcs do not exist"),
        (
            {"tilts": {"rlnMicrographName": ["1@stack.mrc"] * 3}},
            "images of an MRC stack are numbered in files",
        ),
        ({"tilts": {"rlnMicrographName": ["4@stack.mrcs"] * 3}}, "has 3 images; tilts.star names image 4"),
        ({"tilts": {"rlnMicrographName": ["0@stack.mrcs"] * 3}}, "has 3 images; tilts.star names image 0"),
        ({"tomogram": {"rlnTomoTiltSeriesPixelSize": 1.9}}, "pixel size 2 Å in the header, 1.9 Å for 001"),
    ],
)
def test_faulty_tilt_images_are_refused_by_name(project, changes, sentence):
    project(**changes)
    with pytest.raises(EngineError, match=sentence):
        load_tilt_images(load_tomograms("tomograms.star")["001"])


@pytest.mark.filterwarnings("ignore:Data array contains NaN")
def test_tilt_images_that_are_cut_short_or_not_finite_are_refused(project, tmp_path):
    images = project()
    tomogram = load_tomograms("tomograms.star")["001"]
    images[1, 2, 3] = np.nan
    mrcfile.write("stack.mrcs", images, voxel_size=2.0, overwrite=True)
    with pytest.raises(EngineError, match="images of 001 contain values that are not finite"):
        load_tilt_images(tomogram)
    with open("stack.mrcs", "r+b") as file:
        file.truncate(5000)
    with pytest.raises(EngineError, match="is cut short"):
        load_tilt_images(tomogram)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (particles().drop(columns="rlnCenteredCoordinateYAngst"), "no column rlnCenteredCoordinateYAngst"),
        (particles().iloc[:0], "data_particles is empty"),
        (particles(rlnAngleRot=[1.0, "oops"]), "row 2: rlnAngleRot is 'oops', not a number"),
    ],
)
def test_faulty_particles_are_refused(tmp_path, table, sentence):
    ParticleSet(table).write(tmp_path / "p.star")
    with pytest.raises(EngineError, match=sentence):
        ParticleSet.read(tmp_path / "p.star")


def test_files_that_are_not_there_or_not_star_are_refused(tmp_path):
    with pytest.raises(EngineError, match=r"none\.star does not exist"):
        read_star(tmp_path / "none.star")
    (tmp_path / "text.star").write_text("nothing to see here\n")
    with pytest.raises(EngineError, match="has no table data_particles"):
        ParticleSet.read(tmp_path / "text.star")


# ---------------------------------------------------------------- windows


def test_a_window_is_cut_about_the_nearest_pixel_and_says_what_is_left_over():
    image = np.arange(100.0).reshape(1, 10, 10)
    window, offset = windows.cut_windows(image, np.array([[4.6, 3.25]]), 4)
    np.testing.assert_array_equal(window[0], image[0, 1:5, 3:7])
    np.testing.assert_allclose(offset, [[-0.4, 0.25]])


def test_border_pixels_are_repeated_outside_the_image():
    image = np.arange(16.0).reshape(1, 4, 4)
    window, _ = windows.cut_windows(image, np.array([[0.0, 0.0]]), 4)
    np.testing.assert_array_equal(window[0], [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [4, 4, 4, 5]])


def test_a_particle_is_visible_only_where_its_whole_box_is_inside_the_image(project):
    project()
    tomogram = load_tomograms("tomograms.star")["001"]
    x = np.array([5.0, 5.01, 34.99, 35.0])
    centres = np.stack([x, np.full(4, 15.0)], axis=-1)[:, None]
    assert windows.visible_tilts(tomogram, centres, 5.0)[:, 0].tolist() == [False, True, True, False]


def test_binning_shifts_the_offset_to_the_origin():
    box, offset = 32, np.array([[0.5, -0.25]])
    y, x = np.indices((box, box)) - box // 2
    blob = np.exp(-((x - 0.5) ** 2 + (y + 0.25) ** 2) / 30)[None]
    binned = fourier.irfft(windows.binned_transforms(blob, 16, offset), 2)[0] / 4
    y, x = (np.indices((16, 16)) - 8) * 2
    np.testing.assert_allclose(binned, np.exp(-(x**2 + y**2) / 30), atol=2e-3)


def test_the_circular_mask_subtracts_the_mean_outside_and_ends_softly():
    image = np.random.default_rng(1).normal(7, 1, (1, 40, 40)).astype(np.float32)
    masked = windows.mask_circle(image, 15.0)[0]
    y, x = np.indices((40, 40)) - 20
    r = np.hypot(x, y)
    np.testing.assert_allclose(masked[r <= 10], (image[0] - image[0][r > 15].mean())[r <= 10], atol=1e-4)
    assert (masked[r >= 15] == 0).all()
    edge = (r > 10.5) & (r < 14.5)
    assert (np.abs(masked[edge]) < np.abs(image[0] - image[0][r > 15].mean())[edge]).all()
