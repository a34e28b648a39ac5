"""The plan before the run: the jobs of a whole run, where each goes and what it may take. Nothing is run.

The jobs are found by following the rules back from the final target, what each asks for is evaluated by Snakemake
itself, and which of them would run is what its own DAG of that target says, so that the plan cannot differ from the
run. (The DAG of `snakemake plan` holds no other job than `plan`.) A job that would run may find that its result is
there already, or go on where it was cut off: that is asked of `resume`, as the job will ask.
"""

from __future__ import annotations

import asyncio
import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from stacycle.errors import UserError
from stacycle.files import safe_names
from stacycle.files.cache import Remembered
from stacycle.jobs import fingerprint, resume
from stacycle.jobs.job import read_record
from stacycle.preflight import disk, preflight
from stacycle.programs.command import Command
from stacycle.recipe.rounds import Recipe
from stacycle.resources import site
from stacycle.steps import command_lines

HERE = "here"
# What comes of a job that Snakemake runs: its program runs, from the beginning or where it was cut off; or it finds the
# result there as it would be made; or that hangs on a decision that is made anew before it.
RUNS, GOES_ON, KEPT, OPEN = "runs", "goes on", "kept", "open"
_HEAD = (
    ["", "", "", "", "", "", "ranks x", "", "wall"],
    ["round", "step", "jobs", "done", "where", "GPUs", "threads", "memory", "time"],
)
_TO_THE_LEFT = (0, 1, 4)  # columns of words
_Key = tuple[str, tuple[tuple[str, str], ...]]  # of a job: its rule's name, and its wildcards
_UNUSED = ("tmpdir", "disk_mb")  # resources that Snakemake works out from files, if it is let


@dataclass(frozen=True)
class Job:
    """What a job asks for; `round` is "" outside the rounds.

    `where` is its queue, or HERE. It has `cores` in all, and `threads` for each of `ranks` that computes; `memory` in
    MB and `minutes` are None if no limit is known. `short`: a decision or a report, made in seconds beside Snakemake.
    `done`: Snakemake would not run it. Of one that it would run, `fate` is what comes of that (RUNS, ...), and `start`
    what it goes on from; `name` is its folder's.
    """

    rule: str
    round: str = ""
    where: str = HERE
    gpus: int = 0
    ranks: int = 1
    threads: int = 1
    cores: int = 1
    memory: int | None = None
    minutes: int | None = None
    short: bool = False
    done: bool = False
    fate: str = RUNS
    start: int | str | None = None
    name: str = ""


@dataclass(frozen=True)
class Limits:
    """What limits how many jobs there are at a time: `cores` and `gpus` of this machine, or `jobs` in the queues of a
    `scheduler`. None: not limited. `scheduler` is "" if all is done on this machine."""

    scheduler: str = ""
    cores: int | None = None
    gpus: int | None = None
    jobs: int | None = None


# ---------------------------------------------------------------- what Snakemake's rules say


def jobs(workflow: Any, recipe: Recipe, engine: Mapping[str, Any], renamed: str = "*") -> list[Job]:
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
    """What comes of each job that the DAG would run, and what it goes on from."""
    found: dict[Any, tuple[str, int | str | None]] = {}
    for job in (job for level in dag.toposorted() for job in level if dag.needrun(job)):
        before = [found[one][0] for one in dag.dependencies[job] if one in found]
        found[job] = _fate(job, engine, before, all_new=len(before) == len(dag.dependencies[job]))
    return {
        _key(job.rule.name, job.wildcards_dict): fate
        if command_lines.runs_program(_script(job))
        else (RUNS, None)
        for job, fate in found.items()
    }


def _fate(
    job: Any, engine: Mapping[str, Any], before: Sequence[str], all_new: bool
) -> tuple[str, int | str | None]:
    """What comes of a job, given what comes of those before it that are run (`all_new`: these are all).

    Of one that runs no program, as a decision or the inputs, what comes of its result: OPEN, if it may be what it was.
    """
    script = _script(job)
    if not command_lines.runs_program(script):
        changed = {RUNS, GOES_ON} & set(before) if all_new else set()
        there = all(Path(file).exists() for file in job.output)
        return (OPEN if there and not changed else RUNS), None
    if {RUNS, GOES_ON} & set(before) or not all(Path(file).exists() for file in job.input):
        return RUNS, None
    fate, start = _by_itself(script, job, engine)
    return (OPEN, None) if fate == KEPT and OPEN in before else (fate, start)


def _script(job: Any) -> str:
    return Path(str(job.rule.script or "")).stem


def _by_itself(script: str, job: Any, engine: Mapping[str, Any]) -> tuple[str, int | str | None]:
    """What comes of a job that runs a program, if its inputs stay as they are."""
    folder = command_lines.folder_of(job)
    if not folder.is_dir():
        return RUNS, None
    try:
        command = Command.of(command_lines.of_job(script, job, engine))
        record = read_record(folder)
        digests = fingerprint.Digests(record.get("digests"))
        prints = fingerprint.take(command, folder, engine["kind"], digests)
        makes = [job.output.mask] if script == "mask" else job.output
        found = resume.plan(command, folder, record, prints, makes)
    except UserError:  # the run will say it
        return RUNS, None
    return {"keep": KEPT, "continue": GOES_ON, "fresh": RUNS}[found.action], found.start


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
) -> Job:
    """A job, as Snakemake will ask for it; `fate` is what comes of it and what it goes on from, None if it is done."""
    own_name = safe_names.own(rule.name, renamed)
    job = Job(
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
    layout = site.layout(asked, cores, halves=own_name == site.TWO_HALVES)
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


# ---------------------------------------------------------------- what is told


def space(config: Mapping[str, Any], recipe: Recipe) -> str:
    """The disk that the run will take, as a table; or why it is not known, in a sentence.

    Uses what preflight remembers of the inputs, else reads them; writes nothing.
    """
    rows, facts = preflight.check_data(config["inputs"], _Recalled(preflight.MEMORY))
    if facts is None:
        more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        return (
            f"Disk: not known, as the inputs have a problem: {rows[0].found}{more}; see snakemake preflight."
        )
    try:
        needs = disk.needed(recipe, config, preflight.numbers_of(facts))
    except UserError as error:
        return f"Disk: not known: {error}"
    table = disk.table(needs, config["cleanup"])
    return f"Disk, on the safe side; at the right, what of it `cleanup` in the config could free:\n{table}"


class _Recalled(Remembered):
    """What is remembered; nothing is added."""

    def keep(self, kind: str, question: Any, answer: Any, files: Iterable[str]) -> None:
        pass


def text(jobs: Sequence[Job], limits: Limits, space: str, width: int = 80) -> str:
    """The plan, for a terminal of `width` columns: the table, sums, disk (`space`) and what to do next."""
    rounds, done = {job.round for job in jobs} - {""}, sum(job.done for job in jobs)
    head = f"Plan: {_counted(len(jobs), 'job')} in {_counted(len(rounds), 'round')}, {done} done; nothing is run now."
    notes = "\n".join([*_sums(jobs), _side_by_side(limits)])
    return "\n\n".join([head, _table(jobs), _wrapped(notes, width), _wrapped(space, width), _next(limits)])


def _table(jobs: Sequence[Job]) -> str:
    """A line for all jobs of a round that are of one rule and ask for the same; one for all that are short."""
    alike: dict[Job, list[Job]] = {}
    for job in jobs:
        if not job.short:
            alike.setdefault(replace(job, done=False, fate=RUNS, start=None, name=""), []).append(job)
    lines, rounds = [*_HEAD], [""]
    for one, some in alike.items():
        cells = [one.rule, *_counts(some), one.where, str(one.gpus or "-"), f"{one.ranks} x {one.threads}"]
        lines.append([one.round * (one.round != rounds[-1]), *cells, _memory(one.memory), _time(one.minutes)])
        rounds.append(one.round)
    if short := [job for job in jobs if job.short]:
        lines.append(["", "decisions, report", *_counts(short), HERE, "", "", "", "seconds"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(size) if column in _TO_THE_LEFT else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _counts(some: Sequence[Job]) -> tuple[str, str]:
    return str(len(some)), str(sum(job.done for job in some))


def _memory(mb: int | None) -> str:
    return "-" if mb is None else f"{mb / 1000:.4g} GB"


def _time(minutes: int | None) -> str:
    if minutes is None:
        return "-"
    return f"{minutes} min" if minutes < 60 else f"{minutes / 60:.4g} h"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _wrapped(text: str, width: int) -> str:
    """The lines of a text, those that are longer than `width` in several."""
    return "\n".join(
        textwrap.fill(line, width, break_on_hyphens=False) if len(line) > width else line
        for line in text.splitlines()
    )


def _sums(jobs: Sequence[Job]) -> Iterator[str]:
    """What is left to do, and the most that it can take."""
    started = [job for job in jobs if not job.done]
    left = [job for job in started if job.fate in (RUNS, GOES_ON) or job.short]
    if not started:
        yield "Nothing is left to do."
        return
    long = [job for job in left if not job.short]
    on_gpus = sum(job.gpus > 0 for job in long)
    yield (
        f"Left to do: {_counted(len(left), 'job')}, {on_gpus} on GPUs, {len(long) - on_gpus} on CPUs, "
        f"{len(left) - len(long)} short here."
    )
    yield from _fates_told([job for job in started if not job.short])
    timed = [(job, job.minutes / 60) for job in long if job.minutes is not None]
    gpu_hours = sum(job.gpus * hours for job, hours in timed)
    core_hours = sum(job.cores * hours for job, hours in timed)
    yield (
        f"A limit, no forecast: {gpu_hours:,.0f} GPU-hours and {core_hours:,.0f} core-hours, if each took its whole "
        "wall time."
    )
    if untimed := len(long) - len(timed):
        yield f"Not counted in these: {_counted(untimed, 'job')} without a wall time."
    if any(job.ranks > 1 for job in long):
        yield "Of a job's MPI ranks one leads the others and computes nothing itself."


def _fates_told(started: Sequence[Job]) -> Iterator[str]:
    """What the jobs that do not begin anew find or go on from."""
    for job in started:
        if job.fate == GOES_ON:
            what = f"iteration {job.start}" if isinstance(job.start, int) else job.start
            yield f"{_called(job)} goes on from {what}."
    if kept := [job for job in started if job.fate == KEPT]:
        yield f"Kept, as nothing has changed in them: {_counted(len(kept), 'job')} ({_listed(kept)})."
    if still_open := [job for job in started if job.fate == OPEN]:
        yield (
            f"Not counted, as they run only if a decision, or the inputs, made anew come out otherwise: "
            f"{_counted(len(still_open), 'job')} ({_listed(still_open)})."
        )


def _called(job: Job) -> str:
    return " ".join(part for part in (job.round, job.rule, job.name) if part)


def _listed(some: Sequence[Job]) -> str:
    """Names of steps, each once, the first few."""
    called = list(dict.fromkeys(f"{job.round} {job.rule}".strip() for job in some))
    return ", ".join(called[:6]) + (f" and {len(called) - 6} more steps" if len(called) > 6 else "")


def _side_by_side(limits: Limits) -> str:
    """How many jobs there are at a time."""
    if limits.scheduler:
        at_once = "" if limits.jobs is None else f", at most {limits.jobs:,} at a time"
        return f"Jobs are given to {limits.scheduler}{at_once}."
    kinds = [(limits.cores, "core"), (limits.gpus, "GPU")]
    shared = [_counted(count, what) for count, what in kinds if count]
    return (
        f"All is done on this machine, side by side as far as {' and '.join(shared)} go. No job is ended for its "
        "memory or wall time here."
    )


def _next(limits: Limits) -> str:
    """What to do next."""
    general = (
        ("all steps", "default-resources: {gpus_per_job: 2}; the queues are there too")
        if limits.scheduler
        else ("this machine", "cores: 16; resources: {gpu: 2}")
    )
    keys = [
        general,
        ("one step", "set-threads: {refine3d: 16}"),
        ("", "set-resources: {refine3d: {mem_mb: 128000, runtime: 48h}}"),
    ]
    return "\n".join(
        [
            "To change where steps go, in the profile (profiles/README.md has all keys):",
            *(f"  {whose:12}  {key}" for whose, key in keys),
            "Done: it would not run again. Why a job would: snakemake -n.",
        ]
    )
