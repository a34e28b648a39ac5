"""The embedded relion_tomo_subtomo against RELION 5.0.1's own stacks and particle files."""

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile

from staengine import __main__ as engine
from staengine.tilt_series.optimisation_set import OptimisationSet, read_optimisation_set
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import ANGLES, COORDINATES, write_star
from staengine.tilt_series.tomograms import load_tilt_images, load_tomograms

GOLDEN = Path(__file__).parent / "data"
PROGRAM = "relion_tomo_subtomo"
DIRECT = ["--p", "input/particles.star", "--t", "input/tomograms.star"]
HOW = ["--bin", "4", "--float16", "--stack2d", "--j", "2"]
SMALL = [*DIRECT, "--b", "24", *HOW]
RUNS = {  # the folder of golden data and how RELION was called for it
    "extract": SMALL,
    "extract_crop": [*DIRECT, "--b", "32", "--crop", "24", "--max_dose", "40", "--min_frames", "3", *HOW],
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with the golden input (and refinement) in it."""
    for name in ("input", "refine", "extract"):
        (tmp_path / name).symlink_to(GOLDEN / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Our output of each of RUNS, made once."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "input").symlink_to(GOLDEN / "input")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, argv in RUNS.items():
            assert engine.main([PROGRAM, *argv, "--o", f"{name}/"]) == 0
    return folder


def run(*argv):
    return engine.main([PROGRAM, *argv])


def both(runs, name):
    return starfile.read(runs / name / "particles.star"), starfile.read(GOLDEN / name / "particles.star")


@pytest.mark.parametrize("name", RUNS)
def test_the_particle_file_is_relions(runs, name):
    ours, theirs = both(runs, name)
    assert ours["general"] == theirs["general"]
    pd.testing.assert_frame_equal(ours["optics"], theirs["optics"], check_dtype=False)
    pd.testing.assert_frame_equal(ours["particles"], theirs["particles"], check_dtype=False, atol=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_the_same_tilts_are_visible_exactly(runs, name):
    ours, theirs = (star["particles"].set_index("rlnTomoParticleName") for star in both(runs, name))
    assert ours["rlnTomoVisibleFrames"].equals(theirs["rlnTomoVisibleFrames"])


@pytest.mark.parametrize("name", RUNS)
def test_the_stacks_are_relions_within_half_precision(runs, name, record_property):
    worst = 0.0
    files = both(runs, name)[1]["particles"]["rlnImageName"]
    assert len(files) == {"extract": 64, "extract_crop": 49}[name]
    for file in files:
        with mrcfile.open(runs / file) as ours, mrcfile.open(GOLDEN / file, permissive=True) as theirs:
            assert ours.data.shape == theirs.data.shape, file
            assert ours.header.mode == theirs.header.mode == 12
            assert ours.voxel_size.x == pytest.approx(20)
            a, b = ours.data.astype(float), theirs.data.astype(float)
        worst = max(worst, np.abs(a - b).max() / np.abs(b).max())
        assert worst < 1e-3, file
        assert np.sqrt(((a - b) ** 2).mean()) < 1e-3 * b.std(), file
    record_property(f"{name}: worst difference of {len(files)} stacks, of the maximum", f"{worst:.1e}")


def test_the_optimisation_set_names_the_new_particles_and_the_old_tomograms(runs):
    found = read_optimisation_set(runs / "extract" / "optimisation_set.star")
    assert found == OptimisationSet("extract/particles.star", "input/tomograms.star")


def test_the_log_is_relions(project, capsys):
    run(*SMALL, "--o", "out/")
    ours = [line.split("\r")[-1] for line in capsys.readouterr().out.split("\n")]
    theirs = (GOLDEN / "logs" / "extract.log").read_text().splitlines()

    def text(lines):  # seconds differ
        return [line[12:] if "yum" in line else line for line in lines if line.strip()]

    assert text(ours) == text(theirs)


def test_refined_particles_are_cut_at_their_refined_positions(project):
    assert (
        run("--i", "refine/run_optimisation_set.star", "--b", "24", "--bin", "4", "--stack2d", "--o", "new/")
        == 0
    )
    before = ParticleSet.read("refine/run_data.star")
    after = ParticleSet.read("new/particles.star")
    np.testing.assert_allclose(after.particles[COORDINATES], before.positions, atol=1e-4)
    assert (after.origins == 0).all()
    kept = [*ANGLES, "rlnTomoParticleName", "rlnRandomSubset", "rlnLogLikeliContribution"]
    pd.testing.assert_frame_equal(after.particles[kept], before.particles[kept])
    assert after.particles["rlnImageName"].iloc[0] == "new/Subtomograms/TS_01/1_stack2d.mrcs"
    assert mrcfile.read(after.particles["rlnImageName"].iloc[0]).dtype == np.float32


def test_an_interrupted_extraction_does_only_what_is_missing_or_cut_short(project):
    run(*SMALL, "--o", "out/")
    whole, short, gone = (Path(f"out/Subtomograms/TS_01/{n}_stack2d.mrcs") for n in (1, 4, 6))
    expected = {path: path.read_bytes()[1024:] for path in (short, gone)}
    whole.write_bytes(b"x" * whole.stat().st_size)
    short.write_bytes(short.read_bytes()[:5000])
    gone.unlink()
    assert run(*SMALL, "--o", "out/", "--only_do_unfinished") == 0
    assert whole.read_bytes()[:9] == b"x" * 9
    assert {path: path.read_bytes()[1024:] for path in (short, gone)} == expected


def test_without_ctf_and_inversion_it_is_the_image_about_the_particle(project):
    tomogram = load_tomograms("input/tomograms.star")["TS_01"]
    untilted = 10
    offset = [12.0, -31.0] - tomogram.shifts[untilted]  # from the centre of the tomogram to a whole pixel
    position = tomogram.rotations[untilted].T @ [*offset, 0.0] * tomogram.pixel_size
    rewrite(lambda table: table.__setitem__(COORDINATES, position))
    flags = ["--no_ctf", "--no_ic", "--no_circle_crop", "--stack2d"]
    run("--p", "particles.star", *DIRECT[2:], "--b", "32", "--bin", "1", "--o", "out/", *flags)
    stack = mrcfile.read("out/Subtomograms/TS_01/1_stack2d.mrcs")
    x, y = 160 + 12, 160 - 31
    image = load_tilt_images(tomogram)[untilted, y - 16 : y + 16, x - 16 : x + 16]
    np.testing.assert_allclose(stack[untilted], image, atol=1e-3 * image.std())


# ---------------------------------------------------------------- faulty input


def rewrite(change, name="particles.star"):
    """input/NAME with one of its tables changed, as NAME."""
    tables = starfile.read(f"input/{name}", always_dict=True)
    change(next(iter(tables.values())))
    write_star(tables, name)


def test_particles_of_undefined_tomograms_are_dropped_with_relions_warnings(project, capsys):
    rewrite(lambda table: table.replace("TS_02", "TS_98", inplace=True))
    assert run("--p", "particles.star", *SMALL[2:], "--o", "out/") == 0
    out = capsys.readouterr().out
    assert "   !No particles were found for the following tomograms: TS_02\n" in out
    assert "   !Particles were found belonging to the following undefined tomograms: TS_98\n" in out
    assert set(ParticleSet.read("out/particles.star").particles["rlnTomoName"]) == {"TS_01"}


def unknown_tomograms(table):
    table["rlnTomoName"] = "TS_98"


def no_coordinate(table):
    del table["rlnCenteredCoordinateZAngst"]


def far_outside(table):
    table["rlnCenteredCoordinateXAngst"] += 1e5


def same_names(table):
    table["rlnTomoParticleName"] = "TS_01/7"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (unknown_tomograms, "none of its tomograms (TS_98) is in the tomograms file (TS_01, TS_02)"),
        (no_coordinate, "particles.star: table data_particles has no column rlnCenteredCoordinateZAngst."),
        (far_outside, "no particle lies inside at least 1 tilt images with a box of 24 px at binning 4"),
        (same_names, "particle TS_01/7 appears twice; rlnTomoParticleName must be unique."),
    ],
)
def test_faulty_particles_are_refused_and_nothing_is_written(project, capsys, change, sentence):
    rewrite(change)
    assert run("--p", "particles.star", *SMALL[2:], "--o", "out/") == 1
    assert sentence in capsys.readouterr().err
    assert not Path("out").exists()


def test_missing_tilt_images_are_refused_and_no_particle_file_is_left(project, capsys):
    tilts = starfile.read("input/tilt_series/TS_01.star")
    tilts["rlnMicrographName"] = tilts["rlnMicrographName"].str.replace("TS_01.mrcs", "gone.mrcs")
    write_star({"TS_01": tilts}, "TS_01.star")
    rewrite(
        lambda table: table.replace("input/tilt_series/TS_01.star", "TS_01.star", inplace=True),
        "tomograms.star",
    )
    assert run("--p", "input/particles.star", "--t", "tomograms.star", "--b", "24", *HOW, "--o", "out/") == 1
    assert "the tilt images input/tilt_series/gone.mrcs do not exist" in capsys.readouterr().err
    assert not Path("out/particles.star").exists()


def test_optics_that_contradict_the_tomograms_are_refused(project, capsys):
    particles = ParticleSet.read("extract/particles.star")
    particles.optics["rlnVoltage"] = 200.0
    particles.write("particles.star")
    assert run("--p", "particles.star", *SMALL[2:], "--o", "out/") == 1
    assert "rlnVoltage of optics group 1 is 200, but 300 in tomogram TS_01" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([*SMALL[:-3], "--o", "x/"], "the embedded engine writes 2D stacks only; give --stack2d"),
        ([*SMALL, "--real_subtomo", "--o", "x/"], "the embedded engine does not have --real_subtomo"),
        ([*SMALL, "--crop", "32", "--o", "x/"], "--crop 32 is larger than --b 24"),
        (["--b", "23", "--stack2d", "--o", "x/"], "--b and --crop must be even"),
        (["--b", "24", "--stack2d", "--o", "x/"], "give --i optimisation_set.star, or --p"),
    ],
)
def test_what_the_engine_does_not_do_is_refused(project, capsys, argv, sentence):
    assert run(*argv) == 1
    assert sentence in capsys.readouterr().err
