"""`stacycle branch` and `stacycle compare`: a second config tried beside the first, and two runs side by side."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stacycle.cli.project import Project, refuse_if_busy
from stacycle.cli.project import options as project_options
from stacycle.cli.record import CHANGE, Command, Given, Parser
from stacycle.errors import UserError
from stacycle.files.atomic import read_json, write_json
from stacycle.files.job_folder import DECISION, JOB_FILE
from stacycle.jobs import record as job_record
from stacycle.jobs.redo import COMMAND, noted_config
from stacycle.progress import journal
from stacycle.recipe import config as configs
from stacycle.resources.lock import LOCK_FILE

_OWN = {"results", "logs", "benchmarks", ".snakemake"}  # what a branch has of its own
_LINKED = {".mrc", ".mrcs", ".star", ".png", ".html", ".pdf"}  # files that are replaced, never written into
_SMALL = 1 << 16  # bytes: what is not larger is copied


def branch(given: Given) -> int:
    """Make a second project beside this one, ../NAME, with a config of its own to try something else in.

    Finished results are hard links, which take no space, so nothing that is the same runs again there; inputs are
    symbolic links. What is changed in one project does not change the other.
    """
    here = Project.of(given)
    refuse_if_busy()
    if not re.fullmatch(r"[\w.+-]+", given.name) or given.name.startswith("."):
        raise UserError(f"{given.name}: is no name for a folder", "use letters, digits, - and _")
    there = Path.cwd().parent / given.name
    if there.exists():
        raise UserError(f"{there} is there already", "give another name")
    there.mkdir()
    try:
        _fill(there, here)
    except OSError:
        shutil.rmtree(there, ignore_errors=True)
        raise
    print(f"{there} is made. Edit its config.yaml; stacycle diff there says what would run again.")
    return 0


def _fill(there: Path, here: Project) -> None:
    own = {path.resolve() for path in here.configs}
    for path in sorted(Path().iterdir()):
        if path.name in _OWN or path.resolve() in own:
            continue
        (there / path.name).symlink_to(os.path.relpath(path.resolve(), there))
    for number, path in enumerate(here.configs):
        name = "config.yaml" if number == 0 else f"config{number + 1}.yaml"
        shutil.copyfile(path, there / name)
    for name in ("results", ".snakemake/metadata"):
        if Path(name).is_dir():
            _link_tree(Path(name), there / name)
    for name in (COMMAND, journal.FOLDER, "results/relion"):  # its own run has not begun
        path = there / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    names = ["config.yaml", *(f"config{number}.yaml" for number in range(2, len(here.configs) + 1))]
    words = ["--profile", str(here.profile.resolve())]
    if Path(COMMAND).exists():
        write_json(
            there / COMMAND,
            {"words": words, "folder": ".", "configs": names},
        )


def _link_tree(source: Path, target: Path) -> None:
    """A copy whose large files are hard links. Of a job that has not ended well all is copied: it will write there."""
    for here, folders, names in os.walk(source):
        there = target / Path(here).relative_to(source)
        there.mkdir(parents=True, exist_ok=True)
        folders.sort()
        for name in folders:
            if (link := Path(here, name)).is_symlink():  # which os.walk does not follow
                (there / name).symlink_to(os.readlink(link))
        linked = _may_be_linked(Path(here))
        for name in names:
            path = Path(here, name)
            if name in (LOCK_FILE, "lock") or name.startswith(".snakemake"):
                continue
            if path.is_symlink():
                (there / name).symlink_to(os.readlink(path))
            elif linked and path.suffix in _LINKED and path.stat().st_size > _SMALL:
                _link(path, there / name)
            else:
                shutil.copy2(path, there / name)


def _may_be_linked(folder: Path) -> bool:
    """Whether the job that a folder belongs to has ended well; what belongs to none is a decision's."""
    for one in (folder, *folder.parents):
        if (one / JOB_FILE).exists():
            return bool(job_record.read(one).get("ended_well"))
    return True


def _link(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy)
    except OSError:  # another file system
        shutil.copy2(path, copy)


def compare(given: Given) -> int:
    """Show two projects side by side: the resolution after each step, particles, decisions, and the settings that
    differ."""
    pair = [Path(given.first), Path(given.second)]
    for path in pair:
        if not (path / "results").is_dir():
            raise UserError(f"{path}: has no folder results", "give the folders of two projects")
    names = [path.resolve().name for path in pair]
    if names[0] == names[1]:
        names = [str(path.resolve()) for path in pair]
    _print_tables(names, pair)
    return 0


def _print_tables(names: list[str], pair: list[Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    parts = (
        ("Resolution, Å", [_ladder(path, "resolution") for path in pair]),
        ("Particles", [_ladder(path, "particles") or _particles(path) for path in pair]),
        ("Decisions", [_decisions(path) for path in pair]),
        ("Settings that differ", list(_differing(*(_settings(path) for path in pair)))),
    )
    for title, (first, second) in parts:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for head in (title, *names, ""):
            table.add_column(head, overflow="fold")
        for key in dict.fromkeys([*first, *second]):
            one, two = first.get(key, "-"), second.get(key, "-")
            table.add_row(key, one, two, "" if one == two else _difference(one, two))
        if not table.row_count:
            table.add_row("none", "", "", "")
        console.print(table)
        console.print()


def _difference(one: str, two: str) -> str:
    try:
        return f"{float(two) - float(one):+.4g}"
    except ValueError:
        return "≠"


def _ladder(project: Path, column: str) -> dict[str, str]:
    """A column of the table of resolutions, by round and step."""
    try:
        with open(project / "results/ladder.tsv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except OSError:
        return {}
    return {f"{row['round']} {row['step']}": row[column] for row in rows if row.get(column)}


def _particles(project: Path) -> dict[str, str]:
    """How many particles each step left, where its state says so."""
    found = {}
    for path in sorted(project.glob("results/*/*/state.json")):
        if (number := (read_json(path).get("counts") or {}).get("out")) is not None:
            found["/".join(path.parts[-3:-1])] = str(number)
    return found


def _decisions(project: Path) -> dict[str, str]:
    results = project / "results"
    found = {}
    for path in sorted(results.rglob(DECISION)):
        name = str(path.parent.relative_to(results))
        if ".previous" in name or ".failed" in name or ".made" in name:
            continue
        told = read_json(path)
        choice = told.get("choice")
        words = (
            choice
            if not isinstance(choice, Mapping)
            else ", ".join(f"{k} {_short(v)}" for k, v in choice.items())
        )
        found[name] = f"{words} (by {told.get('by', '?')})"
    return found


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).strip("[]")


def _settings(project: Path) -> dict[str, str]:
    """All settings of the last run's config, key by key; of the config file, if there was none."""
    if config := noted_config(project):
        return dict(_flat(config))
    noted = [project / one for one in read_json(project / COMMAND).get("configs", ())]
    files = [path for path in noted if path.is_file()] or [
        path for path in (project / "config.yaml",) if path.is_file()
    ]
    files = [path.resolve() for path in files]
    try:
        with contextlib.chdir(project):  # picks are counted
            return dict(_flat(configs.load(configs.DEFAULT, *files)))
    except UserError as error:
        print(f"{project}: its config cannot be read: {error}", file=sys.stderr)
        return {}


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}".lstrip("."))
    else:
        yield key, "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _differing(first: dict[str, str], second: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return (
        {key: first[key] for key in keys if key in first},
        {key: second[key] for key in keys if key in second},
    )


def _options_of_branch(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the new project's folder, beside this one")
    project_options(parser)


def _options_of_compare(parser: Parser) -> None:
    parser.add_argument("first", metavar="A", help="a project's folder")
    parser.add_argument("second", metavar="B", help="another's")


COMMANDS = [
    Command(
        "branch", CHANGE, "a second config beside this one, on the same results", branch, _options_of_branch
    ),
    Command("compare", CHANGE, "two projects side by side", compare, _options_of_compare),
]
