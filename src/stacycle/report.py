"""`results/report.html`: one self-contained page with every choice and picture; and `results/ladder.tsv`."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import mrcfile
import pandas as pd

from stacycle import plots, runs, star
from stacycle.decisions import Decision, read_decision
from stacycle.errors import UserError

# The steps of a round in the order of work, with the names that the tutorial's headings have.
STEPS = {
    "align": "Alignment",
    "class3d": "3D classification",
    "select": "Subset selection",
    "mask": "Mask",
    "refine3d": "3D auto-refine",
    "postprocess": "Post-processing",
}
_LADDER = ["step", "binning", "box", "pixel_size", "particles", "resolution", "nyquist", "at_nyquist"]
_HEADINGS = {
    "pixel_size": "pixel size (Å)",
    "resolution": "resolution (Å)",
    "nyquist": "Nyquist (Å)",
    "at_nyquist": "Nyquist reached",
    "accuracy_rotations": "accuracy of rotations (°)",
    "accuracy_translations": "accuracy of shifts (Å)",
    "changed_classes": "change class",
    "finest resolution": "finest resolution (Å)",
    "volume": "volume (Å³)",
}
_ENGINES = {
    "relion": ("RELION 5", "RELION's own programs"),
    "embedded": ("embedded", "for small data and demos"),
}
_PERCENT = {"fraction", "changed_classes", "moved", "likeness", "of sphere", "in one piece"}
_HIDDEN = {"map", "loglik", "pmax", "completeness"}


@dataclass(frozen=True)
class Inputs:
    """The files of a project that the page is made of, each `results/ROUND/STEP/...`; any may be missing.

    `rounds` is `Recipe.summary()`: a name, a binning and the steps of each. What cannot be read is noted in
    `missing` while the page is made.
    """

    rounds: Sequence[dict[str, Any]] = ()
    engine: str = ""
    preflight: str | None = None
    particles: Sequence[str] = ()
    decisions: Sequence[str] = ()
    montages: Sequence[str] = ()
    masks: Sequence[str] = ()
    refined: Sequence[str] = ()
    postprocess: Sequence[str] = ()
    maps: Sequence[str] = ()
    missing: list[str] = field(default_factory=list)

    def of(self, kind: str, round_: str, step: str = "") -> str | None:
        """The first existing file of a kind in a round (and step)."""
        for path in getattr(self, kind):
            parts = Path(path).parts
            if round_ in parts and (not step or step in parts) and Path(path).exists():
                return path
        return None


def ladder(inputs: Inputs) -> pd.DataFrame:
    """One rung per postprocess, in the order given.

    Columns: step, binning, box (px), pixel_size (Å), particles, resolution (Å), nyquist (Å), at_nyquist. What
    the files do not tell is `nan`.
    """
    rungs = (_try(inputs, path, partial(_rung, inputs)) for path in inputs.postprocess if Path(path).exists())
    return pd.DataFrame([rung for rung in rungs if rung], columns=_LADDER)


def write_ladder(path: str | Path, inputs: Inputs) -> None:
    """The ladder as a table of tab-separated values."""
    ladder(inputs).to_csv(path, sep="\t", index=False, float_format="%.6g")


def write_report(path: str | Path, inputs: Inputs) -> None:
    """The page. A part whose file is missing or damaged is left out, and the page says which."""
    rungs = ladder(inputs)
    decisions = {name: found for name in inputs.decisions if (found := _try(inputs, name, read_decision))}
    facts = _try(inputs, inputs.preflight, lambda name: json.loads(Path(name).read_text())) or {}
    body = [
        _headline(inputs, rungs, facts),
        _warnings(facts, decisions),
        _ladder_section(rungs),
        *(_round(inputs, round_, decisions) for round_ in inputs.rounds),
        _missing(inputs),
    ]
    page = _PAGE.format(title="stacycle report", style=_STYLE, body="\n".join(part for part in body if part))
    Path(path).write_text(page)


def _rung(inputs: Inputs, path: str) -> dict[str, Any]:
    result = runs.fsc(path)
    round_ = _round_of(inputs, path)
    steps = [part for part in Path(path).parts[1:-1] if part != "postprocess"] or [Path(path).parent.name]
    box = pixel_size = math.nan
    if (density := Path(path).with_name("postprocess.mrc")).exists():
        with mrcfile.open(density, header_only=True) as file:
            box, pixel_size = int(file.header.nx), float(file.voxel_size.x)
    return {
        "step": " ".join(steps),
        "binning": round_.get("binning", math.nan),
        "box": box,
        "pixel_size": pixel_size,
        "particles": _count(inputs, inputs.of("refined", round_.get("name", ""))),
        "resolution": result.resolution,
        "nyquist": result.nyquist,
        "at_nyquist": result.at_nyquist,
    }


def _round_of(inputs: Inputs, path: str) -> dict[str, Any]:
    return next((round_ for round_ in inputs.rounds if round_["name"] in Path(path).parts), {})


def _count(inputs: Inputs, path: str | None) -> float:
    """Particles of a STAR file; nan if there is none."""
    return _try(inputs, path, lambda name: len(star.read(name, {"particles": []})["particles"]), math.nan)


def _try(inputs: Inputs, path: str | None, read: Callable[[str], Any], otherwise: Any = None) -> Any:
    """What `read` makes of a file; `otherwise`, and a note for the page, if it cannot be read."""
    if path is None:
        return otherwise
    try:
        return read(path)
    except (UserError, OSError, ValueError, KeyError) as error:
        inputs.missing.append(str(error) if isinstance(error, UserError) else f"{path}: {error}")
        return otherwise


def _headline(inputs: Inputs, rungs: pd.DataFrame, facts: dict[str, Any]) -> str:
    cards = []
    given = facts.get("particles") or math.nan
    if len(rungs):
        last = rungs.iloc[-1]
        limit = "Nyquist of this binning" if last["at_nyquist"] else f"Nyquist {last['nyquist']:.2f} Å"
        cards.append(("Resolution", f"{last['resolution']:.2f} Å", f"FSC 0.143 within the mask · {limit}"))
        share = "" if math.isnan(given) else f" · {last['particles'] / given:.0%} of {given:,} given"
        cards.append(("Particles", _cell("n", last["particles"]), f"in the final map{share}"))
        size = f"{last['pixel_size']:.4g} Å/px, box {_cell('box', last['box'])} px"
        cards.append(("Binning", _cell("binning", last["binning"]), size))
    elif not math.isnan(given):
        cards.append(("Particles", f"{given:,}", "given"))
    if tomograms := facts.get("tomograms"):
        tilts = sum(one["tilts"] for one in tomograms)
        cards.append(
            ("Tomograms", str(len(tomograms)), f"{tilts} tilt images, {facts['pixel_size']:.4g} Å/px")
        )
    if inputs.engine:
        cards.append(("Engine", *_ENGINES.get(inputs.engine, (inputs.engine, ""))))
    shown = "".join(
        f'<div class="card"><span>{_text(name)}</span><b>{_text(value)}</b><small>{_text(more)}</small></div>'
        for name, value, more in cards
    )
    return f'<header><h1>Subtomogram averaging</h1><div class="cards">{shown}</div></header>'


def _warnings(facts: dict[str, Any], decisions: dict[str, Decision]) -> str:
    said = [("input", warning) for warning in facts.get("warnings", [])]
    for path, decision in decisions.items():
        said += [("/".join(Path(path).parts[-3:-1]), warning) for warning in decision.warnings]
    if not said:
        return ""
    items = "".join(f"<li><b>{_text(where)}</b> {_text(warning)}</li>" for where, warning in said)
    return f'<section class="warnings"><h2>Look at these</h2><ul>{items}</ul></section>'


def _ladder_section(rungs: pd.DataFrame) -> str:
    if rungs.empty:
        return ""
    figure = _figure(partial(plots.ladder_figure, rungs), "Resolution by step") if len(rungs) > 1 else ""
    return f"<section><h2>The ladder of resolutions</h2>{figure}{_table(rungs)}</section>"


def _round(inputs: Inputs, round_: dict[str, Any], decisions: dict[str, Decision]) -> str:
    parts = []
    for step in round_["steps"]:
        path = inputs.of("decisions", round_["name"], step)
        shown = _step(inputs, round_["name"], step, decisions.get(path or ""), path)
        if shown:
            parts.append(f"<h3>{_text(STEPS.get(step, step))}</h3>{shown}")
    heading = f"<h2>{_text(round_['name'])} <small>binning {round_['binning']}</small></h2>"
    return f"<section>{heading}{''.join(parts)}</section>" if parts else ""


def _step(inputs: Inputs, round_: str, step: str, decision: Decision | None, path: str | None) -> str:
    """The pictures of a step, then its decision."""
    data, density = inputs.of("refined", round_), inputs.of("maps", round_)
    parts = []
    if path and decision and step in ("align", "class3d"):
        parts.append(_curves(inputs, Path(path).parent, decision))
    if step == "select":
        if montage := inputs.of("montages", round_):
            parts.append(_image(Path(montage).read_bytes(), "Central slices of the classes"))
        if decision and {"class", "n", "fraction", "kept"} <= set(decision.candidates):
            classes = decision.candidates
            parts.append(_figure(lambda file: plots.class_sizes_figure(classes, file), "Particles per class"))
    if step == "mask" and density and (mask := inputs.of("masks", round_)):
        threshold = decision.choice.get("threshold") if decision else None
        draw = partial(plots.mask_figure, density, mask, threshold=threshold)
        parts.append(_try(inputs, mask, lambda _: _figure(draw, "The mask around the final map"), ""))
    if step == "refine3d" and data:
        run = _try(inputs, data, lambda name: runs.iterations(Path(name).parent, maps=False))
        if run:
            draw = partial(plots.iterations_figure, {"refine3d": run})
            parts.append(_figure(draw, "Refinement by iteration"))
    if step == "postprocess":
        if result := _try(inputs, inputs.of("postprocess", round_, step), runs.fsc):
            parts.append(
                _figure(partial(plots.fsc_figure, result), "Fourier shell correlation of the half maps")
            )
        if density:
            draw = partial(plots.slices_figure, density)
            parts.append(
                _try(inputs, density, lambda _: _figure(draw, "Central slices of the final map"), "")
            )
    return "".join(parts) + (_decision(decision) if decision else "")


def _curves(inputs: Inputs, folder: Path, decision: Decision) -> str:
    """Curves by iteration of the variants that the decision names, where their folders are still there."""
    chosen = str(decision.choice.get("variant"))
    tables = [part.candidates for part in decision.parts if "variant" in part.candidates]
    names = [str(name) for table in tables for name in table["variant"]] or [chosen]
    read = {
        name: _try(inputs, str(folder / name), lambda x: runs.iterations(x, maps=False)) for name in names
    }
    found = {name: run for name, run in read.items() if run}
    if not found:
        return ""
    marked = {chosen: decision.choice.get("iteration", -1)}
    return _figure(
        partial(plots.iterations_figure, found, chosen=marked), "By iteration; the one chosen is circled"
    )


def _decision(decision: Decision) -> str:
    tables = "".join(
        f"<details{' open' if len(part.candidates) <= 12 else ''}><summary>{_text(part.question)}: candidates"
        f"</summary>{_table(part.candidates)}</details>"
        for part in decision.parts or [decision]
        if len(part.candidates)
    )
    by = "by the rule" if decision.by == "rule" else "by the config"
    said = f"<p><b>{_text(decision.question)}</b> <i>{by}</i><br>{_text(decision.reason)}</p>"
    return f'<div class="decision">{said}{tables}</div>'


def _missing(inputs: Inputs) -> str:
    if not inputs.missing:
        return ""
    items = "".join(f"<li>{_text(one)}</li>" for one in dict.fromkeys(inputs.missing))
    return f"<section><h2>Left out</h2><ul>{items}</ul></section>"


def _figure(draw: Callable[..., None], caption: str) -> str:
    file = io.BytesIO()
    draw(file)
    return _image(file.getvalue(), caption)


def _image(png: bytes, caption: str) -> str:
    data, text = base64.b64encode(png).decode(), _text(caption)
    width = (
        int.from_bytes(png[16:20], "big") * 100 // plots.DPI
    )  # of the PNG's header: an inch is 100 px here
    image = f'<img width="{width}" alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def _table(table: pd.DataFrame) -> str:
    names = [str(name) for name in table if name not in _HIDDEN]
    mark = next((name for name in ("chosen", "kept") if name in names), None)
    head = "".join(f"<th>{_text(_HEADINGS.get(name, name))}</th>" for name in names)
    rows = []
    for row in table.to_dict("records"):
        cells = "".join(f"<td>{_cell(name, row[name])}</td>" for name in names)
        rows.append(f"<tr{' class=chosen' if mark and row[mark] else ''}>{cells}</tr>")
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
        return (
            f"{value:.1%}" if name in _PERCENT else f"{value:,.0f}" if value == int(value) else f"{value:.4g}"
        )
    return _text(value)


def _text(value: Any) -> str:
    return html.escape(str(value))


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
figure img { max-width:100%; max-height:760px; height:auto }
figcaption { color:var(--soft); font-size:13px }
.decision { background:#f2f7fb; border-left:4px solid var(--blue); border-radius:4px; padding:10px 16px }
.decision { margin:14px 0 }
.decision p { margin:0 0 8px }
.decision i { color:var(--soft); margin-left:6px }
.scroll { overflow-x:auto }
table { border-collapse:collapse; font-size:13.5px; font-variant-numeric:tabular-nums }
table { background:var(--paper) }
th, td { padding:5px 12px; text-align:right; border-bottom:1px solid var(--line); white-space:nowrap }
th { color:var(--soft); font-weight:600; white-space:normal; vertical-align:bottom }
th:first-child, td:first-child { text-align:left }
tr.chosen td { background:#e2f0fa; font-weight:600 }
summary { cursor:pointer; color:var(--soft); margin:6px 0 }
footer { color:var(--soft); font-size:13px; margin-top:18px }
@media print { body { background:#fff } section { break-inside:avoid-page } }
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
