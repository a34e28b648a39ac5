"""The wall time of a run beside its critical path and its work, from files as Snakemake leaves them."""

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wall_time
from stacycle.errors import UserError

ROOT = Path(__file__).parents[3]
START = 1_800_000_000.0
COLUMNS = "s	h:m:s	max_rss	max_vms	max_uss	max_pss	io_in	io_out	mean_load	cpu_time"


def finished(
    folder: Path, name: str, rule: str, span: tuple[float, float], inputs: list[str], **change
) -> None:
    """Leave what Snakemake leaves of a job that made `NAME.out` (of 2 outputs) between two times after START."""
    for output in (f"{name}.out", f"{name}/{'long' * 80}"):
        coded = base64.b64encode(output.encode()).decode()
        parts = [coded[i : i + 200] for i in range(0, len(coded), 200)]
        path = folder.joinpath(".snakemake/metadata", *(f"@{part}" for part in parts[:-1]), parts[-1])
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "rule": rule,
            "input": inputs,
            "log": [f"logs/{name}.log"],
            "starttime": START + span[0],
            "endtime": START + span[1],
            "incomplete": False,
        }
        path.write_text(json.dumps(record | change))


def benchmarked(folder: Path, name: str, seconds: float, cpu_time: float | str) -> None:
    path = folder / f"benchmarks/{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{COLUMNS}\n{seconds}	0:00:00	1	1	1	1	0	0	100	{cpu_time}\n")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two polishings (the second longer) of one extraction, side by side; a decision; the report."""
    finished(tmp_path, "bin4/extract", "extract", (0, 4), ["tomograms.star"])
    finished(tmp_path, "bin4/polish/a", "polish", (4, 9), ["bin4/extract.out"])
    finished(tmp_path, "bin4/polish/b", "polish", (4, 11), ["bin4/extract.out"])
    finished(tmp_path, "bin4/polish/old", "polish", (4, 99), ["bin4/extract.out"])
    finished(tmp_path, "bin4/decision", "decide", (11, 12), ["bin4/polish/a.out", "bin4/polish/b.out"])
    finished(tmp_path, "report", "report", (14, 16), ["bin4/decision.out", "bin4/extract.out"])
    for name, seconds, cpu in (
        ("extract", 4, 6),
        ("polish/a", 5, 10),
        ("polish/b", 7, 14),
        ("polish/old", 9, 9),
    ):
        benchmarked(tmp_path, f"bin4/{name}", seconds, cpu)
    return tmp_path


def test_the_critical_path_is_the_longest_chain_of_jobs_that_need_each_other(project: Path) -> None:
    path = wall_time.critical_path(wall_time.jobs(project))
    assert [job.name for job in path] == ["bin4/extract", "bin4/polish/b", "bin4/decision", "report"]
    assert [job.seconds for job in path] == [4, 7, 1, 2]


def test_a_variant_that_is_no_longer_asked_for_does_not_count(project: Path) -> None:
    assert "bin4/polish/old" not in wall_time.jobs(project)


def test_work_is_the_measured_cpu_time_and_for_local_rules_their_time_on_one_core(project: Path) -> None:
    found = wall_time.jobs(project)
    assert found["bin4/polish/b"].work == 14
    assert found["bin4/decision"].work == 1


@pytest.mark.parametrize(
    ("seconds", "cpu_time", "work"),
    [
        (10, 20, 20),
        (20, 30, 40),  # looked at for 15 s
        (50, 90, 100),  # for 45 s
        (0.3, "NA", 0.3),
        (0, 0, 0),
    ],
)
def test_what_a_job_does_after_the_last_look_at_it_counts_too(
    project: Path, seconds: float, cpu_time: float | str, work: float
) -> None:
    benchmarked(project, "bin4/polish/a", seconds, cpu_time)
    assert wall_time.jobs(project)["bin4/polish/a"].work == pytest.approx(work)


def test_wall_time_is_from_the_start_of_snakemake_to_the_end_of_the_last_job(project: Path) -> None:
    found = wall_time.jobs(project)
    assert wall_time.wall_time(project, found) == 16
    logs = project / ".snakemake/log"
    logs.mkdir()
    for start in (-500, -5, 3):  # an earlier run, this one, and a later look at it
        name = time.strftime("%Y-%m-%dT%H%M%S.000000", time.localtime(START + start))
        (logs / f"{name}.snakemake.log").touch()
    assert wall_time.wall_time(project, found) == 21


def test_pauses_between_jobs_are_reported(project: Path) -> None:
    assert wall_time.idle(wall_time.jobs(project).values()) == (2, 2)


@pytest.mark.parametrize(("cores", "bound"), [(1, 33), (2, 16.5), (4, 14)])
def test_the_bound_is_the_critical_path_or_the_work_per_core(project: Path, cores: int, bound: float) -> None:
    assert f"wall time 16.0 s = {16 / bound:.2f} x max(" in wall_time.summary(project, cores)


def test_a_project_that_has_not_come_to_its_end_is_refused_in_one_sentence(tmp_path: Path) -> None:
    finished(tmp_path, "bin4/extract", "extract", (0, 4), [])
    finished(tmp_path, "report", "report", (4, 5), ["bin4/extract.out"], incomplete=True)
    with pytest.raises(UserError, match="holds no finished run"):
        wall_time.jobs(tmp_path)
    command = [sys.executable, ROOT / "benchmarks/wall_time.py", tmp_path]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}
    )
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path}: holds no finished run; run Snakemake there first.\n"


def test_the_command_line_prints_the_table(project: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks/wall_time.py", project, "--cores", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "polish                    2     12.0 s      24.0 s" in done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "rules").glob("*.smk")), ids=lambda path: path.stem)
def test_each_rules_benchmark_has_the_name_of_its_log(path: Path) -> None:
    """Metadata name a job's log only; its benchmark file is found by that."""
    rules = path.read_text().split("\n\n\n")
    for rule in rules:
        if "benchmark:" in rule:
            log, benchmark = (rule.split(f"{key}:")[1].split('"')[1] for key in ("log", "benchmark"))
            assert benchmark == log.replace("logs/", "benchmarks/").replace(".log", ".tsv")
