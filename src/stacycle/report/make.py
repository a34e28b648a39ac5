"""Making the page at any moment: of a finished run, of one that failed, or of one that is still at work."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stacycle.errors import UserError
from stacycle.jobs.redo import RESULTS, noted_config
from stacycle.report import page, resolution
from stacycle.report.project import Project

PAGE = f"{RESULTS}/report.html"
LADDER = f"{RESULTS}/ladder.tsv"


def write(folder: str | Path = ".", config: Mapping[str, Any] | None = None) -> Path:
    """Make `results/report.html`, and `results/ladder.tsv`, of what a project's folder holds by now; returns the page.

    `config` is the whole, validated config; without it, that which the last run noted when it began. What is not there
    yet is left out, what is damaged is named, and the page's first line says how far the run is. The process's current
    folder is the project's for the while. Files are complete or as before, at any moment. UserError if the folder has
    no results, or if no run has noted its config.
    """
    if not Path(folder, RESULTS).is_dir():
        raise UserError(f"{folder}: has no folder {RESULTS}", "give the folder of a project")
    config = config or noted_config(folder)
    if not config:
        raise UserError(f"{folder}: no run has noted its config here yet", "start a run, or give the config")
    with contextlib.chdir(folder):
        project = Project.of_config(config)
        rows = resolution.resolutions(project)
        resolution.write_table(LADDER, rows)
        page.write_report(PAGE, project, rows)
    return Path(folder, PAGE)
