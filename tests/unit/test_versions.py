"""One version, one list of what is needed: other files that name them are held to src/stacycle and pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version

import yaml
from conftest import ROOT

from stacycle import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What conda calls some packages, for those who need less of them.
OF_CONDA = {"snakemake-minimal": "snakemake", "matplotlib-base": "matplotlib"}
NOT_OF_PROJECT = {"pip", "python", "setuptools"}


def requirements(lines: list[str]) -> dict[str, str]:
    """Name of a package -> its versions, without spaces."""
    found = [re.fullmatch(r"([\w-]+)\s*(.*)", line.strip()) for line in lines]
    return {OF_CONDA.get(each[1], each[1]): each[2].replace(" ", "") for each in found if each}


def test_the_version_is_that_of_the_library() -> None:
    assert "version" in PROJECT["dynamic"]
    assert version("stacycle") == __version__, "make env again: the version has changed"


def test_what_people_cite_and_read_has_the_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == __version__


def test_the_conda_environment_and_the_lock_are_made_from_what_the_project_needs() -> None:
    needed = requirements(PROJECT["dependencies"])
    conda = requirements(yaml.safe_load((ROOT / "envs/conda.yaml").read_text())["dependencies"])
    assert {name: what for name, what in conda.items() if name not in NOT_OF_PROJECT} == needed
    assert conda["python"] == PROJECT["requires-python"]
    assert needed.items() <= requirements((ROOT / "envs/requirements.in").read_text().splitlines()).items()


def test_the_lock_pins_all_that_is_asked_for() -> None:
    for name in ("requirements", "docs"):
        wanted = requirements((ROOT / f"envs/{name}.in").read_text().splitlines())
        pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / f"envs/{name}.lock").read_text(), re.MULTILINE))
        assert wanted
        assert {package.lower() for package in wanted} <= pinned
