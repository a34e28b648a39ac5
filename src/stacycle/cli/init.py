"""`stacycle init`: a config for the inputs that are found in this folder."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from stacycle.cli.record import START, Command, Given, Parser
from stacycle.errors import UserError
from stacycle.recipe import config as configs
from stacycle.recipe.settings import PICK_FORMATS
from stacycle.workflow import path as workflow_file

CONFIG = "config.yaml"
_DEPTH = 4  # folders down, in which inputs are looked for
_MOST_FILES = 20_000  # that are looked at
_LEFT_OUT = {"results", "logs", "benchmarks"}
_HEAD = 4096  # bytes of a STAR file that tell what it is
_OF_FORMAT = {".tbl": "dynamo", ".mod": "imod", ".em": "em"}


def init(given: Given) -> int:
    """Write a config.yaml for the tilt series and picks in this folder, with a comment for each line.

    What is not given as an option is asked for, if there is a terminal. Nothing is ever overwritten.
    """
    path = Path(CONFIG)
    if path.exists():
        raise UserError(f"{CONFIG} is there already", "edit it, or move it away; stacycle check looks at it")
    ask = _asker(sys.stdin.isatty() and sys.stdout.isatty() and not given.yes)
    found = _look_around()
    tomograms = given.tomograms or ask(
        "RELION 5's tomograms.star", found["tomograms"], "--tomograms FILE", True
    )
    particles = given.particles or ask("file of the picks", found["particles"], "--particles FILE", True)
    diameter = given.diameter or ask("longest extent of the particle in Å", "", "--diameter Å", True)
    symmetry = given.symmetry or ask(
        "its point group (C1 for the first rounds, even if it has one)", "C1", "", True
    )
    engine = given.engine or "relion"
    text = _text(
        found["source"] if not given.tomograms else "tomograms",
        tomograms,
        particles,
        diameter,
        symmetry,
        engine,
    )
    _check(text)
    path.write_text(text, encoding="utf-8")
    print(f"{CONFIG} is written. Next: stacycle check, then stacycle plan, then stacycle run.")
    if shutil.which("sbatch"):
        profile = workflow_file("profiles/slurm")
        print(f"SLURM is here: cp -r {profile} profiles/, put your site's names in, and add --profile slurm.")
    return 0


def _asker(terminal: bool) -> Callable[[str, str, str, bool], str]:
    """How what is not known is found out: by a question, or not at all (UserError, which names the option)."""

    def ask(what: str, guess: str, option: str, needed: bool) -> str:
        if not terminal:
            if guess or not needed:
                return guess
            raise UserError(f"the {what} is not known", f"give it with {option}")
        while True:
            answer = input(f"{what[0].upper()}{what[1:]}{f' [{guess}]' if guess else ''}: ").strip() or guess
            if answer:
                return answer

    return ask


def _look_around() -> dict[str, str]:
    """The inputs in this folder: the `source` of tilt series (a key of a set), its file or folder, and the picks."""
    found = {"source": "tomograms", "tomograms": "", "particles": ""}
    folders: dict[str, set[str]] = {}
    for path in _files():
        if path.suffix == ".star":
            kind = _kind_of_star(path)
            if kind and not found[kind]:
                found[kind] = str(path)
        elif path.suffix in (".aln", ".tostar", ".tomostar", ".edf"):
            folders.setdefault(path.suffix, set()).add(str(path.parent))
        elif path.suffix in _OF_FORMAT and not found["particles"]:
            found["particles"] = str(path)
    for suffix, source in ((".aln", "aretomo3"), (".tomostar", "warp"), (".edf", "imod")):
        if not found["tomograms"] and folders.get(suffix):
            found |= {"source": source, "tomograms": os.path.commonpath(folders[suffix]) or "."}
    return found


def _files() -> Iterator[Path]:
    """The files below this folder, the nearest first; not those of results."""
    seen = 0
    for here, folders, names in os.walk("."):
        depth = here.count(os.sep)
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one not in _LEFT_OUT)
        if depth >= _DEPTH:
            folders.clear()
        for name in sorted(names):
            seen += 1
            if seen > _MOST_FILES:
                return
            yield Path(os.path.normpath(os.path.join(here, name)))


def _kind_of_star(path: Path) -> str:
    """Whether a STAR file has tomograms or picks; "" if neither."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD)
    except OSError:
        return ""
    if "_rlnTomoTiltSeriesStarFile" in head:
        return "tomograms"
    names = "_rlnTomoName" in head or "_rlnMicrographName" in head or "_wrpSourceName" in head
    places = re.search(r"_(rln(Centered)?Coordinate|wrpCoordinate)", head)
    return "particles" if places and names and "_rlnTomoSizeX" not in head else ""


def _text(source: str, tomograms: str, particles: str, diameter: str, symmetry: str, engine: str) -> str:
    """The config, with its comments."""
    quoted = {key: _scalar(value) for key, value in (("tomograms", tomograms), ("particles", particles))}
    picks = quoted["particles"]
    if kind := _OF_FORMAT.get(Path(particles).suffix):
        assert kind in PICK_FORMATS
        picks = f"{{{kind}: {picks}}}"
    return f"""\
# The project's config: it names only what differs from the tutorial, "STA in RELION5".
# All keys and their defaults: {workflow_file("config/config.yaml")}
# Then: stacycle check (is all there?), stacycle plan (what will run?), stacycle run.

inputs:                        # tilt series and picks; paths start at this folder; a line for each set
  - {{{source}: {quoted["tomograms"]}, particles: {picks}}}

particle:
  diameter: {diameter:<20} # Å, the longest extent
  symmetry: {symmetry:<20} # point group; C1 for the first rounds, even if it has one

engine:
  kind: {engine:<24} # RELION 5 (on the PATH; else bin, modules or container), or embedded: small data only

# pause: [select, mask]        # stop there, to look and to decide; stacycle run goes on
# rounds:
#   bin2: null                 # leave rounds out, to look at the first maps before you go on
#   bin1: null
#   bin4:
#     select: {{classes: [2, 3]}} # override a decision: only what follows runs again
"""


def _scalar(value: str) -> str:
    """A path as YAML has it, in quotes if it needs them."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).strip().removesuffix("...").strip()


def _check(text: str) -> None:
    """UserError for what the options made that is no config."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, CONFIG)
        path.write_text(text, encoding="utf-8")
        try:
            configs.load(configs.DEFAULT, path)
        except UserError as error:
            raise UserError(
                str(error).replace(f" ({path}", f" ({CONFIG}").replace(str(path), CONFIG)
            ) from None


def _options(parser: Parser) -> None:
    parser.add_argument("--tomograms", metavar="FILE", help="RELION 5's tomograms.star")
    parser.add_argument("--particles", metavar="FILE", help="the picks")
    parser.add_argument("--diameter", metavar="Å", help="the particle's longest extent")
    parser.add_argument("--symmetry", metavar="GROUP", help="its point group (default: C1)")
    parser.add_argument(
        "--engine", choices=("relion", "embedded"), help="whose programs run (default: relion)"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="ask nothing: take what is found")


COMMANDS = [Command("init", START, "write a config for the inputs in this folder", init, _options)]
