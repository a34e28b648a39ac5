"""Preflight: all that can be known before a run of the data and the set-up, in one table.

RELION drops particles of unknown tomograms with a warning, ignores flags that it does not know, and notices a
missing image or a full disk hours later. What was found of data and programs is remembered until a file changes.
"""

from __future__ import annotations

import csv
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from stacycle import snakemake_api
from stacycle.errors import UserError
from stacycle.files.cache import Cache
from stacycle.inputs.findings import Findings
from stacycle.preflight import against_data, disk, environment
from stacycle.preflight.environment import FINE, PROBLEM, WARNING, Asked, Row, from_error
from stacycle.programs.command import Command
from stacycle.recipe.config import DEFAULT
from stacycle.recipe.config_text import read
from stacycle.recipe.rounds import Recipe
from stacycle.steps.registry import layout_of_rule
from stacycle.steps.sizes import IMAGES, Need

RESULTS = "results"
TABLE = f"{RESULTS}/preflight.tsv"
MEMORY = f"{RESULTS}/.preflight.json"
_MOST_PROBLEMS = 50  # shown at once
_HEAD = Row("", "checked", "found", "what to do")
_CORES = 2  # of a job, where they are not known yet: enough for MPI ranks
_ORDER = (PROBLEM, WARNING, FINE)


@dataclass(frozen=True)
class Report:
    """The rows of the table, problems first."""

    rows: list[Row]

    def of(self, level: str) -> list[Row]:
        return [row for row in self.rows if row.level == level]

    def __str__(self) -> str:
        """The table as wide as the terminal."""
        width = max(80, min(160, shutil.get_terminal_size((110, 0)).columns))
        counts = [f"{len(self.of(level))} {level}{'s' * (len(self.of(level)) != 1)}" for level in _ORDER[:2]]
        checked = max(len(row.checked) for row in [*self.rows, _HEAD])
        room = width - len("problem") - checked - 6
        widths = [len("problem"), checked, room - room * 2 // 5, room * 2 // 5]
        lines = [f"Preflight: {', '.join(counts)}, {len(self.of(FINE))} fine"]
        shown = [*self.of(PROBLEM)[:_MOST_PROBLEMS], *self.of(WARNING), *self.of(FINE)]
        for row in [_HEAD, *shown]:
            cells = [row.level, row.checked, row.found, row.todo]
            sizes = widths if row.todo else [*widths[:2], room]
            wrapped = [textwrap.wrap(cell, size) for cell, size in zip(cells, sizes, strict=False)]
            for line in zip_longest(*wrapped, fillvalue=""):
                filled = (cell.ljust(size) for cell, size in zip(line, sizes, strict=True))
                lines.append("  ".join(filled).rstrip())
        if len(shown) < len(self.rows):
            lines.append(f"{len(self.rows) - len(shown)} more problems are in {TABLE}")
        return "\n".join(lines)

    def write(self, path: str | Path) -> None:
        """The table as a tab-separated file."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow(["level", _HEAD.checked, _HEAD.found, _HEAD.todo])
            writer.writerows([row.level, row.checked, row.found, row.todo] for row in self.rows)


def asked_by(whose: Iterable[Any]) -> Asked:
    """What Snakemake's rules, or its jobs, ask for as the profile has it: step -> GPUs, MPI ranks."""
    asked = {}
    for one in whose:
        if step := getattr(one, "rule", one).params.get("step"):
            # what depends on the wildcards is not known of a rule; as a number of GPUs it stands for one at least
            given = {name: snakemake_api.value(value, of_function=1) for name, value in one.resources.items()}
            cores = one.resources.get("_cores")
            layout = layout_of_rule(step, given, cores if isinstance(cores, int) else _CORES)
            asked[step] = {"gpu": layout.gpus, "ranks": layout.ranks, "launcher": layout.launcher}
            asked[step] |= {"given": True} if given.get("ranks") else {}
    return asked


def run(
    config: Mapping[str, Any],
    recipe: Recipe,
    asked: Asked,
    configfiles: Sequence[str | Path] = (),
    local: bool = True,
    limit: int | None = None,
) -> Report:
    """Look at everything that the rules of `asked` will need, from the project folder, and write the table.

    `config` is validated and `recipe` made of it. `configfiles` are the files that it was read from. If the work is not
    done on this machine (not `local`), what its set-up lacks is worth a warning only; `limit` is the profile's of this
    machine's GPUs. Nothing is checked, and no table written, if no rule reads the data or runs a program.
    """
    cache = Cache(MEMORY)
    commands = environment.commands(recipe, config, asked)
    used = environment.flags(commands)
    if "inputs" in asked:  # on which all other steps depend
        whole = environment.programs(recipe, config, asked)
        used |= {program: set() for program in whole if program not in used}
    if not used and "inputs" not in asked:
        return Report([])
    rows = list(_check_config(config, configfiles))
    data, facts = check_data(config["inputs"], cache, config["particle"]["duplicates"])
    rows += data
    needs: list[Need] = []
    if facts:
        rows += against_data.check(config, recipe, facts)
        try:
            needs = disk.needed(recipe, config, against_data.numbers_of(facts))
        except UserError as error:
            rows.append(from_error(error, "box"))
    if used:
        rows += _check_set_up(config, asked, commands, used, needs, local, limit, cache)
    try:
        _in_order(rows).write(TABLE)
    except OSError as error:
        found = f"{TABLE} cannot be written ({error.strerror})"
        rows.append(Row(PROBLEM, "disk", found, "see to the rights and the space of the project folder"))
    return _in_order(rows)


def _in_order(rows: Sequence[Row]) -> Report:
    return Report(sorted(rows, key=lambda row: _ORDER.index(row.level)))


def refuse(report: Report) -> None:
    """UserError with the table if there is a problem."""
    if report.of(PROBLEM):
        raise UserError(str(report))


def show(report: Report) -> None:
    """Print the table if there is a problem, else the warnings alone: for the start of a run."""
    lines = str(report).splitlines() if report.of(PROBLEM) else []
    for line in lines or [f"{row.checked}: {row.found}; {row.todo}." for row in report.of(WARNING)]:
        print(f"[preflight] {line}", file=sys.stderr, flush=True)


def check_data(
    sets: Sequence[Mapping[str, Any]], cache: Cache, duplicates: str
) -> tuple[list[Row], dict[str, Any] | None]:
    """Every set in full, and all together; the facts about them, or None if there is a problem."""
    from stacycle.inputs.asked import files_of

    # a file that is new counts, too; of RELION's sets they are known from the config
    question = [*(dict(one) for one in sets), duplicates, sorted(set(files_of(sets)))]
    answer = cache.get("data", question)
    if answer is None:
        from stacycle.inputs import merge

        found = Findings()
        merged = merge.read(sets, found, duplicates)
        with suppress(OSError):  # the table reports a folder that cannot be written to
            found.write_pairs()
        if merged is None:
            warnings = [from_error(warning, "data", WARNING) for warning in found.warnings]
            problems = [from_error(problem, "data") for problem in found.problems]
            return [*problems, *warnings, *map(_row_of_taken, found.taken)], None
        answer = {"facts": merged.facts, "warnings": [(one.problem, one.cure) for one in found.warnings]}
        code = sorted(map(str, Path(__file__).parents[1].rglob("*.py")))  # other checks may find more
        cache.put("data", question, answer, [*code, *sorted(found.files)])
    rows, facts = [Row(WARNING, "data", *warning) for warning in answer["warnings"]], answer["facts"]
    taken = map(_row_of_taken, facts["taken"])
    return [*rows, *map(_row_of_set, facts["sets"]), *taken, _row_of_series(facts)], facts


def _row_of_set(one: Mapping[str, Any]) -> Row:
    found = (
        f"{one['particles_file']}: {one['particles']} particles; {one['tomograms_file']}: "
        f"{one['tomograms']} tomogram{'s' * (one['tomograms'] > 1)}; columns, names, numbers, positions"
    )
    return Row(FINE, "data", found)


def _row_of_taken(taken: Sequence[str]) -> Row:
    whose, kind, said = taken
    return Row(FINE, kind, f"{whose}: {said}")


def _row_of_series(facts: Mapping[str, Any]) -> Row:
    tilts = [one["tilts"] for one in facts["tomograms"]]
    span = f"{min(tilts)} tilts" if min(tilts) == max(tilts) else f"{min(tilts)} to {max(tilts)} tilts"
    found = f"{len(tilts)} of {span} at {facts['pixel_size']:g} Å: columns, images, headers, sizes of files"
    return Row(FINE, "tilt series", found)


def _check_config(config: Mapping[str, Any], configfiles: Sequence[str | Path]) -> Iterator[Row]:
    given = [read(path) for path in configfiles if not Path(path).samefile(DEFAULT)]
    diameter, symmetry = config["particle"]["diameter"], config["particle"]["symmetry"]
    if configfiles and not any("diameter" in (one.get("particle") or {}) for one in given):
        ribosome = f"the tutorial's {diameter:g} Å, a ribosome's"
        found = f"particle.diameter is {ribosome}; no config of yours says so"
        yield Row(WARNING, "diameter", found, "set particle.diameter to the longest extent of your particle")
    if symmetry == "I5":
        yield Row(PROBLEM, "symmetry", "RELION knows I5 by name only", "use I, I1, I2, I3 or I4")
    for key, value in _texts(config):
        if not value.isprintable():
            yield Row(PROBLEM, "config", f"{key}, {value!r}, has a control character", "take it out")


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a config, names of keys too, with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            here = f"{key}.{name}".lstrip(".")
            yield here, str(name)
            yield from _texts(inner, here)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _texts(inner, f"{key}.{number}")


def _check_set_up(
    config: Mapping[str, Any],
    asked: Asked,
    commands: Sequence[tuple[str, Command]],
    used: Mapping[str, set[str]],
    needs: Sequence[Need],
    local: bool,
    limit: int | None,
    cache: Cache,
) -> list[Row]:
    engine = config["engine"]
    rows = list(environment.check_software(engine, used, cache))
    if not any(row.level == PROBLEM and row.checked == "software" for row in rows):
        run = {rule for rule, _ in commands}
        of_recipe = {rule: ask for rule, ask in asked.items() if rule in run}
        rows += environment.check_gpu(engine, of_recipe, local, limit)
        rows += environment.check_mpi(engine, commands, asked, local)
    if not local:
        here = "(here; jobs run elsewhere)"
        rows = [
            replace(row, level=WARNING, found=f"{row.found} {here}") if row.level == PROBLEM else row
            for row in rows
        ]
    stacks = max((need.bytes for need in needs if need.what == IMAGES), default=0)
    if any("--scratch_dir" in flags for flags in used.values()):
        rows += environment.check_scratch(engine["scratch"], local, stacks)
    if needs:
        rows += environment.check_disk(needs, config.get("cleanup"), RESULTS)
    return rows
