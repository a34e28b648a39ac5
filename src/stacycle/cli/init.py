"""`stacycle init`: a config for the inputs that are found in this folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import yaml

from stacycle.cli.record import START, Command, Given, Parser
from stacycle.errors import UserError
from stacycle.recipe import config as configs
from stacycle.workflow import path as workflow_file

CONFIG = "config.yaml"
_DEPTH = 4  # folders down, in which inputs are looked for
_MOST_FILES = 20_000  # that are looked at
_LEFT_OUT = {"results", "logs", "benchmarks"}
_HEAD = 4096  # bytes of a STAR file that tell what it is
Set = tuple[str, str, str]  # key of the source, its file or folder, the picks
_OF_SOURCE = {".aln": "aretomo3", ".tomostar": "warp", ".edf": "imod"}  # where there is no tomograms.star
_OF_FORMAT = {".tbl": "dynamo", ".mod": "imod", ".em": "em"}


def init(given: Given) -> int:
    """Write a config.yaml for the tilt series and picks in this folder, with a comment for each line.

    What is not given as an option is asked for, if there is a terminal. Nothing is ever overwritten.
    """
    path = Path(CONFIG)
    if path.exists():
        raise UserError(f"{CONFIG} is there already", "edit it, or move it away; stacycle check looks at it")
    ask = _asker(sys.stdin.isatty() and sys.stdout.isatty() and not given.yes)
    found = [] if given.tomograms or given.particles else _sets()
    if found:
        print("Found here:", *(f"  {one}" for one in map(_line, found)), sep="\n")
    else:
        source, tomograms, particles = next(iter(_sets(given)), ("tomograms", "", ""))
        tomograms = given.tomograms or ask("file tomograms.star of RELION 5", tomograms, "--tomograms FILE")
        particles = given.particles or ask("file of the picks", particles, "--particles FILE")
        found = [(source, tomograms, particles)]
    diameter = given.diameter or ask("particle's longest extent in Å", "", "--diameter Å")
    symmetry = given.symmetry or ask("point group (C1 for the first rounds, even if it has one)", "C1", "")
    text = _text(found, diameter, symmetry, given.engine or "relion")
    _check(text)
    path.write_text(text, encoding="utf-8")
    print(f"{CONFIG} is written. Next: stacycle check, then stacycle plan, then stacycle run.")
    if shutil.which("sbatch"):
        profile = shlex.quote(str(workflow_file("profiles/slurm")))
        print("SLURM is here: copy its profile, put your site's names in, and add --profile slurm:")
        print(f"  mkdir -p profiles && cp -r {profile} profiles/")
    return 0


def _asker(terminal: bool) -> Callable[[str, str, str], str]:
    """How what is not known is found out: by a question, or not at all (UserError, which names the option)."""

    def ask(what: str, guess: str, option: str) -> str:
        if not terminal:
            if guess:
                return guess
            raise UserError(f"the {what} is not known", f"give it with {option}")
        while True:
            answer = input(f"{what[0].upper()}{what[1:]}{f' [{guess}]' if guess else ''}: ").strip() or guess
            if answer:
                return answer

    return ask


def _sets(given: Given | None = None) -> list[Set]:
    """The sets in this folder: tilt series with the picks beside them, or with the only ones that there are."""
    tomograms, picks = list[str](), list[str]()
    folders: dict[str, set[str]] = {}
    for path in _files():
        kind = _kind_of_star(path) if path.suffix == ".star" else ""
        if kind == "tomograms":
            tomograms.append(str(path))
        elif kind == "particles" or path.suffix in _OF_FORMAT:
            picks.append(str(path))
        elif path.suffix in _OF_SOURCE:
            folders.setdefault(path.suffix, set()).add(str(path.parent))
    series = [("tomograms", path) for path in tomograms]
    if not series:
        series = [(_OF_SOURCE[one], os.path.commonpath(found) or ".") for one, found in folders.items()]
    sets = []
    for source, at in series:
        beside = [one for one in picks if os.path.dirname(one) == os.path.dirname(at)] or picks
        if given is not None or len(beside) == 1:
            sets.append((source, at, beside[0] if beside else ""))
    return sets


def _line(one: Set) -> str:
    """A set as a line of the config."""
    source, series, picks = one
    kind = _OF_FORMAT.get(Path(picks).suffix)
    found = f"{{{kind}: {_scalar(picks)}}}" if kind else _scalar(picks)
    return f"{{{source}: {_scalar(series)}, particles: {found}}}"


def _files() -> Iterator[Path]:
    """The files below this folder, the nearest first; not those of results."""
    seen = 0
    for here, folders, names in os.walk(".", followlinks=True):  # data are often linked
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


def _text(sets: Sequence[Set], diameter: str, symmetry: str, engine: str) -> str:
    """The config, with its comments."""
    lines = "\n".join(f"  - {_line(one)}" for one in sets)
    return f"""\
# The project's config: it names only what differs from the tutorial, "STA in RELION5".
# All keys and their defaults: {workflow_file("config/config.yaml")}
# Then: stacycle check (is all there?), stacycle plan (what will run?), stacycle run.

inputs:                        # tilt series and picks; paths start at this folder; a line for each set
{lines}

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
