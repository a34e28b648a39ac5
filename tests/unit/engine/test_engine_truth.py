"""The metrics, on results whose errors are known because the test made them."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from staengine.errors import EngineError
from staengine.numerics import fourier, maps
from staengine.numerics.euler import euler_angles
from staengine.programs import truth as truth_program
from staengine.simulation import simulate, truth
from staengine.simulation.settings import SimulationSettings
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import ANGLES, COORDINATES, ORIGINS
from staengine.tilt_series.tomograms import load_tomograms

SMALL = SimulationSettings(
    sets=2, tomos=2, particles=8, junk=0.2, size=200, depth=120, angpix=8.0, diameter=200.0, tilt_step=30.0
)
PICKED, TRUE = [*COORDINATES, *ANGLES], [*truth.POSITION, *truth.EULER]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo")
    simulate.simulate(replace(SMALL, o=path, root=str(path)))
    return path


@pytest.fixture(scope="module")
def known(folder):
    return truth.read_truth(folder)


@pytest.fixture
def merged(known):
    """All picks as a workflow merges them: renamed tomograms, six significant digits, another order."""
    table = known.picks.assign(rlnTomoName=known.picks.tomogram.str.replace("/", "_"))
    table[COORDINATES] = table[COORDINATES].map(lambda v: float(f"{v:.6g}"))
    return ParticleSet(table.sample(frac=1, random_state=0).reset_index(drop=True), path="merged.star")


def at_true_pose(particles):
    """The same particles where and how they really are."""
    table = particles.particles.copy()
    table[PICKED] = table[TRUE]
    return ParticleSet(table)


def test_merged_sets_with_clashing_names_are_matched(merged, known):
    rows = truth.match_particles(merged, known)
    expected = merged.particles[["tomogram", *truth.POSITION]]
    pd.testing.assert_frame_equal(
        known.picks.iloc[rows][["tomogram", *truth.POSITION]].reset_index(drop=True), expected
    )


def test_particles_of_other_data_are_refused(merged, known):
    merged.particles[COORDINATES[0]] += 5000
    with pytest.raises(EngineError, match=r"merged\.star: a particle of set._TS_0. is .* from every pick"):
        truth.match_particles(merged, known)


def test_true_poses_have_no_error(merged, known):
    error = truth.pose_error(at_true_pose(merged), known)
    assert error.angle_deg < 1e-3
    assert error.position_angst < 1e-2


def test_picks_have_the_error_that_was_asked_for(merged, known):
    error = truth.pose_error(merged, known)
    assert error.angle_deg == pytest.approx(
        SMALL.angle_error * 0.89, rel=0.35
    )  # median of a Maxwell distribution
    assert error.position_angst == pytest.approx(SMALL.position_error * 0.89, rel=0.35)


def test_a_motion_common_to_all_particles_is_no_error(merged, known):
    moved = at_true_pose(merged)
    G, c = Rotation.from_rotvec([0.2, -0.1, 0.15]), np.array([4.0, -7.0, 2.0])
    true = Rotation.from_matrix(moved.rotations)
    moved.particles[ORIGINS] = -true.apply(c)  # the reference's origin is at x_true = c
    moved.particles[ANGLES] = euler_angles((true * G).as_matrix())
    error = truth.pose_error(moved, known)
    assert error.angle_deg < 1e-3
    assert error.position_angst < 1e-2
    np.testing.assert_allclose(error.rotation.as_rotvec(), G.as_rotvec(), atol=1e-5)
    np.testing.assert_allclose(error.shift_angst, c, atol=1e-2)


def test_a_translation_of_a_whole_tomogram_is_an_error_of_position_but_not_within_it(merged, known):
    moved = at_true_pose(merged)
    tomogram = moved.particles.tomogram.astype("category").cat.codes.to_numpy()
    drift = np.array([[12.0, 0, 5], [-9, 8, 0], [0, -6, 11], [4, 4, -14]])[tomogram]
    common = Rotation.from_matrix(moved.rotations).apply([7.0, -3.0, 2.0])
    lost = np.zeros((len(tomogram), 3))
    lost[np.flatnonzero(moved.particles.trueClass != "junk")[0]] = 40
    moved.particles[COORDINATES] += drift + common + lost
    error = truth.pose_error(moved, known)
    assert error.position_angst > 5
    assert error.within_angst < 0.5


def test_errors_of_single_particles_stay_within_tomograms(merged, known):
    moved = at_true_pose(merged)
    spread = np.random.default_rng(0).normal(0, 3, (len(moved), 3))
    moved.particles[COORDINATES] += spread
    expected = np.median(np.linalg.norm(spread, axis=1))
    assert truth.pose_error(moved, known).within_angst == pytest.approx(expected, rel=0.25)


def test_junk_does_not_count_among_poses(merged, known):
    particles = at_true_pose(merged)
    junk = particles.particles.trueClass == "junk"
    particles.particles.loc[junk, ANGLES] = 77.0
    assert truth.pose_error(particles, known).angle_deg < 1e-3
    with pytest.raises(EngineError, match="no true particle"):
        truth.pose_error(particles.subset(junk.to_numpy()), known)


def test_selection_counts_kept_and_rejected(merged, known):
    junk = (merged.particles.trueClass == "junk").to_numpy()
    keep = np.flatnonzero(~junk)[4:].tolist() + np.flatnonzero(junk)[:2].tolist()
    result = truth.selection(merged, merged.subset(keep), known)
    assert result["true_kept"] == pytest.approx(28 / 32)
    assert result["junk_rejected"] == pytest.approx(6 / 8)


def test_class_table_crosses_true_and_found_classes(merged, known):
    merged.particles["rlnClassNumber"] = np.where(merged.particles.trueClass == "junk", 2, 1)
    table = truth.class_table(merged, known)
    assert table.loc["junk", 2] == 8
    assert table.loc["junk", 1] == table.loc["A", 2] == table.loc["B", 2] == 0


@pytest.fixture(scope="module")
def phantoms(folder):
    return {name: maps.read_map(folder / f"phantom_{name}.mrc")[0] for name in "AB"}


@pytest.mark.parametrize(("box", "pixel"), [(26, 16.0), (60, 8.0)])
def test_map_in_a_moved_frame_agrees_once_moved_back(phantoms, box, pixel):
    motion = truth.PoseError(0, 0, Rotation.from_rotvec([0.3, 0.2, -0.4]), np.array([9.0, -5.0, 14.0]))
    points = simulate.build_phantom(SMALL.diameter, _phantom_rng()).A
    own_frame = motion.rotation.inv().apply(points - motion.shift_angst).astype(np.float32)
    found = simulate.phantom_map(own_frame, box, pixel)  # x_true = G x + c
    assert truth.map_fsc(found, pixel, phantoms["A"], 8.0, motion)[: int(box * 0.45)].min() > 0.97
    assert truth.map_fsc(found, pixel, phantoms["A"], 8.0).min() < 0.5


def _phantom_rng():
    return np.random.default_rng(np.random.SeedSequence(SMALL.seed).spawn(5)[0])


def test_of_two_half_maps_their_mean_is_compared(phantoms, known, tmp_path):
    density = fourier.resample(phantoms["A"], 32, 3)
    pixel = 8.0 * len(phantoms["A"]) / 32
    noise = np.random.default_rng(1).normal(0, 10 * density.std(), density.shape)
    files = [tmp_path / "half1.mrc", tmp_path / "half2.mrc"]
    for file, sign in zip(files, (1, -1), strict=True):
        maps.write_map(file, density + sign * noise, pixel)
    both, one = (truth.compare_map(paths, known, None)["fsc05_angst"] for paths in (files, files[:1]))
    assert both < one / 2


def test_the_conformation_of_a_map_is_recognised(phantoms, known, tmp_path):
    for name, phantom in phantoms.items():
        maps.write_map(tmp_path / "map.mrc", fourier.resample(phantom, 32, 3), 8.0 * len(phantom) / 32)
        report = truth.compare_map([tmp_path / "map.mrc"], known, None)
        assert report["best"] == name
        assert report["fsc05_angst"] == report[name]["fsc05_angst"]


def test_noise_agrees_with_no_phantom(phantoms):
    noise = np.random.default_rng(0).normal(size=(32,) * 3)
    curve = truth.map_fsc(noise, 16.0, phantoms["A"], 8.0)
    assert np.abs(curve[4:]).max() < 0.4


@pytest.mark.parametrize("pixel", [4.0, 8.0])
def test_noise_far_from_the_particle_does_not_count(pixel):
    points, box = simulate.build_phantom(SMALL.diameter, _phantom_rng()).A, int(640 / pixel)
    density = simulate.phantom_map(points, box, pixel)
    noise = density.std() * np.random.default_rng(0).normal(size=density.shape)
    far = fourier.distance(box, 3) * pixel > 0.75 * SMALL.diameter
    everywhere, outside = (
        truth.map_fsc(density + noise * where, pixel, density, pixel)[: box // 2] for where in (1, far)
    )
    assert outside.min() > 0.9
    assert (1 - outside).mean() < 0.5 * (1 - everywhere).mean()


def test_resolution_is_the_last_shell_before_the_curve_crosses():
    assert truth.resolution_at(np.array([1, 0.9, 0.6, 0.4, 0.7]), 8, 10.0) == 40
    assert truth.resolution_at(np.array([1, 0.9, 0.6, 0.6, 0.7]), 8, 10.0) == 20


def test_tilt_errors_are_those_of_the_recorded_values(folder, known, monkeypatch):
    monkeypatch.chdir(folder)
    tomograms = load_tomograms("set2/tomograms.star")
    errors = truth.tilt_errors(tomograms, known)
    assert errors.true.tolist() == ["set2/TS_01", "set2/TS_02"]
    tilts = known.tilts[known.tilts.tomogram == "set2/TS_01"]
    defocus = tilts.recordedDefocus - tilts.trueDefocus
    assert errors.defocus_rms_angst["TS_01"] == pytest.approx(np.sqrt((defocus**2).mean()), rel=1e-5)
    assert errors.defocus_mean_angst["TS_01"] == pytest.approx(defocus.mean(), rel=1e-5)
    assert 1 < errors.shift_rms_angst["TS_01"] < 12
    recorded = tilts[["recordedXShiftAngst", "recordedYShiftAngst"]].to_numpy()
    np.testing.assert_allclose(tomograms["TS_01"].shifts * SMALL.angpix, recorded, rtol=1e-6)


def test_true_shifts_and_a_moved_tomogram_have_no_shift_error(folder, known, monkeypatch):
    monkeypatch.chdir(folder)
    tomograms = {"any": load_tomograms("set1/tomograms.star")["TS_02"]}
    tilts = known.tilts[known.tilts.tomogram == "set1/TS_02"]
    true = tilts[["trueXShiftAngst", "trueYShiftAngst"]].to_numpy() / SMALL.angpix
    tomograms["any"].shifts = true + tomograms["any"].rotations[:, :2] @ [2.0, -1.0, 3.0]
    errors = truth.tilt_errors(tomograms, known)
    assert errors.true["any"] == "set1/TS_02"
    assert errors.shift_rms_angst["any"] < 1e-3


def test_report_is_printed_and_written(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    output = tmp_path / "truth.json"
    files = "--data set1/particles.star --tomograms set1/tomograms.star --map phantom_B.mrc"
    assert truth_program.main(["--truth", ".", *files.split(), "--json", str(output)]) == 0
    report = json.loads(output.read_text())
    assert report["selection"]["true_kept"] == 0.5
    assert report["map"]["best"] == "B"
    assert report["pose"]["angle_deg"] > 0
    assert set(report["tilts"]) == {"TS_01", "TS_02"}
    text = capsys.readouterr().out
    assert "map is made of B" in text
    assert "true_kept 0.5" in text


def test_a_folder_without_truth_is_an_error(tmp_path):
    with pytest.raises(EngineError, match=r"no truth\.star"):
        truth.read_truth(tmp_path)


def test_nothing_to_judge_is_an_error(folder):
    with pytest.raises(EngineError, match="--data, --map or --tomograms"):
        truth_program.main(["--truth", str(folder)])
