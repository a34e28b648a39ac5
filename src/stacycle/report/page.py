"""`results/report.html`: one page, which needs no other file, with every choice and picture of a project."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from stacycle.files.atomic import write_text
from stacycle.report import overview, pictures, resolution, sections, tables
from stacycle.report.project import Project
from stacycle.report.resolution import MapResolution

# Of the table of resolutions, what the page shows.
_SHOWN = ["round", "step", "resolution", "nyquist", "at_nyquist", "kept", "particles_in", "particles", "note"]


def write_report(path: str | Path, project: Project, rows: Sequence[MapResolution]) -> None:
    """Write the page, with the `rows` of `resolution.resolutions`. A part whose file is missing or damaged is left out,
    and the page says which."""
    table, rounds = resolution.to_table(rows), sections.rounds(project)
    of_rows = table[_SHOWN].rename(columns={"particles": "particles out"})
    page = _template().render(
        style=files(__package__).joinpath("report.css").read_text(),
        made=time.strftime("%Y-%m-%d %H:%M"),
        folder=Path.cwd(),
        so_far=project.so_far,
        cards=overview.headline(project, rows),
        summary=overview.summary(project, rows),
        warnings=overview.warnings(project, rows),
        resolution=tables.shown(of_rows) if rows else None,
        resolution_picture=pictures.of_resolutions(table) if len(rows) > 1 else None,
        rounds=rounds,
        unreadable=list(dict.fromkeys(project.unreadable)),
    )
    write_text(path, page)


def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.loader = PackageLoader("stacycle.report", ".")
    return environment.get_template("page.html.j2")
