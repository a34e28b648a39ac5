"""Picks without angles to a part of the particle, run whole with the embedded engine: initial models, local resolution,
focus. Then changed: what is done again, and what is not."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import Project, simulate

from stacycle.files import mrc, star
from stacycle.files.star_labels import ANGLES, CENTRED
from stacycle.provenance import audit
from staengine.simulation import truth
from staengine.tilt_series.particles import ParticleSet

pytestmark = pytest.mark.slow

PARTICLES, TWICE = 32, 3  # that are picked, and of these picked once more
STEPS = ["extract", "duplicates", "align", "reconstruct", "class3d", "select"]
STEPS += ["mask", "refine3d", "postprocess", "local_resolution"]
STEPS += ["mask_head", "refine3d_head", "postprocess_head"]
CONFIG = {
    "inputs": [{"tomograms": "tomograms.star", "particles": "picks.star"}],
    "particle": {"diameter": 260},
    "engine": {"kind": "embedded"},
    "rounds": {
        "bin4": {
            "steps": STEPS,
            "start": "initial_model",
            "parts": ["head"],
            "box": 24,
            "initial_model": {"seeds": 2, "iterations": 20, "mask_diameter": 280},
            "align": {"iterations": 2, "sampling": 15, "offset_step": 1, "seed": 1},
            "class3d": {"classes": 2, "T": [0.5], "repeats": 1, "iterations": 3, "seed": 1},
            "refine3d": {"seed": 1},
            "mask_head": {"sphere": {"center": [0, 0, 60], "radius": 70}},
            "refine3d_head": {"seed": 1},
        },
        "bin2": None,
        "bin1": None,
    },
}
REPORT = {"Write the report", "Put the final map together"}
PARTS = {"bin4: show the parts together"}
AFTER_HEAD = {"bin4: postprocess_head"} | PARTS | REPORT
HEAD = {
    "bin4: refine3d_head, two independent halves",
    *(f"bin4: particles of refine3d_head with the poses {when} it" for when in ("before", "after")),
    *(f"bin4: reconstruct with the poses {when} refine3d_head" for when in ("before", "after")),
    "bin4: keep the poses after refine3d_head, or those before it",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, finished. Some particles are picked twice, and no pick has angles."""
    folder = tmp_path_factory.mktemp("picks")
    few = {"tomos": 2, "particles": PARTICLES // 2, "junk": 0, "fraction_b": 0, "snr": 1.5, "seed": 3}
    simulate(folder, **few, size=320, depth=160, angpix=5, tilt_step=12)
    picks = star.read(folder / "particles.star")["particles"].drop(columns=list(ANGLES))
    again = picks.head(TWICE).assign(**{CENTRED[0]: picks[CENTRED[0]].head(TWICE) + 8})
    star.write(folder / "picks.star", {"particles": pd.concat([picks, again], ignore_index=True)})
    project = Project(folder, CONFIG)
    done = project.snakemake()
    assert done.returncode == 0, done.stderr[-4000:]
    return project


def decision(project: Project, step: str) -> dict:
    return json.loads((project.folder / f"results/bin4/{step}/decision.json").read_text())


def head(**steps: dict) -> dict:
    return {"rounds": {"bin4": {f"{step}_head": settings for step, settings in steps.items()}}}


def test_particles_picked_twice_stay_once(project: Project) -> None:
    kept = star.read(project.folder / "results/bin4/duplicates/particles.star")["particles"]
    assert len(kept) == PARTICLES
    assert decision(project, "duplicates")["by"] == "rule"


def test_two_initial_models_agree_and_one_goes_on(project: Project) -> None:
    found = decision(project, "initial_model")
    assert found["by"] == "rule"
    assert found["choice"]["variant"] in ("seed1", "seed2")
    assert found["numbers"]["resolution"] <= 78, "30 % of the diameter is asked for"


def test_poses_that_were_found_from_nothing_are_the_true_ones(
    project: Project, record_property, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    known = truth.read_truth(".")
    error = truth.pose_error(ParticleSet.read("results/bin4/refine3d/run_data.star"), known)
    record_property("picks without angles, refined: degrees off, median", f"{error.angle_deg:.1f}")
    assert error.angle_deg < 4


def test_the_local_resolution_can_be_looked_at(project: Project) -> None:
    folder = project.folder / "results/bin4/local_resolution"
    within = decision(project, "local_resolution")["choice"]
    assert 40 <= within["finest"] <= within["median"] <= within["coarsest"]
    assert (folder / "histogram.png").read_bytes().startswith(b"\x89PNG")
    opened = re.findall(r'^open "(.+?)"', (folder / "local_resolution.cxc").read_text(), re.MULTILINE)
    assert opened
    assert all((folder / path).is_file() for path in opened)


def test_the_composite_is_the_part_within_its_mask_and_the_consensus_elsewhere(project: Project) -> None:
    results = project.folder / "results/bin4"
    composite, consensus, part, mask = (
        np.asarray(mrc.voxels(results / path), float)
        for path in (
            "parts/composite.mrc",
            "postprocess/postprocess.mrc",
            "postprocess_head/postprocess.mrc",
            "mask_head/mask.mrc",
        )
    )
    assert np.allclose(composite[mask == 0], consensus[mask == 0])
    inside = mask == 1
    assert np.corrcoef(composite[inside], part[inside])[0, 1] > 0.9999
    opened = re.findall(r"^open (\S+)", (results / "parts/parts.cxc").read_text(), re.MULTILINE)
    assert [(results / "parts" / path).resolve().parent.name for path in opened] == [
        "postprocess",
        "postprocess_head",
    ]


def test_the_ladder_has_a_row_of_the_part_after_that_of_the_whole(project: Project) -> None:
    ladder = pd.read_csv(project.folder / "results/ladder.tsv", sep="\t")
    assert ladder["step"].tolist() == ["Refine3D, post-processed", "Refine3D of head, post-processed"]
    assert ladder["particles"].tolist() == [PARTICLES, PARTICLES]
    assert (ladder["resolution"] <= 60).all()


@pytest.mark.parametrize(
    "shown",
    [
        "<h3[^>]*>Duplicates",
        "<h3[^>]*>3D initial model",
        "<h3[^>]*>Local resolution",
        "<h3[^>]*>3D auto-refine: head",
        "<h3[^>]*>Parts together",
        "seed1 and seed2 agree best",
        "Refine3D of head, post-processed",
    ],
)
def test_the_report_shows(shown: str, project: Project) -> None:
    assert re.search(shown, (project.folder / "results/report.html").read_text())


def test_nothing_is_of_mixed_states_or_incomplete(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    assert audit.audit("results") == []


def test_a_finished_project_has_nothing_to_do(project: Project) -> None:
    assert project.jobs() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (head(mask={"sphere": {"center": [0, 0, 50], "radius": 70}}), {"bin4: create mask_head"} | HEAD),
        (head(refine3d={"lowpass": 55}), HEAD),
        (head(postprocess={"bfactor": -50}), set()),
    ],
    ids=["mask", "refine3d", "postprocess"],
)
def test_a_changed_setting_of_the_part_reruns_the_part_and_nothing_else(
    project: Project, change: dict, expected: set[str]
) -> None:
    assert set(project.jobs(change)) == expected | AFTER_HEAD


def test_more_seeds_make_only_their_models_anew(project: Project) -> None:
    found = project.jobs({"rounds": {"bin4": {"initial_model": {"seeds": 3}}}})
    made = [job for job in found if job.startswith("bin4: initial model, ")]
    assert made == ["bin4: initial model, seed3"]


def test_a_part_that_is_made_anew_goes_into_the_composite_and_leaves_the_consensus(project: Project) -> None:
    results = project.folder / "results/bin4"
    made = [results / path for path in ("postprocess/postprocess.mrc", "local_resolution/relion_locres.mrc")]
    composite = results / "parts/composite.mrc"
    before, was = [path.stat().st_mtime_ns for path in made], composite.read_bytes()
    change = head(postprocess={"bfactor": -1500})
    done = project.snakemake(change=change)
    assert done.returncode == 0, done.stderr[-4000:]
    assert composite.read_bytes() != was
    assert [path.stat().st_mtime_ns for path in made] == before
    assert project.jobs(change) == []
