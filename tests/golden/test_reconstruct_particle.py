"""The embedded relion_tomo_reconstruct_particle against RELION 5.0.1's own maps."""

import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from staengine import __main__ as engine
from staengine.errors import AbortError
from staengine.numerics import backprojection, fourier
from staengine.tilt_series import reconstruction, unfinished
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import COORDINATES, read_star, write_star

GOLDEN = Path(__file__).parent / "data"
PROGRAM = "relion_tomo_reconstruct_particle"
BIN4 = ["--i", "extract/optimisation_set.star", "--b", "24", "--bin", "4", "--j", "2"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("input", "extract", "refine"):
        (tmp_path / name).symlink_to(GOLDEN / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*argv):
    return engine.main([PROGRAM, *argv])


def read(path):
    with mrcfile.open(path, permissive=True) as mrc:
        return mrc.data.astype(float), float(mrc.voxel_size.x)


def assert_same_map(ours, theirs, tolerance):
    """Equal up to `tolerance` of the largest value, grey scale and pixel size included; returns 1 - correlation."""
    (a, pixel_a), (b, pixel_b) = read(ours), read(theirs)
    correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    assert correlation > 0.99999
    assert np.abs(a - b).max() < tolerance * np.abs(b).max()
    assert pixel_a == pytest.approx(pixel_b)
    return f"{max(0, 1 - correlation):.0e}"


def test_the_bin4_average_is_relions_with_its_grey_scale(project, record_property):
    assert run(*BIN4, "--theme", "classic", "--o", "out/", "--j_out", "2", "--j_in", "1", "--sym", "C1") == 0
    missing = assert_same_map("out/merged.mrc", GOLDEN / "average" / "merged.mrc", 1e-5)
    record_property("reconstruct_particle: merged map, 1 - correlation", missing)
    made = sorted(path.name for path in Path("out").rglob("*") if path.is_file())
    assert made == ["data_merged.mrc", "merged.mrc", "weight_merged.mrc"]


def test_the_bin1_half_maps_of_refined_particles_are_relions(project, record_property):
    argv = ["--i", "refine/run_optimisation_set.star", "--b", "96", "--bin", "1", "--j", "2"]
    assert run(*argv, "--o", "out/") == 0
    for half in ("half1", "half2"):  # the golden maps are kept in half precision
        missing = assert_same_map(f"out/{half}.mrc", GOLDEN / "cycle" / "reconstruct" / f"{half}.mrc", 1e-3)
        record_property(f"reconstruct_particle: {half}, 1 - correlation", missing)
    halves = [read(f"out/weight_{half}.mrc")[0] for half in ("half1", "half2")]
    np.testing.assert_allclose(read("out/weight_merged.mrc")[0], sum(halves), rtol=1e-4, atol=1e-3)


def test_the_log_is_relions(project, capsys):
    run(*BIN4, "--o", "average/")
    ours = [line.split("\r")[-1] for line in capsys.readouterr().out.split("\n")]
    theirs = (GOLDEN / "logs" / "average.log").read_text().splitlines()

    def text(lines):  # seconds and the memory needed differ
        cut = [line[12:] if "yum" in line else line for line in lines if line.strip()]
        return [line.split("accumulation:")[0] for line in cut]

    assert text(ours) == text(theirs)


def test_a_symmetric_map_looks_the_same_along_all_its_axes(project):
    run(*BIN4, "--sym", "D2", "--o", "out/")
    volume = read("out/merged.mrc")[0][1:, 1:, 1:]  # odd, so that a flip keeps the origin
    for axes in [(0, 1), (0, 2), (1, 2)]:
        turned = np.flip(volume, axes)
        assert np.corrcoef(volume.ravel(), turned.ravel())[0, 1] > 0.99
    run(*BIN4, "--o", "plain/")
    plain = read("plain/merged.mrc")[0][1:, 1:, 1:]
    assert np.corrcoef(plain.ravel(), np.flip(plain, (1, 2)).ravel())[0, 1] < 0.9


def test_the_cropped_map_is_the_middle_of_the_full_one(project):
    run("--i", "extract/optimisation_set.star", "--b", "32", "--crop", "24", "--bin", "4", "--o", "out/")
    full, cropped = read("out/merged_full.mrc")[0], read("out/merged.mrc")[0]
    assert cropped.shape == (24, 24, 24)
    middle = fourier.window(full, 24, 3)[11:14, 11:14, 11:14]
    inner = cropped[11:14, 11:14, 11:14]
    np.testing.assert_allclose(inner - inner.mean(), middle - middle.mean(), atol=1e-4)
    assert (cropped[0] == 0).all()


def test_a_wiener_filter_adds_the_inverse_snr_to_the_weights(project):
    crop = ["--i", "extract/optimisation_set.star", "--b", "24", "--crop", "20", "--bin", "4"]
    run(*crop, "--SNR", "0.02", "--o", "out/")
    volume, data, weight = (
        read(f"out/{name}.mrc")[0] for name in ("merged_full", "data_merged", "weight_merged")
    )
    inside = fourier.distance(24, 3) < 11

    def transform(values):
        return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(values)))[inside]

    np.testing.assert_allclose(
        transform(volume) * (weight[inside] + 50), transform(data), rtol=1e-3, atol=1e-2
    )


def test_an_interrupted_run_continues_and_gives_the_same_map(project, monkeypatch):
    monkeypatch.setattr(unfinished, "LARGEST_SHARE", np.inf)
    loaded, load = [], reconstruction.load_tilt_images

    def stopped(tomogram):
        loaded.append(tomogram.name)
        if tomogram.name == "TS_02" and loaded.count("TS_02") == 1:
            raise AbortError("stopped.")
        return load(tomogram)

    monkeypatch.setattr(reconstruction, "load_tilt_images", stopped)
    assert run(*BIN4, "--o", "out/") == 2
    assert not Path("out/merged.mrc").exists()
    assert run(*BIN4, "--o", "out/", "--only_do_unfinished") == 0
    assert loaded == ["TS_01", "TS_02", "TS_02"]
    assert_same_map("out/merged.mrc", GOLDEN / "average" / "merged.mrc", 1e-5)
    assert list(Path("out/temp").iterdir()) == []


def test_a_run_that_is_asked_to_end_when_its_maps_are_written_has_ended_well(project):
    """Its sums may be gone then, so that it would have to do everything again."""
    code = (
        "import sys, time\n"
        "from staengine import __main__ as engine; from staengine.tilt_series import unfinished\n"
        "unfinished.SavedResults.remove = lambda *_: print('all is written', flush=True) or time.sleep(60)\n"
        "engine.main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, PROGRAM, *BIN4, "--o", "out/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert "all is written\n" in process.stdout
        process.terminate()
        assert process.wait(20) == 0
    assert_same_map("out/merged.mrc", GOLDEN / "average" / "merged.mrc", 1e-5)


def test_a_backup_of_other_options_is_not_gone_on_with(project, monkeypatch):
    monkeypatch.setattr(unfinished, "LARGEST_SHARE", np.inf)
    monkeypatch.setattr(unfinished.SavedResults, "remove", lambda *_: None)
    run(*BIN4, "--o", "out/")
    run(*BIN4[:3], "20", *BIN4[4:], "--o", "out/", "--only_do_unfinished")
    assert read("out/merged.mrc")[0].shape == (20, 20, 20)


def test_particles_of_tilt_series_with_different_pixel_sizes_are_refused(project, capsys):
    tomograms = read_star("input/tomograms.star")
    tomograms["global"]["rlnTomoTiltSeriesPixelSize"] = [5.0, 4.0]
    tomograms["global"]["rlnOpticsGroupName"] = ["first", "second"]
    write_star(tomograms, "tomograms.star")
    argv = ["--p", "input/particles.star", "--t", "tomograms.star", "--b", "24", "--bin", "4", "--o", "out/"]
    assert run(*argv) == 1
    assert "different pixel sizes (4 to 5 Å)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([*BIN4, "--sym", "Oh", "--o", "x/"], "--sym Oh: the embedded engine has"),
        ([*BIN4, "--whiten", "--o", "x/"], "the embedded engine does not have --whiten"),
        (["--i", "none.star", "--b", "24", "--o", "x/"], "none.star does not exist"),
        (["--i", "extract/optimisation_set.star", "--b", "25", "--o", "x/"], "--b must be even"),
    ],
)
def test_what_the_engine_does_not_do_is_refused(project, capsys, argv, sentence):
    assert run(*argv) == 1
    assert sentence in capsys.readouterr().err


def test_weights_of_a_whole_cube_are_even():
    half = backprojection.new_accumulator(8)[..., 0]
    half[1, 2, 3] = 5.0
    half[-1, 0, 0] = half[1, 0, 0] = 2.0
    cube = backprojection.full_weight(half)
    assert cube.shape == (8, 8, 8)
    assert cube[4 + 1, 4 + 2, 4 + 3] == cube[4 - 1, 4 - 2, 4 - 3] == 5.0
    assert cube[5, 4, 4] == cube[3, 4, 4] == 2.0
    assert cube.sum() == 14.0


def test_particles_that_lie_outside_all_images_are_refused(project, capsys):
    particles = ParticleSet.read("extract/particles.star")
    particles.particles[COORDINATES[0]] += 1e5
    particles.write("particles.star")
    assert run(*BIN4, "--p", "particles.star", "--o", "out/") == 1
    assert (
        "no particle of half set 1 lies inside its tilt images with a box of 24 px" in capsys.readouterr().err
    )
    assert not Path("out/merged.mrc").exists()
