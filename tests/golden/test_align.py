"""The embedded relion_tomo_align against RELION 5.0.1's own polishing and against the truth."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from staengine import __main__ as engine
from staengine.cli import parse
from staengine.fits.series import Series, predicted_images
from staengine.fits.whole_images import predicted_tilt_images
from staengine.numerics import maps
from staengine.programs import align
from staengine.simulation import truth
from staengine.tilt_series import prediction
from staengine.tilt_series.optimisation_set import OptimisationSet, read_optimisation_set
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.reference import read_reference
from staengine.tilt_series.rewrite import rewrite_tilt_series
from staengine.tilt_series.star import COORDINATES, ORIGINS, read_star
from staengine.tilt_series.tomograms import load_tomograms
from staengine.tilt_series.trajectories import read_trajectories, write_trajectories

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "data"
PROGRAM = "relion_tomo_align"
INPUT = "cycle/ctf/optimisation_set.star"
REFERENCE = ["--ref1", "half1.mrc", "--ref2", "half2.mrc", "--mask", "mask.mrc"]
REFERENCE += ["--fsc", "cycle/ctf_post/postprocess.star", "--b", "128", "--j", "2"]
MOTION = ["--motion", "--s_vel", "0.2", "--s_div", "5000"]
MASK = ["--lowpass", "30", "--ini_threshold", "3.1", "--extend_inimask", "4", "--width_soft_edge", "6"]
TILT_SERIES = "cycle/ctf/input/tilt_series/TS_01.star"
RELION = "cycle/polish"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project with the golden input and our runs in it, of RELION's command and of others."""
    folder = tmp_path_factory.mktemp("align")
    for name in ("input", "refine", "cycle"):
        (folder / name).symlink_to(GOLDEN / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rebuild = ["relion_tomo_reconstruct_particle", "--i", INPUT, "--b", "96", "--j", "2", "--o", "./"]
        assert engine.main(rebuild) == 0
        assert engine.main(["relion_mask_create", "--i", "merged.mrc", "--o", "mask.mrc", *MASK]) == 0
        assert run("--r", "5", *MOTION, "--o", "polish/") == 0
        assert run("--r", "5", "--o", "still/") == 0
        assert run("--shift_only", "--o", "shifts/") == 0
        assert run("--r", "5", "--shift_only", "--shift_only_by_particles", "--o", "by_particles/") == 0
    return folder


@pytest.fixture
def project(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return finished


def run(*argv):
    return engine.main([PROGRAM, "--i", INPUT, *REFERENCE, *argv])


def shift_errors(folder):
    """rms error of the tilts' shifts in Å, by tilt series."""
    return truth.tilt_errors(load_tomograms(f"{folder}/tomograms.star"), truth.read_truth("input")).iloc[:, 0]


def pose_error(particles):
    """Median error in Å of the true particles: junk may go anywhere."""
    known = truth.read_truth("input")
    real = np.flatnonzero(known.picks.trueClass != "junk")
    return truth.pose_error(ParticleSet.read(particles).subset(real), known).position_angst


def change(folder, column):
    """What was added to a column of both tilt series, (42,)."""
    before, after = (
        load_tomograms("cycle/ctf/tomograms.star"),
        load_tomograms(f"{folder}/tomograms.star"),
    )
    old, new = (
        [read_star(series[name].star_file)[name][column] for name in ("TS_01", "TS_02")]
        for series in (before, after)
    )
    return np.concatenate(new) - np.concatenate(old)


# ---------------------------------------------------------------- what is reached


@pytest.mark.parametrize("ours", ["polish", "still"])
def test_shifts_and_positions_are_at_least_as_good_as_relions(project, ours, record_property):
    before, after, theirs = (shift_errors(folder) for folder in ("cycle/ctf", ours, RELION))
    figures = [f"{b:.2f} -> {a:.2f} ({t:.2f})" for b, a, t in zip(before, after, theirs, strict=True)]
    record_property(f"align ({ours}): tilt shift error, Å (RELION)", ", ".join(figures))
    assert (after < theirs).all()
    assert (after < 0.2 * before).all()
    start, end, relion = (
        pose_error(f) for f in ("refine/run_data.star", f"{ours}/particles.star", f"{RELION}/particles.star")
    )
    record_property(f"align ({ours}): position error, Å (RELION)", f"{start:.2f} -> {end:.2f} ({relion:.2f})")
    assert end < relion


@pytest.mark.parametrize("ours", ["shifts", "by_particles"])
def test_shifts_alone_are_nearly_as_good(project, ours, record_property):
    before, after = shift_errors("cycle/ctf"), shift_errors(ours)
    record_property(f"align ({ours}): tilt shift error, Å", ", ".join(f"{a:.2f}" for a in after))
    assert (after < 0.25 * before).all()
    assert np.std(change(ours, "rlnTomoXShiftAngst") - change("polish", "rlnTomoXShiftAngst")) < 1.0


def test_the_changes_are_those_that_relion_makes(project, record_property):
    for column, least in (("rlnTomoXShiftAngst", 0.95), ("rlnTomoYShiftAngst", 0.95)):
        agreement = np.corrcoef(change("polish", column), change(RELION, column))[0, 1]
        record_property(f"align: correlation with RELION's change of {column}", f"{agreement:.3f}")
        assert agreement > least
    turned = np.abs(
        [change("polish", f"rlnTomo{angle}") for angle in ("XTilt", "YTilt", "ZRot") if angle != "XTilt"]
    )
    assert 0.01 < turned.mean() < 0.2  # the true angles are those recorded


def test_still_particles_hardly_move(project, record_property):
    ours, theirs = (
        np.stack(list(read_trajectories(f"{f}/motion.star").values())) for f in ("polish", RELION)
    )
    assert ours.shape == theirs.shape == (64, 21, 3)
    ours_rms, theirs_rms = (np.sqrt((moves**2).mean()) for moves in (ours, theirs))
    record_property("align: motion of still particles, rms Å (RELION)", f"{ours_rms:.2f} ({theirs_rms:.2f})")
    assert 0 < ours_rms < 0.2
    assert ours_rms < 1.5 * theirs_rms


def test_a_predicted_image_shows_each_particle_as_it_is_expected(project):
    tomogram = load_tomograms("cycle/ctf/tomograms.star")["TS_01"]
    particles = ParticleSet.read("refine/run_data.star").subset([3])  # inside all images
    flags = parse(PROGRAM, align.FLAGS, [*REFERENCE, "--o", "x/"])
    reference = read_reference(PROGRAM, flags, 5.0)
    series = Series(tomogram, particles, np.zeros(1, int), np.zeros((21, 320, 320), np.float32))
    seen = np.ones((1, 21), bool)
    image = predicted_tilt_images(series, reference, seen)
    shown = prediction.observe(tomogram, image, reference, series.paths)
    expected = predicted_images(series, reference, seen, slice(0, 1))
    chosen = reference.components.radius > 2  # the window's circle takes away the slowest waves
    assert np.abs(shown - expected)[..., chosen].max() < 0.05 * np.abs(expected).max()
    column = chosen & (reference.components.kx == 0)
    assert np.corrcoef(np.abs(shown[..., column]).ravel(), np.abs(expected[..., column]).ravel())[0, 1] > 0.99
    np.testing.assert_allclose(
        np.abs(shown[..., column]).mean(), np.abs(expected[..., column]).mean(), rtol=0.1
    )


# ---------------------------------------------------------------- files


def test_the_set_names_what_was_written(project):
    names = [f"polish/{name}.star" for name in ("particles", "tomograms", "motion")]
    assert read_optimisation_set("polish/optimisation_set.star") == OptimisationSet(*names)
    assert read_optimisation_set("still/optimisation_set.star") == OptimisationSet(
        "still/particles.star", "still/tomograms.star"
    )


def test_whole_images_leave_the_particles_as_they_are_like_relion(project):
    assert read_optimisation_set("shifts/optimisation_set.star").particles == "refine/run_data.star"
    assert not Path("shifts/particles.star").exists()
    before, after = (ParticleSet.read(f) for f in ("refine/run_data.star", "by_particles/particles.star"))
    np.testing.assert_allclose(after.positions, before.positions, atol=1e-4)


def test_particles_keep_all_but_their_place_which_becomes_their_coordinate(project):
    before, ours, theirs = (
        ParticleSet.read(f)
        for f in ("refine/run_data.star", "polish/particles.star", f"{RELION}/particles.star")
    )
    assert list(ours.particles) == list(theirs.particles)
    assert (ours.origins == 0).all()
    moved = [*COORDINATES, *ORIGINS]
    kept = [table.drop(columns=moved) for table in (ours.particles, before.particles)]
    pd.testing.assert_frame_equal(*kept, check_dtype=False, rtol=1e-7)
    steps = np.linalg.norm(ours.positions - before.positions, axis=1)
    assert 0.5 < np.median(steps) < 5


def test_tilt_series_keep_all_but_angles_and_shifts(project):
    before, ours, theirs, shifted = (
        read_star(f"{folder}/{TILT_SERIES}")["TS_01"] for folder in (".", "polish", RELION, "shifts")
    )
    assert list(ours) == list(theirs) == list(before)
    names = before["rlnMicrographName"].tolist()
    assert ours["rlnMicrographName"].tolist() == shifted["rlnMicrographName"].tolist() == names

    def changed(table):
        old, new = before.drop(columns="rlnMicrographName"), table.drop(columns="rlnMicrographName")
        return [column for column in new if not np.allclose(new[column], old[column], rtol=1e-7)]

    assert changed(ours) == [f"rlnTomo{c}" for c in ("XTilt", "YTilt", "ZRot", "XShiftAngst", "YShiftAngst")]
    assert changed(shifted) == ["rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]


def test_trajectories_start_at_the_least_exposed_tilt(project):
    exposure = load_tomograms("polish/tomograms.star")["TS_01"].pre_exposure
    ours = read_trajectories("polish/motion.star")
    assert list(ours) == ParticleSet.read("polish/particles.star").names
    assert (ours["TS_01/4"][exposure == 0] == 0).all()
    assert (np.abs(ours["TS_01/4"][exposure > 0]).max(axis=1) > 0).all()


def test_the_log_is_relions_but_for_the_iterations(project, capsys):
    assert run("--r", "5", *MOTION, "--o", "log/") == 0
    ours = [line.split("\r")[-1] for line in capsys.readouterr().out.split("\n")]
    theirs = (GOLDEN / "logs/polish.log").read_text().split("sh: 1: gs")[0].splitlines()

    def text(lines):
        lines = [
            re.sub(r"^ +\d+/ +\d+ sec|\d+(?= iterations)", "", line) for line in lines if "o]" not in line
        ]
        return [line for line in lines if line.strip() and not re.match(r"\d+ \t -\d+\.\d+$", line)]

    assert text(ours) == text(theirs)
    assert sum(bool(re.match(r"\d+ \t -\d+\.\d+$", line)) for line in ours) > 2 * 10


# ---------------------------------------------------------------- options


def test_modes_can_be_fewer_and_parameters_absolute(project, capsys):
    few = ["--motion", "--s_vel", "0.2", "--sq_exp_ker", "--max_ed", "5", "--abs_params", "--it", "3"]
    assert run("--r", "5", *few, "--o", "few/") == 0
    out = capsys.readouterr().out
    assert "         σ_vel = 0.04 px/frame\n         σ_div = 1000 px/frame\n" in out
    assert "    - Keeping 5 out of 32 eigendeformations\n" in out
    assert "    - Alignment stopped after 3 iterations\n" in out


@pytest.mark.parametrize("weighting", ["--no_whiten", "--per_frame_noise"])
def test_other_weights_of_frequencies_lead_to_about_the_same(project, weighting):
    assert run("--r", "5", weighting, "--o", "weighted/") == 0
    difference = change("weighted", "rlnTomoXShiftAngst") - change("still", "rlnTomoXShiftAngst")
    assert 1e-3 < np.std(difference) < 1.0


@pytest.mark.parametrize(
    ("flag", "constant"),
    [("--const_p", "Particle positions"), ("--const_a", "Frame angles"), ("--const_s", "Frame shifts")],
)
def test_what_is_held_constant_does_not_change(project, capsys, flag, constant):
    assert run("--r", "5", flag, "--it", "5", "--o", "held/") == 0
    assert f"         {constant}: constant\n" in capsys.readouterr().out
    before, after = (ParticleSet.read(f).positions for f in ("refine/run_data.star", "held/particles.star"))
    found = {
        "Particle positions": np.allclose(after, before, atol=1e-4),
        "Frame angles": np.abs(change("held", "rlnTomoYTilt")).max() == 0,
        "Frame shifts": np.abs(change("held", "rlnTomoXShiftAngst")).max() < 1e-6,
    }
    assert [name for name, held in found.items() if held] == [constant]


def test_a_tilt_that_is_far_off_is_brought_back(project):
    """RELION's fit stays in the nearest maximum: 60 Å off, it moves by 1 Å."""
    off = rewritten("off", "rlnTomoXShiftAngst", 60.0 * (np.arange(21) == 9))
    for out, how in (("far/", ["--r", "20"]), ("far_shift/", ["--r", "5", "--shift_only"])):
        assert run("--t", off, *how, "--o", out) == 0
        found = load_tomograms(f"{out}tomograms.star")["TS_01"].shifts[9, 0]
        expected = load_tomograms("polish/tomograms.star")["TS_01"].shifts[9, 0]
        assert found == pytest.approx(expected, abs=0.4)  # px


def rewritten(folder, column, added):
    """FOLDER/tomograms.star with `added` (21,) added to a column of TS_01."""
    table = read_star(TILT_SERIES)["TS_01"]
    return rewrite_tilt_series(folder, "cycle/ctf/tomograms.star", {"TS_01": {column: table[column] + added}})


def test_wrong_motion_is_made_good_and_known_motion_is_kept(project):
    """A motion file that bends the sample: --motion finds it anew; without, the rest is fitted on top of it."""
    particles = ParticleSet.read("refine/run_data.star")
    series = load_tomograms("cycle/ctf/tomograms.star")
    course = [
        np.argsort(np.argsort(series[name].pre_exposure)) / 20 for name in particles.particles["rlnTomoName"]
    ]
    bend = particles.positions * [8 / 500, -8 / 500, 0]
    wrong = dict(zip(particles.names, np.stack(course)[..., None] * bend[:, None], strict=True))
    write_trajectories("wrong.star", wrong)
    assert run("--r", "5", "--mot", "wrong.star", *MOTION, "--o", "anew/") == 0
    ours, expected = (read_trajectories(f"{f}/motion.star") for f in ("anew", "polish"))
    np.testing.assert_allclose(np.stack(list(ours.values())), np.stack(list(expected.values())), atol=0.1)
    assert run("--r", "5", "--mot", "wrong.star", "--o", "kept/") == 0
    assert read_optimisation_set("kept/optimisation_set.star").trajectories == "wrong.star"
    assert pose_error("kept/particles.star") > 1.2 * pose_error("still/particles.star")


def test_motion_is_found_in_real_images_and_in_the_direction_in_which_files_record_it(
    project, record_property
):
    """Tilts whose recorded rotation goes wrong with exposure look as if the particles moved.

    Across the tilt axis, image y: along it, that depends on the sign of the tilt, which is not smooth in time.
    """
    series = load_tomograms("cycle/ctf/tomograms.star")["TS_01"]
    rank = np.argsort(np.argsort(series.pre_exposure))
    turned = rewritten("turned", "rlnTomoZRot", 0.06 * rank)
    assert run("--t", turned, "--r", "5", "--const_a", *MOTION[:1], "--s_vel", "1", "--o", "moved/") == 0
    after = ParticleSet.read("moved/particles.star", "moved/motion.star")
    after = after.subset(after.particles["rlnTomoName"] == "TS_01")
    wrong = load_tomograms(turned)["TS_01"]

    def apart(images):
        """Displacements in the images (m, n) Å about those of all particles, and of a particle at all times."""
        moves = (images - series.project(after.positions)) * series.pixel_size
        moves = moves - moves.mean(axis=0)
        moves = moves - moves.mean(axis=1, keepdims=True)
        return moves[[tilts.all() for tilts in after.visible], :, 1]

    before, found = apart(wrong.project(after.positions)), apart(wrong.project(after.paths(after.positions)))
    left = np.sqrt((found**2).mean() / (before**2).mean())
    record_property("align: part of an apparent motion that is not found", f"{left:.2f}")
    assert left < 0.5


def test_an_interrupted_run_continues_with_the_tilt_series_that_are_missing(project, capsys):
    how = ["--r", "5", "--it", "20", "--o", "again/"]
    assert run(*how) == 0
    first = {path.name: path.read_bytes() for path in Path("again").glob("*.star")}
    Path("again/temp/TS_02.npz").unlink()
    Path("again/optimisation_set.star").unlink()
    capsys.readouterr()
    assert run(*how, "--only_do_unfinished") == 0
    out = capsys.readouterr().out
    assert "Tomogram 2 / 2:" in out
    assert "Tomogram 1 / 2:" not in out
    again = ParticleSet.read("again/particles.star").positions
    Path("first.star").write_bytes(first["particles.star"])
    np.testing.assert_allclose(again, ParticleSet.read("first.star").positions, atol=1e-3)
    assert run(*how[:-4], "--it", "21", "--o", "again/", "--only_do_unfinished") == 0
    assert "Tomogram 1 / 2:" in capsys.readouterr().out  # other options: nothing of before is used


def test_a_request_to_stop_ends_it_between_tilt_series(project):
    Path("stop").mkdir(exist_ok=True)
    Path("stop/RELION_JOB_ABORT_NOW").touch()
    assert run("--o", "stop/", "--pipeline_control", "stop/") == 2
    assert Path("stop/RELION_JOB_EXIT_ABORTED").exists()
    assert not Path("stop/optimisation_set.star").exists()


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--deformation"], "the embedded engine does not have --deformation"),
        (["--shift_only_by_particles"], "--shift_only_by_particles goes with --shift_only; give both."),
        (["--shift_only", "--motion"], "--shift_only and --motion exclude each other."),
        (["--shift_only", "--const_s"], "nothing is left to fit; leave out --const_s."),
        (["--const_s", "--const_a", "--const_p"], "nothing is left to fit; leave out --const_s."),
        (["--motion", "--s_vel", "0"], "--s_vel must be positive, not 0."),
        (["--r", "-1"], "--r must be positive, not -1."),
        (["--p", "input/particles.star"], "input/particles.star has no half sets (rlnRandomSubset)"),
    ],
)
def test_mistakes_are_said_in_a_sentence(project, capsys, argv, sentence):
    assert run(*argv, "--o", "x/") == 1
    assert sentence in capsys.readouterr().err
    assert not Path("x").exists()


def test_maps_that_do_not_fit_are_refused(project, capsys):
    maps.write_map("small.mrc", np.ones((64, 64, 64)), 5.0)
    reference = [word if word != "mask.mrc" else "small.mrc" for word in REFERENCE]
    assert engine.main([PROGRAM, "--i", INPUT, *reference, "--o", "x/"]) == 1
    assert "small.mrc has a box of 64 px, half1.mrc of 96 px" in capsys.readouterr().err
