"""How long a finished run took, and how long it had to: from what Snakemake notes of each job.

`python benchmarks/wall_time.py PROJECT [--cores N]`

Snakemake keeps a record of each output (`.snakemake/metadata`: inputs, log, start, end), which gives the graph of jobs,
and a benchmark file of each job but those of local rules, which gives its time and how busy it kept the cores.
No run on c cores is shorter than its critical path (the longest chain of jobs, each as long as it took), nor than all
its work divided by c.
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from stacycle.errors import UserError

LAST = ("report", "final")  # the rules whose jobs end a run
# Snakemake looks at a job's CPU time every half second for 15 s, then every 30 s: not after the last look.
OFTEN, SELDOM = 15.0, 30.0


@dataclass(frozen=True)
class Job:
    """One job. `seconds` of wall time, `work` in core-seconds, `needs` the names of the jobs whose output it read.

    `start` and `end` are seconds since 1970, and enclose what Snakemake does for the job besides.
    """

    name: str
    rule: str
    start: float
    end: float
    seconds: float
    work: float
    needs: frozenset[str]


def jobs(project: str | Path) -> dict[str, Job]:
    """The jobs behind `results/report.html`, by name. UserError if the project has not come to its end."""
    project = Path(project)
    records = {path: record for path, record in _records(project) if record["log"] and record["endtime"]}
    made_by = {path: _name(record) for path, record in records.items()}
    found = {}
    for record in records.values():
        name = _name(record)
        needs = frozenset(made_by[path] for path in record["input"] if path in made_by) - {name}
        start, end = record["starttime"], record["endtime"]
        seconds, work = _measured(project / "benchmarks" / f"{name}.tsv") or (end - start, end - start)
        found[name] = Job(name, record["rule"], start, end, seconds, work, needs)
    last = [job for job in found.values() if job.rule in LAST]
    if not last:
        raise UserError(f"{project}: holds no finished run", "run Snakemake there first")
    return {name: job for one in last for name, job in _before(found, one).items()}


def critical_path(found: dict[str, Job]) -> list[Job]:
    """The chain of jobs, each needing the one before it, that takes longest."""

    @cache
    def chain(name: str) -> tuple[float, tuple[str, ...]]:
        before = max(map(chain, found[name].needs), default=(0.0, ()))
        return before[0] + found[name].seconds, (*before[1], name)

    return [found[name] for name in max(map(chain, found))[1]]


def wall_time(project: str | Path, found: dict[str, Job]) -> float:
    """Seconds from when Snakemake was started (its log's name tells; else from the first job) to the last job's end."""
    first, last = min(job.start for job in found.values()), max(job.end for job in found.values())
    logs = (Path(project) / ".snakemake/log").glob("*.snakemake.log")
    starts = (datetime.strptime(path.name, "%Y-%m-%dT%H%M%S.%f.snakemake.log").timestamp() for path in logs)
    return last - max((start for start in starts if start <= first), default=first)


def idle(found: Iterable[Job]) -> tuple[float, float]:
    """Seconds in which no job ran, in all and at most at once: those of Snakemake, or between several runs."""
    pauses, until = [0.0], None
    for job in sorted(found, key=lambda job: job.start):
        pauses.append(max(0.0, job.start - until) if until is not None else 0.0)
        until = job.end if until is None else max(until, job.end)
    return sum(pauses), max(pauses)


def summary(project: str | Path, cores: int) -> str:
    """A table of the critical path, of the work of each kind, and the run's wall time beside what it had to be."""
    found = jobs(project)
    path = critical_path(found)
    length, work = sum(job.seconds for job in path), sum(job.work for job in found.values())
    bound, wall, (still, pause) = max(length, work / cores), wall_time(project, found), idle(found.values())
    lines = ["critical path", *(f"{job.seconds:9.1f} s  {job.name}" for job in path), ""]
    lines.append(f"{'kind of job':22} jobs  wall time   core time")
    for rule in sorted({job.rule for job in found.values()}, key=lambda rule: -_total(found, rule)[2]):
        number, seconds, core_seconds = _total(found, rule)
        lines.append(f"{rule:22} {number:4} {seconds:8.1f} s {core_seconds:9.1f} s")
    lines += [
        "",
        f"critical path {length:.1f} s; work {work:.1f} core s, on {cores} cores {work / cores:.1f} s",
        f"wall time {wall:.1f} s = {wall / bound:.2f} x max(critical path, work / {cores})",
        f"no job ran for {still:.1f} s of it, at most {pause:.1f} s at once (if that is long, there were several runs)",
        "Times: the benchmark files; of local rules, which have none, from start to end on one core.",
        "Work: measured CPU time, not threads x time, so threads that wait count as a loss.",
    ]
    return "\n".join(lines)


def _records(project: Path) -> list[tuple[str, dict]]:
    """(output file, record) of Snakemake's metadata; the files' names are coded, long ones cut into folders."""
    folder = project / ".snakemake/metadata"
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [
        (
            base64.b64decode("".join(part.lstrip("@") for part in path.relative_to(folder).parts)).decode(),
            record,
        )
        for path in files
        if not (record := json.loads(path.read_text()))["incomplete"]
    ]


def _name(record: dict) -> str:
    """A job by its log: `bin4/cycle1/polish/motion`; its benchmark file has the same name."""
    return str(Path(record["log"][0]).relative_to("logs").with_suffix(""))


def _measured(path: Path) -> tuple[float, float] | None:
    """Wall time (s) and work (core-seconds) of a benchmark file; None without one.

    CPU time is known up to Snakemake's last look only; the rest of the job is taken to have been as busy. A job too
    short for a look (NA) counts as busy on one core.
    """
    if not path.exists():
        return None
    with path.open() as file:
        row = next(csv.DictReader(file, delimiter="\t"))
    seconds = float(row["s"])
    if row["cpu_time"] == "NA":
        return seconds, seconds
    looked = seconds if seconds <= OFTEN else OFTEN + (seconds - OFTEN) // SELDOM * SELDOM
    return seconds, float(row["cpu_time"]) * seconds / looked if looked else seconds


def _before(found: dict[str, Job], last: Job) -> dict[str, Job]:
    """The job and all that it needs, however far back: records of variants that are no longer asked for stay out."""
    names, todo = {last.name}, [last]
    while todo:
        new = todo.pop().needs - names
        names |= new
        todo += [found[name] for name in new]
    return {name: found[name] for name in names}


def _total(found: dict[str, Job], rule: str) -> tuple[int, float, float]:
    """Number, wall seconds and core-seconds of a rule's jobs."""
    of_rule = [job for job in found.values() if job.rule == rule]
    return len(of_rule), sum(job.seconds for job in of_rule), sum(job.work for job in of_rule)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("project", help="folder of a finished project")
    parser.add_argument(
        "--cores", type=int, default=os.cpu_count(), help="cores that the run had (default: all)"
    )
    arguments = parser.parse_args()
    try:
        print(summary(arguments.project, arguments.cores))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
