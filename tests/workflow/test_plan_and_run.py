"""What `snakemake plan` says would run is what a run then runs, after whatever has changed.

One finished project of a stand-in for RELION; each test changes something, asks for the plan, and runs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import fake_relion
import pytest
from conftest import Project
from small_inputs import write_inputs

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("plan and run")]

STEPS = ["extract", "reconstruct", "class3d", "select", "mask", "refine3d", "postprocess"]
AFTER_SELECT = ["mask", "refine3d", "postprocess"]
LINE = re.compile(r"(\S*) +(decisions, report|\S+) +(\d+) +(\d+)  .*")


@dataclass(frozen=True)
class Plan:
    """The plan's text: steps with jobs that are not done, and of these the kept ones and those that are left open."""

    text: str

    @property
    def not_done(self) -> set[str]:
        table = self.text.split("\n\n")[1].splitlines()[2:]
        found = [LINE.fullmatch(line).groups() for line in table]  # type: ignore[union-attr]
        return {step for _, step, jobs, done, *_ in found if jobs != done and "," not in step}

    def named(self, sentence: str) -> set[str]:
        said = re.search(rf"{sentence}.*?\((.*?)\)", " ".join(self.text.split()))
        return {one.split()[-1] for one in said[1].split(", ")} if said else set()

    @property
    def kept(self) -> set[str]:
        return self.named("Kept, as nothing has changed in them")

    @property
    def open(self) -> set[str]:
        return self.named("run only if a decision, or the inputs, made anew come out otherwise")

    @property
    def runs(self) -> set[str]:
        return self.not_done - self.kept - self.open


@dataclass(frozen=True)
class Finished:
    project: Project
    relion: Path

    def plan(self, *arguments: str, change: dict | None = None) -> Plan:
        done = self.project.snakemake(*arguments, "--", "plan", change=change)
        assert done.returncode == 0, done.stderr
        return Plan(done.stdout)

    def run(self, *arguments: str, change: dict | None = None) -> set[str]:
        """The steps whose programs the run has started."""
        before = len(fake_relion.recorded(self.relion))
        done = self.project.snakemake(*arguments, change=change)
        assert done.returncode == 0, done.stderr[-4000:]
        commands = map(" ".join, fake_relion.recorded(self.relion)[before:])
        return {re.search(r" --o results/\w+/(?:\w+_)?(\w+)", line)[1] for line in commands}  # type: ignore[index]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("plan")
    relion, mpi = (
        fake_relion.install(root / "relion"),
        fake_relion.install(root / "mpi", programs=("mpirun",)),
    )
    config = {
        "inputs": [write_inputs(root / "project", names=("TS_01", "TS_02"), particles=60)],
        "particle": {"diameter": 350},
        "engine": {"kind": "relion", "bin": str(relion)},
        "rounds": {
            "bin4": {
                "steps": STEPS,
                "class3d": {"T": [1], "classes": 6, "iterations": 2, "lowpass": 30, "seed": 1},
            },
            "bin2": None,
            "bin1": None,
        },
    }
    found = Finished(Project(root / "project", config), relion)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(mpi), prepend=":")
        programs = {*STEPS, "poses", "tomogram"} - {"select"}
        assert found.plan().runs == programs | {"inputs"}
        assert found.run() == programs
        yield found


def bin4(**settings: dict) -> dict:
    return {"rounds": {"bin4": settings}}


def test_after_a_whole_run_all_is_done_and_nothing_is_left(finished: Finished) -> None:
    plan = finished.plan()
    assert plan.not_done == set()
    assert "Nothing is left to do." in plan.text
    assert finished.run() == set()


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        (bin4(postprocess={"bfactor": -150}), {"postprocess"}),
        (bin4(mask={"extend": 5}), {"mask", "refine3d", "poses", "postprocess"}),
        (bin4(class3d={"T": [1, 2]}), {"class3d"}),
    ],
)
def test_after_a_changed_key_that_is_planned_which_then_runs(
    finished: Finished, change: dict, runs: set[str]
) -> None:
    plan = finished.plan(change=change)
    assert plan.runs == runs
    assert runs <= finished.run(change=change) <= runs | plan.open
    assert finished.plan(change=change).not_done == set()
    finished.run()  # as it was


def test_a_job_whose_result_is_there_as_it_would_be_made_is_kept(finished: Finished) -> None:
    forced = ("--forcerun", "extract")
    plan = finished.plan(*forced)
    assert {"extract", "reconstruct"} <= plan.kept
    assert plan.runs == set()
    assert finished.run(*forced) == set()


def test_what_depends_on_a_decision_that_is_made_anew_is_left_open(finished: Finished) -> None:
    change = bin4(class3d={"iteration": 2})
    plan = finished.plan(change=change)
    assert plan.runs == set()
    assert set(AFTER_SELECT) <= plan.open
    assert finished.run(change=change) <= plan.open
    finished.run()


def test_inputs_that_are_merged_again_leave_all_open_and_nothing_runs(finished: Finished) -> None:
    picks = finished.project.folder / "gain1/particles.star"
    picks.write_text("# saved again\n" + picks.read_text())
    plan = finished.plan()
    assert plan.runs == {"inputs"}
    assert "extract" in plan.open
    assert finished.run() == set()


def test_a_run_that_was_cut_off_is_planned_to_continue(finished: Finished) -> None:
    folder = finished.project.folder / "results/bin4/extract"
    record = json.loads((folder / "job.json").read_text())
    record["ended_well"], record["runs"][-1]["exit_status"] = False, -9
    (folder / "job.json").write_text(json.dumps(record))
    (folder / "particles.star").unlink()
    forced = ("--forcerun", "extract")  # nothing else asks for particles that later steps have used
    plan = finished.plan(*forced)
    assert "bin4 extract continues from unfinished tomograms" in " ".join(plan.text.split())
    assert "extract" in plan.runs
    assert "extract" in finished.run(*forced)
    assert finished.plan().not_done == set()
