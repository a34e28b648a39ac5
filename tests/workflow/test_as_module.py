"""Another workflow imports this one as a module: its config holds a project's four lines, and rules have new names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fake_relion
import pytest
import warm
import yaml
from conftest import ROOT
from small_inputs import write_inputs

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("module")]

IMPORTER = """
configfile: "mine.yaml"

module stacycle:
    snakefile: "SNAKEFILE"
    config: config

use rule * from stacycle as sta_*

onstart:
    stacycle.onstart()

rule mine:
    input: "results/bin4/extract/particles.star"
    output: "mine.txt"
    default_target: True
    shell: "PYTHON -c 'import theirs; print(theirs.WORD)' > {output}"
"""


@pytest.fixture
def importer(tmp_path: Path) -> Path:
    """A folder with an importer's Snakefile and config, which imports a library of its own by PYTHONPATH."""
    config = {
        "inputs": [write_inputs(tmp_path)],
        "particle": {"diameter": 350},
        "engine": {"kind": "relion", "bin": str(fake_relion.install(tmp_path / "relion"))},
        "rounds": {"bin4": {"steps": ["extract", "reconstruct"]}, "bin2": None, "bin1": None},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    write(tmp_path)
    (tmp_path / "library").mkdir()
    (tmp_path / "library/theirs.py").write_text("WORD = 'found'\n")
    return tmp_path


def write(folder: Path, config: str = "config: config") -> None:
    text = IMPORTER.replace("SNAKEFILE", str(ROOT / "Snakefile")).replace("PYTHON", sys.executable)
    (folder / "Snakefile").write_text(text.replace("config: config", config))


def snakemake(folder: Path, *arguments: str, pythonpath: str = "") -> subprocess.CompletedProcess:
    words = [warm.python(), "-m", "snakemake", "--cores", "2", *arguments]
    environment = os.environ | {"PYTHONPATH": pythonpath, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment)


def test_an_importer_with_a_projects_lines_runs_steps_and_keeps_its_own_library(importer: Path) -> None:
    done = snakemake(importer, pythonpath=str(importer / "library"))
    assert done.returncode == 0, done.stderr[-4000:]
    assert (importer / "mine.txt").read_text() == "found\n"
    assert (importer / "results/bin4/extract/particles.star").stat().st_size > 0
    assert "[preflight] tilt series: few tilts in 1 of 1 tilt series" in done.stdout + done.stderr


def test_a_part_of_the_importers_config_will_do(importer: Path) -> None:
    config = {"sta": yaml.safe_load((importer / "mine.yaml").read_text()), "other": 1}
    (importer / "mine.yaml").write_text(yaml.safe_dump(config))
    write(importer, 'config: config["sta"]')
    done = snakemake(importer, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert {"sta_inputs", "sta_extract", "mine"} <= set((done.stdout + done.stderr).split())


def test_the_plan_is_the_workflows_and_its_steps_have_their_own_names(importer: Path) -> None:
    done = snakemake(importer, "sta_plan")
    assert done.returncode == 0, done.stderr
    assert "Plan: 5 jobs in 1 round, 0 done" in done.stdout
    assert "bin4   extract " in done.stdout


def test_a_mistake_in_the_importers_config_is_a_sentence(importer: Path) -> None:
    config = yaml.safe_load((importer / "mine.yaml").read_text())
    config["particle"]["diametre"] = 3
    (importer / "mine.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(importer, "--dry-run")
    assert done.returncode != 0
    assert "particle.diametre: unknown key; did you mean diameter?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_prefix_of_all_paths_is_refused(importer: Path) -> None:
    write(importer, 'config: config\n    prefix: "sta"')
    done = snakemake(importer, "--dry-run")
    assert done.returncode != 0
    assert "module: leave out prefix" in done.stdout + done.stderr
