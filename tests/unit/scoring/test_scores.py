"""Scores of RELION's own refinement, and the images that they are made of, beside the engine's."""

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.spatial.transform import Rotation

from stacycle.decisions.score import decide_cut
from stacycle.errors import UserError
from stacycle.files import star
from stacycle.scoring.scores import Signal, score_particles
from stacycle.scoring.slices import Components, Density
from stacycle.scoring.tilt_series import TiltSeries
from staengine.numerics import projector
from staengine.tilt_series import tomograms, windows

GOLDEN = ROOT / "tests/golden/data"
HALVES = [f"refine/run_half{half}_class001_unfil.mrc" for half in (1, 2)]
STATE = "refine/run_optimisation_set.star"


@pytest.fixture(autouse=True)
def _in_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(GOLDEN)
        return score_particles(STATE, HALVES, diameter=260, threads=2)


def test_all_junk_of_relions_own_refinement_is_found(scores: pd.DataFrame) -> None:
    place = ["rlnTomoName", "rlnCenteredCoordinateXAngst", "rlnCenteredCoordinateYAngst"]
    picks = star.read("input/particles.star")["particles"][place].round(2)
    kinds = picks.assign(kind=star.read("input/truth.star")["truth"]["trueClass"])
    refined = star.read("refine/run_data.star")["particles"][place].round(2)
    is_junk = (refined.merge(kinds, on=place, how="left")["kind"] == "junk").to_numpy()
    assert is_junk.sum() == 8
    _, table = decide_cut(scores, "auto", "score.cut")
    assert (table["flagged"] == is_junk).all()
    assert 0.9 < scores["score"][~is_junk].median() < 1.3
    assert scores["score"][is_junk].max() < 0.3
    assert ((scores["gain"] > 0) == ~is_junk).mean() > 0.95


def test_wrong_poses_score_near_nothing(tmp_path: Path, scores: pd.DataFrame) -> None:
    tables = star.read("refine/run_data.star")
    particles = tables["particles"].iloc[:12].copy()
    particles["rlnAngleTilt"] += 90
    particles["rlnOriginXAngst"] += 150
    star.write(tmp_path / "particles.star", {**tables, "particles": particles})
    state = {
        "rlnTomoParticlesFile": tmp_path / "particles.star",
        "rlnTomoTomogramsFile": "input/tomograms.star",
    }
    star.write(tmp_path / "set.star", {"": star.simple(**state)})
    wrong = score_particles(tmp_path / "set.star", HALVES, diameter=260)
    assert wrong["score"].median() < 0.3 * scores["score"][:12].median()


def test_a_particle_is_not_compared_with_its_own_half(tmp_path: Path) -> None:
    """With no signal in the other half's map, nothing is left of the score of the first half's particles."""
    signal = Signal.of(HALVES, 260)
    empty = Density(np.zeros_like(signal.maps[1].transform))
    with pytest.MonkeyPatch.context() as patch:
        half_empty = replace(signal, maps=(signal.maps[0], empty))
        patch.setattr(Signal, "of", lambda *_: half_empty)
        found = score_particles(STATE, HALVES, diameter=260)
    half = star.read("refine/run_data.star")["particles"]["rlnRandomSubset"]
    assert (found["score"][half == 1] == 0).all()
    assert (found["score"][half == 2] != 0).all()


def test_ctf_dose_and_geometry_are_the_engines() -> None:
    ours, theirs = (
        read("input/tomograms.star")["TS_01"] for read in (TiltSeries.read_all, tomograms.load_tomograms)
    )
    components, pixel = Components.within(32, 15), 20.0
    position, visible = np.array([300.0, -200.0, 80.0]), np.arange(len(theirs)) % 3 > 0
    kx, ky = components.kx / (32 * pixel), components.ky / (32 * pixel)
    offset = theirs.defocus_offset(position[None])[0, visible]
    expected = windows.transfer_functions(theirs, offset, visible, 32, pixel)
    expected = expected * windows.exposure_weights(theirs, 32, pixel)[visible]
    found = ours.transfer(position, visible, kx, ky)
    assert found == pytest.approx(expected[:, components.ky, components.kx], abs=2e-3)
    assert ours.rotations == pytest.approx(theirs.rotations)


def test_slices_are_the_engines() -> None:
    with mrcfile.open(HALVES[0]) as file:
        volume = file.data.copy()
    components = Components.within(len(volume), 12)
    matrices = Rotation.random(5, random_state=3).as_matrix()
    expected = np.empty((1, 2, 5, len(components.kx)), np.float32)
    transform = projector.padded_transform(volume, 2)
    kx, ky = components.kx.astype(np.int32), components.ky.astype(np.int32)
    projector.project(transform, 2, matrices[None].astype(np.float32), kx, ky, expected)
    found = Density.of(volume).slices(matrices, components) / len(volume) ** 2
    assert np.abs(found - (expected[0, 0] + 1j * expected[0, 1])).max() < 1e-3 * np.abs(found).max()


def test_other_images_than_the_half_maps_are_refused(tmp_path: Path) -> None:
    small = tmp_path / "half.mrc"
    with mrcfile.new(small) as file:
        file.set_data(np.random.default_rng(1).normal(size=(20, 20, 20)).astype(np.float32))
        file.voxel_size = 20
    with pytest.raises(UserError, match=r"24 px, not \d+ of 20 px; score particles with the half maps"):
        score_particles(STATE, [small, small], diameter=260)
