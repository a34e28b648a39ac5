"""Making the page at any moment: of a finished run, of one that failed, or of one that is still at work."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stacycle.errors import UserError
from stacycle.jobs.redo import RESULTS, noted_config
from stacycle.report import final, page, resolution
from stacycle.report.project import Project
from stacycle.report.resolution import of_whole

PAGE = f"{RESULTS}/report.html"
LADDER = f"{RESULTS}/ladder.tsv"


def write(folder: str | Path = ".", config: Mapping[str, Any] | None = None, final_map: bool = True) -> Path:
    """Make `results/report.html`, and `results/ladder.tsv`, of what a project's folder holds by now; returns the page.
    With `final_map`, `results/final/` becomes what the page's headline is of, if it is of a map.

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
        if final_map and of_whole(rows):
            with contextlib.suppress(UserError):  # files of it are gone, which the page says
                final.follow(project, rows)
    return Path(folder, PAGE)
