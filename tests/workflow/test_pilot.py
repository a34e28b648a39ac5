"""Sweeps with a pilot: which variants are ended after a share of the tomograms, and that what goes on is the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fake_relion
import pytest
from conftest import overlay
from small_inputs import write_inputs
from test_cycle_project import POLISH, Cycle

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cycle")]

PILOT = "results/first/cycle1/polish_pilot"
SWEEPS = {
    "ctfrefine": None,
    "polish": {"motion": {"motion": True}, "no_motion": {"motion": False}, "rigid": {"shift_only": True}},
}


class Piloted(Cycle):
    """A project of four tomograms with a sweep of three variants, of which shifts alone are far worse."""

    def __init__(self, folder: Path, **changed: object) -> None:
        super().__init__(folder)
        self.config = overlay(self.config, {"rounds": {"second": None, "first": {"cycle": SWEEPS | changed}}})
        self.programs(relion_tomo_align={"with": "--shift_only", "gain": 0.98})

    def polished(self) -> list[str]:
        """The folders that polishing wrote into, in order."""
        calls = [
            line for line in fake_relion.recorded(self.folder / "relion") if line[0] == "relion_tomo_align"
        ]
        return [line[line.index("--o") + 1] for line in calls]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Piloted]:
    folder = tmp_path / "project"
    write_inputs(folder, "set", names=[f"TS_{n}" for n in range(1, 5)], particles=6)
    monkeypatch.setenv("PATH", str(folder / "relion"), prepend=":")
    yield Piloted(folder, pilot=0.25)
    shutil.rmtree(folder)


def test_a_variant_that_cannot_win_is_ended_and_nothing_finished_is_redone(project: Piloted) -> None:
    ran = project.run()
    assert {
        f"first/cycle1: try polish, {name}, on a share of the tomograms" for name in SWEEPS["polish"]
    } < ran
    assert project.decision("polish")["choice"] == {"variant": "motion"}
    rows = project.candidates("polish")
    assert rows["rigid"]["ended"].startswith("on 1/4 of the tomograms the integral of its corrected FSC is")
    assert {name for name, row in rows.items() if row["failed"] or row["ended"]} == {"rigid"}
    assert project.decision("polish")["warnings"] == []
    report = (project.folder / "results/report.html").read_text()
    assert "ended early: on 1/4 of the tomograms" in report
    assert "polish/rigid failed" not in report
    tried = [f"{PILOT}/{name}/1of4/" for name in ("motion", "no_motion", "rigid")]
    wholes = [f"{POLISH}/{name}/" for name in ("motion", "no_motion")]
    assert sorted(project.polished()) == [*wholes, *tried]
    for folder in wholes:
        record = json.loads((project.folder / folder / "job.json").read_text())
        assert record["runs"][0]["continued_from"] == "shares of the tomograms", (
            "the share is not computed again"
        )

    assert project.jobs() == []
    project.set(pilot=0.5)
    project.run()
    assert project.polished()[5:] == [f"{PILOT}/rigid/1of2/", f"{POLISH}/rigid/"], "what was finished stays"


def test_a_variant_that_fails_is_still_a_failure(project: Piloted) -> None:
    fault = {"with": "--motion", "exit": 1, "says": "ERROR:\nERROR: out of memory"}
    project.programs(relion_tomo_align=fault)
    project.run()
    rows = project.candidates("polish")
    assert "out of memory" in rows["motion"]["failed"]
    assert not rows["motion"]["ended"]
    assert project.decision("polish")["choice"] == {"variant": "no_motion"}
    assert any("motion failed and was left out" in said for said in project.decision("polish")["warnings"])
