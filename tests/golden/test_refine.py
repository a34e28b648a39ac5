"""relion_refine and relion_refine_mpi on RELION 5.0.1's own inputs, compared with RELION's results."""

import json
import re
import shlex
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from staengine.numerics.fsc import fsc
from staengine.programs import refine
from staengine.programs.refine_options import FLAGS
from staengine.ranks import Launch
from staengine.simulation.truth import pose_error, read_truth
from staengine.tilt_series.optimisation_set import read_optimisation_set
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import read_star

GOLDEN = Path(__file__).parent / "data"


def arguments(name: str, out: Path) -> list[str]:
    """RELION's command line of golden/logs with another output folder."""
    words = shlex.split((GOLDEN / "logs" / f"{name}.command").read_text())
    words = words[next(i for i, w in enumerate(words) if w.startswith("relion_refine")) + 1 :]
    words[words.index("--o") + 1] = str(out / "run")
    return words


def columns(path: Path) -> dict[str, set[str]]:
    return {name: set(table) for name, table in read_star(path).items()}


def general(path: Path, name: str) -> dict:
    return read_star(path)[name]


def correlation(a: Path, b: Path) -> float:
    return float(np.corrcoef(mrcfile.read(a).ravel(), mrcfile.read(b).ravel())[0, 1])


def resolutions(folder: Path, iterations: int, model: str = "model") -> np.ndarray:
    """Current resolution of iterations 1 .. as Fourier shells of 480 Å."""
    files = [folder / f"run_it{i:03d}_{model}.star" for i in range(1, iterations + 1)]
    return np.array([480 / float(general(f, "model_general")["rlnCurrentResolution"]) for f in files])


@pytest.fixture(scope="module")
def align(tmp_path_factory):
    out = tmp_path_factory.mktemp("align")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(GOLDEN)
        assert refine.main(arguments("align", out)) == 0
    return out


def test_alignment_gives_the_map_and_the_resolution_of_relion(align, record_property):
    like = correlation(align / "run_it005_class001.mrc", GOLDEN / "align/run_it005_class001.mrc")
    record_property("refine, K=1: correlation with RELION's map at iteration 5", f"{like:.3f}")
    assert like > 0.98
    assert np.abs(resolutions(align, 5) - resolutions(GOLDEN / "align", 5)).max() < 1.5


def test_alignment_estimates_noise_and_accuracy_as_relion(align):
    mine, theirs = (read_star(folder / "run_it005_model.star") for folder in (align, GOLDEN / "align"))
    for table, column, tolerance in [
        ("model_optics_group_1", "rlnSigma2Noise", 0.15),
        ("model_classes", "rlnAccuracyRotations", 0.3),
        ("model_classes", "rlnAccuracyTranslationsAngst", 0.3),
    ]:
        np.testing.assert_allclose(
            np.array(mine[table][column], float), np.array(theirs[table][column], float), rtol=tolerance
        )


@pytest.mark.parametrize("file", ["data", "model", "optimiser", "sampling", "optimisation_set"])
@pytest.mark.parametrize("iteration", [0, 3])
def test_alignment_writes_the_files_of_relion_with_their_columns(align, file, iteration):
    name = f"run_it{iteration:03d}_{file}.star"
    assert (align / name).exists() == (GOLDEN / "align" / name).exists()
    if (align / name).exists():
        assert columns(align / name) == columns(GOLDEN / "align" / name)


def test_numbers_that_are_not_numbers_are_written_as_relion_writes_them(align):
    assert re.search(r"_rlnCurrentResolution +inf", (align / "run_it000_model.star").read_text())
    assert re.search(
        r"_rlnChangesOptimalClasses +9.999999e\+06", (align / "run_it000_optimiser.star").read_text()
    )
    assert general(align / "run_it001_optimiser.star", "optimiser_general")["rlnChangesOptimalClasses"] == 0


def test_an_iteration_can_be_the_input_of_the_next_step(align):
    found = read_optimisation_set(align / "run_it005_optimisation_set.star")
    assert found.tomograms == "input/tomograms.star"
    particles = ParticleSet.read(found.particles)
    assert particles.general["rlnTomoSubTomosAre2DStacks"] == 1
    assert len(particles) == 64
    assert particles.optics is not None


def test_progress_is_said_in_the_words_of_relion(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(GOLDEN)
    words = arguments("align", tmp_path)
    words[words.index("--iter") + 1] = "2"
    refine.main(words)
    said = capsys.readouterr().out
    theirs = (GOLDEN / "logs/align.log").read_text().replace(" of 5", " of 2")
    steady = re.compile(
        r"^ (Oversampling|OrientationalSampling|TranslationalSampling|Expectation|Maximization).*|^=+$", re.M
    )
    mine = [m.group(0) for m in steady.finditer(said)]
    assert mine
    assert mine == [m.group(0) for m in steady.finditer(theirs)][: len(mine)]
    first = next(line for line in theirs.splitlines() if line.startswith(" CurrentResolution"))
    assert first in said.splitlines()
    assert re.search(
        r"^ Auto-refine: Estimated accuracy angles= [\d.]+ degrees; offsets= [\d.]+ Angstroms$", said, re.M
    )


@pytest.fixture(scope="module")
def classify(tmp_path_factory):
    out = tmp_path_factory.mktemp("classify")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(GOLDEN)
        assert refine.main(arguments("classify", out)) == 0
    return out


def test_classification_seeds_classes_in_the_second_iteration_and_settles(classify):
    def classes(iteration: int) -> np.ndarray:
        return (
            ParticleSet.read(classify / f"run_it{iteration:03d}_data.star")
            .particles["rlnClassNumber"]
            .to_numpy()
        )

    assert set(classes(1)) == {1}
    assert np.bincount(classes(2), minlength=4)[1:].min() >= 10
    optimiser = general(classify / "run_it010_optimiser.star", "optimiser_general")
    assert optimiser["rlnChangesOptimalClasses"] < 0.1
    before, after = (ParticleSet.read(f) for f in (
        GOLDEN / "align/run_it005_data.star", classify / "run_it010_data.star"))  # fmt: skip
    np.testing.assert_allclose(after.rotations, before.rotations, atol=1e-6)
    np.testing.assert_allclose(after.origins, before.origins)


def test_classification_writes_the_columns_of_relion(classify):
    for file in ("data", "model", "optimiser"):
        assert columns(classify / f"run_it010_{file}.star") == columns(
            GOLDEN / f"classify/run_it010_{file}.star"
        )


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    out = tmp_path_factory.mktemp("refine")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(GOLDEN)
        assert refine.main(arguments("refine", out), Launch()) == 0
    return out


@pytest.mark.slow
def test_auto_refinement_finds_poses_as_well_as_relion(refined, record_property):
    error = pose_error(ParticleSet.read(refined / "run_data.star"), read_truth(GOLDEN / "input"))
    errors = f"{error.angle_deg:.2f} deg, {error.position_angst:.2f} Å (RELION: 1.80 deg, 4.83 Å)"
    record_property("auto-refine: median pose error", errors)
    assert error.angle_deg < 1.2 * 1.80
    assert error.position_angst < 1.2 * 4.83


@pytest.mark.slow
def test_auto_refinement_converges_as_relion_to_the_same_resolution(refined, record_property):
    iterations = len(list(refined.glob("run_it*_data.star")))
    assert iterations <= 9  # RELION: 6
    final = general(refined / "run_model.star", "model_general")["rlnCurrentResolution"]
    said = f"{final:.1f} Å, {iterations} (RELION: 43.6 Å, 6)"
    record_property("auto-refine: final resolution, iterations", said)
    assert 480 / final > 480 / 43.636364 - 1.5
    assert general(refined / "run_optimiser.star", "optimiser_general")["rlnHasConverged"] == 1


@pytest.mark.slow
def test_auto_refinement_gives_half_maps_like_those_of_relion(refined):
    mask = mrcfile.read(GOLDEN / "mask/mask.mrc")
    halves = [mrcfile.read(refined / f"run_half{h}_class001_unfil.mrc") * mask for h in (1, 2)]
    theirs = [mrcfile.read(GOLDEN / f"refine/run_half{h}_class001_unfil.mrc") * mask for h in (1, 2)]
    assert fsc(*halves)[:11].min() > 0.8
    assert np.corrcoef(halves[0].ravel(), theirs[0].ravel())[0, 1] > 0.95
    assert correlation(refined / "run_class001.mrc", GOLDEN / "refine/run_class001.mrc") > 0.95


@pytest.mark.slow
def test_auto_refinement_writes_the_columns_of_relion(refined):
    iteration = ["data", "half1_model", "optimiser", "sampling", "optimisation_set"]
    final = ["data", "model", "optimiser", "sampling", "optimisation_set"]
    for name in [f"run_it003_{file}.star" for file in iteration] + [f"run_{file}.star" for file in final]:
        assert columns(refined / name) == columns(GOLDEN / "refine" / name), name


@pytest.mark.parametrize("program", ["relion_refine", "relion_refine_mpi"])
def test_every_flag_is_one_of_relion_and_of_its_kind(program):
    theirs = json.loads((Path(__file__).parent / "cli.json").read_text())[program]
    # --force_converge is in no --help, but RELION 5.0.1 takes it when it continues
    assert set(FLAGS) - set(theirs) <= {"--cpu", "--force_converge"}
    for name, flag in FLAGS.items():
        if name in theirs and flag.kind != "unsupported":
            assert flag.kind == theirs[name]["kind"], name
