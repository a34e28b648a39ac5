"""A methods paragraph in plain English, made of the run's own numbers, and the works that it rests on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite, nan
from pathlib import Path
from typing import Any

from stacycle import __version__
from stacycle.decisions.decision import Decision
from stacycle.inputs.sources.source import all_sources
from stacycle.jobs import record
from stacycle.programs.command import Command
from stacycle.recipe.rounds import POSES
from stacycle.recipe.step_settings import kind_of, own_name
from stacycle.report import works
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution, listed, of_whole, resolutions
from stacycle.steps.registry import all_steps

_SWEEPS = {"Polishing": "Bayesian polishing"}


def paragraph(project: Project, rows: Sequence[MapResolution] | None = None) -> str:
    """What was done, in the order of work, with the numbers of the files: what is not there yet is not said. `rows` are
    those of `resolution.resolutions`, if they are known already."""
    rows = of_whole(resolutions(project) if rows is None else rows)
    said = [_given(project), _programs(project)]
    for round_ in project.rounds:
        said += _of_round(project, round_, rows)
    return " ".join(filter(None, [*said, _reached(project, rows)]))


def citations(project: Project) -> list[str]:
    """The works that a paper with these results cites: authors, year, journal and DOI of each."""
    found = [*works.ALWAYS]
    if project.engine != "embedded":
        found += works.RELION
    sources = _sources(project)
    found += [work for key, cited in works.OF_SOURCE.items() if key in sources for work in cited]
    done = {kind_of(step) for round_ in project.rounds for step in round_["steps"] if _done(round_, step)}
    found += [work for kind, cited in works.OF_STEP.items() if kind in done for work in cited]
    return list(dict.fromkeys(found))


def _given(project: Project) -> str:
    """What the inputs were."""
    facts, tomograms = project.facts, project.facts.get("tomograms") or []
    if not tomograms:
        return ""
    tilts = sum(one["tilts"] for one in tomograms)
    pixel = f" at {facts['pixel_size']:.4g} Å per pixel" if "pixel_size" in facts else ""
    sources = [title for key, title in _titles().items() if key in _sources(project)]
    aligned = f", aligned in {listed(sources)}" if sources else ""
    picks = f", with {facts['particles']:,} particles picked" if "particles" in facts else ""
    return f"Subtomogram averaging started from {len(tomograms)} tilt series ({tilts:,} images{pixel}){aligned}{picks}."


def _programs(project: Project) -> str:
    """What ran, and by whose procedure."""
    names = [f"stacycle's {one}" if "engine" in one else f"RELION {one}" for one in project.versions]
    ran = listed(names) or {"embedded": "stacycle's embedded engine"}.get(project.engine, "RELION 5")
    by = f"stacycle {__version__} and Snakemake {version('snakemake')}"
    return f'The procedure was that of the tutorial "STA in RELION5" (TomoGuide), carried out with {ran}, run by {by}.'


def _of_round(project: Project, round_: dict[str, Any], rows: Sequence[MapResolution]) -> list[str]:
    """A sentence about a round's steps that are done, and one about each of its cycles."""
    parts: list[str] = []
    for step in round_["steps"]:
        if kind_of(step) == "cycle" or not _done(round_, step):
            continue
        said = _TOLD.get(kind_of(step), _by_title)(_Done.of(project, round_, step))
        own = own_name(step)
        parts += [f'for "{own}" {said}' if own else said] if said else []
    at = f"At binning {round_['binning']:g}" if round_["binning"] > 1 else "Without binning"
    sentences = [f"{at}, {'; '.join(parts)}."] if parts else []
    inside = [row for row in rows if row.round == round_["name"] and row.cycle]
    for number in sorted({row.cycle for row in inside}):
        sentences += _of_cycle([row for row in inside if row.cycle == number], number)
    return sentences


def _of_cycle(rows: Sequence[MapResolution], number: int) -> list[str]:
    """A cycle: its unbinned reference, and what each sweep brought."""
    first = rows[0]
    where = f"in a box of {first.box} px at {first.pixel_size:.4g} Å per pixel"
    parts = [f"the unbinned average ({where}) had {first.resolution:.2f} Å"] if not first.kept else []
    for row in rows[len(parts) :]:
        step = _SWEEPS.get(label := row.step.split(",")[0], label)
        if row.rolled_back:
            parts.append(f"{step} did not improve the map and was undone")
        else:
            parts.append(f'{step} (settings "{row.kept}") led to {row.resolution:.2f} Å')
    return [f"In cycle {number} of refining the tilt series with these particles, {'; '.join(parts)}."]


def _reached(project: Project, rows: Sequence[MapResolution]) -> str:
    """The final map."""
    if not rows:
        return ""
    last = rows[-1]
    result = project.fsc(last.postprocess)
    particles = f"of {last.particles:,.0f} particles" if isfinite(last.particles) else "of these particles"
    inside = "within a soft mask, corrected by phase randomisation" if last.mask else "without a mask"
    halves = (
        "by the gold-standard Fourier shell correlation (FSC = 0.143) of half sets that were refined independently"
        if _independent(project)
        else "by the Fourier shell correlation (FSC = 0.143) of half sets whose poses are of one common refinement"
    )
    said = (
        f"The final map, {particles} in a box of {last.box} px at {last.pixel_size:.4g} Å per pixel, has a resolution "
        f"of {last.resolution:.2f} Å {halves}, {inside}"
    )
    limit = f", which is the Nyquist limit of its pixels ({last.nyquist:.2f} Å)" if last.at_nyquist else ""
    bfactor = result.bfactor if result else nan
    factor = (
        f"; it was sharpened with a B-factor of {bfactor:.4g} Å²" if isfinite(bfactor) and bfactor else ""
    )
    return f"{said}{limit}{factor}."


def _independent(project: Project) -> bool:
    """Whether the half sets went on with poses that were refined apart: those of a refinement may have been undone."""
    refined = [
        f"{round_['name']}/{step}"
        for round_ in project.rounds
        for step in round_["steps"]
        if kind_of(step) == "refine3d" and _done(round_, step)
    ]
    poses = [project.decision_of(f"{folder}{POSES}") for folder in refined]
    return any(one is None or not one.rolled_back for one in poses)


@dataclass(frozen=True)
class _Done:
    """A step of a round that was done, with its decision and the command line of its program, as far as known."""

    step: str
    decision: Decision | None
    poses: Decision | None
    command: Command | None
    particles: float
    resolution: float

    @classmethod
    def of(cls, project: Project, round_: dict[str, Any], step: str) -> _Done:
        """What is known of a step."""
        folder = f"{round_['name']}/{step}"
        decision, result = project.decision_of(folder), project.fsc(project.of("postprocess", folder))
        return cls(
            step,
            decision,
            project.decision_of(f"{folder}{POSES}"),
            _command(Path("results", folder), decision),
            project.count(project.of("particles", folder)),
            result.resolution if result else nan,
        )

    def flag(self, flag: str, text: str) -> str:
        """A text with a flag's value in the place of {}; "" if the flag was not given, or is not known."""
        value = self.command.get(flag) if self.command else None
        return text.format(value) if value else ""

    def chosen(self, key: str) -> Any:
        """What was decided; None if nothing was."""
        return self.decision.choice.get(key) if self.decision else None

    def number(self, key: str) -> float:
        """A number of the decision's; nan if there is none."""
        return self.decision.numbers.get(key, nan) if self.decision else nan


def _extract(done: _Done) -> str:
    count = f"{done.particles:,.0f} particles" if isfinite(done.particles) else "particles"
    return f"{count} were extracted{_more(done.flag('--b', 'box {} px'))}"


def _reconstruct(done: _Done) -> str:
    return f"they were averaged at the poses that they had{_more(done.flag('--sym', 'symmetry {}'))}"


def _initial_model(done: _Done) -> str:
    return "an initial model was made without a reference, by gradient descent"


def _align(done: _Done) -> str:
    told = (
        done.flag("--tau2_fudge", "T = {}"),
        done.flag("--particle_diameter", "mask {} Å"),
        _iteration(done),
    )
    return f"they were aligned to one reference{_more(*told)}{_undone(done)}"


def _class3d(done: _Done) -> str:
    fixed = done.command is not None and "--skip_align" in done.command.flags
    told = done.flag("--tau2_fudge", "T = {}"), "poses fixed" if fixed else "", _iteration(done)
    return f"they were classified{done.flag('--K', ' into {} classes')}{_more(*told)}"


def _select(done: _Done) -> str:
    classes = done.chosen("classes") or []
    kept, lost = done.number("particles"), done.number("rejected")
    if not classes or not isfinite(kept):
        return ""
    names = f"class{'es' * (len(classes) > 1)} {listed(classes)}"
    return f"{kept:,.0f} particles of {names} were kept and {lost:,.0f} rejected"


def _duplicates(done: _Done) -> str:
    lost, distance = done.number("rejected"), done.chosen("distance")
    if not distance or not isfinite(lost):
        return ""
    return f"{lost:,.0f} particles nearer than {distance:.3g} Å to a better one were removed"


def _score(done: _Done) -> str:
    flagged = done.chosen("flagged")
    return (
        f"{flagged:,} particles that agreed least with the other half's map were removed" if flagged else ""
    )


def _mask(done: _Done) -> str:
    threshold = done.chosen("threshold")
    return f"a soft mask was made of the map (threshold {threshold:.4g})" if threshold else ""


def _refine3d(done: _Done) -> str:
    return (
        f"two half sets were refined independently{_more(done.flag('--sym', 'symmetry {}'))}{_undone(done)}"
    )


def _postprocess(done: _Done) -> str:
    return f"post-processing gave {done.resolution:.2f} Å" if isfinite(done.resolution) else ""


def _local_resolution(done: _Done) -> str:
    median = done.chosen("median")
    return f"local resolution had a median of {median:.3g} Å" if median else ""


def _by_title(done: _Done) -> str:
    """A step of which nothing more is said."""
    title = all_steps()[kind_of(done.step)].title or done.step
    return f"a step of {title[0].lower()}{title[1:]} was done"


def _iteration(done: _Done) -> str:
    iteration = done.chosen("iteration")
    return f"iteration {iteration} taken" if iteration else ""


def _undone(done: _Done) -> str:
    """Whether the poses after a step were worse than those before it."""
    worse = done.poses is not None and done.poses.rolled_back
    return ", but the poses before were better, and were kept" if worse else ""


def _more(*told: str) -> str:
    """What is known more, in brackets."""
    known = [one for one in told if one]
    return f" ({', '.join(known)})" if known else ""


_TOLD: dict[str, Callable[[_Done], str]] = {
    "extract": _extract,
    "reconstruct": _reconstruct,
    "initial_model": _initial_model,
    "align": _align,
    "class3d": _class3d,
    "select": _select,
    "duplicates": _duplicates,
    "score": _score,
    "mask": _mask,
    "refine3d": _refine3d,
    "postprocess": _postprocess,
    "local_resolution": _local_resolution,
}


def _done(round_: dict[str, Any], step: str) -> bool:
    """Whether the file is there that a step ends with."""
    last, folder = all_steps()[kind_of(step)].last, Path("results", round_["name"], step)
    return bool(last) and (folder / last).is_file()


def _command(folder: Path, decision: Decision | None) -> Command | None:
    """The command line of a step's program: of the variant that was chosen, if there are several."""
    variant = str(decision.choice.get("variant", "")) if decision else ""
    for path in (folder / variant, folder):
        if line := record.read(path).get("command"):
            return Command.of(shlex.split(line))
    return None


def _sources(project: Project) -> set[str]:
    """The keys of the programs that tilt series were taken from, as preflight's facts name them."""
    taken = project.facts.get("taken") or []
    said = [whose for whose, kind, _ in taken if kind not in ("picks", "hand")]
    return {
        key for key, one in all_sources().items() if any(whose.endswith(f", {one.title}") for whose in said)
    }


def _titles() -> dict[str, str]:
    """The sources as a sentence names them, without what their titles say in brackets."""
    return {key: re.sub(r" \(.*\)", "", one.title) for key, one in all_sources().items()}
