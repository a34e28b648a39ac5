"""relion_refine --grad --denovo_3dref: a first map of simulated particles whose orientations nobody knows."""

from pathlib import Path
from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest

from staengine import __main__ as engine
from staengine.errors import EngineError
from staengine.numerics.euler import euler_matrix
from staengine.programs import refine, subtomo
from staengine.refinement import gradient
from staengine.refinement.moments import Moments, moment_files, read_moments, write_moments
from staengine.refinement.schedule import Schedule
from staengine.simulation.simulate import SimulationSettings, simulate
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import ANGLES, read_star

N = 24
GUI = (
    "--grad --denovo_3dref --ctf --K 1 --sym C1 --flatten_solvent --zero_mask --dont_combine_weights_via_disc "
    "--pool 3 --pad 1 --particle_diameter 300 --oversampling 1 --healpix_order 1 --offset_range 6 --offset_step 2 "
    "--auto_sampling --tau2_fudge 4 --random_seed 1 --j 1"
)


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """24 particles of 11 tilts at 20 Å per pixel, picked without angles, in boxes of 24."""
    folder = tmp_path_factory.mktemp("picked")
    settings = {"tomos": 1, "particles": N, "junk": 0.0, "fraction_b": 0.0, "size": 320, "depth": 160, "j": 1}
    simulate(SimulationSettings(o=folder, angpix=5.0, tilt_step=12.0, snr=1.0, seed=4, **settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        picks = ParticleSet.read("particles.star")
        picks.particles = picks.particles.drop(columns=ANGLES)
        picks.write("picks.star")
        flags = "--p picks.star --t tomograms.star --o extract/ --b 24 --bin 4 --stack2d --float16 --j 1"
        assert subtomo.main(flags.split()) == 0
    return folder


def run(folder: Path, name: str, flags: str) -> Path:
    """Run relion_refine in the folder of the particles; the root of its files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = f"--ios extract/optimisation_set.star --o {name}/run {GUI}".split()
        for flag, value in (pair.split(" ", 1) for pair in flags.split("; ")):
            if flag in words:
                words[words.index(flag) + 1] = value
            else:
                words += [flag, value]
        assert refine.main(words) == 0
    return folder / name / "run"


def test_the_map_stays_centred_on_the_picks_and_explains_more_and_more(extracted):
    root = run(extracted, "centred", "--iter 4")
    models = [read_star(f"{root}_it{i:03d}_model.star")["model_general"] for i in (1, 3)]
    assert float(models[0]["rlnLogLikelihood"]) < float(models[1]["rlnLogLikelihood"])
    assert float(models[0]["rlnCurrentResolution"]) > float(models[1]["rlnCurrentResolution"])
    particles = ParticleSet.read(f"{root}_it004_data.star")
    turns = euler_matrix(*particles.particles[ANGLES].to_numpy(float).T)
    np.testing.assert_allclose(np.einsum("nji,nj->ni", turns, particles.origins).mean(0), 0, atol=0.01)


def test_a_seed_gives_the_same_run_again_and_another_seed_another(extracted):
    names = [("same1", 1), ("same2", 1), ("other", 2)]
    maps = [
        mrcfile.read(f"{run(extracted, name, f'--iter 2; --random_seed {seed}')}_it002_class001.mrc")
        for name, seed in names
    ]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.corrcoef(maps[0].ravel(), maps[2].ravel())[0, 1] < 0.999


def test_a_run_that_is_continued_ends_as_one_in_one_go(extracted):
    whole = run(extracted, "whole", "--iter 4")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(extracted)
        refine.main(["--continue", "whole/run_it003_optimiser.star", "--o", "more/run"])
    one, other = (mrcfile.read(f"{root}_it004_class001.mrc") for root in (whole, extracted / "more/run"))
    assert not Path(f"{extracted}/more/run_it003_model.star").exists()
    np.testing.assert_allclose(one, other, atol=1e-3 * np.abs(one).max())


def test_a_run_whose_moments_are_gone_is_not_continued(extracted, monkeypatch):
    root = run(extracted, "gone", "--iter 1")
    Path(f"{root}_it001_2moment001.mrc").unlink()
    monkeypatch.chdir(extracted)
    with pytest.raises(EngineError, match=r"2moment001.mrc does not exist"):
        refine.main(["--continue", "gone/run_it001_optimiser.star", "--iter", "2"])


def test_small_batches_move_only_their_particles_until_the_last_iteration(extracted):
    root = run(extracted, "batch", "--iter 4; --grad_ini_subset 8; --grad_fin_subset 8")
    tables = [ParticleSet.read(f"{root}_it{i:03d}_data.star").particles for i in (1, 2, 4)]
    unseen = [table["rlnMaxValueProbDistribution"].to_numpy() == 0 for table in tables]
    assert unseen[0].sum() == N - 8
    assert unseen[1].sum() < N - 8  # another batch
    assert unseen[2].sum() == 0


def test_two_classes_have_moments_of_their_own_and_share_the_particles(extracted):
    root = run(extracted, "two", "--iter 2; --K 2")
    for name in ("class002", "1moment004", "2moment002"):
        assert Path(f"{root}_it002_{name}.mrc").exists()
    assert not Path(f"{root}_it002_1moment005.mrc").exists()
    rows = read_star(f"{root}_it002_model.star")["model_classes"]
    assert float(rows["rlnClassDistribution"].sum()) == pytest.approx(1, abs=1e-4)
    assert len(set(rows["rlnGradMoment1"]) | set(rows["rlnGradMoment2"])) == 4


def test_a_prior_on_tilt_angles_needs_some_and_keeps_to_them(extracted):
    with pytest.raises(EngineError, match="rlnAngleTiltPrior"):
        run(extracted, "tilt", "--iter 1; --sigma_tilt 10")
    picks = ParticleSet.read(extracted / "extract/particles.star")
    picks.particles["rlnAngleTiltPrior"] = 90.0
    picks.write(extracted / "extract/upright.star")
    root = run(extracted, "tilt", "--iter 2; --sigma_tilt 10; --i extract/upright.star")
    tilts = ParticleSet.read(f"{root}_it002_data.star").particles["rlnAngleTilt"]
    assert np.abs(tilts - 90).max() < 45  # three widths and half a step of 30 degrees


@pytest.mark.parametrize(
    ("program", "flags", "words"),
    [
        ("relion_refine_mpi", "", "Gradient refinement is not supported together with MPI"),
        ("relion_refine", "--ref ref.mrc", "--ref and --denovo_3dref exclude each other"),
        ("relion_refine", "--skip_align", "--grad and --skip_align exclude each other"),
        ("relion_refine", "--firstiter_cc", "--grad and --firstiter_cc exclude each other"),
    ],
)
def test_what_does_not_go_with_it_is_refused(extracted, monkeypatch, capsys, program, flags, words):
    monkeypatch.chdir(extracted)
    argv = f"{program} --ios extract/optimisation_set.star --o no/run --iter 1 {GUI} {flags}".split()
    assert engine.main(argv) == 1
    assert words in capsys.readouterr().err
    assert not Path("no").exists()


def test_its_flags_alone_are_refused(extracted, monkeypatch, capsys):
    monkeypatch.chdir(extracted)
    argv = (
        f"relion_refine --ios extract/optimisation_set.star --o no/run {GUI.replace('--grad ', '')}".split()
    )
    assert engine.main(argv) == 1
    assert "--denovo_3dref with --grad only" in capsys.readouterr().err


# ---------------------------------------------------------------- the plan


def plan(n: int = 20000, **changes) -> Schedule:
    options = {
        "iter": 100, "particle_diameter": 300.0, "grad_ini_resol": -1.0, "grad_fin_resol": -1.0, "grad_ini_frac": 0.3,
        "grad_fin_frac": 0.2, "grad_ini_subset": -1, "grad_fin_subset": -1, "grad_stepsize": -1.0, "mu": 0.9,
        "strict_highres_exp": -1.0, "tau2_fudge": 4.0,
    }  # fmt: skip
    return Schedule.of(SimpleNamespace(**options | changes), n, 21, 640, 64)


def test_resolution_grows_and_the_temperature_falls_between_the_phases():
    stages = [plan().at(i) for i in range(1, 101)]
    assert {stage.shell for stage in stages[:30]} == {4}  # 640 Å / (3/5 of 300 Å)
    assert {stage.shell for stage in stages[80:]} == {13}  # 1/6 of 300 Å
    assert np.all(np.diff([stage.shell for stage in stages]) >= 0)
    assert np.all(np.diff([stage.temperature for stage in stages]) <= 0)
    assert stages[79].temperature == stages[99].temperature == 1
    assert (stages[0].step_size, stages[99].step_size) == (0.9, 0.5)
    assert (stages[0].batch, stages[98].batch, stages[99].batch) == (200, 2000, 20000)
    assert [plan(150).at(i).batch for i in (1, 79, 99)] == [75, 75, 150]  # never all, before the end


def test_a_wanted_resolution_is_kept_to():
    assert plan(grad_fin_resol=80.0).at(100).shell == 8
    assert plan(strict_highres_exp=80.0).at(100).shell == 8
    assert plan(grad_fin_resol=1.0).at(100).shell == 31  # below Nyquist


def test_momentum_lasts_the_same_part_of_a_shorter_run():
    assert plan(iter=200).at(1).momentum == pytest.approx(0.9)
    assert plan(iter=100).at(1).momentum == pytest.approx(0.81)


# ---------------------------------------------------------------- moments


def changes(rng: np.random.Generator, agree: float) -> np.ndarray:
    """What two halves ask for: white noise, of which a part `agree` is common."""
    common, first, second = rng.normal(size=(3, 16, 16, 16))
    own = np.sqrt(1 - agree**2)
    return np.stack([agree * common + own * first, agree * common + own * second])


def test_a_step_follows_what_both_halves_ask_for_and_not_what_one_does():
    rng = np.random.default_rng(3)
    sizes = []
    for agree in (1.0, 0.7, 0.0):
        moments = Moments.empty(16)
        moments.add(changes(rng, agree), 0.8)
        sizes.append(moments.step().std())
    assert sizes[0] == pytest.approx(1, abs=0.05)
    assert sizes[0] > 1.3 * sizes[1] > 4 * sizes[2]


def test_opposite_wishes_cancel_and_old_ones_fade():
    one = np.random.default_rng(3).normal(size=(1, 16, 16, 16))
    moments = Moments.empty(16)
    moments.add(np.concatenate([one, -one]), 0.8)
    np.testing.assert_allclose(moments.step(), 0, atol=1e-6)
    moments = Moments.empty(16)
    for _ in range(20):
        moments.add(np.concatenate([one, one]), 0.5)
    np.testing.assert_allclose(moments.step(), one[0], atol=1e-4)
    for _ in range(20):
        moments.add(np.zeros((2, 16, 16, 16)), 0.5)
    np.testing.assert_allclose(moments.step(), 0, atol=1e-4)


def test_moments_are_read_as_they_were_written(tmp_path):
    moments = Moments.empty(16)
    moments.add(changes(np.random.default_rng(3), 0.5), 0.8)
    files = moment_files(f"{tmp_path}/run", 1, 1)
    write_moments(moments, files)
    again = read_moments(files, 16, 1)
    np.testing.assert_array_equal(moments.first, again.first)
    np.testing.assert_array_equal(moments.second, again.second)
    with pytest.raises(EngineError, match="not of a box of 20"):
        read_moments(files, 20, 1)


def test_a_map_is_moved_by_whole_and_by_parts_of_pixels():
    volume = np.zeros((16,) * 3, np.float32)
    volume[7, 8, 9] = 1
    assert np.unravel_index(gradient._moved(volume, np.array([1, 0, -1])).argmax(), volume.shape) == (8, 8, 8)
