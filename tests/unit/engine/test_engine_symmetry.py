"""The embedded engine turns maps onto symmetry axes and expands particles: maps made here, whose axes are known."""

import mrcfile
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from staengine import __main__ as engine
from staengine.errors import EngineError
from staengine.numerics import maps, rotation, symmetry
from staengine.numerics.symmetry_search import find_axes
from staengine.programs import align_symmetry, particle_symmetry_expand
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import read_star, write_star

PIXEL = 8.0


def symmetric_map(group, turn, box=32, noise=0.3, centre=(0.0, 0.0, 0.0)):
    """Blobs in the arrangement of a point group whose axes are the rows of `turn`, and white noise."""
    rng = np.random.default_rng(4)
    sites = rng.normal(size=(3, 3))
    sites *= (box * np.array([0.16, 0.24, 0.31]) / np.linalg.norm(sites, axis=1))[:, None]
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.zeros((box,) * 3)
    for site in sites:
        for cx, cy, cz in symmetry.rotations(group) @ site @ turn + np.array(centre):
            volume += np.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / 8)
    return volume + noise * volume.std() * rng.normal(size=volume.shape)


def axes_error(group, found, true):
    """Degrees by which the farthest of a group's rotations, about the axes found, is off those about the true ones."""
    mine, theirs = (turn.T @ symmetry.rotations(group) @ turn for turn in (found, true))
    nearest = np.linalg.norm(mine[:, None] - theirs, axis=(2, 3)).min(axis=1)
    return float(np.degrees(nearest.max() / 2**0.5))


def align(folder, volume, *flags):
    """The map that the program makes of one, with flags."""
    maps.write_map(folder / "in.mrc", volume, PIXEL)
    assert align_symmetry.main(["--i", str(folder / "in.mrc"), "--o", str(folder / "out.mrc"), *flags]) == 0
    return maps.read_map(folder / "out.mrc")[0]


def self_correlation(volume, group):
    """How alike a map is to itself turned by the group's rotations: the worst of them."""
    turned = [rotation.turned(volume, operator) for operator in symmetry.rotations(group)]
    return min(np.corrcoef(turned[0].ravel(), one.ravel())[0, 1] for one in turned[1:])


@pytest.mark.parametrize("group", ["D2", "C3", "O"])
@pytest.mark.parametrize("seed", [1, 2])
def test_axes_of_other_groups_are_found(group, seed):
    turn = Rotation.random(random_state=seed).as_matrix()
    _, found, asymmetry = find_axes(symmetric_map(group, turn), symmetry.rotations(group))
    assert axes_error(group, found, turn) < 2.5  # measured: at most 1.9 degrees
    assert asymmetry < 0.05


@pytest.mark.parametrize("group", ["D2", "C3"])
def test_the_aligned_map_has_the_symmetry_that_the_input_had_about_other_axes(tmp_path, group):
    turned = symmetric_map(group, Rotation.random(random_state=3).as_matrix(), noise=0.1)
    aligned = align(tmp_path, turned, "--sym", group, "--keep_centre")
    assert self_correlation(turned, group) < 0.75
    assert self_correlation(aligned, group) > 0.95
    averaged = align(tmp_path, turned, "--sym", group, "--keep_centre", "--apply_sym")
    assert self_correlation(averaged, group) > 0.995


def test_a_map_off_the_middle_is_recentred_unless_its_centre_is_kept(tmp_path):
    turn = Rotation.random(random_state=5).as_matrix()
    off = symmetric_map("D2", turn, noise=0.0, centre=(2.0, -1.5, 1.0))
    np.testing.assert_allclose(rotation.centre_of_mass(off), (2.0, -1.5, 1.0), atol=0.05)
    aligned = align(tmp_path, off, "--sym", "D2")
    assert self_correlation(aligned, "D2") > 0.97
    assert np.abs(rotation.centre_of_mass(aligned)).max() < 0.1
    kept = align(tmp_path, off, "--sym", "D2", "--keep_centre")
    assert np.linalg.norm(rotation.centre_of_mass(kept)) == pytest.approx(
        2.69, abs=0.4
    )  # ringing has mass, too


def test_only_rot_turns_about_z_alone(tmp_path, capsys):
    turn = Rotation.from_euler("z", 25, degrees=True).as_matrix()
    aligned = align(tmp_path, symmetric_map("D3", turn), "--sym", "D3", "--only_rot", "--keep_centre")
    assert "TILT = 0 " in capsys.readouterr().out
    assert self_correlation(aligned, "D3") > 0.8


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model.star of three classes whose maps differ."""
    monkeypatch.chdir(tmp_path)
    names = [f"run_it005_class00{k}.mrc" for k in (1, 2, 3)]
    for k, name in enumerate(names):
        maps.write_map(name, np.full((16,) * 3, k), PIXEL)
    classes = {
        "rlnReferenceImage": names,
        "rlnClassDistribution": [0.2, 0.5, 0.3],
        "rlnEstimatedResolution": [30.0, 40.0, 25.0],
    }
    write_star({"model_classes": pd.DataFrame(classes)}, "run_it005_model.star")
    return "run_it005_model.star"


@pytest.mark.parametrize(("flag", "expected"), [("--select_largest_class", 1), ("--select_highest_resol", 2)])
def test_with_c1_the_chosen_classs_map_is_copied(model, flag, expected):
    assert align_symmetry.main(["--i", model, "--o", "initial.mrc", "--sym", "C1", "--apply_sym", flag]) == 0
    assert (mrcfile.read("initial.mrc") == expected).all()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--sym", "X9"], "--sym X9: the embedded engine has Cn, Dn, T, O, I, I1, I2, I3 and I4."),
        (["--sym", "C2"], "run_it005_model.star has 3 classes; give --select_largest_class."),
        (
            ["--sym", "C2", "--select_largest_class", "--maxres", "900"],
            "--maxres 900 leaves nothing of the map; give at most 64.",
        ),
        (["--sym", "C2", "--nr_uniform", "0"], "--nr_uniform must be at least 1."),
    ],
)
def test_a_mistake_is_refused_with_one_sentence(model, words, sentence):
    with pytest.raises(EngineError) as error:
        align_symmetry.main(["--i", model, "--o", "x.mrc", *words])
    assert str(error.value).endswith(sentence)
    assert str(error.value).count("\n") == 0


def test_a_map_has_no_class_to_select(model):
    with pytest.raises(EngineError, match=r"--i must be a model.star, not run_it005_class001.mrc"):
        align_symmetry.main(["--i", "run_it005_class001.mrc", "--sym", "C1", "--select_largest_class"])


# ---------------------------------------------------------------- expansion


@pytest.fixture
def particles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    angles = Rotation.random(5, random_state=6).inv().as_euler("ZYZ", degrees=True)
    table = pd.DataFrame(
        {
            "rlnTomoName": "TS_01",
            "rlnTomoParticleName": [f"TS_01/{k}" for k in range(5)],
            **{f"rlnCenteredCoordinate{a}Angst": np.arange(5.0) for a in "XYZ"},
            **{f"rlnAngle{name}": angles[:, k] for k, name in enumerate(("Rot", "Tilt", "Psi"))},
            "rlnRandomSubset": [1, 2, 2, 1, 2],
        }
    )
    write_star({"general": {"rlnTomoSubTomosAre2DStacks": 1}, "particles": table}, "particles.star")
    return "particles.star"


@pytest.mark.parametrize(("group", "order"), [("C1", 1), ("D3", 6), ("O", 24)])
def test_each_particle_is_there_once_for_each_rotation_of_the_group(particles, group, order):
    assert particle_symmetry_expand.main(["--i", particles, "--o", "out/expanded.star", "--sym", group]) == 0
    before, after = ParticleSet.read(particles), ParticleSet.read("out/expanded.star")
    assert len(after) == order * len(before)
    assert list(after.half_sets) == list(np.repeat(before.half_sets, order))
    assert after.names == list(np.repeat(before.names, order))
    turns = np.einsum("nji,nsjk->nsik", before.rotations, after.rotations.reshape(-1, order, 3, 3))
    for turn in turns:
        distance = np.abs(turn[:, None] - symmetry.rotations(group)).max(axis=(2, 3))
        assert sorted(distance.argmin(axis=1)) == list(range(order))
        assert distance.min(axis=1).max() < 1e-6


def test_an_unknown_group_ends_with_status_1_before_anything_is_written(particles, capsys, tmp_path):
    words = ["relion_particle_symmetry_expand", "--i", particles, "--o", "expanded.star", "--sym", "X9"]
    assert engine.main(words) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "expanded.star").exists()


def test_a_helix_is_refused_by_name(particles):
    with pytest.raises(EngineError, match="does not have --helix"):
        particle_symmetry_expand.main(["--i", particles, "--helix"])


def test_particles_without_angles_are_refused(particles):
    tables = read_star(particles)
    tables["particles"] = tables["particles"].drop(columns="rlnAngleTilt")
    write_star(tables, particles)
    with pytest.raises(EngineError, match="particles has no column rlnAngleTilt"):
        particle_symmetry_expand.main(["--i", particles, "--sym", "C2"])
