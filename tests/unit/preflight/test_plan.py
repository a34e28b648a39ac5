"""The plan's text: what a biologist reads before a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import Project, least_seconds
from input_sets import write_set

from stacycle.files.cache import Cache
from stacycle.preflight import plan, plan_numbers, plan_table, preflight
from stacycle.preflight.plan_table import Limits, PlannedJob
from stacycle.recipe import config
from stacycle.recipe.rounds import Recipe

SLURM = Limits("slurm", jobs=20)
EXTRACT = PlannedJob("extract", "bin4", "cpu", threads=8, cores=8, memory=16000, minutes=480)
ALIGN = PlannedJob("align", "bin4", "gpu", gpus=1, threads=8, cores=8, memory=32000, minutes=720)
REFINE = PlannedJob(
    "refine3d", "bin4", "gpu", gpus=2, ranks=3, threads=8, cores=16, memory=64000, minutes=1440
)
CHOICE = PlannedJob("align_decision", "bin4", short=True)
SMALL = [
    PlannedJob("inputs", where="cpu", memory=4000, minutes=30, done=True),
    EXTRACT,
    ALIGN,
    ALIGN,
    CHOICE,
    REFINE,
    replace(EXTRACT, round="bin2"),
    PlannedJob("report", short=True),
]
AS_TOLD = """\
Plan: 8 jobs in 2 rounds, 1 done; nothing is run now.

                                                   ranks x             wall
round  step               jobs  done  where  GPUs  threads  memory     time
       inputs                1     1  cpu       -    1 x 1    4 GB   30 min
bin4   extract               1     0  cpu       -    1 x 8   16 GB      8 h
       align                 2     0  gpu       1    1 x 8   32 GB     12 h
       refine3d              1     0  gpu       2    3 x 8   64 GB     24 h
bin2   extract               1     0  cpu       -    1 x 8   16 GB      8 h
       decisions, report     2     0  here                          seconds

Left to do: 7 jobs, 3 on GPUs, 2 on CPUs, 2 short here.
A limit, no forecast: 72 GPU-hours and 704 core-hours, if each took its whole
wall time.
One of the MPI ranks of relion_refine leads the others and computes nothing.
Jobs are given to slurm, at most 20 at a time.

Disk: not looked at.

To change where steps go, in the profile (profiles/README.md has all keys):
  all steps     default-resources: {gpus_per_job: 2}; the queues are there too
  one step      set-threads: {refine3d: 16}
                set-resources: {refine3d: {mem_mb: 128000, runtime: 48h}}
Done: it would not run again. Why a job would: snakemake -n."""


def told(jobs: list[PlannedJob], limits: Limits = SLURM, width: int = 80) -> str:
    return plan_table.text(jobs, limits, "Disk: not looked at.", width)


def cells(jobs: list[PlannedJob]) -> list[list[str]]:
    """The words of the table's lines, less the rounds."""
    return [line[6:].split() for line in told(jobs).split("\n\n")[1].splitlines()[2:]]


def test_a_small_plan_reads_like_this() -> None:
    assert told(SMALL) == AS_TOLD


def test_no_line_is_wider_than_the_terminal() -> None:
    widest = [PlannedJob("variant_reconstruct", "bin4", "gpu-a100", 8, 9, 16, 128, 256000, 2880, done=True)]
    sentence = "Disk: not known, as the inputs have a problem: " + "a long word " * 30
    for limits in (SLURM, Limits(cores=128, gpus=8)):
        text = plan_table.text(SMALL + widest, limits, sentence, 80)
        assert max(map(len, text.splitlines())) <= 80


def test_steps_stand_in_the_order_of_work() -> None:
    steps = [line[0] for line in cells(SMALL)]
    assert steps == ["inputs", "extract", "align", "refine3d", "extract", "decisions,"]


def test_jobs_of_a_step_that_ask_for_something_else_have_a_line_of_their_own() -> None:
    longer = replace(ALIGN, minutes=1440)
    lines = cells([ALIGN, longer, ALIGN, replace(longer, done=True)])
    assert [line[1:3] for line in lines] == [["2", "0"], ["2", "1"]]
    assert [line[-2:] for line in lines] == [["12", "h"], ["24", "h"]]


def test_what_is_done_is_not_counted_in_what_is_left() -> None:
    text = told([replace(ALIGN, done=True), ALIGN, replace(CHOICE, done=True)])
    assert "Plan: 3 jobs in 1 round, 2 done" in text
    assert "Left to do: 1 job, 1 on GPUs, 0 on CPUs, 0 short here." in text
    assert "12 GPU-hours and 96 core-hours" in text


def test_a_finished_project_has_nothing_left_to_do() -> None:
    text = told([replace(job, done=True) for job in SMALL])
    assert "Nothing is left to do" in text
    assert "GPU-hours" not in text


def test_a_job_without_limits_is_shown_so_and_left_out_of_the_sums() -> None:
    text = told([ALIGN, replace(ALIGN, memory=None, minutes=None)])
    assert "12 GPU-hours and 96 core-hours" in text
    assert "Not counted in these: 1 job without a wall time." in text
    assert cells([replace(ALIGN, memory=None, minutes=None)])[0][-2:] == ["-", "-"]


def test_ranks_are_explained_if_a_job_that_is_left_has_some() -> None:
    assert "MPI ranks" in told([REFINE])
    assert "MPI ranks" not in told([replace(REFINE, done=True), ALIGN])


def test_it_says_what_the_jobs_of_this_machine_share() -> None:
    assert "side by side as far as 8 cores and 1 GPU go" in told([EXTRACT], Limits(cores=8, gpus=1))
    assert "side by side as far as 8 cores go" in told([EXTRACT], Limits(cores=8, gpus=0))
    assert "Jobs are given to lsf." in told([EXTRACT], Limits("lsf"))


# ---------------------------------------------------------------- disk


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The config of a project with small sound inputs, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    path = Path("config.yaml")
    path.write_text(yaml.safe_dump({"inputs": [write_set("set1")]}))
    return config.load(config.DEFAULT, path)


def space(config: Mapping[str, Any]) -> str:
    return plan_table.space(config, Recipe.from_config(dict(config)), plan_table.read(config))


def test_the_disk_that_the_inputs_tell_is_a_table_of_the_rounds(project: dict) -> None:
    text = space(project)
    rows = [line.split()[0] for line in text.splitlines()[2:-1]]
    assert rows == ["inputs", "bin4", "bin2", "bin1", "together"]


def test_looking_at_the_inputs_writes_nothing(project: dict) -> None:
    before = sorted(Path().rglob("*"))
    space(project)
    assert sorted(Path().rglob("*")) == before


def test_what_preflight_remembers_of_the_inputs_is_not_read_again(
    project: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    preflight.check_data(project["inputs"], Cache(preflight.MEMORY), "refuse")
    expected = space(project)
    monkeypatch.setattr("stacycle.inputs.merge.read", lambda *_: pytest.fail("they were read again"))
    assert space(project) == expected


def test_inputs_that_cannot_be_read_are_one_sentence(project: dict) -> None:
    Path("set1/particles.star").unlink()
    text = space(project)
    assert "\n" not in text
    assert "set1/particles.star" in text
    assert "snakemake preflight" in text


def test_inputs_with_picks_twice_are_known_if_one_of_each_is_kept(project: dict) -> None:
    particles = Path("set1/particles.star")
    lines = particles.read_text().rstrip().splitlines()
    particles.write_text("\n".join([*lines, lines[-1], ""]))
    assert "snakemake preflight" in space(project)
    project["particle"]["duplicates"] = "keep_one"
    assert "together" in space(project)


def test_a_box_that_cannot_be_worked_out_is_one_sentence(project: dict) -> None:
    project["particle"]["diameter"] = 1
    assert space(project).startswith("Disk: not known: ")
    assert "\n" not in space(project)


# ---------------------------------------------------------------- what Snakemake says


class Resource(SimpleNamespace):
    """As Snakemake wraps the number of a limit."""


def workflow(executor: str = "", **given: Any) -> Any:
    plugin = SimpleNamespace(name=executor)
    limits = {name: Resource(value=value) for name, value in given.items()}
    return SimpleNamespace(local_exec=not executor, executor_plugin=plugin, global_resources=limits)


def test_limits_are_those_of_this_machine_or_of_the_queues() -> None:
    assert plan.limits(workflow(_cores=8, _nodes=None, gpu=2)) == Limits("", 8, 2, None)
    for executor in ("slurm", "stacycle-slurm"):
        assert plan.limits(workflow(executor, _cores=None, _nodes=20, gpu=None)) == Limits("slurm", jobs=20)


@pytest.mark.parametrize(
    ("asked", "queue"),
    [
        ({"slurm_partition": "cpu", "mem_mb": 1}, "cpu"),
        ({"lsf_queue": "long"}, "long"),
        ({"gpu_job_slurm_partition": "gpu", "slurm_partition": "cpu"}, "cpu"),
        ({"gpu_job_slurm_partition": "gpu"}, ""),
        ({"queue": "batch"}, "batch"),
        ({}, ""),
    ],
)
def test_a_queue_is_known_by_whatever_name_its_executor_has_for_it(asked: dict, queue: str) -> None:
    assert plan._queue(asked) == queue


# ---------------------------------------------------------------- how long it takes


@pytest.mark.slow
def test_500_tomograms_and_50_000_particles_that_preflight_has_seen_take_less_than_3_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable
) -> None:
    monkeypatch.chdir(tmp_path)
    one = write_set("set1", names=[f"{i:03}" for i in range(500)], particles=100, tilts=41, image=(4, 4))
    preflight.check_data([one], Cache(preflight.MEMORY), "refuse")
    project = Project(tmp_path, {"inputs": [one]})
    project.cold = True  # of a warm start nothing is counted here

    def run(*arguments: str) -> None:
        done = project.snakemake(*arguments)
        assert done.returncode == 0, done.stderr

    start = least_seconds(lambda: run("--dry-run", "--", "results/inputs/particles.star"), limit=0)
    took = least_seconds(lambda: run("--", "plan"), limit=start + 3) - start
    record_property(
        "snakemake plan, 500 tomograms x 50,000 particles", f"{took:.1f} s beyond {start:.1f} s of start"
    )
    assert start > 1  # it was counted
    assert took < 3


# ---------------------------------------------------------------- numbers


def test_what_auto_became_is_told_from_the_inputs_and_from_what_was_decided(project: dict) -> None:
    recipe = Recipe.from_config(dict(project))
    _, facts = plan_table.read(project)
    before = plan_numbers.text(project, recipe, facts)
    assert re.search(r"  bin4: box \d+ px of [\d.]+ Å; align T1; class3d T", before)
    assert "chose" not in before
    Path("results/bin4/mask").mkdir(parents=True)
    told = {"question": "", "choice": {"threshold": 0.0029441}, "by": "rule", "reason": ""}
    Path("results/bin4/mask/decision.json").write_text(json.dumps(told))
    assert "mask chose threshold 0.002944" in plan_numbers.text(project, recipe, facts)
    assert "px of" not in plan_numbers.text(project, recipe, None), (
        "of inputs that are not sound nothing is known"
    )
