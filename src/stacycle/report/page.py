"""`results/report.html`: one page, which needs no other file, with every choice and picture of a project."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from stacycle.files.atomic import write_text
from stacycle.report import (
    methods,
    overview,
    particle_panel,
    pictures,
    resolution,
    run_facts,
    sections,
    tables,
)
from stacycle.report.losses import losses
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution
from stacycle.report.viewer import surfaces

# Of the table of resolutions, what the page shows.
_SHOWN = ["round", "step", "resolution", "nyquist", "at_nyquist", "kept", "particles_in", "particles", "note"]
_SCRIPTS = ("page", "nets", "surface", "classes", "mask")  # in their order
_CONTENTS = {
    "resolution": ("ladder", "The ladder of resolutions"),
    "losses": ("inputs", "Particles"),
    "methods": ("methods", "Methods"),
    "took": ("times", "Times and commands"),
    "settings": ("settings", "Settings"),
}


def write_report(path: str | Path, project: Project, rows: Sequence[MapResolution]) -> None:
    """Write the page, with the `rows` of `resolution.resolutions`. A part whose file is missing or damaged is left out,
    and the page says which."""
    parts = _run(project, rows) | _results(project, rows)
    contents = [link for part, link in _CONTENTS.items() if parts[part]]
    anchors = {anchor for anchor, _ in contents} | {
        section.anchor for round_ in parts["rounds"] for section in round_["sections"]
    }
    page = _template().render(
        style=_text("report.css"),
        scripts="\n".join(_text(f"{name}.js") for name in _SCRIPTS),
        made=time.strftime("%Y-%m-%d %H:%M"),
        folder=Path.cwd(),
        so_far=project.so_far,
        contents=contents,
        anchors=anchors,
        unreadable=list(dict.fromkeys(project.unreadable)),
        **parts,
    )
    write_text(path, page)


def _results(project: Project, rows: Sequence[MapResolution]) -> dict[str, Any]:
    """What was reached and chosen."""
    table = resolution.to_table(rows)
    of_rows = table[_SHOWN].rename(columns={"particles": "particles out"})
    return {
        "cards": overview.headline(project, rows),
        "surfaces": surfaces(project, rows),
        "summary": overview.summary(project, rows),
        "warnings": overview.warnings(project, rows),
        "resolution": tables.shown(of_rows, [row.postprocess for row in rows]) if rows else None,
        "resolution_picture": pictures.of_resolutions(table) if len(rows) > 1 else None,
        "losses": losses(project),
        "particles": particle_panel.panel(project, rows),
        "rounds": sections.rounds(project),
    }


def _run(project: Project, rows: Sequence[MapResolution]) -> dict[str, Any]:
    """What was asked for, and what it took."""
    done = run_facts.jobs()
    took = run_facts.by_step(project, done)
    return {
        "methods": methods.paragraph(project, rows),
        "citations": methods.citations(project),
        "jobs": done,
        "took": [*took, run_facts.total(done)] if took else [],
        "settings": run_facts.settings(project.config),
        "versions": run_facts.versions(project),
    }


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["duration"] = run_facts.duration
    environment.loader = PackageLoader("stacycle.report", ".")
    return environment.get_template("page.html.j2")
