"""A step is added by its module, rule, script, line of the recipe and keys of the config; then the plan lists it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

pytestmark = pytest.mark.slow

MODULE = """
from stacycle.resources.site import GPU
from stacycle.steps.step import FILES, Step, folder_of


def command(job, engine, reader=FILES):
    return ["relion_blur", "--i", job.input.reference, "--o", f"{folder_of(job)}/"]


STEP = Step("blur", "Blurring", command, device=GPU, last="blurred.mrc")
"""
RULE = """
rule blur:
    input:
        reference=reference_before("blur"),
        decided=decided_before("blur"),
    output:
        map="results/{round}/blur/blurred.mrc",
    threads: cores("blur", 8)
    resources:
        **queue("blur"),
        mem_mb=memory(16000),
        runtime=wall_time(60),
    params:
        engine=engine_kind(),
        settings=settings("blur"),
    script:
        "../scripts/blur.py"
"""
ADDED = {
    "src/stacycle/steps/blur.py": MODULE,
    "rules/blur.smk": RULE,
    "scripts/blur.py": "",
}
CHANGED = {
    "src/stacycle/recipe/rounds.py": (
        "FLOW = {\n",
        'FLOW = {\n    "blur": Flow(reference=("blurred.mrc",)),\n',
    ),
    "config/config.schema.yaml": (
        "items: {enum: [extract,",
        "items: {enum: [blur, extract,",
    ),
    "Snakefile": (
        'include: "rules/extract.smk"\n',
        'include: "rules/extract.smk"\ninclude: "rules/blur.smk"\n',
    ),
}
KEYS = """
          blur:
            type: object
            additionalProperties: false
            properties:
              width: {type: number, default: 2, description: Width in px.}
          postprocess:
"""
CONFIG = {
    "inputs": [{"tomograms": "tomograms.star", "particles": "particles.star"}],
    "rounds": {"bin4": {"steps": ["extract", "reconstruct", "blur", "mask"]}, "bin2": None, "bin1": None},
}
# A scheduler whose queues refuse all that they are given.
QUEUES = [
    *("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "false"),
    "--jobs",
    "7",
    "--cores",
    "64",
]


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    """A copy of the workflow with a step more."""
    for name in ("config", "rules", "scripts", "src", "envs"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    shutil.copy(ROOT / "Snakefile", tmp_path)
    for name, text in ADDED.items():
        (tmp_path / name).write_text(text)
    for name, (old, new) in CHANGED.items():
        text = (tmp_path / name).read_text()
        assert text.count(old) == 1, name
        (tmp_path / name).write_text(text.replace(old, new))
    schema = tmp_path / "config/config.schema.yaml"
    schema.write_text(schema.read_text().replace("\n          postprocess:\n", KEYS, 1))
    return tmp_path


def test_the_plan_lists_a_new_step_where_its_device_is(workflow: Path) -> None:
    project = workflow / "project"
    project.mkdir()
    for name in ("tomograms.star", "particles.star"):
        (project / name).write_text("data_\n")
    (project / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    defaults = ["slurm_partition=cpu", "gpu_job_slurm_partition=gpu", "gpus_per_job=2"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")),
            *("--directory", str(project), "--configfile", str(project / "config.yaml"), *QUEUES),
            *("--default-resources", *defaults, "--", "plan"),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(workflow / "src"), "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ +blur +1 +0 +gpu +2 +3 x 8 ", done.stdout, re.M), done.stdout
    assert re.search(r"^ +mask +1 +0 +cpu ", done.stdout, re.M)
