"""Making a result anew, whatever was kept: `stacycle redo PATH`.

Each run of the workflow notes how it was called; a redo calls Snakemake in the same way, for that result alone. Before,
the job's record is marked, so that the job does not keep its result, and for Snakemake the result is made older than
what it was made of: if a redo is cut off, the next run completes it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stacycle import snakemake_api
from stacycle.errors import UserError
from stacycle.files.atomic import read_json, write_json
from stacycle.files.earlier_results import is_aside
from stacycle.files.job_folder import DECISION, SLAB
from stacycle.jobs import record as job_record
from stacycle.jobs.resume import REDO
from stacycle.resources.lock import locked
from stacycle.workflow import path as workflow_file

RESULTS = "results"
COMMAND = f"{RESULTS}/.snakemake_command.json"  # how the last run of the workflow was called
SNAKEFILE = workflow_file("Snakefile")
# Of a folder without a program, the file that the rule which made all the others is known by.
DECIDED = (DECISION, SLAB, "preflight.json")
MONTAGE = "classes.png"  # made by a rule of its own, in a decision's folder
# What a command line asked for once, and a redo does not.
ONCE = {
    *("targets", "forcerun", "force", "forceall", "until", "omit_from", "batch", "prioritize", "dryrun"),
    *("touch", "cleanup_metadata", "directory"),
}


def note_command(
    words: Sequence[str],
    folder: str,
    project: str | Path = ".",
    config: Mapping[str, Any] | None = None,
    files: Sequence[str] = (),
) -> None:
    """Note that the workflow was called by these words in this folder, and with which config, as Snakemake made it of
    the default, the config `files` and the command line; `project` is where its results are, and paths may start."""
    as_json = json.loads(json.dumps(config or {}, default=str))
    noted = {"words": list(words), "folder": folder, "configs": list(files), "config": as_json}
    write_json(Path(project, COMMAND), noted)


def noted_config(project: str | Path = ".") -> dict[str, Any]:
    """The whole, validated config of the last run of a project; {} if no run has noted it."""
    return read_json(Path(project, COMMAND)).get("config") or {}


def run(paths: Sequence[str], options: Sequence[str] = ()) -> int:
    """Make the results at these paths anew; `options` are more of Snakemake's. With --dry-run nothing is touched.
    Returns Snakemake's exit status.
    UserError for a path that is no result, a job that still runs, and if it is not known how to call Snakemake."""
    project, targets = _targets(paths)
    call, names = _call(project, options), list(targets)
    made = [*call, "--forcerun", *names, "--", *names]
    if any(action.dest == "dryrun" for word in options if (action := snakemake_api.option(word))):
        return subprocess.run(made, cwd=_cwd(project)).returncode
    for target, folder in targets.items():
        if folder is not None:  # marked so that the job does not keep what is there
            with locked(folder, "stacycle redo"):
                job_record.write(folder, job_record.read(folder) | {REDO: True})
        print(f"{target} is made anew.", flush=True)
    subprocess.run([*call, "--cleanup-metadata", *names], cwd=_cwd(project), capture_output=True, check=False)
    for path in (project / name for name in names):
        if path.exists():
            os.utime(path, (1, 1))  # older than all that it is made of
    return subprocess.run(made, cwd=_cwd(project)).returncode


def _targets(paths: Sequence[str]) -> tuple[Path, dict[str, Path | None]]:
    """The project, and of each path what Snakemake makes it by: target -> job folder, None if no program made it."""
    projects, targets = set(), {}
    for given in paths:
        path = Path(os.path.abspath(given))
        inside = next((one for one in [path, *path.parents] if one.name == RESULTS), None)
        if inside is None or inside == path:
            raise UserError(f"{given}: is not in a folder results", "give a file, or a job's folder, in one")
        if is_aside(path.relative_to(inside)):
            cure = "give that of the present, without .previous or .failed"
            raise UserError(f"{given}: is an earlier result", cure)
        projects.add(inside.parent)
        target, folder = _made_by(path, inside)
        targets[str(target.relative_to(inside.parent))] = folder
    if len(projects) > 1:
        raise UserError(f"{paths[0]} and {paths[-1]} are of different projects", "redo one after the other")
    return projects.pop(), targets


def _made_by(path: Path, results: Path) -> tuple[Path, Path | None]:
    """The file by which Snakemake knows the rule that makes a path, and the folder of its job."""
    for folder in [path, *path.parents]:
        if folder == results:
            break
        if outputs := job_record.read(folder).get("expected_outputs"):
            name = SLAB if (folder / SLAB).exists() else outputs[0]
            return Path(os.path.normpath(folder / name)), folder
        known = next((name for name in DECIDED if (folder / name).exists()), None)
        if known and path.name != MONTAGE:
            return folder / known, None
    if path.is_dir() or not path.suffix:
        raise UserError(f"{path}: holds no result that a rule makes", "give a file, or the folder of a job")
    return path, None


def _call(project: Path, options: Sequence[str]) -> list[str]:
    """The words that call Snakemake as the last run did, without what only that run was asked for.
    UserError if no run has noted them, and there are no `options` either."""
    words = read_json(project / COMMAND).get("words")
    if words is None and not options:
        raise UserError(
            f"{project}: no run has noted yet how Snakemake is called here",
            "stacycle run does; or give its options after --, as in: stacycle redo PATH -- --configfile C --cores 8",
        )
    kept = list(_kept(words)) if words else ["--snakefile", str(SNAKEFILE)]
    return [sys.executable, "-m", "snakemake", *kept, "--directory", str(project), *options]


def _cwd(project: Path) -> Path:
    """The folder that the noted words are meant in."""
    folder = project / read_json(project / COMMAND).get("folder", "")
    return folder if folder.is_dir() else project


def _kept(words: Sequence[str]) -> Iterator[str]:
    """Options of a command line of Snakemake's with their values, but for those of `ONCE` and the targets."""
    keeps, left = False, 0.0
    for word in words:
        if word == "--":
            return
        if word.startswith("-") and len(word) > 1 and not word[1:].replace(".", "", 1).isdigit():
            name, has_value, _ = word.partition("=")
            action = snakemake_api.option(name)
            keeps = action is None or action.dest not in ONCE
            left = 0 if has_value or action is None else snakemake_api.most_values(action, word)
            if keeps:
                yield word
        elif left > 0:
            left -= 1
            if keeps:
                yield word
