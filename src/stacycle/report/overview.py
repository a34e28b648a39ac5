"""What a reader of the report wants first: headline, summary, and what to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

from stacycle.decisions import extent
from stacycle.recipe.rounds import POSES
from stacycle.report.losses import losses
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution, caveat, of_whole, within_one_mask
from stacycle.report.tables import cell

_ENGINES = {
    "relion": ("RELION 5", "RELION's own programs"),
    "embedded": ("embedded", "for small data and demos"),
}


@dataclass(frozen=True)
class Card:
    """A number of the headline: its name, value, a line below, and the file that it is from."""

    name: str
    value: str
    more: str = ""
    file: str = ""


@dataclass(frozen=True)
class Warn:
    """A warning: what it is about, a sentence, and the anchor of the page's section about that."""

    where: str
    text: str
    anchor: str = ""


def headline(project: Project, rows: Sequence[MapResolution]) -> list[Card]:
    """Resolution, particles, binning, tomograms and engine, as far as known."""
    cards, facts, rows = [], project.facts, of_whole(rows)
    inputs = project.preflight or ""
    given = facts.get("particles") or nan
    if rows:
        last = rows[-1]
        limit = "Nyquist of this binning" if last.at_nyquist else f"Nyquist {last.nyquist:.2f} Å"
        cards.append(
            Card(
                "Resolution",
                f"{last.resolution:.2f} Å",
                f"FSC 0.143 within the mask · {limit}",
                last.postprocess,
            )
        )
        share = "" if isnan(given) else f" · {last.particles / given:.0%} of {given:,} given"
        of_last = cell("n", float(last.particles))
        cards.append(Card("Particles", of_last, f"in the final map{share}", last.state))
        size = f"{last.pixel_size:.4g} Å/px, box {last.box} px"
        cards.append(Card("Binning", str(last.binning), size, last.map))
    elif not isnan(given):
        cards.append(Card("Particles", f"{given:,}", "given", inputs))
    if tomograms := facts.get("tomograms"):
        tilts = sum(one["tilts"] for one in tomograms)
        more = f"{tilts} tilt images, {facts['pixel_size']:.4g} Å/px"
        cards.append(Card("Tomograms", f"{len(tomograms):,}", more, inputs))
    if project.engine:
        name, more = _ENGINES.get(project.engine, (project.engine, ""))
        versions = f" · made by {' and '.join(project.versions)}" if project.versions else ""
        cards.append(Card("Engine", name, more + versions))
    return cards


def summary(project: Project, rows: Sequence[MapResolution]) -> dict[str, list[str]]:
    """What was reached, kept and rolled back, where particles went, and what to do next: sentences by heading."""
    rows = of_whole(rows)
    swept = [(before, row) for before, row in zip([None, *rows], rows, strict=False) if row.kept]
    back = [row for _, row in swept if row.rolled_back]
    found = {
        "Reached": [reached(rows)] if rows else [],
        "Kept": [_kept(before, row) for before, row in swept if not row.rolled_back],
        "Rolled back": [f"{row.where}: the state before stays, {row.resolution:.2f} Å." for row in back],
        "Particles": [str(loss) for loss in losses(project)],
        "What next": [_goes_on(project)]
        if project.so_far.missing
        else [what_next(project, rows)]
        if rows
        else [],
    }
    return {heading: sentences for heading, sentences in found.items() if sentences}


def reached(rows: Sequence[MapResolution]) -> str:
    """The first and the last resolution, and the finest where that is another; and what one mask for both gives."""
    where = [f"{row.resolution:.2f} Å ({row.where})" for row in rows]
    finest = min(range(len(rows)), key=lambda at: rows[at].resolution)
    more = f"; the finest was {where[finest]}" if rows[-1].resolution > rows[finest].resolution else ""
    said = (f"From {where[0]} to {where[-1]}" if len(where) > 1 else where[0]) + f"{more}."
    if alike := within_one_mask(rows):
        first, before, after = alike
        said += (
            f" Within one mask, that of the last map: from {before:.2f} Å ({first.where}) to {after:.2f} Å."
        )
    elif len(rows) > 1 and (differ := caveat(rows[-1], rows[0])):
        said = said[:-1] + f"{differ}."
    return said


def _goes_on(project: Project) -> str:
    """What is to be done while a run is not at its end."""
    step = project.so_far.missing[0]
    if project.so_far.faults:
        return f"Mend what failed, and start the run again: it goes on at {step}."
    return f"Let the run go on, or start it again: {step} is next."


def what_next(project: Project, rows: Sequence[MapResolution]) -> str:
    """What a person can do to get further."""
    last = rows[-1]
    name, limit = last.round, f"Nyquist of the unbinned pixels, {last.nyquist:.2f} Å"
    binning = next((one["binning"] for one in project.rounds if one["name"] == name), last.binning)
    if last.at_nyquist and last.binning == 1:
        return f"The map reaches {limit}: the data's own limit. Finer detail needs smaller pixels."
    if not last.cycle:
        reached = "Nyquist of this binning is reached; go" if last.at_nyquist else "Go"
        return f"{reached} on to CTF refinement and polishing of bin1: add cycle to rounds.{name}.steps."
    if finer := project.finer_round(binning):
        return f"Go on at a finer binning: let rounds.{finer}.steps go as far as cycle."
    if binning > 1:
        return f"Go on at a finer binning: add a round of binning {max(1, binning // 2)} after {name}."
    sweeps = [row for row in rows if (row.round, row.cycle) == (name, last.cycle) and row.kept]
    if sweeps and all(row.rolled_back for row in sweeps):
        return (
            "The last cycle was rolled back, so another one of the same particles will hardly help. "
            "More or cleaner particles may, or a mask around the part of interest."
        )
    again = f"rounds.{name}.cycle.repeat: {last.cycle + 1}"
    return f"The last cycle made the map better and {limit}, is not reached: try one more ({again})."


def warnings(project: Project, rows: Sequence[MapResolution]) -> list[Warn]:
    """What preflight, the config, averages, decisions and resolutions warn of."""
    found = [Warn("input", text, "inputs") for text in project.facts.get("warnings", [])]
    found += [Warn("config", text, "settings") for text in project.notes]
    found += [_of_file(path, text) for path in project.averages if (text := extent.noted(path))]
    for path, decision in project.decided.items():
        found += [_of_file(path, text) for text in decision.warnings]
    return found + [
        Warn(row.where, note.text, row.anchor) for row in rows for note in row.notes if note.warns
    ]


def _kept(before: MapResolution | None, row: MapResolution) -> str:
    """One sentence about a sweep that kept a variant; `before` is the state that it started from."""
    now = f"{row.resolution:.2f} Å"
    if before is None:
        return f"{row.where}: {row.kept}, {now}."
    if now != f"{before.resolution:.2f} Å":
        return f"{row.where}: {row.kept}, {before.resolution:.2f} → {now}."
    higher = ", but a higher FSC" if row.area > before.area else ""
    return f"{row.where}: {row.kept}, {now} as before{higher}."


def _of_file(path: str, text: str) -> Warn:
    """A warning about what is in the folder of a file: `bin4/cycle1/polish` of `results/bin4/cycle1/polish/...`."""
    folder = Path(path).parent.relative_to("results") if path.startswith("results/") else Path(path).parent
    anchor = "-".join(part.removesuffix(POSES) for part in folder.parts[:2])
    return Warn(folder.as_posix(), text, anchor)
