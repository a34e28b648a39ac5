"""The embedded relion_tomo_refine_ctf against RELION 5.0.1's own result, and against the truth where it matters."""

import re
from pathlib import Path

import numpy as np
import pytest

from staengine import __main__ as engine
from staengine import maps, tomo, truth

GOLDEN = Path(__file__).parent / "data"
PROGRAM = "relion_tomo_refine_ctf"
# as golden/logs/ctf.command, without --theme
HALVES = ["--ref1", "cycle/reconstruct/half1.mrc", "--ref2", "cycle/reconstruct/half2.mrc"]
REFERENCE = [
    *HALVES,
    "--mask",
    "mask.mrc",
    "--fsc",
    "cycle/before/postprocess.star",
    "--b",
    "128",
    "--j",
    "2",
]
HOW = ["--do_defocus", "--d0", "-4000", "--d1", "4000", "--do_reg_defocus", "--lambda", "0.1"]
SCALE = ["--do_scale", "--per_frame_scale"]
MASK = ["--lowpass", "30", "--ini_threshold", "3.1", "--extend_inimask", "4", "--width_soft_edge", "6"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project with the golden input in which RELION's command was run; its log is in `log`."""
    folder = tmp_path_factory.mktemp("ctf")
    for name in ("input", "refine", "cycle"):
        (folder / name).symlink_to(GOLDEN / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        half1, half2 = (maps.read_map(f"cycle/reconstruct/half{number}.mrc")[0] for number in (1, 2))
        maps.write_map("merged.mrc", (half1 + half2) / 2, 5.0)
        assert engine.main(["relion_mask_create", "--i", "merged.mrc", "--o", "mask.mrc", *MASK]) == 0
    return folder


@pytest.fixture
def project(finished, monkeypatch):
    monkeypatch.chdir(finished)


def run(*argv):
    return engine.main([PROGRAM, "--i", "refine/run_optimisation_set.star", *REFERENCE, *argv])


@pytest.fixture(scope="module")
def tables(finished):
    """The tilt series tables that we and RELION wrote, by tomogram."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished)
        assert run("--o", "ours/", *HOW, *SCALE) == 0
        return {
            name: [
                tomo.read_star(f"{folder}/input/tilt_series/{name}.star")[name]
                for folder in ("ours", "cycle/ctf")
            ]
            for name in ("TS_01", "TS_02")
        }


def test_the_log_is_relions(project, capsys):
    assert run("--o", "log/", *HOW, *SCALE) == 0
    ours = [line.split("\r")[-1] for line in capsys.readouterr().out.split("\n")]
    theirs = (GOLDEN / "logs/ctf.log").read_text().split("sh: 1: gs")[0].splitlines()

    def text(lines):  # seconds and half-drawn bars differ
        lines = [re.sub(r"^ +\d+/ +\d+ sec", "", line) for line in lines if "o]" not in line]
        return [line for line in lines if line.strip()]

    assert text(ours) == text(theirs)


def test_the_files_are_laid_out_as_relions(project, tables):
    ours, theirs = (tomo.read_star(f"{folder}/tomograms.star")["global"] for folder in ("ours", "cycle/ctf"))
    assert list(ours) == list(theirs)
    for name, there in zip(
        ours["rlnTomoTiltSeriesStarFile"], theirs["rlnTomoTiltSeriesStarFile"], strict=True
    ):
        assert name.replace("ours", "cycle/ctf") == there
    for mine, other in tables.values():
        assert list(mine) == list(other)
        kept = [column for column in mine if "Defocus" not in column and column != "rlnCtfScalefactor"]
        for column in kept:
            if mine[column].dtype == float:
                np.testing.assert_allclose(mine[column], other[column], atol=1e-4)
            else:
                assert list(mine[column]) == list(other[column])
    assert tomo.read_optimisation_set("ours/optimisation_set.star") == tomo.OptimisationSet(
        "refine/run_data.star", "ours/tomograms.star"
    )


def test_contrast_scales_are_like_relions(project, tables, record_property):
    for name, (mine, other) in tables.items():
        correlation = np.corrcoef(mine["rlnCtfScalefactor"], other["rlnCtfScalefactor"])[0, 1]
        record_property(
            f"CTF refinement, golden: scales of {name} against RELION's", f"r = {correlation:.2f}"
        )
        assert correlation > 0.5
        # the true contrast is the same in all tilts, while the recorded one falls to half
        assert np.ptp(tomo.read_star(f"input/tilt_series/{name}.star")[name]["rlnCtfScalefactor"]) == 0.5
        assert mine["rlnCtfScalefactor"].std() < 0.13 * mine["rlnCtfScalefactor"].mean()


def test_the_defocus_is_no_worse_than_relions_and_hardly_worse_than_before(project, tables, record_property):
    true = tomo.read_star("input/truth_tilts.star")["tilts"]

    def rms(folder):
        found = []
        for name in tables:
            table = tomo.read_star(f"{folder}input/tilt_series/{name}.star")[name]
            mean = (table["rlnDefocusU"] + table["rlnDefocusV"]) / 2
            found.append(mean - true["trueDefocus"][true["rlnTomoName"] == name].to_numpy())
        return np.sqrt((np.concatenate(found) ** 2).mean())

    before, ours, relion = rms(""), rms("ours/"), rms("cycle/ctf/")
    figures = f"{before:.0f} -> {ours:.0f}, RELION's {relion:.0f} Å"
    record_property("CTF refinement, golden: defocus rms before and after", figures)
    assert ours < relion
    assert ours < 1.1 * before  # at 30 Å there is next to no evidence, and the prior keeps what was recorded


# ---------------------------------------------------------------- where it matters


def simulated(seed):
    """Two series of a small particle at 2 Å/px with a defocus error of 800 Å in each tilt: a state and its maps."""
    words = (
        "--tomos 2 --particles 60 --size 512 --depth 150 --angpix 2 --diameter 120 --snr 1 --dose 3 --junk 0"
    )
    words += " --tilt_step 10 --fraction_b 0 --angle_error 1 --position_error 1 --shift_error 0.7 --defocus_error 800"
    words += f" --defocus_min 15000 --defocus_max 30000 --seed {seed} --o ."
    assert engine.main(["simulate", *words.split()]) == 0
    particles = tomo.ParticleSet.read("particles.star")
    particles.particles["rlnRandomSubset"] = np.arange(len(particles)) % 2 + 1
    particles.write("refined.star")
    tomo.write_optimisation_set("set.star", "refined.star", "tomograms.star")
    reconstruct = "--i set.star --o before --b 128 --bin 1 --j 2"
    assert engine.main(["relion_tomo_reconstruct_particle", *reconstruct.split()]) == 0
    threshold = 0.15 * maps.read_map("before/merged.mrc")[0].max()
    mask = f"--i before/merged.mrc --o mask.mrc --lowpass 15 --ini_threshold {threshold}"
    mask += " --extend_inimask 3 --width_soft_edge 4 --j 2"
    assert engine.main(["relion_mask_create", *mask.split()]) == 0
    postprocess = "--i before/half1.mrc --mask mask.mrc --o before/postprocess"
    assert engine.main(["relion_postprocess", *postprocess.split()]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_defocus_error_is_more_than_halved_where_the_ctf_oscillates(
    tmp_path, monkeypatch, record_property, seed
):
    monkeypatch.chdir(tmp_path)
    simulated(seed)
    reference = "--ref1 before/half1.mrc --ref2 before/half2.mrc --mask mask.mrc"
    argv = [*reference.split(), "--fsc", "before/postprocess.star", "--b", "144", "--j", "2", "--do_defocus"]
    errors = {}
    for name, flags in {"free": [], "lambda 0.1": ["--do_reg_defocus", "--lambda", "0.1"]}.items():
        assert engine.main([PROGRAM, "--i", "set.star", *argv, *flags, "--o", "out/"]) == 0
        errors[name] = defocus_error("out/tomograms.star")
    before = defocus_error("tomograms.star")
    figures = ", ".join(f"{error:.0f} ({name})" for name, error in errors.items())
    record_property(
        f"CTF refinement, simulated, seed {seed}: defocus rms before and after",
        f"{before:.0f} -> {figures} Å",
    )
    assert errors["free"] < before / 2
    assert errors["lambda 0.1"] < before / 2


def defocus_error(tomograms):
    table = truth.tilt_errors(tomo.load_tomograms(tomograms), truth.read_truth("."))
    return float(np.sqrt((table["defocus_rms_angst"] ** 2).mean()))
