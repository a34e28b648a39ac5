"""What stacycle takes from Snakemake beyond its documentation is there, and means what it is taken for."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from argparse import Action
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import snakemake
import snakemake_executor_plugin_slurm as slurm
import yaml
from conftest import ROOT
from planned import planned
from snakemake.api import WorkflowApi
from snakemake.cli import get_argument_parser
from snakemake.common import configfile
from snakemake.dag import DAG
from snakemake.jobs import Job
from snakemake.resources import Resource
from snakemake.rules import Rule
from snakemake.settings import types
from snakemake.workflow import Workflow
from snakemake_executor_plugin_slurm import Executor as SlurmExecutor

import snakemake_executor_plugin_stacycle_slurm as plugin
from stacycle import snakemake_api
from stacycle.errors import UserError

# A workflow that asks for all that stacycle's asks for, and one that imports it.
SNAKEFILE = """
from stacycle import snakemake_api

PREFIX = snakemake_api.path_prefix(workflow)
SEEN.append((snakemake_api.source_folder(workflow), snakemake_api.is_imported(workflow), PREFIX))
SEEN.append(snakemake_api.renamed(workflow, "all"))
snakemake_api.set_limit(workflow, "gpu", 2)

rule all:
    input: "b.txt"
    localrule: True

rule b:
    input: "a_{letter}.txt".replace("{letter}", "x")
    output: "b.txt"
    params: step="b"
    threads: 3
    resources: gpu=lambda wc: 2, mem_mb=500
    shell: "touch {output}"

checkpoint a:
    output: "a_{letter}.txt"
    resources: gpu=1
    shell: "touch {output}"
"""
IMPORTER = """
module theirs:
    snakefile: "Snakefile"

use rule * from theirs as sta_*

rule mine:
    input: "b.txt"
    default_target: True
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("api")
    seen = f"import builtins\nSEEN = builtins.__dict__.setdefault('SEEN_BY_TEST', [])\n{SNAKEFILE}"
    (made / "Snakefile").write_text(seen)
    (made / "Importer").write_text(IMPORTER)
    (made / "config.yaml").write_text(yaml.safe_dump({"key": 1}))
    return made


@pytest.fixture(scope="module")
def workflow(folder: Path) -> Iterator[Any]:
    defaults = {"gpus_per_job": 2, "slurm_partition": "cpu"}
    with planned(
        folder, folder / "config.yaml", snakefile=folder / "Snakefile", default_resources=defaults
    ) as found:
        yield found


# ---------------------------------------------------------------- what there must be

# Attributes of Snakemake's objects, and what stacycle needs each for.
NEEDED: dict[type | ModuleType, dict[str, str]] = {
    Workflow: {
        "current_basedir": "to find its own folder",
        "modifier": "to be imported as a module",
        "configfiles": "to say where in a config file a mistake is",
        "config_settings": "to read what --config gave",
        "workdir_init": "to redo a result as the last run was called",
        "is_main_process": "to look for GPUs once",
        "local_exec": "to know whether jobs run on this machine",
        "executor_plugin": "to name the scheduler in the plan",
        "resource_settings": "to read what the profile says of the site",
        "global_resources": "to read the profile's limits",
        "register_resource": "to limit how many GPUs all jobs use",
        "_localrules": "to plan which jobs are short",
        "is_local": "to plan where jobs run",
        "dag": "to check what a run needs before its first job",
        "rules": "to plan a whole run",
        "get_rule": "to plan a whole run",
        "is_rule": "to plan with --forcerun",
        "dag_settings": "to plan with --forcerun",
    },
    WorkflowApi: {"_workdir_handler": "to redo a result as the last run was called"},
    Rule: {
        "name": "to know a job by",
        "params": "to know its step",
        "resources": "to check GPUs and MPI before a run",
        "expand_resources": "to plan what a job asks for",
        "expand_input": "to plan a whole run",
        "is_producer": "to plan a whole run",
        "get_wildcards": "to plan a whole run",
    },
    Job: {
        "rule": "to know its step",
        "wildcards_dict": "to know a job by",
        "params": "to plan its command line",
        "resources": "to check GPUs and MPI before a run",
    },
    Resource: {
        "is_evaluable": "to tell numbers from functions",
        "value": "to read a number",
        "raw": "to read text",
    },
    DAG: {
        "init": "to plan which jobs would run",
        "update_checkpoint_dependencies": "to plan which jobs would run",
        "incomplete_files": "to plan what was cut off",
        "toposorted": "to plan in the order of work",
        "needrun": "to plan which jobs would run",
        "needrun_jobs": "to check what a run needs before its first job",
        "dependencies": "to plan what follows from a job that runs",
    },
    configfile: {"load_configfile": "to explain a config file's fault"},
    types: {"load_configfile": "to explain a config file's fault"},
    type(get_argument_parser()): {"_option_string_actions": "to redo a result as the last run was called"},
    # what the executor stacycle-slurm takes from the one that it extends
    slurm: {"ExecutorSettings": "for its settings", "common_settings": "for its settings"},
    SlurmExecutor: {
        "run_job": "to name a job",
        "run_array_jobs": "to name jobs",
        "get_account_arg": "to leave the account to SLURM",
        "_report_job_submission_threadsafe": "to take back jobs at Ctrl-C",
        "cancel_jobs": "to take back jobs at Ctrl-C",
        "check_active_jobs": "to ask for states of jobs that have names of their own",
        "_job_submission_executor": "to submit no more after Ctrl-C",
        "_submitted_job_clusters": "to ask other clusters for states",
        "status_rate_limiter": "to ask SLURM not too often",
        "next_seconds_between_status_checks": "to ask SLURM at even intervals",
        "run_uuid": "to name a job",
        "report_job_success": "to tell how a job ended",
        "report_job_error": "to tell how a job ended",
    },
}
ALL_NEEDED = [(owner, name) for owner, names in NEEDED.items() for name in names]


def named(owner: type | ModuleType) -> str:
    return getattr(owner, "__qualname__", owner.__name__)


def has(owner: type | ModuleType, name: str) -> bool:
    """Whether it has the attribute, or gives one to its instances."""
    classes = owner.__mro__[:-1] if isinstance(owner, type) else ()
    given = rf"^ +(self\.)?{name}(: .*)? = |^ +{name}: "
    return hasattr(owner, name) or any(re.search(given, inspect.getsource(one), re.M) for one in classes)


@pytest.mark.parametrize(
    ("owner", "name"), ALL_NEEDED, ids=[f"{named(owner)}.{name}" for owner, name in ALL_NEEDED]
)
def test_snakemake_has_what_stacycle_needs(owner: type | ModuleType, name: str) -> None:
    assert has(owner, name), (
        f"Snakemake {snakemake.__version__} has no {named(owner)}.{name} any more, which stacycle needs "
        f"{NEEDED[owner][name]}: find what replaces it, and change it in src/stacycle/snakemake_api.py (or in the "
        "executor src/snakemake_executor_plugin_stacycle_slurm)."
    )


def test_an_attribute_that_is_gone_is_missed() -> None:
    assert not any(has(owner, "no_such_attribute") for owner in NEEDED)


def attributes(path: Path, of: tuple[str, ...]) -> set[str]:
    """The attributes that a module asks variables of these names for."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in of
    }


def test_each_attribute_that_is_used_is_tested() -> None:
    used = attributes(Path(snakemake_api.__file__), ("workflow", "rule", "job", "dag", "resource"))
    listed = {name for owner in (Workflow, Rule, Job, Resource, DAG) for name in NEEDED[owner]}
    assert used - listed == set()


def test_nothing_else_uses_snakemakes_own_objects() -> None:
    sources = set((ROOT / "src").rglob("*.py")) - {Path(snakemake_api.__file__), Path(plugin.__file__)}
    assert {path.name: found for path in sources if (found := attributes(path, ("workflow",)))} == {}
    rules = [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
    # `workflow.rules` is handed on as it is
    assert {
        (path.name, word.partition("(")[0])
        for path in rules
        for word in path.read_text().replace("workflow.rules)", "").split()
        if "workflow." in word and "://" not in word
    } == set()


# ---------------------------------------------------------------- what it must mean


def test_a_snakefile_finds_its_folder_and_whether_and_as_what_it_is_imported(
    folder: Path, workflow: Any
) -> None:
    import builtins

    seen: list[Any] = builtins.__dict__["SEEN_BY_TEST"]
    assert seen[:2] == [(folder, False, None), "all"]
    seen.clear()
    with planned(folder, folder / "config.yaml", snakefile=folder / "Importer"):
        assert seen == [(folder, True, None), "sta_all"]


def test_how_snakemake_was_called_is_known(folder: Path, workflow: Any) -> None:
    assert snakemake_api.configfiles(workflow) == [str(folder / "config.yaml")]
    assert dict(snakemake_api.command_line_config(workflow)) == {}
    assert snakemake_api.is_main_process(workflow)
    assert snakemake_api.runs_here(workflow)
    assert snakemake_api.scheduler(workflow) == ""
    assert (snakemake_api.cores(workflow), snakemake_api.most_jobs(workflow)) == (2, None)
    assert snakemake_api.default_resources(workflow) == {"gpus_per_job": 2, "slurm_partition": "cpu"}
    assert Path(snakemake_api.start_folder(workflow)).is_dir()


def test_the_folder_of_the_call_is_known_wherever_the_work_is(tmp_path: Path) -> None:
    told = "onstart:\n    print('called in', snakemake_api.start_folder(workflow))\n"
    text = f"from stacycle import snakemake_api\n{told}rule one:\n    output: 'a'\n    shell: 'touch a'\n"
    (tmp_path / "Snakefile").write_text(text)
    for place in ([], ["--directory", "there/it/is"], ["--directory", str(tmp_path / "far")]):
        words = [sys.executable, "-m", "snakemake", "--cores", "1", *place]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert f"called in {tmp_path}\n" in done.stdout, place


def test_limits_are_those_of_the_profile_and_those_that_were_set(workflow: Any) -> None:
    assert [snakemake_api.limit(workflow, name) for name in ("gpu", "_cores", "_nodes", "none")] == [
        2,
        2,
        None,
        None,
    ]
    assert workflow.scheduler.global_resources["gpu"] == 2, "and its scheduler heeds it"


def test_options_are_known_by_each_of_their_names() -> None:
    options = snakemake_api.options()
    assert isinstance(options["--jobs"], Action)
    assert options["-j"] is options["--jobs"]


def test_the_jobs_of_a_whole_run_and_what_they_ask_for(workflow: Any) -> None:
    jobs = snakemake_api.all_jobs(workflow, "all")
    assert [(rule.name, wildcards) for rule, wildcards, _ in jobs] == [
        ("a", {"letter": "x"}),
        ("b", {}),
        ("all", {}),
    ]
    a, b, final = (rule for rule, *_ in jobs)
    assert [snakemake_api.is_short(workflow, rule) for rule in (a, b, final)] == [False, False, True]
    assert snakemake_api.stays_here(workflow, a)
    asked = snakemake_api.resources(b, {}, jobs[1][2], skip=("tmpdir",))
    assert {name: asked[name] for name in ("_cores", "gpu", "mem_mb")} == {
        "_cores": 2,
        "gpu": 2,
        "mem_mb": 500,
    }
    assert "tmpdir" not in asked
    assert [snakemake_api.value(rule.resources["gpu"], of_function=7) for rule in (a, b)] == [1, 7]


def test_the_jobs_that_a_run_would_start_each_after_what_it_needs(workflow: Any) -> None:
    found = [
        (job.rule.name, [one.rule.name for one in needed])
        for job, needed in snakemake_api.jobs_of_run(workflow, "all")
    ]
    assert found == [("a", []), ("b", ["a"]), ("all", ["b"])]
    assert snakemake_api.jobs_to_start(workflow) == [], "the dry run is over"
    workflow.dag._finished.clear()
    assert {job.rule.name for job in snakemake_api.jobs_to_start(workflow)} == {"a", "b", "all"}


def test_jobs_that_are_done_are_not_started_but_those_that_are_forced(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a_x.txt", "b.txt"):
        (tmp_path / name).touch()
    with planned(tmp_path, snakefile=folder / "Snakefile") as workflow:
        assert list(snakemake_api.jobs_of_run(workflow, "all")) == []
        monkeypatch.setattr(workflow.dag_settings, "forcerun", {"b"})
        assert [job.rule.name for job, _ in snakemake_api.jobs_of_run(workflow, "all")] == ["b", "all"]


def test_a_fault_of_a_config_file_is_explained_by_whoever_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Any) -> dict:
        raise UserError("what is wrong")

    for module in (configfile, types):
        monkeypatch.setattr(module, "load_configfile", configfile.load_configfile)  # put back after the test
    snakemake_api.explain_faults_of_config_files(read)
    bad = tmp_path / "config.yaml"
    bad.write_text("a: [")
    for module in (configfile, types):
        with pytest.raises(snakemake.exceptions.WorkflowError, match="what is wrong"):
            module.load_configfile(bad)
