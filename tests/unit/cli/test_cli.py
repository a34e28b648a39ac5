"""`stacycle audit` and `stacycle adopt`, as a person calls them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stacycle import __main__ as cli
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet

GOLDEN = Path(__file__).parents[2] / "golden/data"


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state that was made elsewhere, in the results of a project, where we are."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN / "input", "input", ignore=shutil.ignore_patterns("*.mrcs"))
    Path("results/elsewhere").mkdir(parents=True)
    shutil.copy(GOLDEN / "extract/particles.star", "results/elsewhere")
    files = OptimisationSet("results/elsewhere/particles.star", "input/tomograms.star")
    files.write("results/elsewhere/optimisation_set.star")
    return Path("results/elsewhere")


def test_what_was_adopted_belongs_together_until_it_is_changed(brought: Path, capsys) -> None:
    assert cli.main(["adopt", str(brought / "optimisation_set.star")]) == 0
    assert cli.main(["audit"]) == 0
    assert "All results belong together" in capsys.readouterr().out
    tables = star.read(brought / "particles.star")
    tables["particles"] = tables["particles"].iloc[1:]
    star.write(brought / "particles.star", tables)
    assert cli.main(["audit", "."]) == 1
    assert "the particles results/elsewhere/particles.star are not what they were" in capsys.readouterr().out


def test_a_folder_that_is_no_project_is_reported(brought: Path, capsys) -> None:
    assert cli.main(["audit", "input"]) == 2
    assert "input: has no folder results; give the folder of a project." in capsys.readouterr().err


def test_a_set_that_cannot_be_read_is_reported(brought: Path, capsys) -> None:
    assert cli.main(["adopt", "nowhere/optimisation_set.star"]) == 2
    assert "nowhere/optimisation_set.star" in capsys.readouterr().err


def test_the_workflows_files_are_found_and_a_name_that_is_none_is_reported(capsys) -> None:
    assert cli.main(["workflow"]) == 0
    assert Path(capsys.readouterr().out.strip()).read_text().startswith('"""stacycle')
    assert cli.main(["workflow", "profiles/lfs"]) == 2
    assert "profiles/lfs: the workflow has no such file" in capsys.readouterr().err
