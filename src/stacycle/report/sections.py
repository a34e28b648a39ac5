"""The report's rounds: a section for each step and cycle, with its pictures and its decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacycle.decisions.decision import Decision, read_decision
from stacycle.files.job_folder import DECISION
from stacycle.files.relion_output import PostProcess
from stacycle.recipe.rounds import PILOT, POSES
from stacycle.recipe.step_settings import kind_of, own_name
from stacycle.report import mask_tuner, pictures, tables, tilt_panel
from stacycle.report.pictures import Shown
from stacycle.report.project import Project, decision_file
from stacycle.report.tables import Table
from stacycle.steps.registry import all_steps
from stacycle.steps.step import Step


@dataclass(frozen=True)
class Candidates:
    """The candidates of a decision, or of a part of it; `open` if they are shown at first."""

    question: str
    table: Table
    open: bool


@dataclass(frozen=True)
class Verdict:
    """A decision as it is shown: what was decided, by whom and why, and of what; and its file."""

    title: str
    by: str
    reason: str
    rolled_back: bool
    candidates: list[Candidates]
    file: str = ""


@dataclass(frozen=True)
class Block:
    """Pictures and a decision; a step of a cycle has a title and the resolution that it reached, in Å,
    by its `file`."""

    pictures: list[Shown] = field(default_factory=list)
    verdict: Verdict | None = None
    title: str = ""
    resolution: float = 0.0
    file: str = ""


@dataclass(frozen=True)
class Section:
    """A step of a round, or one of its cycles, by the anchor that links lead to."""

    anchor: str
    title: str
    blocks: list[Block]


def rounds(project: Project) -> list[dict[str, Any]]:
    """The rounds that have something to show, each with the `sections` of its steps."""
    found = [round_ | {"sections": _sections(project, round_)} for round_ in project.rounds]
    return [round_ for round_ in found if round_["sections"]]


def _sections(project: Project, round_: dict[str, Any]) -> list[Section]:
    """A round's steps, then its cycles one by one."""
    name = round_["name"]
    of_round = [step for step in project.steps_with_resolution if step["round"] == name]
    sections = [
        Section(f"{name}-{step}", _title(step), _step(project, f"{name}/{step}", all_steps()[kind_of(step)]))
        for step in round_["steps"]
        if step != "cycle"
    ]
    together = pictures.slices(project, project.of("parts", f"{name}/parts"), "The parts over the consensus")
    sections.append(Section(f"{name}-parts", "Parts together", [Block([together])] if together else []))
    for number in sorted({step["cycle"] for step in of_round} - {0}):
        inside = [step for step in of_round if step["cycle"] == number]
        sections.append(Section(f"{name}-cycle{number}", f"Cycle {number}", _cycle(project, inside)))
    return [section for section in sections if section.blocks]


def _title(step: str) -> str:
    """What a step is called, and its name of its own if it has one."""
    title, own = all_steps()[kind_of(step)].title, own_name(step)
    return f"{title}: {own}" if own else title


def _step(project: Project, folder: str, step: Step) -> list[Block]:
    """The pictures of a step, then its decision, and that on its poses."""
    shown = [picture for name in step.pictures if (picture := getattr(pictures, name)(project, folder))]
    files = [project.of("decisions", one) or "" for one in (folder, f"{folder}{POSES}")]
    verdicts = [
        _verdict(project.decided[file], step.candidates_shown, file=file)
        for file in files
        if file in project.decided
    ]
    blocks = [Block(verdict=verdict) for verdict in verdicts[1:]]
    return [Block(shown, next(iter(verdicts), None)), *blocks] if shown or verdicts else []


def _cycle(project: Project, steps: list[dict[str, Any]]) -> list[Block]:
    """A cycle: its bin1 reference and mask, each sweep, and the map that it ends with."""
    blocks, result = [], None
    for before, step in zip([None, *steps], steps, strict=False):
        if result := project.fsc(step["postprocess"]):
            blocks.append(_step_of_cycle(project, before, step, result))
        blocks += _pilot(project, decision_file(step)) if step["decision"] else []
    density = _existing(result.map) if result else None
    last = pictures.slices(project, density, "Central slices of the map that the cycle ends with")
    return [*blocks, Block([last])] if last else blocks


def _pilot(project: Project, file: str | None) -> list[Block]:
    """What a sweep's pilot decided, by the file of the sweep's own decision: on which numbers variants were ended."""
    folder = Path(file or "").parent
    tried = str(folder.with_name(f"{folder.name}{PILOT}") / DECISION)
    decision = project.read(tried, read_decision) if Path(tried).exists() else None
    return [Block(verdict=_verdict(decision, 100, f"Pilot of {folder.name}", tried))] if decision else []


def _step_of_cycle(
    project: Project, before: dict[str, Any] | None, step: dict[str, Any], result: PostProcess
) -> Block:
    file = decision_file(step) or ""
    decision = project.decided.get(file)
    shown: list[Shown | None] = []
    verdict = None
    if not step["decision"]:
        files = _existing(result.map), _existing(result.mask)
        shown = [pictures.outline(project, *files, "The mask around the bin1 reference")]
        folder, key = Path(step["postprocess"]).parents[1] / "mask", f"rounds.{step['round']}.cycle.mask"
        shown.append(mask_tuner.tuner(project, str(folder), f"{key}.threshold"))
        verdict = _verdict(decision, 0, file=file) if decision else None
    elif decision:
        shown = [pictures.sweep(project, before, step, decision)]
        if before and not decision.rolled_back:
            shown.append(tilt_panel.changes(project, before["state"], step["state"]))
        variant = decision.choice.get("variant")
        verdict = _verdict(decision, 100, "Rolled back" if decision.rolled_back else f"Kept: {variant}", file)
    return Block(
        [one for one in shown if one], verdict, step["label"], result.resolution, step["postprocess"]
    )


def _existing(path: str) -> str | None:
    """A file that a `postprocess.star` names, if it is still there."""
    return path if Path(path).is_file() else None


def _verdict(decision: Decision, longest: int, outcome: str = "", file: str = "") -> Verdict:
    """The reason, and the candidates, closed if there are more than `longest`; `outcome` is a sweep's."""
    candidates = [
        Candidates(part.question, tables.shown(part.candidates), len(part.candidates) <= longest)
        for part in decision.parts or [decision]
        if len(part.candidates)
    ]
    shown = outcome or decision.question
    return Verdict(shown, decision.by, decision.reason, decision.rolled_back, candidates, file)
