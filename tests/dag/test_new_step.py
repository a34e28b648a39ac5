"""A step is added in four files: its module, rule, script, and its settings beside those of the others."""

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
        unpack(before("blur", "reference")),
    output:
        map="results/{round}/blur/blurred.mrc",
    log:
        "logs/{round}/blur.log",
    threads: cores("blur", 8)
    resources:
        **queue("blur"),
        mem_mb=memory(16000),
        runtime=wall_time(60),
    params:
        step="blur",
        engine=engine,
        settings=settings("blur"),
    script:
        "../scripts/blur.py"
"""
ADDED = {
    "src/stacycle/steps/blur.py": MODULE,
    "rules/blur.smk": RULE,
    "scripts/blur.py": "",
}
# The only file that is changed, and what is put before which of its lines.
SETTINGS = "src/stacycle/recipe/step_settings.py"
CHANGES = {
    "class Choose(Section):": '''class Blur(Section):
    flow: ClassVar = Flow(reference=("blurred.mrc",), needs=("reference",))

    width: Positive = 2
    """Width in px."""


''',
    "]\nSTEPS:": '    "blur",\n',
    "    cycle: Cycle = LEFT_OUT": "    blur: Blur = LEFT_OUT\n",
}
CONFIG = {
    "inputs": [{"tomograms": "tomograms.star", "particles": "particles.star"}],
    "rounds": {
        "bin4": {
            "steps": ["extract", "reconstruct", "blur", "mask"],
            "blur": {"width": 3},
            "mask": {"lowpass": 50},
        },
        "bin2": None,
        "bin1": None,
    },
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
            ROOT / name,
            tmp_path / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
    shutil.copy(ROOT / "Snakefile", tmp_path)
    for name, text in ADDED.items():
        (tmp_path / name).write_text(text)
    text = (tmp_path / SETTINGS).read_text()
    for line, addition in CHANGES.items():
        assert text.count(line) == 1, line
        text = text.replace(line, addition + line)
    (tmp_path / SETTINGS).write_text(text)
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
