"""`results/report.html`: one self-contained page with every choice and picture; and `results/ladder.tsv`."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from stacycle.decisions import BEFORE, Decision, extent, read_decision
from stacycle.decisions.cycle import area
from stacycle.errors import UserError
from stacycle.files import relion_output, star
from stacycle.report import figures

# The steps of a round in the order of work, with the names that the tutorial's headings have.
STEPS = {
    "align": "Alignment",
    "class3d": "3D classification",
    "select": "Subset selection",
    "mask": "Mask",
    "refine3d": "3D auto-refine",
    "postprocess": "Post-processing",
}
_LADDER = [
    *("round", "step", "cycle", "binning", "resolution", "nyquist", "at_nyquist", "kept"),
    *("particles_in", "particles", "box", "pixel_size", "area", "mask", "note"),
]
_HEADINGS = {
    "pixel_size": "pixel size (Å)",
    "resolution": "resolution (Å)",
    "nyquist": "Nyquist (Å)",
    "at_nyquist": "Nyquist reached",
    "particles_in": "particles in",
    "area": "FSC area (shells)",
    "gain": "gain (shells)",
    "angle_largest": "angle largest (°)",
    "accuracy_rotations": "accuracy of rotations (°)",
    "accuracy_translations": "accuracy of shifts (Å)",
    "changed_classes": "change class",
    "finest resolution": "finest resolution (Å)",
    "volume": "volume (Å³)",
} | {
    f"{what}_{how}": f"{what} {how} (Å)"
    for what in ("defocus", "astigmatism", "shift", "particle", "motion")
    for how in ("mean", "rms", "largest")
}
_ENGINES = {
    "relion": ("RELION 5", "RELION's own programs"),
    "embedded": ("embedded", "for small data and demos"),
}
_PERCENT = {"fraction", "changed_classes", "moved", "likeness", "of sphere", "in one piece"}
_HIDDEN = {"map", "loglik", "pmax", "completeness", "failed"}
_RESOLUTIONS = {"resolution", "nyquist"}
# Of the ladder, what the page shows.
_SHOWN = ["round", "step", "resolution", "nyquist", "at_nyquist", "kept", "particles_in", "particles", "note"]


@dataclass(frozen=True)
class Inputs:
    """The files of a project that the page is made of, each `results/ROUND/STEP/...`; any may be missing.

    `rounds` is `Recipe.summary()`, `rungs` is `Recipe.rungs()`, `notes` is `Recipe.notes()`; `engine` is the
    config's `engine.kind`, `versions` those of the programs that made the results, `record.versions()`. What cannot be
    read is noted in `missing` while the page is made.
    """

    rounds: Sequence[dict[str, Any]] = ()
    rungs: Sequence[dict[str, Any]] = ()
    notes: Sequence[str] = ()
    engine: str = ""
    versions: Sequence[str] = ()
    preflight: str | None = None
    particles: Sequence[str] = ()
    averages: Sequence[str] = ()
    decisions: Sequence[str] = ()
    montages: Sequence[str] = ()
    masks: Sequence[str] = ()
    refined: Sequence[str] = ()
    postprocess: Sequence[str] = ()
    maps: Sequence[str] = ()
    missing: list[str] = field(default_factory=list)

    def of(self, kind: str, folder: str) -> str | None:
        """The existing file of a kind in `ROUND/STEP`."""
        found = (path for path in getattr(self, kind) if Path(path).parent.as_posix().endswith(f"/{folder}"))
        return next((path for path in found if Path(path).exists()), None)


def ladder(inputs: Inputs) -> pd.DataFrame:
    """One row per rung of which there is a postprocess, in the order of work.

    Columns: round, step, cycle (0: none), binning of the map, resolution and nyquist (Å), at_nyquist, kept (the
    variant of a sweep, or "rolled back"), particles_in (of the rung before, or given), particles (that the map
    is of), box (px), pixel_size (Å), area under the corrected FSC (shells), mask, note (a sentence). What the
    files do not tell is `nan`.
    """
    count = cache(partial(_count, inputs))
    rungs: list[dict[str, Any]] = []
    for rung in inputs.rungs:
        if result := _try(inputs, rung["postprocess"], relion_output.fsc):
            before = rungs[-1] if rungs else {"particles": _facts(inputs).get("particles") or math.nan}
            rungs.append(_rung(inputs, rung, result, before, count))
    return pd.DataFrame(rungs, columns=_LADDER)


def write_ladder(path: str | Path, rungs: pd.DataFrame) -> None:
    """The ladder as a table of tab-separated values."""
    rungs.to_csv(path, sep="\t", index=False, float_format="%.6g")


def write_report(path: str | Path, inputs: Inputs, rungs: pd.DataFrame) -> None:
    """The page, of a `ladder`. A part whose file is missing or damaged is left out, and the page says which."""
    told = [name for rung in inputs.rungs if (name := _decision_of(rung)) and Path(name).exists()]
    names = dict.fromkeys([*inputs.decisions, *told])
    decisions = {name: found for name in names if (found := _try(inputs, name, read_decision))}
    facts = _facts(inputs)
    rounds = [_round(inputs, round_, decisions) for round_ in inputs.rounds]
    body = [
        _headline(inputs, rungs, facts),
        _summary(inputs, rungs, decisions, facts),
        _contents(inputs, rungs, rounds),
        _warnings(inputs, rungs, facts, decisions),
        _ladder_section(rungs),
        *rounds,
        _missing(inputs),
    ]
    page = _PAGE.format(title="stacycle report", style=_STYLE, body="\n".join(part for part in body if part))
    Path(path).write_text(page)


# ---------------------------------------------------------------- the ladder


def _rung(
    inputs: Inputs,
    rung: dict[str, Any],
    result: relion_output.PostProcess,
    before: dict[str, Any],
    count: Callable[[str], float],
) -> dict[str, Any]:
    decision = _try(inputs, rung["decision"], read_decision)
    state = _try(inputs, rung["state"], star.read_optimisation_set)
    shells = len(result.fsc) - 1  # to Nyquist, which is half a box
    row = {
        "round": rung["round"],
        "step": rung["label"] + (f", cycle {rung['cycle']}" if rung["cycle"] else ""),
        "cycle": rung["cycle"],
        "binning": rung["binning"],
        "resolution": result.resolution,
        "nyquist": result.nyquist,
        "at_nyquist": result.at_nyquist,
        "kept": _kept(decision) if decision else "",
        "particles_in": before["particles"],
        "particles": count(state.particles) if state else math.nan,
        "box": 2 * shells,
        "pixel_size": result.nyquist / 2,
        "area": area(result, shells) if "corrected" in result.fsc else math.nan,
        "mask": _general(rung["postprocess"]).get("rlnMaskName", ""),
    }
    return row | {"note": _note(row, before, _finer(inputs, rung["binning"]) or "a finer binning")}


def _finer(inputs: Inputs, binning: float) -> str:
    """The first round of a finer binning; "" if there is none."""
    return next((round_["name"] for round_ in inputs.rounds if round_["binning"] < binning), "")


def _decision_of(rung: dict[str, Any]) -> str | None:
    """The decision of a rung: a sweep's, or that on the mask of a cycle's reference."""
    if rung["decision"] or not rung["cycle"]:
        return rung["decision"]
    return str(Path(rung["postprocess"]).parents[1] / "mask/decision.json")


def _kept(decision: Decision) -> str:
    variant = decision.choice.get("variant", "")
    return figures.ROLLED_BACK if variant == BEFORE else str(variant)


def _note(row: dict[str, Any], before: dict[str, Any], finer: str) -> str:
    """What to know of a rung: Nyquist, and a resolution coarser than before; `finer` is where to go on."""
    said = []
    coarser = row["resolution"] > 1.0001 * before.get("resolution", math.inf)
    if coarser and row["at_nyquist"]:
        said.append(f"the step before had {before['resolution']:.2f} Å, which this binning cannot show")
    elif coarser:
        differ = [name for name in ("binning", "box", "mask") if row[name] != before[name]]
        caveat = f" (not quite comparable: another {_listed(differ)})" if differ else ""
        said.append(f"coarser than the step before, {before['resolution']:.2f} Å{caveat}")
    if row["at_nyquist"]:
        further = f"go on to {finer}" if row["binning"] > 1 else "the data's own limit"
        said.append(f"Nyquist of binning {row['binning']}: {further}")
    return "; ".join(said)


def _count(inputs: Inputs, path: str | None) -> float:
    """Particles of a particles file; nan if there is none."""
    return _try(inputs, path, lambda name: len(star.read(name, {"particles": []})["particles"]), math.nan)


def _general(postprocess: str) -> dict[str, Any]:
    """The general table of a `postprocess.star`: among others, the files that it is about."""
    return {
        str(key): value for key, value in star.read(postprocess, {"general": []})["general"].iloc[0].items()
    }


def _facts(inputs: Inputs) -> dict[str, Any]:
    return _try(inputs, inputs.preflight, lambda name: json.loads(Path(name).read_text())) or {}


def _try(inputs: Inputs, path: str | None, read: Callable[[str], Any], otherwise: Any = None) -> Any:
    """What `read` makes of a file; `otherwise`, and a note for the page, if it cannot be read."""
    if path is None:
        return otherwise
    try:
        return read(path)
    except (UserError, OSError, ValueError, KeyError) as error:
        inputs.missing.append(str(error) if isinstance(error, UserError) else f"{path}: {error}")
        return otherwise


# ---------------------------------------------------------------- what a reader wants first


def _headline(inputs: Inputs, rungs: pd.DataFrame, facts: dict[str, Any]) -> str:
    cards = []
    given = facts.get("particles") or math.nan
    if len(rungs):
        last = rungs.iloc[-1]
        limit = "Nyquist of this binning" if last["at_nyquist"] else f"Nyquist {last['nyquist']:.2f} Å"
        cards.append(("Resolution", f"{last['resolution']:.2f} Å", f"FSC 0.143 within the mask · {limit}"))
        share = "" if math.isnan(given) else f" · {last['particles'] / given:.0%} of {given:,} given"
        cards.append(("Particles", _cell("n", float(last["particles"])), f"in the final map{share}"))
        cards.append(
            ("Binning", str(last["binning"]), f"{last['pixel_size']:.4g} Å/px, box {last['box']} px")
        )
    elif not math.isnan(given):
        cards.append(("Particles", f"{given:,}", "given"))
    if tomograms := facts.get("tomograms"):
        tilts = sum(one["tilts"] for one in tomograms)
        cards.append(
            ("Tomograms", str(len(tomograms)), f"{tilts} tilt images, {facts['pixel_size']:.4g} Å/px")
        )
    if inputs.engine:
        name, more = _ENGINES.get(inputs.engine, (inputs.engine, ""))
        versions = f" · made by {' and '.join(inputs.versions)}" if inputs.versions else ""
        cards.append(("Engine", name, more + versions))
    shown = "".join(
        f'<div class="card"><span>{_text(name)}</span><b>{_text(value)}</b><small>{_text(more)}</small></div>'
        for name, value, more in cards
    )
    return f'<header id="top"><h1>Subtomogram averaging</h1><div class="cards">{shown}</div></header>'


def _summary(
    inputs: Inputs, rungs: pd.DataFrame, decisions: dict[str, Decision], facts: dict[str, Any]
) -> str:
    """What was reached, kept and rolled back, where particles went, and what to do next."""
    said = {
        "Reached": [_reached(rungs)] if len(rungs) else [],
        "Kept": [_gain(rungs, at) for at in _swept(rungs) if rungs["kept"][at] != figures.ROLLED_BACK],
        "Rolled back": [_gain(rungs, at) for at in _swept(rungs) if rungs["kept"][at] == figures.ROLLED_BACK],
        "Particles": _flow(inputs, decisions, facts),
        "What next": [_next(inputs, rungs)] if len(rungs) else [],
    }
    rows = "".join(
        f"<dt>{name}</dt><dd>{'<br>'.join(_text(one) for one in sentences)}</dd>"
        for name, sentences in said.items()
        if sentences
    )
    return f'<section class="summary"><h2>In short</h2><dl>{rows}</dl></section>' if rows else ""


def _reached(rungs: pd.DataFrame) -> str:
    """The first and the last resolution, and the finest where that is another."""
    where = [f"{row['resolution']:.2f} Å ({row['round']}, {row['step']})" for row in rungs.to_dict("records")]
    finest = int(rungs["resolution"].argmin())
    more = (
        f"; the finest was {where[finest]}"
        if rungs["resolution"].iloc[-1] > rungs["resolution"][finest]
        else ""
    )
    return (f"From {where[0]} to {where[-1]}" if len(where) > 1 else where[0]) + f"{more}."


def _swept(rungs: pd.DataFrame) -> list[int]:
    """The rows of the ladder that a sweep decided."""
    return [at for at in rungs.index if rungs["kept"][at]]


def _gain(rungs: pd.DataFrame, at: int) -> str:
    """One sentence about the outcome of a sweep; the row before is the state that it started from."""
    row = rungs.loc[at]
    where, now = f"{row['round']}, {row['step']}", f"{row['resolution']:.2f} Å"
    if row["kept"] == figures.ROLLED_BACK:
        return f"{where}: the state before stays, {now}."
    if at == 0:
        return f"{where}: {row['kept']}, {now}."
    before = rungs.loc[at - 1]
    if now != f"{before['resolution']:.2f} Å":
        return f"{where}: {row['kept']}, {before['resolution']:.2f} → {now}."
    higher = ", but a higher FSC" if row["area"] > before["area"] else ""
    return f"{where}: {row['kept']}, {now} as before{higher}."


def _flow(inputs: Inputs, decisions: dict[str, Decision], facts: dict[str, Any]) -> list[str]:
    """Which step left out how many particles, and why."""
    said = []
    now = facts.get("particles") or math.nan
    for round_ in inputs.rounds:
        name = round_["name"]
        after = _count(inputs, inputs.of("particles", f"{name}/extract"))
        if after < now:
            said.append(
                f"{name}, extraction: {after:,} of {now:,}; {now - after:,} are in too few tilt images."
            )
        now = now if math.isnan(after) else after
        decision = decisions.get(inputs.of("decisions", f"{name}/select") or "")
        if decision and "particles" in decision.numbers:
            kept, lost = int(decision.numbers["particles"]), int(decision.numbers.get("rejected", 0))
            classes = decision.choice.get("classes", [])
            of = f"class{'es' if len(classes) > 1 else ''} {_listed(classes)} kept, {lost:,} rejected"
            said.append(f"{name}, selection: {kept:,} of {kept + lost:,}; {of}.")
            now = kept
    return said


def _next(inputs: Inputs, rungs: pd.DataFrame) -> str:
    """What a person can do to get further."""
    last = rungs.iloc[-1]
    name, limit = last["round"], f"Nyquist of the unbinned pixels, {last['nyquist']:.2f} Å"
    binning = next((one["binning"] for one in inputs.rounds if one["name"] == name), last["binning"])
    cycle = rungs[(rungs["round"] == name) & (rungs["cycle"] == last["cycle"]) & (rungs["kept"] != "")]
    if last["at_nyquist"] and last["binning"] == 1:
        return f"The map reaches {limit}: the data's own limit. Finer detail needs smaller pixels."
    if not last["cycle"]:
        reached = "Nyquist of this binning is reached; go" if last["at_nyquist"] else "Go"
        return f"{reached} on to CTF refinement and polishing of bin1: add cycle to rounds.{name}.steps."
    if finer := _finer(inputs, binning):
        return f"Go on at a finer binning: let rounds.{finer}.steps go as far as cycle."
    if binning > 1:
        return f"Go on at a finer binning: add a round of binning {max(1, binning // 2)} after {name}."
    if set(cycle["kept"]) == {figures.ROLLED_BACK}:
        return (
            "The last cycle was rolled back, so another one of the same particles will hardly help. "
            "More or cleaner particles may, or a mask around the part of interest."
        )
    again = f"rounds.{name}.cycle.repeat: {last['cycle'] + 1}"
    return f"The last cycle made the map better and {limit}, is not reached: try one more ({again})."


def _warnings(
    inputs: Inputs, rungs: pd.DataFrame, facts: dict[str, Any], decisions: dict[str, Decision]
) -> str:
    said = [("input", warning) for warning in facts.get("warnings", [])]
    said += [("config", note) for note in inputs.notes]
    said += [(_folder(path), warning) for path in inputs.averages if (warning := extent.noted(path))]
    for path, decision in decisions.items():
        said += [(_folder(path), warning) for warning in decision.warnings]
    coarser = rungs[rungs["note"].str.startswith("coarser").astype(bool)]
    said += [(f"{row['round']}, {row['step']}", row["note"]) for row in coarser.to_dict("records")]
    if not said:
        return ""
    items = "".join(f"<li><b>{_text(where)}</b> {_text(warning)}</li>" for where, warning in said)
    return f'<section class="warnings"><h2>Look at these</h2><ul>{items}</ul></section>'


def _folder(path: str) -> str:
    """`bin4/cycle1/polish` of `results/bin4/cycle1/polish/decision.json`."""
    return Path(path).parent.as_posix().removeprefix("results/")


def _contents(inputs: Inputs, rungs: pd.DataFrame, rounds: Sequence[str]) -> str:
    """Links to all parts, a line per round."""
    lines = [_link("ladder", "The ladder of resolutions")] if len(rungs) else []
    for round_, section in zip(inputs.rounds, rounds, strict=True):
        name = round_["name"]
        anchors = {f"{name}-{key}": title for key, title in _parts(inputs, round_).items()}
        links = [_link(at, title) for at, title in anchors.items() if f'id="{_text(at)}"' in section]
        if links:
            lines.append(" · ".join([f"<b>{_link(name, name)}</b>", *links]))
    return f"<nav>{''.join(f'<div>{line}</div>' for line in lines)}</nav>" if lines else ""


def _link(anchor: str, text: str) -> str:
    return f'<a href="#{_text(anchor)}">{_text(text)}</a>'


# ---------------------------------------------------------------- the parts of the page


def _ladder_section(rungs: pd.DataFrame) -> str:
    if rungs.empty:
        return ""
    figure = _figure(partial(figures.ladder_figure, rungs), "Resolution by step") if len(rungs) > 1 else ""
    table = _table(rungs[_SHOWN].rename(columns={"particles": "particles out"}))
    return f'<section id="ladder"><h2>The ladder of resolutions</h2>{figure}{table}</section>'


def _parts(inputs: Inputs, round_: dict[str, Any]) -> dict[str, str]:
    """Anchor -> title of a round's steps, with its cycles one by one."""
    cycles = sorted({rung["cycle"] for rung in inputs.rungs if rung["round"] == round_["name"]} - {0})
    parts = {step: STEPS.get(step, step) for step in round_["steps"] if step != "cycle"}
    return parts | {f"cycle{number}": f"Cycle {number}" for number in cycles}


def _round(inputs: Inputs, round_: dict[str, Any], decisions: dict[str, Decision]) -> str:
    name = round_["name"]
    parts = []
    for key, title in _parts(inputs, round_).items():
        draw = _cycle if key.startswith("cycle") else _step
        if shown := draw(inputs, name, key, decisions):
            parts.append(f'<h3 id="{_text(name)}-{_text(key)}">{_text(title)}</h3>{shown}')
    heading = f"<h2>{_text(name)} <small>binning {round_['binning']}</small>{_UP}</h2>"
    return f'<section id="{_text(name)}">{heading}{"".join(parts)}</section>' if parts else ""


def _step(inputs: Inputs, round_: str, step: str, decisions: dict[str, Decision]) -> str:
    """The pictures of a step, then its decision."""
    path = inputs.of("decisions", f"{round_}/{step}")
    decision = decisions.get(path or "")
    data, density = inputs.of("refined", f"{round_}/refine3d"), inputs.of("maps", f"{round_}/postprocess")
    parts = []
    if path and decision and step in ("align", "class3d"):
        parts.append(_curves(inputs, Path(path).parent, decision))
    if step == "select":
        if montage := inputs.of("montages", f"{round_}/select"):
            parts.append(_image(Path(montage).read_bytes(), "Central slices of the classes"))
        if decision and {"class", "n", "fraction", "kept"} <= set(decision.candidates):
            classes = decision.candidates
            parts.append(
                _figure(lambda file: figures.class_sizes_figure(classes, file), "Particles per class")
            )
    if step == "mask" and density and (mask := inputs.of("masks", f"{round_}/mask")):
        parts.append(_mask(inputs, density, mask, decision, "The mask around the post-processed map"))
    if step == "refine3d" and data:
        run = _try(inputs, data, lambda name: relion_output.iterations(Path(name).parent, maps=False))
        if run:
            draw = partial(figures.iterations_figure, {"refine3d": run})
            parts.append(_figure(draw, "Refinement by iteration"))
    if step == "postprocess":
        if result := _try(inputs, inputs.of("postprocess", f"{round_}/postprocess"), relion_output.fsc):
            parts.append(
                _figure(partial(figures.fsc_figure, result), "Fourier shell correlation of the half maps")
            )
        parts.append(_slices(inputs, density, "Central slices of the post-processed map"))
    longest = 0 if step == "mask" else 12
    return "".join(parts) + (_decision(decision, longest=longest) if decision else "")


def _cycle(inputs: Inputs, round_: str, cycle: str, decisions: dict[str, Decision]) -> str:
    """A cycle: its bin1 reference and mask, each sweep, and the map that it ends with."""
    rungs = [rung for rung in inputs.rungs if rung["round"] == round_ and f"cycle{rung['cycle']}" == cycle]
    parts = []
    for before, rung in zip([None, *rungs], rungs, strict=False):
        if not (result := _try(inputs, rung["postprocess"], relion_output.fsc)):
            continue
        parts.append(f"<h4>{_text(rung['label'])} <small>{result.resolution:.2f} Å</small></h4>")
        decision = decisions.get(_decision_of(rung) or "")
        if not rung["decision"]:
            caption = "The mask around the bin1 reference"
            parts.append(_mask(inputs, *_map_and_mask(inputs, rung), decision, caption))
            parts.append(_decision(decision, longest=0) if decision else "")
        elif decision:
            parts.append(_sweep(inputs, before, rung, decision))
    density, _ = _map_and_mask(inputs, rungs[-1])
    parts.append(_slices(inputs, density, "Central slices of the map that the cycle ends with"))
    return "".join(parts)


def _sweep(inputs: Inputs, before: dict[str, Any] | None, rung: dict[str, Any], decision: Decision) -> str:
    """The FSC curves of a sweep's variants and of the state before, and the decision."""
    table, folder = decision.candidates, Path(rung["decision"]).parent
    files = {BEFORE: before["postprocess"]} if before else {}
    for name in table.loc[table["resolution"].notna(), "variant"]:  # those that finished
        files.setdefault(name, f"{folder}/{name}/postprocess/postprocess.star")
    read = {name: _try(inputs, file, relion_output.fsc) for name, file in files.items()}
    results = {name: result for name, result in read.items() if result and "corrected" in result.fsc}
    draw = partial(figures.sweep_figure, results, str(decision.choice.get("variant")))
    caption = "Corrected FSC of every variant and of the state before; same box, same mask"
    return (_figure(draw, caption) if results else "") + _decision(decision, _kept(decision), longest=100)


def _map_and_mask(inputs: Inputs, rung: dict[str, Any]) -> tuple[str | None, str | None]:
    """The map and the mask that a rung's `postprocess.star` names, if they are still there."""
    general = _try(inputs, rung["postprocess"], _general, {})
    density, mask = (general.get(label, "") for label in ("rlnPostprocessedMap", "rlnMaskName"))
    return density if Path(density).is_file() else None, mask if Path(mask).is_file() else None


def _slices(inputs: Inputs, density: str | None, caption: str) -> str:
    return _try(inputs, density, lambda path: _figure(partial(figures.slices_figure, path), caption), "")


def _mask(
    inputs: Inputs, density: str | None, mask: str | None, decision: Decision | None, caption: str
) -> str:
    if not (density and mask):
        return ""
    threshold = decision.choice.get("threshold") if decision else None
    draw = partial(figures.mask_figure, density, mask, threshold=threshold)
    return _try(inputs, mask, lambda _: _figure(draw, caption), "")


def _curves(inputs: Inputs, folder: Path, decision: Decision) -> str:
    """Curves by iteration of the variants that the decision names, where their folders are still there."""
    chosen = str(decision.choice.get("variant"))
    tables = [part.candidates for part in decision.parts if "variant" in part.candidates]
    names = [str(name) for table in tables for name in table["variant"]] or [chosen]
    read = {
        name: _try(inputs, str(folder / name), lambda x: relion_output.iterations(x, maps=False))
        for name in names
    }
    found = {name: run for name, run in read.items() if run}
    if not found:
        return ""
    marked = {chosen: decision.choice.get("iteration", -1)}
    return _figure(
        partial(figures.iterations_figure, found, chosen=marked), "By iteration; the one chosen is circled"
    )


def _decision(decision: Decision, outcome: str = "", longest: int = 12) -> str:
    """The reason, and the candidates, closed if there are more than `longest`.

    `outcome` is a sweep's: a variant or "rolled back".
    """
    tables = "".join(
        f"<details{' open' if len(part.candidates) <= longest else ''}>"
        f"<summary>{_text(part.question)}: candidates</summary>{_table(part.candidates)}</details>"
        for part in decision.parts or [decision]
        if len(part.candidates)
    )
    by = "by the rule" if decision.by == "rule" else "by the config"
    back = outcome == figures.ROLLED_BACK
    verdict = "Rolled back" if back else f"Kept: {outcome}" if outcome else decision.question
    said = f"<p><b>{_text(verdict)}</b> <i>{by}</i><br>{_text(decision.reason)}</p>"
    return f'<div class="decision{" back" if back else ""}">{said}{tables}</div>'


def _missing(inputs: Inputs) -> str:
    if not inputs.missing:
        return ""
    items = "".join(f"<li>{_text(one)}</li>" for one in dict.fromkeys(inputs.missing))
    return f"<section><h2>Left out</h2><ul>{items}</ul></section>"


# ---------------------------------------------------------------- HTML


def _figure(draw: Callable[..., None], caption: str) -> str:
    file = io.BytesIO()
    draw(file)
    return _image(file.getvalue(), caption)


def _image(png: bytes, caption: str) -> str:
    data, text = base64.b64encode(png).decode(), _text(caption)
    width = (
        int.from_bytes(png[16:20], "big") * 100 // figures.DPI
    )  # of the PNG's header: an inch is 100 px here
    image = f'<img width="{width}" alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def _table(table: pd.DataFrame) -> str:
    """A table whose chosen or kept rows are marked; a row that `failed` says why instead of its numbers."""
    shown = [str(name) for name in table if not table[name].isin(["", None, math.nan]).all()]
    first, *names = [name for name in shown if name not in _HIDDEN]
    mark = next((name for name in ("chosen", "kept") if name in names), "")
    names = [first, *sorted(names, key=lambda name: name != mark or table[name].dtype != bool)]
    words = {name for name in names if any(isinstance(value, str) for value in table[name])}
    kinds = {name: " class=words" if name in words else "" for name in names}
    head = "".join(
        f"<th{kinds[name]}>{_text(_HEADINGS.get(name, name.replace('_', ' ')))}</th>" for name in names
    )
    rows = []
    for row in table.to_dict("records"):
        cells = [f"<td{kinds[name]}>{_cell(name, row[name])}</td>" for name in names]
        if row.get("failed"):
            cells[1:] = [f"<td class=words colspan={len(names) - 1}>failed: {_text(row['failed'])}</td>"]
        chosen = mark and row[mark] is True
        rows.append(f"<tr{' class=chosen' if chosen else ''}>{''.join(cells)}</tr>")
    content = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table>{content}</table></div>'


def _cell(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | int):
        if math.isnan(value):
            return "–"
        if math.isinf(value):
            return "∞"
        if name in _RESOLUTIONS:
            return f"{value:.2f}"
        return (
            f"{value:.1%}" if name in _PERCENT else f"{value:,.0f}" if value == int(value) else f"{value:.4g}"
        )
    return _text(value)


def _text(value: Any) -> str:
    return html.escape(str(value))


def _listed(words: Sequence[Any]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = [str(word) for word in words]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


_UP = '<a class="up" href="#top">↑ contents</a>'


_STYLE = """
:root { --ink:#1f2430; --soft:#5b6270; --line:#e4e6ea; --blue:#0072b2; --paper:#fff }
* { box-sizing:border-box }
body { margin:0; background:#f6f7f9; color:var(--ink) }
body { font:15px/1.5 system-ui,"DejaVu Sans",sans-serif }
main { max-width:1120px; margin:0 auto; padding:24px 20px 60px }
h1 { margin:8px 0 16px; font-size:28px }
h2 { margin:0 0 12px; font-size:20px }
h2 small { color:var(--soft); font-weight:400; font-size:14px }
h3 { margin:28px 0 10px; font-size:16px; padding-top:14px; border-top:1px solid var(--line) }
h2 + h3 { border-top:0; padding-top:0; margin-top:8px }
section, .card { background:var(--paper); border:1px solid var(--line); border-radius:10px }
section { padding:20px 22px; margin-top:18px }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(190px,1fr)); gap:14px }
.card { padding:14px 18px }
.card span, .card small { color:var(--soft); display:block; font-size:13px }
.card b { font-size:26px; line-height:1.35 }
.card:first-child b { color:var(--blue) }
.warnings { background:#fff7e6; border-color:#f0d9a8 }
.warnings b { font-weight:600; color:#7a5200 }
ul { margin:0; padding-left:20px }
li { margin:4px 0 }
figure { margin:14px 0 }
nav { margin:18px 4px 0; line-height:1.9 }
nav a, .up { color:var(--blue); text-decoration:none }
.up { float:right; font-size:13px; font-weight:400 }
dl { margin:0; display:grid; grid-template-columns:max-content 1fr; gap:8px 18px }
dt { color:var(--soft); font-weight:600 }
dd { margin:0 }
h4 { margin:22px 0 6px; font-size:15px }
h3 small, h4 small { color:var(--blue); font-weight:600; margin-left:6px }
figure img { max-width:100%; max-height:760px; height:auto }
figure img { object-fit:contain; object-position:left }
figcaption { color:var(--soft); font-size:13px }
.decision { background:#f2f7fb; border-left:4px solid var(--blue); border-radius:4px; padding:10px 16px }
.decision { margin:14px 0 }
.back { background:#fdf3ee; border-left-color:#d55e00 }
.decision p { margin:0 0 8px }
.decision i { color:var(--soft); margin-left:6px }
.scroll { overflow-x:auto }
table { border-collapse:collapse; font-size:13.5px; font-variant-numeric:tabular-nums }
table { background:var(--paper) }
th, td { padding:5px 9px; text-align:right; border-bottom:1px solid var(--line); white-space:nowrap }
th { color:var(--soft); font-weight:600; white-space:normal; vertical-align:bottom }
th:first-child, td:first-child { text-align:left }
tr.chosen td { background:#e2f0fa; font-weight:600 }
summary { cursor:pointer; color:var(--soft); margin:6px 0 }
footer { color:var(--soft); font-size:13px; margin-top:18px }
th.words, td.words { text-align:left }
td.words:last-child { white-space:normal; min-width:15em }
@media (max-width:600px) {
  main { padding:12px 10px 40px }
  section { padding:14px 12px }
  dl { display:block }
  dd { margin-bottom:10px }
}
@media print {
  body { background:#fff; font-size:12px }
  main { max-width:none; padding:0 }
  section { border:0; padding:0 }
  .up { display:none }
  figure, tr, .card, .decision p { break-inside:avoid }
  h2, h3, h4 { break-after:avoid }
  figure img { max-height:11cm }
  table { font-size:10px }
  th, td { padding:2px 5px }
  td.words:last-child { min-width:10em }
}
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><main>
{body}
<footer>Every choice has a key in the config: change it, and only what follows is run again.</footer>
</main></body></html>
"""
