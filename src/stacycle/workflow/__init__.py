"""Where the workflow's own files are: Snakefile, rules, scripts, config and profiles.

In a checkout this folder has links to them, at the top; the wheel has the files themselves here.
"""

from pathlib import Path

from stacycle.errors import UserError

FOLDER = (Path(__file__).parent / "Snakefile").resolve().parent


def path(name: str = "Snakefile") -> Path:
    """The path of one of the workflow's files or folders, such as profiles/slurm. UserError if there is none."""
    found = FOLDER / name
    if not found.exists():
        raise UserError(f"{name}: the workflow has no such file", f"{FOLDER} shows which it has")
    return found
