"""`stacycle report` and `stacycle open`: the page, the maps, the tomograms."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from stacycle.cli.ending import FINAL, PAGE, final_map, make_page
from stacycle.cli.project import Project
from stacycle.cli.project import options as project_options
from stacycle.cli.record import LOOK, Command, Given, Parser
from stacycle.errors import UserError, some
from stacycle.jobs.redo import noted_config
from stacycle.recipe.contradictions import OWN_FOLDERS

# What opens a kind of file: programs that can, and how it is called in words.
_VIEWERS = {
    ".html": (("xdg-open", "open"), "a browser"),
    ".png": (("xdg-open", "open"), "an image viewer"),
    ".cxc": (("chimerax", "ChimeraX"), "ChimeraX"),
    ".mrc": (("chimerax", "ChimeraX"), "ChimeraX"),
    ".mrcs": (("3dmod",), "IMOD's 3dmod"),
    ".st": (("3dmod",), "IMOD's 3dmod"),
    ".rec": (("3dmod",), "IMOD's 3dmod"),
}


def report(given: Given) -> int:
    """Make the page, results/report.html, of what is there: in the middle of a run and after a failure too."""
    config = _config(given)
    if not Path("results").is_dir():
        raise UserError("there are no results here yet", "stacycle run makes some")
    page = make_page(config)
    if not page:
        raise UserError("the page could not be made", "stacycle status shows how far the run is")
    print(page)
    return show_file(Path(page)) if given.open else 0


def _config(given: Given) -> dict[str, Any]:
    """The config of the project; where no file is one any more, that which its last run noted. UserError if there is
    none, or for a mistake in it."""
    try:
        here = Project.of(given)
    except UserError:
        if given.configs or not (noted := noted_config()):
            raise
        print("The config is not here any more: the page is made by that of the last run.", file=sys.stderr)
        return noted
    return here.config()


def open_(given: Given) -> int:
    """Open the page in a browser, or a map, a step's results or a file in ChimeraX or IMOD. Where there is no display,
    or the program is missing, the command to type on your own machine is printed.

    WHAT is: page (default), map (the final one), classes, a step as bin4/select, or a file.
    """
    return show_file(_found(given.what))


def show_file(path: Path) -> int:
    """Open a file, or print the command that would."""
    programs, called = _VIEWERS.get(path.suffix, (("xdg-open", "open"), "a viewer"))
    program = next((one for one in map(shutil.which, programs) if one), None)
    line = shlex.join([programs[0], str(path)])
    if not _has_display():
        print(f"There is no display here. On your own machine, with the project's folder there: {line}")
        return 0
    if program is None:
        print(f"{programs[0]} is not on the PATH. Where {called} is: {line}")
        return 0
    subprocess.Popen(
        [program, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    print(f"$ {line}")
    return 0


def _found(what: str) -> Path:
    """The file that a word stands for. UserError if it is not there."""
    if what in ("page", "report", "browser"):
        return _there(Path(PAGE), "stacycle report makes it")
    if what in ("map", "final", "chimerax", "ChimeraX"):
        view = Path(FINAL, "view.cxc")
        found = view if view.is_file() else final_map()
        if found is None:
            raise UserError("there is no map yet", "stacycle status shows how far the run is")
        return found
    if what == "classes":
        pictures = sorted(
            Path("results").glob("*/select*/classes.png"), key=lambda path: path.stat().st_mtime
        )
        return _there(
            pictures[-1] if pictures else Path("results/bin4/select/classes.png"), "it comes after select"
        )
    path = Path(what)
    folder = path if path.is_dir() else Path("results", what)
    if folder.is_dir():
        return _of_folder(folder)
    if path.is_file():
        return path
    known = ("page", "map", "classes", *_steps())
    raise UserError(f"{what}: there is nothing of that name to open", f"known here: {some(known, 12)}")


def _of_folder(folder: Path) -> Path:
    """What to look at in a step's folder."""
    from stacycle.report.viewers import view_file

    if view := view_file(folder):
        return view
    for pattern in (
        "classes.png",
        "postprocess.mrc",
        "mask.mrc",
        "merged.mrc",
        "run_class001.mrc",
        "*.mrc",
        "*.png",
    ):
        if found := sorted(folder.glob(pattern)):
            return found[-1]
    raise UserError(f"{folder}: has no map or picture", "give a step that makes one, as bin4/reconstruct")


def _steps() -> list[str]:
    """The folders of the rounds' steps: `bin4/select`."""
    found = (path.relative_to("results") for path in Path("results").glob("*/*/") if "." not in path.name)
    return sorted(str(path) for path in found if path.parts[0] not in OWN_FOLDERS)


def _there(path: Path, cure: str) -> Path:
    if not path.is_file():
        raise UserError(f"{path} is not there yet", cure)
    return path


def _has_display() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _options_of_report(parser: Parser) -> None:
    project_options(parser)
    parser.add_argument("--open", action="store_true", help="and open it")


def _options_of_open(parser: Parser) -> None:
    parser.add_argument(
        "what", metavar="WHAT", nargs="?", default="page", help="page, map, classes, a step, a file"
    )


COMMANDS = [
    Command("report", LOOK, "make the page of what is there", report, _options_of_report),
    Command("open", LOOK, "open the page, a map, a step's results", open_, _options_of_open),
]
