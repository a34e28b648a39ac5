"""What was asked for, and what the run took: settings, commands, versions, times, cores and GPU hours of each job."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from stacycle import __version__
from stacycle.errors import UserError
from stacycle.jobs import record as job_record
from stacycle.recipe import config as recipe_config
from stacycle.recipe.config_text import read
from stacycle.recipe.rounds import POSES
from stacycle.report.project import Project

_OTHERS = ("snakemake", "numpy", "scipy")


@dataclass(frozen=True)
class Job:
    """A program that was run: its folder, command, how it ended, and what it took in all its starts."""

    folder: str
    program: str
    command: str
    ended: str
    hours: float
    core_hours: float
    gpu_hours: float
    starts: int


@dataclass(frozen=True)
class Took:
    """What the jobs of a step took together, in hours."""

    step: str
    anchor: str
    jobs: int
    hours: float
    core_hours: float
    gpu_hours: float


def jobs(results: str | Path = "results") -> list[Job]:
    """The jobs of a project, in the order in which they were started first."""
    found = []
    for folder, record in job_record.of_project(results):
        if runs := [run for run in record.get("runs", []) if run.get("started")]:
            found.append((str(runs[0]["started"]), _job(folder.as_posix(), record, runs)))
    return [job for _, job in sorted(found, key=lambda one: one[0])]


def by_step(project: Project, done: list[Job]) -> list[Took]:
    """What each step of the rounds took, in the order of work; without those of which no program was run."""
    found = []
    for round_ in project.rounds:
        for step in round_["steps"]:
            of_step = [job for job in done if _belongs(job.folder, round_["name"], step)]
            if of_step:
                name = f"{round_['name']}/{step}"
                anchor = f"{round_['name']}-{'cycle1' if step == 'cycle' else step}"
                found.append(_took(name, anchor, of_step))
    return found


def total(done: list[Job]) -> Took:
    """What all jobs took together."""
    return _took("all", "", done)


def duration(hours: float) -> str:
    """Hours as a person says them: 40 s, 12 min, 3.5 h."""
    for unit, size in (("h", 1.0), ("min", 60.0)):
        if hours * size >= 0.95:
            return f"{hours * size:.3g} {unit}" if hours * size < 100 else f"{hours * size:,.0f} {unit}"
    return f"{hours * 3600:.0f} s" if hours else "–"


def settings(config: Mapping[str, Any]) -> str:
    """What of a validated config differs from the tutorial's, as YAML; "" if nothing is known."""
    if not config:
        return ""
    own = {key: config[key] for key in ("inputs", "particle") if key in config}
    try:
        tutorial = recipe_config.validate({**read(recipe_config.DEFAULT), **own})
    except (UserError, ValueError):
        tutorial = read(recipe_config.DEFAULT)
    differs = own | _differences(dict(config), tutorial)
    return yaml.safe_dump(differs, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)


def versions(project: Project) -> dict[str, str]:
    """Programs and libraries by name, with their versions."""
    found = {"stacycle": __version__, "Python": sys.version.split()[0]}
    for name in _OTHERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    engine = "RELION" if project.engine == "relion" else "engine"
    return {engine: " and ".join(project.versions) or "not run yet", **found}


def _job(folder: str, record: Mapping[str, Any], runs: list[dict[str, Any]]) -> Job:
    hours, cores, gpus = 0.0, 0.0, 0.0
    for run in runs:
        spent = _hours(run)
        hours += spent
        cores += spent * max(1, run.get("ranks", 1)) * max(1, run.get("threads", 1))
        gpus += spent * len(run.get("gpus") or [])
    ended = "ended well" if record.get("ended_well") else "failed" if record.get("cause") else "not ended"
    command = str(record.get("command", ""))
    words = [word for word in command.split() if word.startswith("relion_")]
    return Job(folder, words[0] if words else "", command, ended, hours, cores, gpus, len(runs))


def _hours(run: Mapping[str, Any]) -> float:
    try:
        start, end = (datetime.strptime(run[key], "%Y-%m-%dT%H:%M:%S%z") for key in ("started", "ended"))
    except (KeyError, TypeError, ValueError):
        return 0.0
    return max(0.0, (end - start).total_seconds() / 3600)


def _belongs(folder: str, round_: str, step: str) -> bool:
    """Whether a job's folder is of a step: its own, below it, or beside it (`align_probe`, `refine3d_poses`)."""
    inside = Path(folder).parts[1:]
    if len(inside) < 2 or inside[0] != round_:
        return False
    if step == "cycle":
        return inside[1].startswith("cycle")
    return inside[1] in (step, f"{step}{POSES}", f"{step}_probe")


def _took(step: str, anchor: str, done: list[Job]) -> Took:
    sums = (sum(getattr(job, what) for job in done) for what in ("hours", "core_hours", "gpu_hours"))
    return Took(step, anchor, len(done), *sums)


def _differences(mine: Any, theirs: Any) -> Any:
    """What of mine is not as in theirs; of mappings key by key, and null where mine lacks a key."""
    if not (isinstance(mine, dict) and isinstance(theirs, dict)):
        return mine
    found = {
        key: _differences(value, theirs.get(key))
        for key, value in mine.items()
        if key not in theirs or value != theirs[key]
    }
    return found | {key: None for key in theirs if key not in mine}
