"""Where particles went: which step left out how many, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan, nan

from stacycle.decisions.decision import Decision
from stacycle.files.job_folder import PARTICLES
from stacycle.recipe.step_settings import kind_of
from stacycle.report.project import Project
from stacycle.report.resolution import listed

_LEFT_OUT = ("extract", "select", "score", "duplicates")
_DONE = {"extract": "extraction", "select": "selection", "score": "scores", "duplicates": "duplicates"}


@dataclass(frozen=True)
class Loss:
    """A step that leaves particles out: their number `before` and `after` it, `why`, and the file that has the rest."""

    where: str
    anchor: str
    before: int
    after: int
    why: str
    file: str

    @property
    def lost(self) -> int:
        return self.before - self.after

    def __str__(self) -> str:
        return f"{self.where}: {self.after:,} of {self.before:,}; {self.why}."


def losses(project: Project) -> list[Loss]:
    """Each step that could leave out particles of the whole, in the order of work; an extraction only if it did."""
    found = []
    now = project.facts.get("particles") or nan
    for round_, step in _steps(project):
        file = f"results/{round_}/{step}/{PARTICLES}"
        kind, decision = kind_of(step), project.decision_of(f"{round_}/{step}")
        after = project.counted(file)
        if isnan(after) and decision:
            after = decision.numbers.get("particles", nan)
        if isnan(after):
            continue
        if not isnan(now) and (after < now or kind == "select"):
            lost = int(now - after)
            why = _why(kind, lost, decision)
            where = f"{round_}, {_DONE[kind]}" + (f" ({step})" if step != kind else "")
            found.append(Loss(where, f"{round_}-{step}", int(now), int(after), why, file))
        now = after
    return found


def _steps(project: Project) -> Iterator[tuple[str, str]]:
    """The steps that can leave out particles of the whole particle's state."""
    for round_ in project.rounds:
        parts = round_.get("parts") or ()
        for step in round_["steps"]:
            if kind_of(step) in _LEFT_OUT and step.removeprefix(f"{kind_of(step)}_") not in parts:
                yield round_["name"], step


def _why(kind: str, lost: int, decision: Decision | None) -> str:
    if kind == "extract":
        return f"{lost:,} are in too few tilt images"
    choice = decision.choice if decision else {}
    if kind == "select":
        kept = choice.get("classes", [])
        return f"class{'es' if len(kept) > 1 else ''} {listed(kept)} kept, {lost:,} rejected"
    if kind == "duplicates" and "distance" in choice:
        return f"{lost:,} lie nearer than {choice['distance']:.3g} Å to a better one"
    return f"{lost:,} score too low" if kind == "score" else f"{lost:,} are left out"
