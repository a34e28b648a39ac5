"""How far a run is, by the files that its steps end with and the records of its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacycle.files.job_folder import DECISION, PROGRAM_OUTPUT
from stacycle.jobs import record as job_record
from stacycle.recipe.rounds import Recipe
from stacycle.recipe.step_settings import kind_of
from stacycle.steps.registry import all_steps


@dataclass(frozen=True)
class Fault:
    """A job that failed: its folder from results/, why, and where its program's output is."""

    folder: str
    cause: str
    output: str


@dataclass(frozen=True)
class HowFar:
    """Steps by `ROUND/STEP`: all in the order of work, those that are `missing`, the jobs that are `begun` and have not
    ended, with the time that they were started, and the jobs that failed."""

    steps: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    begun: tuple[tuple[str, str], ...] = ()
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        """`5 of 12 steps are done; bin2/refine3d is not there yet.`"""
        if not self.steps:
            return ""
        done = len(self.steps) - len(self.missing)
        if not self.missing:
            return f"All {done} steps are done."
        rest = len(self.missing) - 1
        more = f", nor {'are' if rest > 1 else 'is'} the {f'{rest} steps' if rest > 1 else 'step'} after it"
        said = f"{self.missing[0]} is not there yet" + (more if rest else "")
        return f"{done} of {len(self.steps)} steps are done; {said}."


def how_far(recipe: Recipe, results: str | Path = "results") -> HowFar:
    """What of a recipe is there. A job that was killed with its runner is `begun`, too: only its runner could tell."""
    ends = {f"{round_}/{step}": _end(recipe, round_, step) for round_, step in recipe}
    missing = tuple(step for step, end in ends.items() if end and not Path(results, end).exists())
    begun, faults = [], []
    for folder, record in _unfinished(recipe, results):
        name = folder.relative_to(results).as_posix()
        if record.get("cause"):
            faults.append(Fault(name, str(record["cause"]), (folder / PROGRAM_OUTPUT).as_posix()))
        elif "ended" not in (run := record["runs"][-1]):
            begun.append((name, str(run.get("started", ""))[:16].replace("T", " ")))
    return HowFar(tuple(ends), missing, tuple(begun), tuple(faults))


def _end(recipe: Recipe, round_: str, step: str) -> str:
    """The file that a step ends with, below results/; "" if it is not known."""
    if step == "cycle":
        return f"{round_}/{'/'.join(recipe.sweeps(round_)[-1])}/{DECISION}"
    last = all_steps()[kind_of(step)].last
    return f"{round_}/{step}/{last}" if last else ""


def _unfinished(recipe: Recipe, results: str | Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and record of each job of the recipe's rounds that was started and has not ended well."""
    for folder, record in job_record.of_project(results):
        round_ = folder.relative_to(results).parts[0]
        if round_ in recipe.rounds and record.get("runs") and not record.get("ended_well"):
            yield folder, record
