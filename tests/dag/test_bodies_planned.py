"""A multi-body refinement is planned: its job takes the refinement, the masks of its bodies, and all decisions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from planned import planned

from stacycle.steps.registry import command_of_rule

GOLDEN = ROOT / "tests/golden/data/multibody"
STEPS = ["extract", "reconstruct", "mask", "refine3d", "postprocess", "mask_large", "mask_small", "multibody"]
CONFIG = {
    "inputs": [{"tomograms": "set/tomograms.star", "particles": "set/particles.star"}],
    "particle": {"diameter": 330},
    "engine": {"kind": "relion", "scratch": None},
    "cleanup": {"iterations": "needed"},
    "rounds": {
        "bin4": {
            "steps": [*STEPS, "class3d", "select"],
            "parts": ["small", "large"],
            "extract": {"stack2d": False},
            "mask": {"lowpass": 50},
            "refine3d": {"lowpass": 60},
            "mask_large": {"sphere": {"center": [0, 0, 40], "radius": 80}},
            "multibody": {
                "bodies": {
                    "small": {"mask": "mask_small"},
                    "large": {"mask": "mask_large"},
                    "own": {"mask": "m/own.mrc"},
                }
            },
        },
        "bin2": {"steps": ["extract", "reconstruct"]},
        "bin1": None,
    },
}


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("multibody")
    for name in ("set/tomograms.star", "set/particles.star", "m/own.mrc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("data_\n")
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    with planned(folder, config) as found:
        yield found


def job_of(workflow: Any, rule: str) -> Any:
    (found,) = (job for job in workflow.dag.jobs if job.rule.name == rule and "head" not in str(job.output))
    return found


def test_it_takes_the_refinement_the_masks_and_every_decision_before_it(workflow: Any) -> None:
    job = job_of(workflow, "multibody")
    assert job.input.consensus == "results/bin4/refine3d/run_data.star"
    masks = ["results/bin4/mask_small/mask.mrc", "results/bin4/mask_large/mask.mrc", "m/own.mrc"]
    assert list(job.input.masks) == masks
    assert list(job.input.decided) == ["results/bin4/refine3d_poses/state.json"]
    assert list(job.params.settings["bodies"]) == ["small", "large", "own"]
    assert {"results/bin4/multibody/run_data.star", "results/bin4/multibody/decision.json"} <= set(job.output)


def test_only_the_report_and_the_cleanup_take_what_it_leaves(workflow: Any) -> None:
    after = workflow.dag.depending[job_of(workflow, "multibody")]
    assert {job.rule.name for job in after} == {"report", "final", "cleanup"}


def test_what_follows_it_starts_from_the_refinement(workflow: Any) -> None:
    folder = "results/bin4/refine3d_poses"
    for job in workflow.dag.jobs:
        if job.rule.name == "class3d":
            assert list(job.input.state) == [f"{folder}/optimisation_set.star", f"{folder}/state.json"]


def test_the_job_that_is_planned_has_relions_command_line(
    workflow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN / "refs", "results/bin4/refine3d")
    job, make = job_of(workflow, "multibody"), command_of_rule("multibody")
    assert make
    argv = make(job, {"pool": 3, "scratch": None}, *())
    assert argv[argv.index("relion_refine_mpi") :][:5] == [
        *("relion_refine_mpi", "--continue", "results/bin4/refine3d/run_it003_optimiser.star"),
        *("--o", "results/bin4/multibody/run"),
    ]
    assert argv[argv.index("--multibody_masks") + 1] == "results/bin4/multibody_bodies/bodies.star"


def test_particles_of_that_round_are_extracted_in_3d_and_of_the_next_as_stacks(workflow: Any) -> None:
    found = {
        job.wildcards.round: job.params.settings["stack2d"]
        for job in workflow.dag.jobs
        if job.rule.name == "extract"
    }
    assert found == {"bin4": False, "bin2": True}
