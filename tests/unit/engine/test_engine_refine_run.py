"""Refinement of small synthetic sets of known truth, made in real space without the engine's projector."""

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from staengine import __main__ as engine
from staengine.errors import AbortError, EngineError
from staengine.numerics import fourier
from staengine.numerics.euler import euler_matrix
from staengine.numerics.fsc import fsc
from staengine.programs import refine
from staengine.programs.refine_options import read_options
from staengine.ranks import Launch
from staengine.refinement import iterations, pose_search
from staengine.refinement.particle_data import RefineData
from staengine.refinement.start import begin, read_particles
from staengine.tilt_series.ctf import ctf, dose_weight
from staengine.tilt_series.optimisation_set import write_optimisation_set
from staengine.tilt_series.particles import ParticleSet, format_visible
from staengine.tilt_series.star import ANGLES, COORDINATES, read_star, write_star
from staengine.tilt_series.tomograms import load_tomograms

BOX, PIXEL, TILTS = 24, 10.0, np.arange(-60, 61, 15.0)
N, NOISE = 12, 0.35
MPI = "relion_refine_mpi"
POINTS = np.random.default_rng(5).uniform(-55, 55, (9, 3))
COMMON = (
    "--ios set.star --ref ref.mrc --ctf --particle_diameter 160 --zero_mask --pad 2 --random_seed 1 --j 1"
)


def gaussians(points: np.ndarray, sigma: float = 14.0) -> np.ndarray:
    """Density in 2D or 3D of Gaussians at points (n, 2 or 3) in Å; in 3D such that its projection is that in 2D."""
    d = points.shape[1]
    grid = (np.stack(np.indices((BOX,) * d)[::-1], -1) - BOX // 2) * PIXEL
    norm = 1.0 if d == 2 else PIXEL / (sigma * np.sqrt(2 * np.pi))
    return norm * sum(np.exp(-((grid - p) ** 2).sum(-1) / (2 * sigma**2)) for p in points)


def poses(seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """True Euler angles (N, 3) and origins (N, 3)."""
    rng = np.random.default_rng(seed)
    return rng.uniform((-180, 30, -180), (180, 150, 180), (N, 3)), rng.normal(0, 5, (N, 3))


@pytest.fixture
def project_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(8)
    tilts = pd.DataFrame(
        {
            "rlnMicrographName": [f"{i + 1}@ts.mrcs" for i in range(len(TILTS))],
            "rlnMicrographPreExposure": np.abs(TILTS) / 5,
            "rlnTomoXTilt": 0.0,
            "rlnTomoYTilt": TILTS,
            "rlnTomoZRot": 85.0,
            "rlnTomoXShiftAngst": 0.0,
            "rlnTomoYShiftAngst": 0.0,
            "rlnDefocusU": 25000.0,
            "rlnDefocusV": 25000.0,
            "rlnDefocusAngle": 0.0,
            "rlnCtfScalefactor": 1.0,
        }
    )
    write_star({"TS_1": tilts}, "ts.star")
    tomogram = {
        "rlnTomoName": ["TS_1"], "rlnVoltage": 300.0, "rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1,
        "rlnTomoTiltSeriesPixelSize": PIXEL, "rlnTomoHand": 1.0, "rlnOpticsGroupName": "o1",
        "rlnTomoTiltSeriesStarFile": "ts.star", "rlnTomoSizeX": 400, "rlnTomoSizeY": 400, "rlnTomoSizeZ": 200,
    }  # fmt: skip
    write_star({"global": pd.DataFrame(tomogram)}, "tomograms.star")
    t = load_tomograms("tomograms.star")["TS_1"]
    transfer = ctf(BOX, PIXEL, t.defocus_u, t.defocus_v, t.defocus_angle, 300.0, 2.7, 0.1)
    transfer = transfer * dose_weight(BOX, PIXEL, t.pre_exposure)
    angles, origins = poses()
    for i in range(N):
        seen = t.rotations @ (euler_matrix(*angles[i])[0] @ POINTS.T - origins[i][:, None])  # (m, 3, points)
        images = np.stack([gaussians(s[:2].T) for s in seen])
        images = fourier.irfft(fourier.rfft(images, 2) * transfer, 2) + rng.normal(0, NOISE, images.shape)
        mrcfile.write(f"{i}.mrcs", fourier.irfft(fourier.rfft(images, 2) * transfer, 2).astype(np.float32))
    start = Rotation.from_euler("ZYZ", angles, degrees=True) * Rotation.from_rotvec(
        rng.normal(0, 4, (N, 3)), degrees=True
    )
    table = pd.DataFrame(start.as_euler("ZYZ", degrees=True), columns=ANGLES)
    table["rlnTomoName"], table["rlnOpticsGroup"] = "TS_1", 1
    table[COORDINATES] = 0.0
    table["rlnTomoVisibleFrames"] = format_visible(np.ones(len(TILTS)))
    table["rlnImageName"] = [f"{i}.mrcs" for i in range(N)]
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": "o1",
            "rlnCtfDataAreCtfPremultiplied": 1,
            "rlnImagePixelSize": PIXEL,
            "rlnImageSize": BOX,
        }
    )
    ParticleSet(table, optics, {"rlnTomoSubTomosAre2DStacks": 1}).write("particles.star")
    write_optimisation_set("set.star", "particles.star", "tomograms.star")
    mrcfile.write("ref.mrc", gaussians(POINTS).astype(np.float32), voxel_size=PIXEL)
    return tmp_path


def errors(data_star: str) -> tuple[float, float]:
    """Median errors in degrees and Å."""
    found = ParticleSet.read(data_star)
    angles, origins = poses()
    turned = Rotation.from_matrix(found.rotations).inv() * Rotation.from_matrix(euler_matrix(*angles.T))
    return np.median(np.degrees(turned.magnitude())), np.median(
        np.linalg.norm(found.origins - origins, axis=1)
    )


def table(path: str, name: str):
    return read_star(path)[name]


def test_local_search_recovers_known_rotations_and_shifts(project_folder):
    flags = " --o out/run --iter 1 --K 1 --healpix_order 4 --sigma_ang 4 --offset_range 2 --offset_step 1"
    assert refine.main((COMMON + flags).split()) == 0
    before, after = errors("out/run_it000_data.star"), errors("out/run_it001_data.star")
    assert before[0] > 4
    assert after[0] < 2  # the fine step is 1.9 degrees
    assert after[1] < 5  # the fine step is 5 Å along each axis


def test_a_first_iteration_by_correlation_does_not_care_for_the_scale_of_the_reference(project_folder):
    mrcfile.write("ref.mrc", (gaussians(POINTS) * 37).astype(np.float32), voxel_size=PIXEL, overwrite=True)
    flags = " --o out/run --iter 1 --firstiter_cc --healpix_order 4 --sigma_ang 4 --offset_range 2 --offset_step 1"
    refine.main((COMMON + flags).split())
    assert errors("out/run_it001_data.star")[0] < 2.5
    found = mrcfile.read("out/run_it001_class001.mrc")
    inside = fourier.soft_sphere(BOX, 7, 2)
    scale = (found * gaussians(POINTS) * inside).sum() / ((gaussians(POINTS) * inside) ** 2).sum()
    assert 0.5 < scale < 1.2  # the data's scale, damped by the prior


def test_the_noise_spectrum_is_that_of_the_data(project_folder):
    flags = " --o out/run --iter 2 --K 1 --healpix_order 4 --sigma_ang 4 --offset_range 1 --offset_step 1"
    refine.main((COMMON + flags).split())
    model = "out/run_it002_model.star"
    raw = table(model, "model_optics_group_1")["rlnSigma2Noise"].to_numpy()
    data = RefineData(ParticleSet.read("particles.star"), "tomograms.star", 160.0)
    found = (raw / data.mean_ctf2[0])[3:9]
    inside = (data.mask**2).mean()  # noise outside the circle was set to zero
    white = NOISE**2 / BOX**2 / 2
    np.testing.assert_allclose(found, white * inside, rtol=0.35)
    assert found.mean() == pytest.approx(white * inside, rel=0.15)


def test_classes_separate_two_shapes(project_folder):
    other = gaussians(-POINTS * 0.8)
    t = load_tomograms("tomograms.star")["TS_1"]
    transfer = ctf(BOX, PIXEL, t.defocus_u, t.defocus_v, t.defocus_angle, 300.0, 2.7, 0.1)
    transfer = transfer * dose_weight(BOX, PIXEL, t.pre_exposure)
    angles, origins = poses()
    rng = np.random.default_rng(4)
    for i in range(0, N, 2):
        seen = t.rotations @ (euler_matrix(*angles[i])[0] @ (-POINTS * 0.8).T - origins[i][:, None])
        images = fourier.irfft(fourier.rfft(np.stack([gaussians(s[:2].T) for s in seen]), 2) * transfer, 2)
        images += rng.normal(0, NOISE, images.shape)
        mrcfile.write(
            f"{i}.mrcs",
            fourier.irfft(fourier.rfft(images, 2) * transfer, 2).astype(np.float32),
            overwrite=True,
        )
    assert other.shape == (BOX,) * 3
    refine.main((COMMON + " --o out/run --iter 12 --K 2 --skip_align --ini_high 60 --tau2_fudge 0.3").split())
    assert table("out/run_it012_optimiser.star", "optimiser_general")["rlnChangesOptimalClasses"] < 0.2
    classes = ParticleSet.read("out/run_it012_data.star").particles["rlnClassNumber"].to_numpy()
    agreement = np.mean((classes == classes[0]) == (np.arange(N) % 2 == 0))
    assert max(agreement, 1 - agreement) > 0.9
    np.testing.assert_allclose(  # poses must stay
        ParticleSet.read("out/run_it012_data.star").particles[ANGLES].to_numpy(),
        ParticleSet.read("particles.star").particles[ANGLES].to_numpy(), atol=1e-4,
    )  # fmt: skip


def test_a_run_is_continued_after_the_given_iteration_to_a_new_end(project_folder):
    flags = " --o out/run --iter 2 --K 1 --healpix_order 3 --sigma_ang 4 --offset_range 1 --offset_step 1"
    refine.main((COMMON + flags).split())
    refine.main(["--continue", "out/run_it001_optimiser.star", "--o", "out/more", "--iter", "3"])
    assert not Path("out/more_it001_model.star").exists()
    assert Path("out/more_it002_model.star").exists()
    assert Path("out/more_it003_optimisation_set.star").exists()
    before, after = (table(f"out/{run}_it002_model.star", "model_general") for run in ("run", "more"))
    assert before["rlnLogLikelihood"] == pytest.approx(after["rlnLogLikelihood"], rel=0.05)


def test_a_run_stops_when_asked_and_keeps_what_is_finished(project_folder):
    Path("control").mkdir()
    Path("control/RELION_JOB_ABORT_NOW").touch()
    argv = (COMMON + " --o out/run --iter 5 --K 1 --skip_align --pipeline_control control/").split()
    with pytest.raises(AbortError):
        refine.main(argv)
    assert Path("out/run_it000_model.star").exists()
    assert not Path("out/run_it001_model.star").exists()
    assert engine.main(["relion_refine", *argv]) == 2
    assert Path("control/RELION_JOB_EXIT_ABORTED").exists()


def spoil_stack() -> None:
    Path("3.mrcs").write_bytes(Path("3.mrcs").read_bytes()[:-500])


def spoil_mask(values: np.ndarray):
    return lambda: mrcfile.write("mask.mrc", values.astype(np.float32), voxel_size=PIXEL)


def spoil_reference() -> None:
    mrcfile.write("ref.mrc", np.ones((BOX + 8,) * 3, np.float32), voxel_size=PIXEL, overwrite=True)


@pytest.mark.parametrize(
    ("spoil", "flags", "words"),
    [
        (spoil_stack, "", "3.mrcs is cut short"),
        (lambda: Path("4.mrcs").unlink(), "", "4.mrcs does not exist"),
        (lambda: Path("ref.mrc").unlink(), "", "ref.mrc does not exist"),
        (spoil_reference, "", "--trust_ref_size"),
        (spoil_mask(np.ones((BOX + 2,) * 3)), "--solvent_mask mask.mrc", "box of 26"),
        (spoil_mask(np.full((BOX,) * 3, 2.0)), "--solvent_mask mask.mrc", "outside 0..1"),
        (lambda: None, "--auto_refine --split_random_halves", "without using MPI"),
        (lambda: None, "--trajectories motion.star", "motion.star does not exist"),
        (lambda: None, "--helix", "does not have --helix"),
        (lambda: None, "--frobnicate 3", "unknown flag --frobnicate"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(project_folder, spoil, flags, words):
    spoil()
    with pytest.raises(EngineError) as caught:
        refine.main(f"{COMMON} --o out/run --iter 1 --skip_align {flags}".replace(
            "--skip_align --auto", "--auto").split())  # fmt: skip
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reference_of_another_pixel_and_box_is_brought_to_the_data(project_folder):
    fine = fourier.resample(fourier.window(gaussians(POINTS), 32, 3), 64, 3)
    mrcfile.write("ref.mrc", fine.astype(np.float32), voxel_size=PIXEL / 2, overwrite=True)
    refine.main((COMMON + " --o out/run --iter 1 --skip_align --trust_ref_size").split())
    found = mrcfile.read("out/run_it000_class001.mrc")
    assert np.corrcoef(found.ravel(), gaussians(POINTS).ravel())[0, 1] > 0.99


def test_half_sets_are_kept_if_given_and_drawn_from_the_seed_if_not(project_folder):
    base = (
        COMMON
        + " --o out/run --auto_refine --split_random_halves --healpix_order 4 --auto_local_healpix_order 4"
    )
    drawn = [
        read_particles(MPI, read_options(MPI, argv), argv, 2).halves
        for argv in [base.split(), base.split(), base.replace("--random_seed 1", "--random_seed 7").split()]
    ]
    assert [h.tolist() for h in drawn[0]] == [h.tolist() for h in drawn[1]]
    assert [h.tolist() for h in drawn[0]] != [h.tolist() for h in drawn[2]]
    assert len(drawn[0][0]) == len(drawn[0][1]) == N // 2
    particles = ParticleSet.read("particles.star")
    particles.particles["rlnRandomSubset"] = [1] * 4 + [2] * (N - 4)
    particles.write("particles.star")
    argv = base.split()
    kept = read_particles(MPI, read_options(MPI, argv), argv, 2).halves
    assert kept[0].tolist() == [0, 1, 2, 3]
    refine.main((COMMON + " --o out/class --iter 1 --K 2 --skip_align").split())
    classified = ParticleSet.read("out/class_it001_data.star")
    assert classified.half_sets.tolist() == [1] * 4 + [2] * (N - 4)


def test_the_last_iteration_uses_images_to_nyquist_but_compares_only_what_the_reference_holds(project_folder):
    argv = (COMMON + " --o out/run --auto_refine --split_random_halves --ini_high 80 --incr_size 2").split()
    run = read_particles(MPI, read_options(MPI, argv), argv, 2)
    begin(run, None)
    counts = []
    for run.progress.converged in (False, True):
        task = iterations.expectation_task(run, run.models[0])
        iterations.limit_resolution(run, task, run.models[0])
        counts.append((task.n_components, task.n_fit))
    shell = run.initial_shell
    assert shell == 3
    known, everything = (run.data.components.count_within(r) for r in (shell + 2, BOX / 2))
    assert counts == [(known, known), (everything, known)]


def test_orientations_that_are_given_up_early_would_have_been_far_from_the_best(project_folder, monkeypatch):
    argv = (COMMON + " --o out/run --auto_refine --split_random_halves --ini_high 40").split()
    run = read_particles(MPI, read_options(MPI, argv), argv, 2)
    begin(run, None)
    task = iterations.expectation_task(run, run.models[0])
    iterations.limit_resolution(run, task, run.models[0])
    task.cross_correlation = False
    step = pose_search.ParticleStep(task, 0)
    step.search()
    rotations, offsets = task.grid.rotations(task.grid.everywhere()), np.zeros((1, 3))
    found = step._scores(0, rotations, offsets, task.n_fit)
    monkeypatch.setattr(pose_search, "HOPELESS", np.inf)
    whole = step._scores(0, rotations, offsets, task.n_fit)
    kept = np.isfinite(found)
    assert 1 <= kept.sum() < len(kept) / 2
    np.testing.assert_allclose(found[kept], whole[kept], rtol=1e-5)
    assert whole[~kept].max() < whole.max() - 20


@pytest.mark.slow
def test_auto_refinement_converges_on_the_truth(project_folder):
    flags = " --o out/run --auto_refine --split_random_halves --healpix_order 3 --auto_local_healpix_order 3"
    flags += " --offset_range 2 --offset_step 2 --ini_high 50 --low_resol_join_halves 60 --auto_ignore_angles"
    flags += " --flatten_solvent --scale"
    found = []
    for seed in (2, 3, 1):  # seeds differ: 12 particles of 9 tilts tell angles to 4.4 degrees
        argv = COMMON.replace("seed 1", f"seed {seed}") + flags
        assert refine.main(argv.split(), Launch()) == 0
        found.append(errors("out/run_data.star")[0])
    assert np.median(found) < 4
    assert table("out/run_optimiser.star", "optimiser_general")["rlnHasConverged"] == 1
    half1, half2 = (mrcfile.read(f"out/run_half{h}_class001_unfil.mrc") for h in (1, 2))
    assert fsc(half1, half2)[2:5].min() > 0.5
