"""The plan before the run: the jobs of a whole run, where each goes and what it may take. Nothing is run.

What each job asks for is evaluated by Snakemake, and which would run is what its own DAG of the final target says, so
that the plan cannot differ from the run. A job that would run may keep its result, or continue where it was cut off:
`resume` says so, as it will say to the job.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stacycle import snakemake_api
from stacycle.errors import UserError
from stacycle.files.job_folder import DECISION, SLAB
from stacycle.jobs import fingerprint, resume
from stacycle.jobs import record as job_record
from stacycle.preflight.plan_table import CONTINUES, HERE, KEPT, OPEN, RUNS, Limits, PlannedJob
from stacycle.programs.command import Command
from stacycle.recipe.rounds import Recipe
from stacycle.resources import site
from stacycle.steps.registry import command_of, layout_of_rule, shared
from stacycle.steps.step import FILES, MakeCommand, folder_of, is_share

# What comes of a job (RUNS, ...), what it continues from, and whether all before it stays.
Fate = tuple[str, int | str | None, bool]
_WILDCARD = re.compile(r"\{(\w+)[^}]*\}")
_UNUSED = ("tmpdir", "disk_mb")  # resources that Snakemake works out from files, if it is let


def jobs(workflow: Any, recipe: Recipe, engine: Mapping[str, Any], target: str = "all") -> list[PlannedJob]:
    """All jobs of a whole run, done or not, round by round, each after what it needs.

    `workflow` is Snakemake's, when all rules are known; `target` names the rule `all` where the workflow is imported.
    """
    rounds = ["", *recipe.rounds]
    fates = _fates(workflow, target, engine)

    def place(job: tuple[Any, dict[str, str], Any]) -> tuple[int, bool]:
        return rounds.index(job[1].get("round", "")), "cycle" in job[1]  # a cycle comes last

    return [
        _job(workflow, engine, rule, wildcards, files, fates.get(snakemake_api.job_key(rule.name, wildcards)))
        for rule, wildcards, files in sorted(snakemake_api.all_jobs(workflow, target), key=place)
        if rule.output
    ]


def _fates(workflow: Any, target: str, engine: Mapping[str, Any]) -> dict[snakemake_api.JobKey, Fate]:
    """What comes of each job that a run would start."""
    found: dict[Any, Fate] = {}
    for job, needed in snakemake_api.jobs_of_run(workflow, target):
        before = [found[one][0] for one in needed if one in found]
        found[job] = (*_fate(job, engine, before, all_new=len(before) == len(needed)), {KEPT} >= set(before))
    return {
        snakemake_api.job_key(job.rule.name, job.wildcards_dict): (RUNS, None, fate[2])
        if snakemake_api.is_short(workflow, job.rule) or (fate[2] and not command_of(job))
        else fate
        for job, fate in found.items()
    }


def _fate(
    job: Any, engine: Mapping[str, Any], before: Sequence[str], all_new: bool
) -> tuple[str, int | str | None]:
    """What comes of a job, given what comes of those before it that are run (`all_new`: these are all).

    Of one that runs no program, as a decision or the inputs, what comes of its result: OPEN, if it may be what it was.
    """
    make_command = command_of(job)
    if not make_command:
        changed = {RUNS, CONTINUES} & set(before) if all_new else set()
        there = all(Path(file).exists() for file in job.output)
        return (OPEN if there and not changed else RUNS), None
    if {RUNS, CONTINUES} & set(before) or not all(Path(file).exists() for file in job.input):
        return RUNS, None
    fate, start = _by_itself(make_command, job, engine)
    return (OPEN, None) if fate == KEPT and OPEN in before else (fate, start)


def _by_itself(
    make_command: MakeCommand, job: Any, engine: Mapping[str, Any]
) -> tuple[str, int | str | None]:
    """What comes of a job that runs a program, if its inputs stay as they are."""
    folder = folder_of(job)
    if not folder.is_dir():
        return RUNS, None
    try:
        command = Command.of(make_command(job, engine, FILES))
        record = job_record.read(folder)
        digests = fingerprint.Digests(record.get("digests"))
        prints = fingerprint.take(command, folder, engine["kind"], digests)
        outputs = [] if is_share(job) else job.output
        expected = [path for path in outputs if Path(path).name not in (DECISION, SLAB)]
        to_the_end = job.params.get("stop_early") is False
        found = resume.examine(command, folder, record, prints, expected, to_the_end=to_the_end)
    except UserError:  # the run will report it
        return RUNS, None
    return {"keep": KEPT, "continue": CONTINUES, "fresh": RUNS}[found.action], found.start


def limits(workflow: Any) -> Limits:
    """What limits the jobs of a run with the profile that Snakemake was started with."""
    most = (snakemake_api.limit(workflow, name) for name in ("_cores", "gpu", "_nodes"))
    return Limits(snakemake_api.scheduler(workflow), *most)


def _job(
    workflow: Any,
    engine: Mapping[str, Any],
    rule: Any,
    wildcards: dict[str, str],
    files: Any,
    fate: Fate | None,
) -> PlannedJob:
    """A job, as Snakemake will ask for it; its `fate` is None if it is done."""
    job = PlannedJob(
        step=rule.params.get("step", ""),
        round=wildcards.get("round", ""),
        short=snakemake_api.is_short(workflow, rule),
        done=fate is None,
        fate=RUNS if fate is None else fate[0],
        start=fate[1] if fate else None,
        name="/".join(
            part for key, part in wildcards.items() if key in ("cycle", "sweep", "variant", "share")
        ),
        first=fate is not None and fate[2],
        folder=os.path.dirname(_WILDCARD.sub(lambda found: wildcards[found[1]], str(rule.output[0]))),
    )
    if job.short:
        return job
    asked = snakemake_api.resources(rule, wildcards, files, skip=_UNUSED)
    cores, memory, minutes = asked["_cores"], asked.get("mem_mb"), asked.get("runtime")
    layout = layout_of_rule(job.step, asked, cores, engine)
    elsewhere = _queue(asked) or snakemake_api.scheduler(workflow)
    return replace(
        job,
        where=HERE if snakemake_api.stays_here(workflow, rule) else elsewhere,
        gpus=layout.gpus * layout.nodes,
        ranks=layout.ranks,
        threads=layout.threads,
        cores=cores * (layout.ranks if asked.get("mpi") else 1),
        nodes=layout.nodes,
        shared=shared().get(job.step, ""),
        memory=memory if isinstance(memory, int) else None,
        minutes=minutes if isinstance(minutes, int) else None,
    )


def _queue(asked: Mapping[str, Any]) -> str:
    """The queue of a job, whatever its executor calls it: slurm_partition, lsf_queue, queue; "" if none is named."""
    named = (
        str(value)
        for name, value in asked.items()
        if name.endswith(("partition", "queue")) and not name.startswith(site.OF_GPU_JOBS) and value
    )
    return next(named, "")
