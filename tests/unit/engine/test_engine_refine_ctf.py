"""The embedded relion_tomo_refine_ctf on small tilt series with known defocus, and a perfect reference."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from staengine import __main__ as engine
from staengine.fits import ctf_fit
from staengine.fits.ctf_fit import Contrast, Evidence, Prior
from staengine.numerics import fourier, maps
from staengine.programs import refine_ctf
from staengine.simulation import simulate, truth
from staengine.tilt_series.optimisation_set import (
    OptimisationSet,
    read_optimisation_set,
    write_optimisation_set,
)
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.reference import CORRECTED_FSC
from staengine.tilt_series.star import COORDINATES, read_star, write_star
from staengine.tilt_series.tomograms import load_tomograms
from staengine.tilt_series.trajectories import write_trajectories

PROGRAM = "relion_tomo_refine_ctf"
BOX, PIXEL = 64, 3.0
STATE = ["--i", "set.star"]
MAPS = ["--ref1", "half1.mrc", "--ref2", "half2.mrc", "--mask", "mask.mrc", "--fsc", "post.star"]
REFERENCE = [*MAPS, "--b", "80", "--j", "2"]
TILTS = "tilt_series/TS_01.star"
SCALE = "rlnCtfScalefactor"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two tilt series whose defocus is wrong by some 500 Å, at true poses; the phantom as both half maps."""
    folder = tmp_path_factory.mktemp("ctf")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exact = {
            "angle_error": 0.0,
            "position_error": 0.0,
            "shift_error": 0.0,
            "junk": 0.0,
            "fraction_b": 0.0,
        }
        wrong = {"defocus_error": 500.0, "defocus_offset": 300.0, "defocus_max": 30000.0, "snr": 3.0}
        few = {"particles": 12, "size": 288, "depth": 100, "diameter": 90.0, "tilt_step": 12.0, "seed": 5}
        simulate.simulate(simulate.SimulationSettings(folder, **few, **wrong, **exact, angpix=PIXEL))
        phantom, _ = maps.read_map("phantom_A.mrc")
        half = fourier.window(phantom, BOX, 3) * np.sqrt(BOX)
        for name, values in (("half1", half), ("half2", half), ("mask", np.ones_like(half))):
            maps.write_map(f"{name}.mrc", values, PIXEL)
        frequency = np.r_[1 / 999, np.arange(1, 33) / (BOX * PIXEL)]
        fsc = pd.DataFrame({"rlnResolution": frequency, CORRECTED_FSC: np.ones(33)})
        write_star({"fsc": fsc}, "post.star")
        picks = ParticleSet.read("particles.star")
        picks.particles["rlnRandomSubset"] = np.arange(len(picks)) % 2 + 1
        picks.particles["rlnTomoParticleName"] = [f"TS/{number}" for number in range(len(picks))]
        picks.write("refined.star")
        write_optimisation_set("set.star", "refined.star", "tomograms.star")
    return folder


def link(data, folder):
    for path in data.iterdir():
        (folder / path.name).symlink_to(path)


@pytest.fixture
def here(data, tmp_path, monkeypatch):
    """A project folder of its own with links to `data`."""
    link(data, tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """A folder with the results of --do_defocus --do_scale --per_frame_scale in out/, and nothing else changed."""
    folder = tmp_path_factory.mktemp("plain")
    link(data, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("--do_defocus", "--do_scale", "--per_frame_scale") == 0
    return folder


@pytest.fixture
def free(plain, monkeypatch):
    """The defocus offsets of TS_01 in `plain`."""
    with monkeypatch.context() as patch:
        patch.chdir(plain)
        return offsets()


def run(*argv):
    usual = zip(REFERENCE[::2], REFERENCE[1::2], strict=True)
    reference = [word for flag, value in usual if flag not in argv for word in (flag, value)]
    return engine.main([PROGRAM, *STATE, *reference, "--o", "out/", *argv])


def errors(tomograms):
    """Defocus rms error of all tilts, Å."""
    table = truth.tilt_errors(load_tomograms(tomograms), truth.read_truth("."))
    return np.sqrt((table["defocus_rms_angst"] ** 2).mean())


def series(tomograms="out/tomograms.star", name="TS_01"):
    return load_tomograms(tomograms)[name]


def offsets(name="TS_01"):
    return series(name=name).defocus_u - series("tomograms.star", name).defocus_u


def edit(source, target, **columns):
    """A tilt series STAR file with other columns; columns that are functions are given the old table."""
    tables = read_star(source)
    table = next(iter(tables.values()))
    for name, value in columns.items():
        table[name] = value(table) if callable(value) else value
    write_star(tables, target)


def with_series(target, **columns):
    """tomograms.star whose first tilt series is `target`: TILTS with other columns."""
    edit(TILTS, target, **columns)
    edit("tomograms.star", "changed.star", rlnTomoTiltSeriesStarFile=[target, "tilt_series/TS_02.star"])


# ---------------------------------------------------------------- defocus


def test_the_defocus_of_each_tilt_is_found(plain, monkeypatch):
    monkeypatch.chdir(plain)
    assert errors("tomograms.star") > 500
    assert errors("out/tomograms.star") < 0.35 * errors("tomograms.star")


def test_no_astigmatism_is_invented(plain, monkeypatch):
    monkeypatch.chdir(plain)
    for name in ("TS_01", "TS_02"):
        np.testing.assert_array_equal(series(name=name).defocus_u, series(name=name).defocus_v)


def test_offsets_between_the_steps_of_the_search_are_found(here, free):
    run("--do_defocus", "--ds", "400")
    np.testing.assert_allclose(offsets(), free, atol=2)


def test_an_offset_beyond_the_next_optimum_is_found_by_the_search(here, free):
    with_series("far.star", **{f"rlnDefocus{c}": lambda table: table["rlnDefocusU"] + 5000 for c in "VU"})
    run("--t", "changed.star", "--do_defocus", "--d0", "-8000", "--d1", "8000", "--kmin", "12")
    np.testing.assert_allclose(offsets(), free, atol=600)  # fewer frequencies: less precise


def test_a_larger_lambda_holds_the_tilts_closer_together(here, free):
    def spread(value):
        run("--do_defocus", "--do_reg_defocus", "--lambda", value)
        return offsets().std()

    held = [spread(value) for value in ("0.1", "10", "1000")]
    assert free.std() > 1.02 * held[0] > 1.5 * held[1] > 5 * held[2]
    assert offsets().mean() < -100  # together, but not where they were


def test_lambda_without_do_reg_defocus_does_nothing(here, free):
    run("--do_defocus", "--lambda", "1000")
    np.testing.assert_array_equal(offsets(), free)


def test_the_joint_optimum_is_the_lowest_of_all_combinations():
    rng, grid, prior = np.random.default_rng(3), np.arange(-300.0, 301.0, 100.0), Prior(200.0, 100.0)
    cost = rng.normal(0, 3, (len(grid), 3))
    found, common = ctf_fit.joint_optimum(cost, grid, prior)

    def total(i, m):
        tilts = sum(cost[k, t] + (grid[k] - m) ** 2 / (2 * 100.0**2) for t, k in enumerate(i))
        return tilts + m**2 / (2 * 200.0**2)

    every = {(i, m): total(i, m) for i in np.ndindex(7, 7, 7) for m in grid}
    best, m = min(every, key=every.get)
    np.testing.assert_array_equal(found, grid[list(best)])
    assert common == m


def test_tilts_without_evidence_stay_where_they_are_or_go_with_the_others():
    grid = np.arange(-500.0, 501.0, 100.0)
    cost = np.zeros((len(grid), 3))
    assert not ctf_fit.joint_optimum(cost, grid, Prior(1000.0, 1000.0))[0].any()
    cost[:, :2] = (grid[:, None] - 400) ** 2
    np.testing.assert_array_equal(ctf_fit.joint_optimum(cost, grid, Prior(1000.0, 50.0))[0], [400, 400, 400])


def test_particles_are_compared_with_the_half_map_they_are_not_part_of(here):
    noise = np.random.default_rng(1).normal(size=(BOX,) * 3) * maps.read_map("half1.mrc")[0].std()
    Path("half1.mrc").unlink()
    maps.write_map("half1.mrc", noise, PIXEL)
    particles = ParticleSet.read("refined.star")
    for subset, found in ((1, True), (2, False)):
        particles.particles["rlnRandomSubset"] = subset
        particles.write("one.star")
        run("--p", "one.star", "--do_defocus")
        assert (errors("out/tomograms.star") < 0.5 * errors("tomograms.star")) == found


def test_frequencies_coarser_than_kmin_are_not_used(here, capsys):
    run("--do_defocus", "--kmin", "5")
    np.testing.assert_allclose(offsets(), 0, atol=1e-6)
    assert "no signal finer than --kmin 5 Å: no defocus is changed" in capsys.readouterr().out


def test_wrong_astigmatism_is_taken_away(here):
    with_series(
        "ast.star",
        rlnDefocusU=lambda table: table["rlnDefocusU"] + 700,
        rlnDefocusV=lambda table: table["rlnDefocusV"] - 700,
        rlnDefocusAngle=35.0,
    )
    run("--t", "changed.star", "--do_defocus")
    half = (series().defocus_u - series().defocus_v) / 2
    assert (np.abs(half) < 100).all()
    assert errors("out/tomograms.star") < 0.35 * errors("tomograms.star")


def test_astigmatism_is_added_as_a_vector():
    tomogram = simple_series(defocus_u=[10500.0], defocus_v=[9500.0], defocus_angle=[90.0])
    change = ctf_fit.Defocus(np.array([100.0]), np.array([1200.0, 0.0]))
    columns = refine_ctf.defocus_columns(tomogram, change)
    assert columns["rlnDefocusU"] == pytest.approx([10800])
    assert columns["rlnDefocusV"] == pytest.approx([9400])
    assert columns["rlnDefocusAngle"] == pytest.approx([0], abs=1e-9)


def simple_series(**values):
    return type("Series", (), {name: np.array(value) for name, value in values.items()})


# ---------------------------------------------------------------- contrast scale


def test_the_scale_of_each_tilt_is_its_contrast(plain, monkeypatch):
    monkeypatch.chdir(plain)
    contrast = series("tomograms.star").scale  # as simulated: cos(tilt)
    assert np.abs(series().scale / contrast - 1).max() < 0.15
    assert "rlnTomoRelativeLuminance" not in read_star("out/tomograms.star")["global"]


def test_the_recorded_scale_does_not_matter(here, plain):
    with_series("flat.star", rlnCtfScalefactor=0.3)
    run("--t", "changed.star", "--do_defocus", "--do_scale", "--per_frame_scale")
    np.testing.assert_allclose(series().scale, read_star(plain / "out" / TILTS)["TS_01"][SCALE], rtol=1e-6)


def test_noise_in_the_reference_does_not_lower_the_scale(here):
    transform = fourier.rfft(maps.read_map("half1.mrc")[0], 3)
    rng, shells = np.random.default_rng(4), fourier.shell_index(BOX, 3)
    for name in ("half1.mrc", "half2.mrc"):
        noise = fourier.rfft(rng.normal(size=(BOX,) * 3), 3)
        power = [fourier.shell_mean(np.abs(t) ** 2, shells, BOX) for t in (transform, noise)]
        alike = np.sqrt(power[0] / np.maximum(power[1], 1e-30))[shells]  # as strong as the signal: FSC 0.5
        Path(name).unlink()
        maps.write_map(name, fourier.irfft(transform + alike * noise, 3), PIXEL)
    edit("post.star", "half.star", **{CORRECTED_FSC: 0.5})
    run("--fsc", "half.star", "--do_scale", "--per_frame_scale")
    assert (series().scale / series("tomograms.star").scale).mean() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("flags", [[], ["--per_tomogram_scale"]])
def test_a_slab_of_ice_gives_smooth_scales_and_says_how_thick_it_is(here, flags):
    run("--do_defocus", "--do_scale", *flags)
    table = read_star("out/tomograms.star")["global"]
    for row in table.itertuples():
        cosine = np.cos(np.radians([0, 60]))
        law = row.rlnTomoRelativeLuminance * np.exp(-row.rlnTomoRelativeIceThickness / cosine)
        np.testing.assert_allclose(law, [1, 0.5], rtol=0.15)  # the simulated contrast is cos(tilt)
        assert row.rlnTomoIceNormalZ > 0.98
    assert table["rlnTomoRelativeLuminance"].nunique() == (2 if flags else 1)
    np.testing.assert_allclose(series().scale, series("tomograms.star").scale, rtol=0.2)


def test_a_tilted_slab_is_recognised():
    angles = np.radians(np.arange(-60, 61, 10))
    beams = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], axis=1)
    slab = ctf_fit.Ice(2.0, 0.6, np.array([np.sin(0.2), 0, np.cos(0.2)]))
    found = ctf_fit.fit_ice([Contrast(slab.scale(beams), np.full(13, 100.0))], [beams])[0]
    assert (found.luminance, found.thickness) == pytest.approx((2.0, 0.6), rel=1e-3)
    np.testing.assert_allclose(found.normal, slab.normal, atol=1e-3)


def test_without_evidence_there_is_no_scale():
    nothing = Evidence.empty(3, 5)
    change = ctf_fit.Defocus(np.zeros(3), np.zeros(2))
    contrast = Contrast.of(nothing, np.zeros((3, 5)), np.zeros((3, 5)), change)
    assert not contrast.scale.any()
    assert not contrast.precision.any()


# ---------------------------------------------------------------- files


def test_everything_but_what_was_refined_is_kept(here):
    with_series("more.star", rlnTomoNominalStageTiltAngle=np.arange(11.0), rlnCtfMaxResolution="7.5")
    Path("more.star").write_text(Path("more.star").read_text() + "\ndata_other\n\n_rlnComment kept\n")
    run("--t", "changed.star", "--do_defocus")
    before, after = read_star("more.star"), read_star("out/more.star")
    changed = ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"]
    pd.testing.assert_frame_equal(
        after["TS_01"].drop(columns=changed), before["TS_01"].drop(columns=changed), check_dtype=False
    )
    assert list(after["TS_01"]) == list(before["TS_01"])
    assert after["other"] == before["other"]
    names = list(read_star("out/tomograms.star")["global"]["rlnTomoTiltSeriesStarFile"])
    assert names == ["out/more.star", "out/tilt_series/TS_02.star"]
    assert read_optimisation_set("out/optimisation_set.star") == OptimisationSet(
        "refined.star", "out/tomograms.star"
    )


def test_a_trajectory_stays_part_of_the_state(here, free):
    particles = ParticleSet.read("refined.star")
    write_trajectories("motion.star", {name: np.zeros((11, 3)) for name in particles.names})
    run("--do_defocus", "--mot", "motion.star")
    np.testing.assert_allclose(offsets(), free, atol=0.1)
    assert read_optimisation_set("out/optimisation_set.star").trajectories == "motion.star"


def test_tilt_series_without_particles_are_carried_along(here):
    particles = ParticleSet.read("refined.star")
    particles.subset(particles.particles["rlnTomoName"] == "TS_02").write("second.star")
    run("--p", "second.star", "--do_defocus", "--do_scale")
    assert not offsets("TS_01").any()
    assert offsets("TS_02").all()
    luminance = read_star("out/tomograms.star")["global"]["rlnTomoRelativeLuminance"]
    assert luminance[0] == 0 < luminance[1]


def test_particles_out_of_sight_leave_their_tilt_series_as_it_was(here):
    particles = ParticleSet.read("refined.star")
    particles.particles.loc[particles.particles["rlnTomoName"] == "TS_01", COORDINATES[1]] += 1e4
    particles.write("away.star")
    assert run("--p", "away.star", "--do_defocus", "--do_scale") == 0
    assert not offsets("TS_01").any()
    np.testing.assert_allclose(series().scale, series("tomograms.star").scale)


# ---------------------------------------------------------------- interruption


@pytest.fixture
def finished(here, plain):
    """A project folder of its own where `plain` has been run."""
    shutil.copytree(plain / "out", "out")


ALL = ["--do_defocus", "--do_scale", "--per_frame_scale"]


def test_an_interrupted_run_continues_after_the_last_finished_tomogram(finished, capsys):
    expected = read_star("out/tilt_series/TS_02.star")["TS_02"]
    Path("out/temp/TS_02.npz").unlink()
    Path("out/tomograms.star").unlink()
    assert run(*ALL, "--only_do_unfinished") == 0
    out = capsys.readouterr().out
    assert "Tomogram 2 / 2:" in out
    assert "Tomogram 1 / 2:" not in out
    pd.testing.assert_frame_equal(read_star("out/tilt_series/TS_02.star")["TS_02"], expected)
    assert offsets().all()


@pytest.mark.parametrize("change", ["options", "input", "flag"])
def test_results_of_another_run_are_not_taken_over(finished, capsys, change):
    flags = [] if change == "flag" else ["--only_do_unfinished"]
    if change == "options":
        flags += ["--lambda", "0.2"]
    if change == "input":
        tables = read_star("refined.star")
        tables["particles"].loc[0, "rlnAngleRot"] += 1
        Path("refined.star").unlink()
        write_star(tables, "refined.star")
    run(*ALL, *flags)
    assert "Tomogram 1 / 2:" in capsys.readouterr().out


def test_a_run_stops_when_it_is_asked_to(here):
    Path("job").mkdir()
    Path("job/RELION_JOB_ABORT_NOW").touch()
    assert run("--do_defocus", "--pipeline_control", "job") == 2
    assert not Path("out/tomograms.star").exists()
    assert Path("job/RELION_JOB_EXIT_ABORTED").exists()


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "nothing to refine; give --do_defocus, --do_scale or both."),
        (["--do_scale", "--per_frame_scale", "--per_tomogram_scale"], "exclude each other"),
        (["--do_defocus", "--d0", "100"], "from --d0 below 0 to --d1 above 0 in positive steps"),
        (["--do_defocus", "--ds", "0"], "in positive steps --ds, not from -3000 to 3000 in steps of 0"),
        (["--do_defocus", "--lambda", "-1"], "--lambda must not be negative"),
        (["--do_even_aberrations"], "the embedded engine does not have --do_even_aberrations"),
        (["--do_defocus", "--p", "particles.star"], "particles.star has no half sets"),
    ],
)
def test_what_cannot_be_refined_is_refused_in_a_sentence(here, capsys, argv, sentence):
    assert run(*argv) == 1
    assert sentence in capsys.readouterr().err
    assert not Path("out").exists()
