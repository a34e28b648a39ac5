"""The page at any moment, of what a project's folder holds by then."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import golden_project
import pandas as pd
import pytest
import yaml

from stacycle.errors import UserError
from stacycle.jobs import redo
from stacycle.recipe import config
from stacycle.report import drawing, make

BIN4 = Path("results/bin4")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config of the golden project."""
    cycle = {"ctfrefine": dict.fromkeys(["regularised", "unregularised", "scale_only"]) | {"defocus": {}}}
    steps = [
        "extract",
        "reconstruct",
        "align",
        "class3d",
        "select",
        "mask",
        "refine3d",
        "postprocess",
        "cycle",
    ]
    own = {
        "inputs": [{"tomograms": "tomograms.star", "particles": "particles.star"}],
        "particle": {"diameter": 260},
        "rounds": {"bin4": {"steps": steps, "cycle": cycle}, "bin2": None, "bin1": None},
    }
    own["rounds"]["bin4"]["cycle"]["ctfrefine"]["defocus"] = {"defocus": True}
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(yaml.safe_dump(own))
    return config.load(config.DEFAULT, path)


@pytest.fixture
def project(tmp_path: Path, settings: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The golden project's folder, whose run has noted its config; figures are not drawn."""
    golden_project.make(tmp_path)
    monkeypatch.setattr(drawing, "save", lambda figure, file: file.write(golden_project.SVG))
    (tmp_path / BIN4 / "reconstruct").mkdir()
    (tmp_path / BIN4 / "reconstruct/merged.mrc").touch()
    redo.note_command(["--cores", "2"], str(tmp_path), tmp_path, settings)
    return tmp_path


def first_line(page: Path) -> str:
    return re.findall(r'<p class="made">(.*?)</p>', page.read_text())[0]


def test_the_page_of_a_finished_run_says_so_and_where_and_when_it_was_made(project: Path) -> None:
    page = make.write(project)
    assert page == project / "results/report.html"
    said = re.sub("<.*?>", "", first_line(page))
    assert re.fullmatch(rf"Made at \d{{4}}-\d\d-\d\d \d\d:\d\d in {project}. All 9 steps are done.", said)
    assert len(pd.read_csv(project / "results/ladder.tsv", sep="\t")) == 4


def test_what_is_not_there_yet_is_named_once_and_is_no_fault(project: Path) -> None:
    for step in ("cycle1", "postprocess", "refine3d"):
        shutil.rmtree(project / BIN4 / step)
    page = make.write(project)
    assert "6 of 9 steps are done; bin4/refine3d is not there yet, nor are the 2 steps after it." in (
        first_line(page)
    )
    text = page.read_text()
    assert "Left out" not in text
    assert 'id="bin4-class3d"' in text
    assert 'id="bin4-refine3d"' not in text


def test_the_page_of_nothing_but_a_config_is_a_page(project: Path) -> None:
    shutil.rmtree(project / BIN4)
    assert "0 of 9 steps are done; bin4/extract is not there yet" in first_line(make.write(project))


def test_after_a_failure_the_page_says_why_and_where_to_read_on(project: Path) -> None:
    shutil.rmtree(project / BIN4 / "cycle1")
    (project / BIN4 / "refine3d/run_data.star").unlink()
    cause = "relion_refine failed with exit status 1: the GPU is out of memory; use a smaller box."
    run = {"started": "2026-11-29T14:00:00+0000", "ended": "2026-11-29T14:01:00+0000", "exit_status": 1}
    record = {"command": "relion_refine", "runs": [run], "ended_well": False, "cause": cause}
    (project / BIN4 / "refine3d/job.json").write_text(json.dumps(record))
    text = make.write(project).read_text()
    assert f"<b>bin4/refine3d failed:</b> {cause}" in text
    assert "<code>results/bin4/refine3d/run.out</code>" in text
    assert "Mend what failed, and start the run again: it goes on at bin4/refine3d." in text


def test_a_job_that_has_not_ended_is_named_with_its_start(project: Path) -> None:
    record = {"command": "relion_refine", "runs": [{"started": "2026-11-29T14:00:00+0000"}]}
    (project / BIN4 / "refine3d/run_data.star").unlink()
    (project / BIN4 / "refine3d/job.json").write_text(json.dumps(record))
    text = make.write(project).read_text()
    assert "bin4/refine3d was started at 2026-11-29 14:00 and has not ended." in text
    assert "Let the run go on, or start it again: bin4/refine3d is next." in text


def test_without_results_or_a_noted_config_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no folder results"):
        make.write(tmp_path)
    (tmp_path / "results").mkdir()
    with pytest.raises(UserError, match="no run has noted its config here yet"):
        make.write(tmp_path)
