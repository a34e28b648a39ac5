"""The plan before the run: the jobs of a whole run, where each goes and what it may take. Nothing is run.

The jobs are found by following the rules back from the final target, what each asks for is evaluated by Snakemake
itself, and which of them would run is what its own DAG of that target says, so that the plan cannot differ from the
run. (The DAG of `snakemake plan` holds no other job than `plan`.) A job that would run may find that its result is
there already, or continue where it was cut off: `resume` says so, as it will say to the job.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from stacycle.errors import UserError
from stacycle.files import safe_names
from stacycle.jobs import fingerprint, resume
from stacycle.jobs.job import read_record
from stacycle.preflight.plan_table import CONTINUES, HERE, KEPT, OPEN, RUNS, Limits, PlannedJob
from stacycle.programs.command import Command
from stacycle.recipe.rounds import Recipe
from stacycle.resources import site
from stacycle.steps.registry import command_of, half_sets
from stacycle.steps.step import FILES, MakeCommand, folder_of

_Key = tuple[str, tuple[tuple[str, str], ...]]  # of a job: its rule's name, and its wildcards
_UNUSED = ("tmpdir", "disk_mb")  # resources that Snakemake works out from files, if it is let


def jobs(workflow: Any, recipe: Recipe, engine: Mapping[str, Any], renamed: str = "*") -> list[PlannedJob]:
    """All jobs of a whole run, done or not, round by round, each after what it needs.

    `workflow` is Snakemake's, when all rules are known, `engine` the config's section; `renamed` is what a rule * is
    called where it is imported.
    """
    rounds, target = ["", *recipe.rounds], renamed.replace("*", "all")
    fates = _fates(_dag(workflow, target), engine)
    found = [
        _job(workflow, *one, renamed, fates.get(_key(one[0].name, one[1])))
        for one in _followed(workflow, target)
        if one[0].output
    ]
    return sorted(found, key=lambda job: rounds.index(job.round))


def _key(rule: str, wildcards: Mapping[str, str]) -> _Key:
    return rule, tuple(sorted(wildcards.items()))


def _dag(workflow: Any, target: str) -> Any:
    """Snakemake's DAG of a run to the target with the options that it was called with.

    What was cut off runs again, with --rerun-incomplete or without (then a run asks for it).
    """
    from snakemake.dag import DAG  # which can only be imported where Snakemake is

    forced = workflow.dag_settings.forcerun
    rules = {workflow.get_rule(name) for name in forced if workflow.is_rule(name)}
    files = {os.path.relpath(name) for name in forced if not workflow.is_rule(name)}

    async def build(more: set[str]) -> Any:
        dag = DAG(
            workflow,
            workflow.rules,
            targetfiles=set(),
            targetrules={workflow.get_rule(target)},
            forceall=workflow.dag_settings.forceall,
            forcerules=rules,
            forcefiles=files | more,
            priorityfiles=set(),
            priorityrules=set(),
            ignore_incomplete=True,
        )
        await dag.init()
        await dag.update_checkpoint_dependencies()
        return dag

    async def whole() -> Any:
        dag = await build(set())
        cut_off = set(await dag.incomplete_files())
        return await build(cut_off) if cut_off else dag

    # In a thread of its own, for Snakemake's event loop runs in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, whole()).result()


def _fates(dag: Any, engine: Mapping[str, Any]) -> dict[_Key, tuple[str, int | str | None]]:
    """What comes of each job that the DAG would run, and what it continues from."""
    found: dict[Any, tuple[str, int | str | None]] = {}
    for job in (job for level in dag.toposorted() for job in level if dag.needrun(job)):
        before = [found[one][0] for one in dag.dependencies[job] if one in found]
        found[job] = _fate(job, engine, before, all_new=len(before) == len(dag.dependencies[job]))
    return {
        _key(job.rule.name, job.wildcards_dict): fate if command_of(job) else (RUNS, None)
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
        record = read_record(folder)
        digests = fingerprint.Digests(record.get("digests"))
        prints = fingerprint.take(command, folder, engine["kind"], digests)
        makes = [path for path in job.output if Path(path).name != "decision.json"]
        found = resume.plan(command, folder, record, prints, makes)
    except UserError:  # the run will report it
        return RUNS, None
    return {"keep": KEPT, "continue": CONTINUES, "fresh": RUNS}[found.action], found.start


def limits(workflow: Any) -> Limits:
    """What limits the jobs of a run with the profile that Snakemake was started with."""
    given = {name: getattr(value, "value", value) for name, value in workflow.global_resources.items()}
    numbers = {name: value if isinstance(value, int) else None for name, value in given.items()}
    return Limits(_scheduler(workflow), numbers.get("_cores"), numbers.get("gpu"), numbers.get("_nodes"))


def _followed(workflow: Any, target: str) -> list[tuple[Any, dict[str, str], Any]]:
    """(rule, wildcards, input files) of the final target and all that it needs, each after what it needs."""

    @cache
    def maker(file: str) -> _Key | None:
        for rule in workflow.rules:
            if rule.is_producer(file):
                return _key(rule.name, rule.get_wildcards(file))
        return None

    files: dict[_Key, Any] = {}
    needs: dict[_Key, list[_Key]] = {}
    waiting: list[_Key] = [(target, ())]
    while waiting:
        job = waiting.pop()
        if job not in needs:
            files[job] = workflow.get_rule(job[0]).expand_input(dict(job[1]))[0]
            needs[job] = [one for one in dict.fromkeys(map(maker, files[job])) if one]
            waiting += needs[job]
    in_order = TopologicalSorter(needs).static_order()
    return [
        (workflow.get_rule(rule), dict(wildcards), files[rule, wildcards]) for rule, wildcards in in_order
    ]


def _job(
    workflow: Any,
    rule: Any,
    wildcards: dict[str, str],
    files: Any,
    renamed: str,
    fate: tuple[str, int | str | None] | None,
) -> PlannedJob:
    """A job, as Snakemake will ask for it; `fate`: what comes of it, and what it continues from; None if it is done."""
    own_name = safe_names.own(rule.name, renamed)
    job = PlannedJob(
        rule=own_name,
        round=wildcards.get("round", ""),
        short=rule.name in workflow._localrules,
        done=fate is None,
        fate=RUNS if fate is None else fate[0],
        start=fate[1] if fate else None,
        name="/".join(part for key, part in wildcards.items() if key in ("cycle", "sweep", "variant")),
    )
    if job.short:
        return job
    asked = dict(rule.expand_resources(wildcards, files, 1, skip_evaluation=_UNUSED).items())
    cores, memory, minutes = asked["_cores"], asked.get("mem_mb"), asked.get("runtime")
    layout = site.layout(asked, cores, halves=half_sets(own_name))
    return replace(
        job,
        where=HERE if workflow.is_local(rule) else _queue(asked) or _scheduler(workflow),
        gpus=layout.gpus * layout.nodes,
        ranks=layout.ranks,
        threads=layout.threads,
        cores=cores * (layout.ranks if asked.get("mpi") else 1),
        memory=memory if isinstance(memory, int) else None,
        minutes=minutes if isinstance(minutes, int) else None,
    )


def _scheduler(workflow: Any) -> str:
    """What gives jobs their turn, by the name of Snakemake's executor; "" if all is done on this machine."""
    return "" if workflow.local_exec else workflow.executor_plugin.name.removeprefix("stacycle-")


def _queue(asked: Mapping[str, Any]) -> str:
    """The queue of a job, whatever its executor calls it: slurm_partition, lsf_queue, queue; "" if none is named."""
    named = (
        str(value)
        for name, value in asked.items()
        if name.endswith(("partition", "queue")) and not name.startswith(site.OF_GPU_JOBS) and value
    )
    return next(named, "")
