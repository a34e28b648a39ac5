"""Trajectories (motion.star): read, written, and followed by the programs that cut particles out."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile

from staengine import __main__ as engine
from staengine.errors import EngineError
from staengine.tilt_series.optimisation_set import read_optimisation_set
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.trajectories import read_trajectories, write_trajectories

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
EXPECTED = GOLDEN / "trajectories"
CUT = ["--bin", "4", "--stack2d", "--j", "2"]


def made_up(names, tilts=21):
    """Displacements of up to 25 Å, other ones in each image; the expected data are RELION's with these."""
    p, t, axis = np.meshgrid(range(len(names)), range(tilts), range(3), indexing="ij")
    return dict(zip(names, 25 * np.sin(1 + 1.3 * p + 0.7 * t * (axis + 1)), strict=True))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The golden input and refinement, and a motion.star for its particles."""
    for name in ("input", "refine"):
        (tmp_path / name).symlink_to(GOLDEN / name)
    monkeypatch.chdir(tmp_path)
    write_trajectories("motion.star", made_up(ParticleSet.read("refine/run_data.star").names))


def run(program, *argv, motion="motion.star"):
    argv = ["--i", "refine/run_optimisation_set.star", "--mot", motion, *argv, "--o", "out/"]
    return engine.main([f"relion_tomo_{program}", *argv])


def read(path):
    with mrcfile.open(path, permissive=True) as mrc:
        return mrc.data.astype(float)


def test_what_is_written_is_read_again(tmp_path):
    moves = made_up(["TS_01/1", "TS_01/2", "b"], tilts=5)
    write_trajectories(tmp_path / "new" / "motion.star", moves)
    found = read_trajectories(tmp_path / "new" / "motion.star")
    assert list(found) == list(moves)
    for name in moves:
        np.testing.assert_allclose(found[name], moves[name], atol=1e-6)
    assert starfile.read(tmp_path / "new" / "motion.star")["general"]["rlnParticleNumber"] == 3


def test_relions_own_file_is_read_with_its_signs_and_exponents():
    found = read_trajectories(EXPECTED / "motion.star")
    assert len(found) == 2
    np.testing.assert_array_equal(found["TS_01/1"][9], [7.808354e-04, -0.00473, -3.14746e-06])
    assert not found["TS_01/2"][10].any()  # the first exposure


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("data_general\n\n_rlnParticleNumber 0\n", "holds no trajectories"),
        ("data_a\n\nloop_\n_rlnOriginXAngst #1\n1.0\n", "data_a must have the columns"),
        (
            "data_a\n\nloop_\n_rlnOriginXAngst\n_rlnOriginYAngst\n_rlnOriginZAngst\n1 2\n",
            "data_a is not a table",
        ),
        ("data_a\n\nloop_\n_rlnOriginXAngst\n_rlnOriginYAngst\n_rlnOriginZAngst\n1 2 nan\n", "data_a is not"),
    ],
)
def test_a_faulty_file_is_refused_in_one_sentence(tmp_path, text, complaint):
    (tmp_path / "motion.star").write_text(text)
    with pytest.raises(EngineError, match=complaint):
        read_trajectories(tmp_path / "motion.star")


def test_stacks_are_cut_along_the_trajectories_as_relions(project, record_property):
    assert run("subtomo", "--b", "24", *CUT) == 0
    ours = read("out/Subtomograms/TS_02/7_stack2d.mrcs")
    theirs = read(EXPECTED / "7_stack2d.mrcs")  # kept in half precision
    worst = np.abs(ours - theirs).max() / np.abs(theirs).max()
    record_property("subtomo along trajectories: worst difference, of the maximum", f"{worst:.1e}")
    assert worst < 1e-3
    before, after = ParticleSet.read("refine/run_data.star"), ParticleSet.read("out/particles.star")
    np.testing.assert_allclose(after.positions, before.positions, atol=1e-4)  # without the motion
    assert read_optimisation_set("out/optimisation_set.star").trajectories == "motion.star"


def test_particles_that_are_left_out_are_left_out_of_the_trajectories_too(project):
    assert run("subtomo", "--b", "72", *CUT) == 0
    kept = ParticleSet.read("out/particles.star")
    theirs = starfile.read(EXPECTED / "particles_b72.star")
    assert kept.names == list(theirs["rlnTomoParticleName"])
    assert list(kept.particles["rlnTomoVisibleFrames"]) == list(theirs["rlnTomoVisibleFrames"])
    assert read_optimisation_set("out/optimisation_set.star").trajectories == "out/motion.star"
    assert list(read_trajectories("out/motion.star")) == kept.names


def test_the_average_along_the_trajectories_is_relions(project, record_property):
    assert run("reconstruct_particle", "--b", "24", "--bin", "4", "--j", "2") == 0
    ours, theirs = read("out/merged.mrc"), read(EXPECTED / "merged.mrc")  # kept in half precision
    worst = np.abs(ours - theirs).max() / np.abs(theirs).max()
    record_property(
        "reconstruct_particle along trajectories: worst difference, of the maximum", f"{worst:.1e}"
    )
    assert worst < 1e-3


@pytest.mark.parametrize("program", ["subtomo", "reconstruct_particle"])
def test_a_particle_without_trajectory_is_named_at_once(project, capsys, program):
    moves = read_trajectories("motion.star")
    last = list(moves)[-1]
    write_trajectories("fewer.star", {name: moves[name] for name in moves if name != last})
    more = CUT if program == "subtomo" else CUT[:2]
    assert run(program, "--b", "24", *more, motion="fewer.star") == 1
    assert f"particle {last} has no trajectory" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_trajectory_of_another_length_than_the_tilt_series_is_refused(project, capsys):
    moves = read_trajectories("motion.star")
    write_trajectories("short.star", {name: rows[1:] for name, rows in moves.items()})
    assert run("subtomo", "--b", "24", *CUT, motion="short.star") == 1
    assert "particle TS_01/1 has 20 rows, its tilt series TS_01 has 21 images" in capsys.readouterr().err


def test_refinement_passes_trajectories_on_and_leaves_the_stacks_as_they_are(project):
    (Path("extract")).symlink_to(GOLDEN / "extract")
    (Path("average")).symlink_to(GOLDEN / "average")
    argv = [
        "--ios",
        "refine/run_optimisation_set.star",
        "--ref",
        "average/merged.mrc",
        "--skip_align",
        "--ctf",
    ]
    argv += ["--particle_diameter", "330", "--iter", "1", "--zero_mask", "--random_seed", "1"]
    maps = []
    for name, motion in (("with", ["--trajectories", "motion.star"]), ("without", [])):
        assert engine.main(["relion_refine", *argv, *motion, "--o", f"{name}/run"]) == 0
        state = read_optimisation_set(f"{name}/run_it001_optimisation_set.star")
        assert state.trajectories == (motion[1] if motion else "")
        maps.append(read(f"{name}/run_it001_class001.mrc"))
    np.testing.assert_array_equal(*maps)
