"""A particle whose symmetry is found late, run whole with the embedded engine: its axes, then a copy of each particle
for each subunit, and one subunit alone."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import Project, simulate
from scipy.spatial.transform import Rotation

import symmetry as maps_of_known_symmetry
from stacycle.files import mrc, star
from stacycle.files.star_labels import ANGLES, PARTICLE_NAME
from stacycle.inputs.orientations import to_rotation
from staengine.numerics import rotation

pytestmark = pytest.mark.slow

PARTICLES = 20
Z = np.array([0, 0, 1])
TURN = Rotation.from_euler("zyz", [20, 50, 0], degrees=True)  # of the particle, whose axis was z
CONFIG = {
    "inputs": [{"tomograms": "tomograms.star", "particles": "particles.star"}],
    "particle": {"diameter": 220},
    "engine": {"kind": "embedded"},
    "rounds": {
        "bin4": {
            "steps": [
                *("extract", "reconstruct", "align_symmetry", "mask", "refine3d", "postprocess"),
                *("expand_unit", "mask_unit", "class3d_unit", "select_unit", "reconstruct_unit"),
            ],
            "parts": ["unit"],
            "symmetry": "C6",
            "box": 24,
            "align_symmetry": {"lowpass": 50},
            "mask": {"lowpass": 50},
            "refine3d": {"lowpass": 60, "seed": 1},
            "mask_unit": {"sphere": {"center": [60, 0, 0], "radius": 60}},
            "class3d_unit": {"classes": 2, "T": [0.5], "repeats": 1, "iterations": 3, "seed": 1},
        },
        "bin2": None,
        "bin1": None,
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, finished. Its particle has six subunits about an axis that is none of RELION's."""
    folder, rng = tmp_path_factory.mktemp("symmetry"), np.random.default_rng(1)
    straight = maps_of_known_symmetry.particle(maps_of_known_symmetry.Case("C6", "C6"), rng)
    density = rotation.turned(straight, TURN.as_matrix())
    mrc.write_map(folder / "particle.mrc", density, maps_of_known_symmetry.PIXEL)
    few = {"tomos": 2, "particles": PARTICLES // 2, "junk": 0, "fraction_b": 0, "snr": 1.5, "seed": 3}
    few |= {"map": folder / "particle.mrc", "diameter": 220}
    simulate(folder, **few, size=320, depth=160, angpix=5, tilt_step=12)
    project = Project(folder, CONFIG)
    done = project.snakemake()
    assert done.returncode == 0, done.stderr[-4000:]
    return project


def particles(project: Project, step: str) -> pd.DataFrame:
    return star.read(project.folder / f"results/bin4/{step}/particles.star")["particles"]


def axes(project: Project, step: str, in_particle: np.ndarray) -> np.ndarray:
    """Where an axis of the particle (3,) points in the tomogram, for each particle (n, 3)."""
    return to_rotation(particles(project, step)[list(ANGLES)]).apply(in_particle)


def test_the_particles_are_turned_to_the_axis_that_the_map_has(project: Project, record_property) -> None:
    decision = json.loads((project.folder / "results/bin4/align_symmetry/decision.json").read_text())
    assert decision["choice"] == {"symmetry": "C6"}
    true = axes(project, "extract", TURN.apply(Z))
    cosines = (true * axes(project, "align_symmetry", Z)).sum(1)
    off = np.degrees(np.arccos(abs(np.median(cosines))))
    record_property("axis of a symmetry that was found: degrees off, median", f"{off:.1f}")
    assert off < 4


def test_each_particle_has_a_copy_for_each_subunit(project: Project) -> None:
    whole, copies = particles(project, "align_symmetry"), particles(project, "expand_unit")
    assert len(whole) == PARTICLES
    assert copies[PARTICLE_NAME].value_counts().tolist() == [6] * PARTICLES
    for _, of_one in copies.groupby(PARTICLE_NAME):
        turns = to_rotation(of_one[list(ANGLES)])
        steps = np.degrees((turns[0].inv() * turns).magnitude())
        assert np.allclose(sorted(steps), [0, 60, 60, 120, 120, 180], atol=0.01)


def test_the_average_is_of_the_copies_that_were_selected(project: Project) -> None:
    selected = particles(project, "select_unit")
    log = (project.folder / "results/bin4/reconstruct_unit/job.json").read_text()
    assert 0 < len(selected) <= 6 * PARTICLES
    assert "select_unit" in log
    assert "--sym C1" in log or "--sym" not in log, "a subunit has no symmetry"


def test_the_report_shows_how_well_the_symmetry_fits(project: Project) -> None:
    page = (project.folder / "results/report.html").read_text()
    assert re.search(r"<h3[^>]*>Symmetry", page)
    assert "Turned by C6 the map agrees with itself by" in page


def test_a_finished_project_has_nothing_to_do(project: Project) -> None:
    assert project.jobs() == []


def test_a_symmetry_that_the_map_has_not_is_refused_with_a_sentence(project: Project) -> None:
    done = project.snakemake(
        "results/bin4/align_symmetry/decision.json", change={"rounds": {"bin4": {"symmetry": "C5"}}}
    )
    assert done.returncode != 0
    assert "ERROR: the map has no C5 symmetry" in done.stderr
    assert "set symmetry: C6, which fits" in done.stderr
    assert "Traceback" not in done.stderr
