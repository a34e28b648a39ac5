"""How far particles moved from their picks, and in each step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import CENTRED, ORIGINS
from stacycle.report import particle_figures, particle_table, shift_panel
from stacycle.report.plots import Plot
from stacycle.report.project import Project

PICKS = "results/bin4/extract/particles.star"
NAMES = [f"TS_1/{number}" for number in range(40)]
ROUND = {"name": "bin4", "binning": 4, "steps": ["extract", "align", "class3d", "refine3d", "cycle"]}
SWEEPS = [
    {
        "round": "bin4",
        "cycle": 1,
        "decision": f"{folder}/decision.json",
        "state": f"{folder}/optimisation_set.star",
    }
    for folder in ("results/bin4/cycle1/ctfrefine", "results/bin4/cycle1/polish")
]


def write(folder: str, places: np.ndarray, names: list[str], origins: float = 0, set_name: str = "") -> None:
    """A state of particles, with `origins` Å along x that its coordinates do not have in them."""
    table = pd.DataFrame(places, columns=CENTRED).assign(rlnTomoName="TS_1", rlnTomoParticleName=names)
    table[CENTRED[0]] += origins
    optics = pd.DataFrame([{"rlnOpticsGroup": 1, "rlnImagePixelSize": 16.0}])
    table = table.assign(**{**dict.fromkeys(ORIGINS, 0.0), ORIGINS[0]: origins})
    star.write(f"{folder}/particles.star", {"optics": optics, "particles": table})
    OptimisationSet(f"{folder}/particles.star", "tomograms.star").write(
        f"{folder}/{set_name}optimisation_set.star"
    )


def a_job(folder: str, offsets: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    record = {"command": f"relion_refine --o {folder}/run --offset_range {offsets} --ctf"}
    Path(folder, "job.json").write_text(json.dumps(record))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Forty picks. The alignment moves each by 0 to 39 Å along y, ten particles are lost, refinement moves the others
    by 5 Å along x, CTF refinement by nothing, and polishing by 2 Å along z."""
    monkeypatch.chdir(tmp_path)
    places = np.random.default_rng(1).uniform(-500, 500, (40, 3))
    write("results/bin4/extract", places, NAMES)
    places = places + np.arange(40.0)[:, None] * [0, 1, 0]
    write("results/bin4/align_poses", places, NAMES, origins=25)
    a_job("results/bin4/align/T1", "2")
    refined = places + np.array([5, 0, 0])
    write("results/bin4/refine3d", refined[30::-1], NAMES[30::-1], set_name="run_")
    a_job("results/bin4/refine3d", "0.25")
    write("results/bin4/cycle1/ctfrefine", refined[:30], NAMES[:30])
    write("results/bin4/cycle1/polish", refined[:30] + np.array([0, 0, 2]), NAMES[:30])
    return Project(rounds=[ROUND], steps_with_resolution=SWEEPS)


def made(project: Project, diameter: float = 60) -> Plot | None:
    return shift_panel.shifts(project, particle_table.read(PICKS), PICKS, diameter)


def test_distances_are_those_of_each_step_and_of_all_together(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    monkeypatch.setattr(
        shift_panel, "_caption", lambda steps, total, _: seen.update(steps=steps, total=total) or "said"
    )
    made(project)
    align, refine, polish = seen["steps"]  # CTF refinement moved none
    assert [one.step for one in seen["steps"]] == ["bin4/align", "bin4/refine3d", "bin4/cycle1/polish"]
    assert np.sort(align.distances) == pytest.approx(np.arange(40), abs=1e-3)
    assert refine.distances == pytest.approx(np.full(31, 5), abs=1e-3)
    assert polish.distances == pytest.approx(np.full(30, 2), abs=1e-3)
    assert np.sort(seen["total"]) == pytest.approx(np.sqrt(np.arange(30) ** 2 + 25 + 4), abs=1e-3)
    assert (align.searched, refine.searched) == (32, 4)
    assert np.isnan(polish.searched)
    assert (align.beyond, refine.beyond, polish.beyond) == (7, 31, 0)


def test_the_caption_says_how_far_and_how_many_further_than_was_searched(project: Project) -> None:
    found = made(project)
    assert len(found.svgs) == 2
    assert found.files == (PICKS, "results/bin4/cycle1/polish/particles.star")
    assert (
        "half of them less than 15.5 Å, 95 % less than 28.1 Å, none further than the particle's radius"
        in found.caption
    )
    assert found.caption.endswith("searched: 7 of 40 in bin4/align, 31 of 31 in bin4/refine3d")
    assert ", 10 further than the particle's radius" in made(project, 40).caption
    assert "radius" not in made(project, 0).caption


def test_particles_that_cannot_be_told_apart_are_left_out(project: Project) -> None:
    write("results/bin4/extract", np.zeros((40, 3)), ["a"] * 40)
    assert made(project) is None


def test_without_a_step_that_moves_particles_there_is_no_plot(project: Project) -> None:
    assert shift_panel.shifts(Project(), particle_table.read(PICKS), PICKS, 60) is None
    head = ROUND | {"steps": ["extract", "refine3d_head"], "parts": ["head"]}
    write("results/bin4/refine3d_head", np.zeros((40, 3)), NAMES)
    assert shift_panel.shifts(Project(rounds=[head]), particle_table.read(PICKS), PICKS, 60) is None


def test_a_histogram_has_all_particles_and_says_if_some_lie_beyond_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, counts = [], []
    hist, label = Axes.hist, Axes.set
    monkeypatch.setattr(
        Axes, "hist", lambda self, *given, **o: counts.append(hist(self, *given, **o)[0].sum())
    )
    monkeypatch.setattr(Axes, "set", lambda self, **o: labels.append(o["xlabel"]) or label(self, **o))
    particle_figures.shifts_figure(np.linspace(1, 9, 300), tmp_path / "near.png")
    particle_figures.shifts_figure(np.append(np.linspace(1, 9, 300), 200), tmp_path / "far.png")
    assert counts == [300, 301]
    assert labels == [
        "Distance from the pick (Å)",
        "Distance from the pick (Å); the last bar has all that moved further",
    ]
