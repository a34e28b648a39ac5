"""The limit of simulated data, and what small sets are held against."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import import_faults
import limit
import small_sets
from import_faults import Tables
from staengine.numerics import maps
from staengine.simulation import truth
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.tomograms import load_tomograms

SMALL = SimulationSettings(
    **{"tomos": 2, "particles": 12, "junk": 0.25, "fraction_b": 0, "size": 200, "depth": 120, "angpix": 8.0},
    **{"diameter": 200.0, "tilt_step": 20.0, "snr": 100.0, "shift_error": 8.0, "angle_error": 12.0},
)  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A simulated set as a project's inputs; the working folder."""
    with contextlib.chdir(tmp_path_factory.mktemp("small")):
        simulate(replace(SMALL, o=Path(), root="."))
        Tables.read(Path()).write(limit.INPUTS)
        yield Path()


def test_the_oracle_has_true_poses_and_tilt_series_and_no_junk(project: Path) -> None:
    known = truth.read_truth(project)
    picked = import_faults.average(limit.INPUTS, Path("picked"), 40)
    maps.write_map("picked.mrc", picked, 8.0)
    assert (
        limit.oracle(known, "picked.mrc")
        < 0.7 * truth.compare_map(["picked.mrc"], known, None)["fsc05_angst"]
    )
    placed = ParticleSet.read(limit.ORACLE / "particles.star")
    assert len(placed) == SMALL.tomos * SMALL.particles
    error = truth.pose_error(placed, known)
    assert error.angle_deg < 1e-2
    assert error.position_angst < 1e-2
    tilts = truth.tilt_errors(load_tomograms(limit.ORACLE / "tomograms.star"), known)
    assert tilts[["shift_rms_angst", "defocus_rms_angst"]].to_numpy().max() < 1e-2


def test_a_mask_is_held_against_the_particles_mass_and_volume(project: Path) -> None:
    known, box = truth.read_truth(project), 40
    (project / "state.star").write_text(
        "data_\n\n_rlnTomoParticlesFile particles.star\n_rlnTomoTomogramsFile tomograms.star\n"
    )
    whole = np.ones((box,) * 3)
    half = whole * (np.arange(box) >= box // 2)
    found = []
    for mask in (whole, half):
        maps.write_map("mask.mrc", mask, 8.0)
        found.append(limit.mask_fit("mask.mrc", "state.star", known))
    assert found[0]["inside"] == pytest.approx(1)
    assert found[1]["inside"] == pytest.approx(0.5, abs=0.1)
    particle = (box * 8.0) ** 3 / found[0]["volume"]
    assert 1 < particle / (0.22 * SMALL.diameter**3) < 2  # the ellipsoids' volume, and some blur
    assert found[1]["volume"] == pytest.approx(found[0]["volume"] / 2)


def test_shells_are_lost_where_a_map_is_worse_than_the_one_before() -> None:
    def rung(resolution: float, nyquist: float, field: float = 480.0) -> dict:
        return {"fsc05_angst": resolution, "fsc": {"shell_angst": [None, field, nyquist]}}

    assert limit.lost_shells({"a": rung(32, 32), "b": rung(20, 16)}) == 0
    assert limit.lost_shells({"a": rung(20, 8), "b": rung(24, 8), "c": rung(20, 8)}) == pytest.approx(4)
    assert limit.lost_shells({"a": rung(12, 8), "b": rung(16, 16)}) == 0  # its pixels show no more
    assert limit.lost_shells({"a": rung(12, 8), "classes selected": rung(20, 8), "b": rung(12, 8)}) == 0


@pytest.mark.parametrize("seed", range(20))
def test_sets_are_small_noisy_and_have_junk(seed: int) -> None:
    particle = small_sets.Particle.parse("maps/some.mrc:270")
    assert particle == ("some", "maps/some.mrc", 270)
    s = small_sets.settings_of(seed, particle, Path())
    picks = s.tomos * s.particles / (1 - s.junk)
    assert 147 <= picks <= 253
    assert 0.1 <= s.junk <= 0.2
    assert 0.2 <= s.snr <= 0.5
    assert (s.map, s.diameter, s.seed) == (particle.map, 270, seed)


def test_what_is_measured_is_not_run_again_and_a_set_has_its_worst_mask(tmp_path: Path) -> None:
    fits = {"bin4": {"inside": 0.99, "volume": 2.0}, "bin2": {"inside": 0.97, "volume": 1.5}}
    figures = dict.fromkeys(small_sets.COLUMNS, 1.0)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/limit.json").write_text(json.dumps(figures | {"masks": fits}))
    found = small_sets.figures(tmp_path, cores=1)
    assert (found["least_inside"], found["most_volume"]) == (0.97, 2.0)
    median, lowest, highest = small_sets.summary([found, found | {"ratio": 1.2}, found | {"ratio": 1.1}])
    assert [line.split(" | ")[3] for line in (median, lowest, highest)] == ["1.10", "1.00", "1.20"]


def test_a_selection_of_classes_is_held_against_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picks themselves, of which nothing was rejected."""
    monkeypatch.setattr(small_sets, "run", lambda folder, cores: None)
    given = Path(__file__).parents[2] / "golden/data/classify_small/input"
    for path in given.iterdir():
        (tmp_path / path.name).symlink_to(path)
    for step in ("inputs", "bin4/select"):
        (tmp_path / "results" / step).mkdir(parents=True)
        (tmp_path / "results" / step / "particles.star").symlink_to(given / "particles.star")
    assert small_sets.of_classes(tmp_path, cores=1) == {"junk_rejected": 0, "true_kept": 1}
