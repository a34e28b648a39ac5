"""`pip install stacycle` gives the command and the workflow: the wheel, in an environment that has no checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import ROOT

from stacycle import __version__

pytestmark = pytest.mark.slow

PACKED = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "Snakefile",
    "rules",
    "scripts",
    "config",
    "profiles",
    "envs",
    "src",
)


def run(*command: object, cwd: Path | None = None) -> str:
    """What a command prints, stdout and stderr, in an environment that names no library."""
    words = [str(word) for word in command]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, which finds what stacycle needs where it is already."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()  # a copy: what an earlier build left would be packed again
    for name in PACKED:
        if (ROOT / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, folder / "source" / name, symlinks=True, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder / "source")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source")
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(folder / "source")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    (packages,) = (folder / "venv/lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "venv/bin/python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    return python.parent


def test_the_command_says_its_version_and_where_the_workflow_is(bin: Path) -> None:
    assert run(bin / "stacycle", "--version") == f"stacycle {__version__}\n"
    for words, name in (((), "Snakefile"), (("profiles/slurm",), "profiles/slurm")):
        path = Path(run(bin / "stacycle", "workflow", *words).strip())
        assert path.is_relative_to(bin.parent)
        assert path.exists()
        assert str(path).endswith(f"/stacycle/workflow/{name}")


def test_scripts_of_a_profile_can_be_run(bin: Path) -> None:
    profile = Path(run(bin / "stacycle", "workflow", "profiles/pbs").strip())
    assert os.access(profile / "status", os.X_OK)


def test_the_demo_is_planned_by_the_wheels_own_workflow(bin: Path, tiny_data: Path) -> None:
    words = {
        name: run(bin / "stacycle", "workflow", name).strip() for name in ("Snakefile", "config/demo.yaml")
    }
    snakemake = (bin / "python", "-m", "snakemake", "--snakefile", words["Snakefile"])
    said = run(
        *snakemake,
        *("--configfile", words["config/demo.yaml"], "--directory", tiny_data, "--cores", "2", "--dry-run"),
    )
    assert f"Snakefile: {words['Snakefile']}" in said
    assert len(re.findall(r"^Job \d+: .*refine3d, two independent halves", said, re.MULTILINE)) == 3


def test_the_catalogs_snakefile_plans_the_same_run(tiny_data: Path) -> None:
    command = (sys.executable, "-m", "snakemake", "--configfile", ROOT / "config/demo.yaml", "--cores", "2")
    plans = [
        run(
            *command, "--snakefile", ROOT / snakefile, "--directory", tiny_data, "--dry-run", "--quiet", "all"
        )
        for snakefile in ("Snakefile", "workflow/Snakefile")
    ]
    jobs = [dict(re.findall(r"^(\w+) +(\d+)$", plan, re.MULTILINE)) for plan in plans]
    jobs[1]["all"] = jobs[1].pop("all_of_it")
    assert int(jobs[0]["total"]) > 50
    assert jobs[0] == jobs[1]
