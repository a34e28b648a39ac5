"""What is said at the end of a run: where to look."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stacycle.errors import UserError

PAGE = "results/report.html"
LADDER = "results/ladder.tsv"
FINAL = "results/final"


def make_page(config: Mapping[str, Any]) -> str:
    """Make the page of what is there; returns its path, or "" if there is nothing yet to show, with a warning."""
    from stacycle.report import make

    try:
        return str(make.write(".", config))
    except (UserError, OSError) as error:
        print(f"The page could not be made: {error}", file=sys.stderr)
        return ""


def look_at(log: Path, page: str = PAGE) -> str:
    """The block at the end: the page, the final map, the log."""
    lines = ["Look at"]
    if page and Path(page).exists():
        lines.append(f"  {page:42} every choice, curve and picture (stacycle open)")
    if found := final_map():
        lines.append(f"  {found!s:42} the map (stacycle open map)")
    lines.append(f"  {log!s:42} all that Snakemake said")
    return "\n".join(lines)


def final_map() -> Path | None:
    """The map that the headline speaks of: that in results/final, else the last one of the table of resolutions."""
    if (path := Path(FINAL, "map_sharpened.mrc")).is_file():
        return path
    try:
        with open(LADDER, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file, delimiter="\t") if row.get("state")]
    except OSError:
        return None
    for row in reversed(rows):
        folder = Path(row["state"]).parent
        for path in (folder / "postprocess/postprocess.mrc", folder / "merged.mrc"):
            if path.is_file():
                return path
    posts = sorted(
        Path("results").glob("*/postprocess/postprocess.mrc"), key=lambda path: path.stat().st_mtime
    )
    return posts[-1] if posts else None
