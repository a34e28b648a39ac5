"""`snakemake plan` tells as many jobs of each rule as a dry run, and where they would go; it runs nothing."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, TINY, Project, overlay

pytestmark = pytest.mark.slow

TUTORIAL = {"inputs": TINY["inputs"], "particle": {"diameter": 350}}
SWEPT = {
    "cleanup": {"iterations": "needed"},
    "rounds": {
        "bin4": {
            "align": {"T": [0.5, 1, 2, 4]},
            "class3d": {"classes": [2, 3]},
            "cycle": {"repeat": 2, "pilot": 0.25, "polish": {"stiff": {"sigma_velocity": 0.1}}},
        },
        "bin2": None,
    },
}
# No line of a table is about one of these: they are made in seconds on the machine that Snakemake runs on.
SHORT = {
    "align_decision",
    "align_poses",
    "refine3d_poses",
    "poses_state",
    "class3d_decision",
    "cycle_decision",
    "pilot_decision",
    "class_montage",
    "score_decision",
    "select",
    "cleanup",
    "report",
    "final",
}
SUM_OF_SHORT = "decisions, report"
LINE = re.compile(rf"(\S*) +({SUM_OF_SHORT}|\S+) +(\d+) +(\d+)  (.*)")
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
# A scheduler whose queues refuse all that they are given.
REFUSE = ["--executor", "cluster-generic", "--cluster-generic-submit-cmd", "false"]
QUEUES = [*REFUSE, "--jobs", "7", "--cores", "64", "--seconds-between-status-checks", "1"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The tutorial's config with inputs that exist, but cannot be read: all that names of jobs need."""
    for one in TINY["inputs"]:
        for path in one.values():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text("data_\n")
    return Project(tmp_path, TUTORIAL)


def plan(project: Project, *arguments: str, change: dict | None = None) -> str:
    done = project.snakemake(*arguments, "--", "plan", change=change)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(text: str) -> list[tuple[str, str, int, int, str]]:
    """The lines of the plan's table: round, step, jobs, done, and what they ask for: "gpu 2 3 x 8 64 GB 24 h"."""
    found, name = [], ""
    for line in text.split("\n\n")[1].splitlines()[2:]:
        start, step, count, done, asked = LINE.fullmatch(line).groups()  # type: ignore[union-attr]
        name = start or name
        found.append((name, step, int(count), int(done), " ".join(asked.split())))
    return found


def in_dry_run(project: Project, change: dict | None = None) -> Counter[str]:
    """The jobs of each rule that `snakemake --dry-run` tells."""
    done = project.snakemake("--dry-run", change=change)
    assert done.returncode == 0, done.stderr
    stats = (done.stdout + done.stderr).split("Job stats:\n")[1].split("\n\n")[0].splitlines()[2:]
    return Counter(
        {line.split()[0]: int(line.split()[1]) for line in stats if line.split()[0] not in ("all", "total")}
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="the tutorial"),
        pytest.param(yaml.safe_load((ROOT / "config/demo.yaml").read_text()), id="the demo"),
        pytest.param(TINY, id="a round of two steps, another left out"),
        pytest.param(SWEPT, id="sweeps of four, two cycles, a round left out, cleaned up"),
    ],
)
def test_as_many_jobs_of_each_rule_are_planned_as_a_dry_run_tells(project: Project, change: dict) -> None:
    text = plan(project, change=change)
    expected, told = in_dry_run(project, change), Counter[str]()
    for _, step, count, _, _ in lines(text):
        told[step] += count
    short = {rule: count for rule, count in expected.items() if rule in SHORT}
    assert told == expected - Counter(short) + Counter({SUM_OF_SHORT: sum(short.values())})
    rounds = [name for name, round_ in overlay(DEFAULT, change)["rounds"].items() if round_]
    assert list(dict.fromkeys(name for name, *_ in lines(text) if name)) == rounds
    assert f"Plan: {expected.total()} jobs in {len(rounds)} rounds, 0 done" in text


def test_with_jobs_per_step_a_step_is_several_jobs_and_one_that_makes_one_result(project: Project) -> None:
    def planned(*profile: str) -> Counter[tuple[str, str]]:
        return Counter({(name, step): int(count) for name, step, count, *_ in lines(plan(project, *profile))})

    one, several = planned(), planned("--default-resources", "jobs_per_step=6")
    assert one.keys() == several.keys()
    more = {place: (one[place], count) for place, count in several.items() if count != one[place]}
    for round_ in ("bin4", "bin2", "bin1"):
        assert more.pop((round_, "extract")) == (1, 7)
        assert more.pop((round_, "cycle_reference")) == (1, 7)
    assert more.pop(("bin4", "reconstruct")) == (1, 7)
    assert {step for _, step in more} == {
        "poses",
        "ctfrefine",
        "polish",
        "variant_reconstruct",
        "reconstruct",
    }
    assert more["bin4", "polish"] == (2, 8), "the variants of a sweep share the jobs"


def test_a_pilot_is_a_job_of_each_variant_that_has_a_rival_and_there_is_none_by_default(
    project: Project,
) -> None:
    def of_cycle(**settings: object) -> Counter[str]:
        cycle = {"polish": {"no_motion": None}, **settings}
        return in_dry_run(project, {"rounds": {"bin4": {"cycle": cycle}, "bin2": None, "bin1": None}})

    before, piloted = of_cycle(), of_cycle(pilot=0.25)
    assert before - piloted == Counter()
    assert piloted - before == Counter(
        cycle_pilot=3, pilot_decision=1
    )  # three CTF refinements, one polishing


@pytest.mark.parametrize(
    "steps",
    [
        ["extract", "reconstruct", "refine3d", "class3d", "postprocess", "select"],
        ["extract", "reconstruct", "refine3d", "postprocess", "mask"],
    ],
)
def test_rounds_and_their_steps_stand_in_the_order_of_the_recipe(project: Project, steps: list[str]) -> None:
    filters = {step: {"lowpass": 30} for step in ("class3d", "mask", "refine3d")}
    rounds = {
        "bin4": {"steps": steps, **filters},
        "bin2": {"steps": ["extract", "reconstruct"]},
        "bin1": None,
    }
    table = [line[:2] for line in lines(plan(project, change={"rounds": rounds})) if line[1] != SUM_OF_SHORT]
    shown = [("bin4", step) for step in steps if step != "select"]
    shown.insert(shown.index(("bin4", "refine3d")) + 1, ("bin4", "poses"))
    assert table == [("", "inputs"), ("", "tomogram"), *shown, ("bin2", "extract"), ("bin2", "reconstruct")]


def test_a_cycle_comes_last_in_its_round_and_its_steps_in_the_order_of_work(project: Project) -> None:
    cycle = ["cycle_reference", "cycle_mask", "cycle_postprocess"]
    sweeps = ["ctfrefine", "variant_reconstruct", "variant_postprocess", "polish"]
    assert [step for name, step, *_ in lines(plan(project)) if name == "bin4"][-7:] == [*cycle, *sweeps]


def test_each_step_goes_where_the_profile_sends_it_and_asks_for_what_the_profile_says(
    project: Project,
) -> None:
    defaults = ["slurm_partition=cpu", "gpu_job_slurm_partition=gpu", "gpus_per_job=2", "max_runtime=1200"]
    one = [
        "refine3d:slurm_partition=big",
        "align:mem_mb=1500",
        "class3d:mpi=srun",
        "class3d:tasks=4",
        "mask:runtime=5",
    ]
    asked = ["--default-resources", *defaults, "--set-resources", *one, "--set-threads", "extract=3"]
    embedded = {"engine": {"kind": "embedded"}}  # which has ranks where there is no mpirun
    text = plan(project, *QUEUES, *asked, change=embedded)
    told = {step: asked for name, step, _, _, asked in lines(text) if name == "bin4"}
    assert told["align"] == "gpu 2 3 x 8 1.5 GB 12 h"
    assert told["refine3d"] == "big 2 3 x 8 64 GB 20 h"
    assert told["extract"] == "cpu - 3 x 1 16 GB 8 h"
    assert told["class3d"] == "cpu - 4 x 8 32 GB 20 h"
    assert told["mask"] == "cpu - 1 x 4 8 GB 5 min"
    assert {told[step].split()[0] for step in told.keys() - {"align_probe", "align", "refine3d"}} == {"cpu"}
    assert "Jobs are given to cluster-generic, at most 7 at a time." in text


def test_a_queue_that_the_profile_does_not_name_is_the_schedulers_own(project: Project) -> None:
    told = {step: asked for _, step, _, _, asked in lines(plan(project, *QUEUES))}
    assert {asked.split()[0] for asked in told.values()} == {"cluster-generic", "here"}
    assert told["refine3d"] == "cluster-generic 1 3 x 4 64 GB 24 h"


def test_gpus_that_the_profile_names_in_a_gres_are_reported(project: Project) -> None:
    text = plan(project, *QUEUES, "--default-resources", "gpu_job_gres=gpu:a100:4")
    assert {asked.split()[1] for _, step, _, _, asked in lines(text) if step == "refine3d"} == {"4"}


def test_the_cores_of_all_mpi_tasks_are_counted(project: Project) -> None:
    short = {"bin4": {"steps": ["extract", "reconstruct"]}, "bin2": None, "bin1": None}
    hours = [f"{rule}:runtime=60" for rule in ("inputs", "tomogram", "extract", "reconstruct")]
    asked = ["--set-resources", *hours, "extract:mpi=srun", "extract:tasks=4"]
    assert f"{1 + 8 + 4 * 8 + 8} core-hours" in plan(project, *QUEUES, *asked, change={"rounds": short})


def test_a_workstations_jobs_are_here_and_share_its_gpus_and_cores(project: Project) -> None:
    sweep = {"rounds": {"bin4": {"align": {"T": [1, 4]}}}}
    text = plan(project, "--cores", "8", "--resources", "gpu=2", change=sweep)
    told = {step: asked for name, step, _, _, asked in lines(text) if name == "bin4"}
    assert told["align"] == "here 1 1 x 4 32 GB 12 h"
    assert told["refine3d"] == "here 2 3 x 4 64 GB 24 h"
    assert {asked.split()[0] for *_, asked in lines(text)} == {"here"}
    assert "side by side as far as 8 cores and 2 GPUs go" in text


def test_files_that_are_there_make_a_job_done_only_if_it_would_not_run(project: Project) -> None:
    def done() -> dict[str, int]:
        return {
            step: done for name, step, _, done, _ in lines(plan(project)) if name in ("", "bin4") and done
        }

    inputs = project.folder / "results/inputs"
    inputs.mkdir(parents=True)
    for name in ("particles.star", "tomograms.star", "optimisation_set.star"):
        (inputs / name).touch()
    assert done() == {}
    (inputs / "preflight.json").touch()
    assert done() == {"inputs": 1}
    for name in ("T1_K6", "T4_K6"):
        (inputs.parent / "bin4/class3d" / name).mkdir(parents=True)
        for of in ("data", "model", "optimiser", "optimisation_set"):
            (inputs.parent / "bin4/class3d" / name / f"run_it025_{of}.star").touch()
    assert done() == {"inputs": 1}, "what they come from is yet to be made"


def test_nothing_is_run_and_nothing_written_but_a_log(project: Project) -> None:
    def files() -> set[str]:
        found = (path.relative_to(project.folder) for path in project.folder.rglob("*") if path.is_file())
        return {str(path) for path in found if path.parts[0] != ".snakemake"}

    project.command()  # writes the config
    before = files()
    text = plan(project)
    assert files() - before == {"logs/plan.log"}
    assert (project.folder / "logs/plan.log").read_text() == text


def test_inputs_that_cannot_be_read_are_a_sentence_below_the_table(project: Project) -> None:
    told = [part for part in plan(project).split("\n\n") if part.startswith("Disk")]
    assert [
        "Disk: not known, as the inputs have a problem: set1/" in " ".join(part.split()) for part in told
    ] == [True]


def test_the_disk_is_shown_for_inputs_that_can_be_read(tiny_data: Path, tmp_path: Path) -> None:
    for name in ("set1", "set2"):
        (tmp_path / name).symlink_to(tiny_data / name)
    text = plan(Project(tmp_path, TINY))
    assert re.search(r"^together +\d+ +\d+ MB", text, re.MULTILINE)


def test_a_mistake_in_the_profile_is_a_sentence(project: Project) -> None:
    done = project.snakemake(*QUEUES, "--default-resources", "gpus_per_job=many", "--", "plan")
    assert done.returncode != 0
    assert "gpus_per_job in the profile is 'many'; it must be" in done.stderr
    assert "Traceback" not in done.stderr
