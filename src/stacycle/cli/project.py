"""The project that a command works on: its folder, its config, and the profile that says where the work runs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stacycle.cli.record import Given, Parser
from stacycle.errors import UserError, some
from stacycle.files.atomic import read_json
from stacycle.inputs.asked import files_of
from stacycle.jobs.redo import COMMAND, RESULTS
from stacycle.progress import journal
from stacycle.recipe import config as configs
from stacycle.recipe.rounds import Recipe
from stacycle.workflow import path as workflow_file

USUAL = ("config.yaml", "config.yml")
PROFILE = "workstation"
_SECTIONS = {"inputs", "particle", "engine", "rounds"}  # by one of which a config is known


def options(parser: Parser) -> None:
    """The options by which a project's config and profile are found."""
    parser.add_argument(
        *("-c", "--config"),
        dest="configs",
        metavar="FILE",
        action="append",
        help="the config (default: that of the last run, config.yaml, or the only one here)",
    )
    where = "where the work runs: a folder, or one of the workflow's, as slurm (default: the last run's, or "
    parser.add_argument("--profile", metavar="NAME", help=f"{where}{PROFILE})")


def result(path: str) -> str:
    """A path as given; or, if there is nothing but a result of that name (bin4/select), the result's."""
    named = os.path.join(RESULTS, path)
    return named if not os.path.exists(path) and os.path.exists(named) else path


@dataclass(frozen=True)
class Project:
    """A project in the present folder, with its config files, and the folder of its profile."""

    configs: tuple[Path, ...]
    profile: Path

    @classmethod
    def of(cls, given: Given) -> Project:
        """The project of the options of a command. UserError if its config or profile cannot be found."""
        last = read_json(COMMAND)
        return cls(_configs(given.configs or (), last), _profile(given.profile, last))

    def config(self) -> dict[str, Any]:
        """The config, validated. UserError with a sentence for each mistake."""
        return configs.load(configs.DEFAULT, *self.configs)

    def recipe(self) -> Recipe:
        """The rounds of the config. UserError if a step comes before what it needs."""
        return Recipe.from_config(self.config())

    def words(self, more: Sequence[str] = (), targets: Sequence[str] = ()) -> list[str]:
        """The words after `snakemake` that run the workflow here; --configfile, which takes several, is never last."""
        found = ["--snakefile", str(workflow_file()), "--configfile", *map(_short, self.configs)]
        found += ["--profile", _short(self.profile)]
        if "directory" in self._profiles_options():
            found += ["--directory", "."]
        found += more
        return [*found, "--", *targets] if targets else found

    def _profiles_options(self) -> dict[str, Any]:
        names = ("profile.yaml", "profile.v9+.yaml", "config.yaml")
        for path in (self.profile / name for name in names):
            if path.is_file():
                try:
                    return yaml.safe_load(path.read_text()) or {}
                except yaml.YAMLError:
                    return {}  # Snakemake will say so
        return {}


def shown(words: Sequence[str]) -> str:
    """The command line of Snakemake with these words, to be copied."""
    found = shutil.which("snakemake")
    own = Path(sys.executable).with_name("snakemake")
    command = ["snakemake"] if found and Path(found).resolve() == own.resolve() else [str(own)]
    return shlex.join([*command, *words])


def command(words: Sequence[str]) -> list[str]:
    """The words that run Snakemake, in the Python that runs this."""
    return [sys.executable, "-m", "snakemake", *words]


def _short(path: Path) -> str:
    """A path as one would write it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else str(path)


def _configs(given: Sequence[str], last: dict[str, Any]) -> tuple[Path, ...]:
    if given:
        for path in map(Path, given):
            if not path.is_file():
                raise UserError(f"{path}: there is no such config here", "check the path after -c")
        return tuple(map(Path, given))
    noted = [Path(path) for path in last.get("configs", ())]
    if noted and all(path.is_file() for path in noted):
        return tuple(noted)
    for name in USUAL:
        if Path(name).is_file():
            return (Path(name),)
    found = [path for path in sorted([*Path().glob("*.yaml"), *Path().glob("*.yml")]) if _is_config(path)]
    if len(found) > 1:
        raise UserError(f"{some(found)} could each be the config", "say which: -c FILE")
    if not found:
        raise UserError(f"{Path.cwd()}: has no config", _cure_without_config())
    return (found[0],)


def _cure_without_config() -> str:
    for folder in Path.cwd().parents:
        if any((folder / name).is_file() for name in USUAL) and (folder / "results").is_dir():
            return f"go to the project's folder: cd {shlex.quote(str(folder))}"
    return "stacycle init writes one; or go to the folder of a project"


def _is_config(path: Path) -> bool:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(found, dict) and bool(_SECTIONS & found.keys())


def _profile(given: str | None, last: dict[str, Any]) -> Path:
    if given is None:
        words, folder = last.get("words", []), Path(last.get("folder", "."))
        found = _value_of("--profile", words) or _value_of("--workflow-profile", words)
        if found and (folder / found).is_dir():
            return (folder / found).resolve()
        given = PROFILE
    for path in (Path(given), Path("profiles", given)):
        if path.is_dir():
            return path
    known = sorted(path.name for path in workflow_file("profiles").iterdir() if path.is_dir())
    if given not in known:
        raise UserError(f"--profile {given}: there is no such profile", f"give a folder, or {some(known, 9)}")
    return workflow_file(f"profiles/{given}")


def _value_of(option: str, words: Sequence[str]) -> str:
    """The value of an option in a command line; "" if it is not there."""
    for number, word in enumerate(words):
        name, is_one, value = word.partition("=")
        if name == option:
            return value if is_one else next(iter(words[number + 1 :]), "")
    return ""


def hint_of_queue(project: Project) -> str:
    """That there is a queue here which the profile does not use, before a first run; "" if not."""
    here = project.profile.resolve() == workflow_file(f"profiles/{PROFILE}").resolve()
    begun = Path(COMMAND).exists()
    if here and not begun and "SLURM_JOB_ID" not in os.environ and shutil.which("sbatch"):
        return "SLURM is here: --profile slurm gives the work to it (copy profiles/slurm into your project first)."
    return ""


def refuse_missing(config: Mapping[str, Any]) -> None:
    """UserError if files that the config names are not there."""
    lacking = [path for path in files_of(config["inputs"]) if not os.path.exists(path)]
    if lacking:
        verb = "is" if len(lacking) == 1 else "are"
        cure = f"paths start at the project's folder, {Path.cwd()}; stacycle check tells more"
        raise UserError(f"{some(lacking)}, named under inputs in the config, {verb} not there", cure)


def refuse_if_busy() -> None:
    """UserError if another run works on this project."""
    if (holder := journal.holder()) is not None:
        whose = f"process {holder.get('runner')} on {holder.get('host')}, since {holder.get('since')}"
        slurm = holder.get("slurm_job")
        end = f"scancel {slurm}" if slurm else f"kill {holder.get('runner')}"
        cure = f"watch it with stacycle status --watch, or end it: {end}"
        raise UserError(f"another run works on this project ({whose})", cure)
