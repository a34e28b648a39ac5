"""All that stacycle uses of Snakemake beyond its documented interface, in one place: another version may lack it.

`workflow` is Snakemake's object of that name in a Snakefile, `rule` and `job` are those that it holds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from argparse import Action
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from graphlib import TopologicalSorter
from math import inf
from pathlib import Path
from typing import Any

from stacycle.errors import UserError

# A rule's name and its wildcards, by which a job is known.
JobKey = tuple[str, tuple[tuple[str, str], ...]]

# ---------------------------------------------------------------- while the Snakefile is read


def source_folder(workflow: Any) -> Path:
    """The folder of the Snakefile that is being read."""
    return Path(workflow.current_basedir.get_path_or_uri(secret_free=True))


def is_imported(workflow: Any) -> bool:
    """Whether another workflow imports the Snakefile that is being read, as a module."""
    return not workflow.modifier.is_main_snakefile()


def path_prefix(workflow: Any) -> str | None:
    """The `prefix` of all paths that the importing workflow asks for."""
    return workflow.modifier.path_modifier.prefix


def renamed(workflow: Any, rule: str) -> str:
    """The name of a rule of this Snakefile for the workflow that imports it (`use rule * from stacycle as sta_*`)."""
    return workflow.modifier.modify_rulename(rule)


# ---------------------------------------------------------------- how Snakemake was called


def configfiles(workflow: Any) -> list[str]:
    """The config files, from the Snakefile and by --configfile."""
    return [str(path) for path in workflow.configfiles]


def command_line_config(workflow: Any) -> Mapping[str, Any]:
    """What --config gave."""
    return workflow.config_settings.config


def start_folder(workflow: Any) -> str:
    """The folder that Snakemake was called in, from which `--directory` may have led away."""
    for frame, _ in traceback.walk_stack(None):
        called = getattr(frame.f_locals.get("self"), "workflow_api", None)
        if called and called._workdir_handler.olddir:
            return str(called._workdir_handler.olddir)
    return workflow.workdir_init


def is_main_process(workflow: Any) -> bool:
    """Whether this is the process that the user started, and not one of its jobs."""
    return workflow.is_main_process


def runs_here(workflow: Any) -> bool:
    """Whether Snakemake runs all jobs on this machine, once it knows its executor."""
    return workflow.local_exec


def scheduler(workflow: Any) -> str:
    """What gives jobs their turn, by the name of Snakemake's executor; "" if all jobs run on this machine."""
    return "" if runs_here(workflow) else workflow.executor_plugin.name.removeprefix("stacycle-")


def cores(workflow: Any) -> int | None:
    """--cores; None if it was not given."""
    return workflow.resource_settings.cores


def most_jobs(workflow: Any) -> int | None:
    """--jobs, which only a run by a scheduler has; else None."""
    return workflow.resource_settings.nodes


def default_resources(workflow: Any) -> dict[str, Any]:
    """The profile's `default-resources`."""
    given = workflow.resource_settings.default_resources or {}
    return {name: getattr(value, "raw", value) for name, value in given.items()}


def limit(workflow: Any, resource: str) -> int | None:
    """How much of a resource (also `_cores`, `_nodes`) all jobs together may use; None: not limited."""
    given = workflow.global_resources.get(resource)
    value = getattr(given, "value", given)
    return value if isinstance(value, int) else None


def set_limit(workflow: Any, resource: str, most: int) -> None:
    """Limit how much of a resource all jobs together may use; in time only while the Snakefile is read."""
    workflow.register_resource(resource, most)


def ask_alike(workflow: Any, rule: str, other: str) -> None:
    """Have what --set-threads and --set-resources say of a rule hold for another, too, unless they say it of that; in
    time only before that is read."""
    settings, (rule, other) = workflow.resource_settings, (renamed(workflow, one) for one in (rule, other))
    threads, resources = settings._parsed_overwrite_threads, settings._parsed_overwrite_resources
    if rule in threads:
        threads.setdefault(other, threads[rule])
    if rule in resources:
        of_other = resources[rule].copy()
        of_other.update(resources.get(other, {}))
        resources[other] = of_other


@cache
def options() -> dict[str, Action]:
    """The options of Snakemake's command line, by each of their names."""
    from snakemake.cli import get_argument_parser

    return get_argument_parser()._option_string_actions


def option(name: str) -> Action | None:
    """The option of that name, of its beginning, or of the letter that its value follows at once (-j8)."""
    known = options()
    if name in known:
        return known[name]
    if not name.startswith("--"):
        return known.get(name[:2])
    found = {id(action): action for one, action in known.items() if one.startswith(name)}
    return next(iter(found.values())) if len(found) == 1 else None


def most_values(action: Action, word: str) -> float:
    """How many of the words after an option, given as `word`, can be its values."""
    if not word.startswith("--") and word not in options():
        return 0  # -j8
    if isinstance(action.nargs, int):
        return action.nargs
    return {None: 1, "?": 1, "*": inf, "+": inf}.get(action.nargs, 0)


def explain_faults_of_config_files(read: Callable[[Any], Any]) -> None:
    """Let Snakemake, which reads config files before any Snakefile, explain their faults as `read` does (UserError)."""
    from snakemake.common import configfile
    from snakemake.exceptions import WorkflowError
    from snakemake.settings import types

    load = configfile.load_configfile

    def load_configfile(path: Any) -> dict[str, Any]:
        try:
            return load(path)
        except (WorkflowError, ValueError, OSError, RecursionError):
            try:
                if read(path) == {}:  # all of it is comments
                    return {}
            except UserError as fault:
                raise WorkflowError(str(fault)) from None
            raise

    configfile.load_configfile = types.load_configfile = load_configfile


# ---------------------------------------------------------------- rules and jobs


def is_short(workflow: Any, rule: Any) -> bool:
    """Whether a rule says `localrule: True`."""
    return rule.name in workflow._localrules


def stays_here(workflow: Any, rule: Any) -> bool:
    """Whether Snakemake runs a rule's jobs on this machine."""
    return workflow.is_local(rule)


def value(resource: Any, of_function: int) -> Any:
    """The value of a resource, which is wrapped in a rule and plain in a job; `of_function` if the wildcards decide."""
    if not hasattr(resource, "is_evaluable"):
        return resource
    return of_function if resource.is_evaluable() else resource.value


def resources(
    rule: Any, wildcards: Mapping[str, str], files: Any, skip: Collection[str] = ()
) -> dict[str, Any]:
    """What a job asks for in its first attempt, with the profile, less what is in `skip`; `files` are its inputs."""
    return dict(rule.expand_resources(wildcards, files, 1, skip_evaluation=skip).items())


def jobs_to_start(workflow: Any) -> list[Any]:
    """The jobs that this run of Snakemake will start."""
    return list(workflow.dag.needrun_jobs())


def jobs_with_needs(workflow: Any) -> Iterator[tuple[Any, list[Any], bool]]:
    """(job, the jobs that it depends on, whether this run will start it) of each job of this run's graph, each after
    those that it depends on."""
    dag = workflow.dag
    for level in dag.toposorted():
        for job in level:
            yield job, list(dag.dependencies[job]), dag.needrun(job)


class _Ear(logging.Handler):
    """Hears of jobs from what Snakemake logs, whatever of it is shown."""

    def __init__(self, hear: Callable[[str, JobKey, Any], None]) -> None:
        super().__init__()
        self._hear = hear
        self._jobs: dict[int, JobKey] = {}  # Snakemake's numbers change when checkpoints have been made

    def emit(self, record: logging.LogRecord) -> None:
        from snakemake.logging import LogEvent, get_event

        event, told = get_event(record), record.__dict__
        if event == LogEvent.JOB_INFO:
            self._jobs[told["jobid"]] = key = job_key(told["rule_name"], told["wildcards"] or {})
            self._hear("started", key, told["output"])
        elif event == LogEvent.JOB_FINISHED and told["job_id"] in self._jobs:
            self._hear("finished", self._jobs[told["job_id"]], None)
        elif event == LogEvent.JOB_ERROR and told["jobid"] in self._jobs:
            said = (told.get("rule_msg") or "").partition("For further error details")[0].strip()
            self._hear("failed", self._jobs[told["jobid"]], (told["log"] or (), said))


def listen(hear: Callable[[str, JobKey, Any], None]) -> None:
    """Have `hear` told what comes of each job of this run: "started" and its outputs, "finished", or "failed", with
    where its logs are and what a scheduler said of it."""
    from snakemake.logging import logger

    logger.addHandler(_Ear(hear))


def all_jobs(workflow: Any, target: str) -> list[tuple[Any, dict[str, str], Any]]:
    """(rule, wildcards, input files) of the target rule and of all that it needs, each after what it needs."""

    @cache
    def maker(file: str) -> JobKey | None:
        for rule in workflow.rules:
            if rule.is_producer(file):
                return job_key(rule.name, rule.get_wildcards(file))
        return None

    files: dict[JobKey, Any] = {}
    needs: dict[JobKey, list[JobKey]] = {}
    waiting: list[JobKey] = [(target, ())]
    while waiting:
        job = waiting.pop()
        if job not in needs:
            files[job] = workflow.get_rule(job[0]).expand_input(dict(job[1]))[0]
            needs[job] = [one for one in dict.fromkeys(map(maker, files[job])) if one]
            waiting += needs[job]
    in_order = TopologicalSorter(needs).static_order()
    return [(workflow.get_rule(job[0]), dict(job[1]), files[job]) for job in in_order]


def job_key(rule: str, wildcards: Mapping[str, str]) -> JobKey:
    """What a job is known by."""
    return rule, tuple(sorted(wildcards.items()))


def jobs_of_run(workflow: Any, target: str) -> Iterator[tuple[Any, list[Any]]]:
    """(job, all jobs that it depends on) of each job that a run to the target would start, each after those. The run
    has the options that Snakemake was called with now, and makes anew what was cut off."""
    # In a thread of its own, for Snakemake's event loop runs in this one.
    with ThreadPoolExecutor(1) as thread:
        dag = thread.submit(asyncio.run, _dag(workflow, target)).result()
    for level in dag.toposorted():
        for job in level:
            if dag.needrun(job):
                yield job, list(dag.dependencies[job])


async def _dag(workflow: Any, target: str) -> Any:
    from snakemake.dag import DAG

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

    dag = await build(set())
    cut_off = set(await dag.incomplete_files())
    return await build(cut_off) if cut_off else dag
