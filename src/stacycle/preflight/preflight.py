"""Preflight: the data and the set-up are looked at before hours are spent on them.

RELION drops particles of unknown tomograms with a warning, ignores flags that it does not know, and notices a
missing image or a full disk hours later. Here everything that can be known before is looked for, and told in one
table. What was found out about the data and the programs is remembered until a file of them changes.
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
from statistics import median
from typing import Any

import yaml

from stacycle.errors import UserError
from stacycle.files import safe_names
from stacycle.files.cache import Remembered
from stacycle.inputs.findings import DUPLICATES, Findings
from stacycle.preflight import disk, environment
from stacycle.preflight.environment import FINE, PROBLEM, WARNING, Asked, Row, from_error
from stacycle.provenance import lineage
from stacycle.recipe import auto, geometry
from stacycle.recipe.config import DEFAULT
from stacycle.recipe.limits import FEWEST_PER_CLASS
from stacycle.recipe.rounds import Recipe, variants
from stacycle.resources import site

RESULTS = "results"
TABLE = f"{RESULTS}/preflight.tsv"
MEMORY = f"{RESULTS}/.preflight.json"
FEWEST_TILTS = 10  # a tilt series with fewer was hardly meant
FEWEST_PER_HALF = 25  # particles; fewer make no FSC that means anything
FINER = 0.9  # x Nyquist: less is no rounding
_MOST_PROBLEMS = 50  # shown at once
_HEAD = Row("", "checked", "found", "what to do")
_ORDER = (PROBLEM, WARNING, FINE)


@dataclass(frozen=True)
class Report:
    """The rows of the table, problems first."""

    rows: list[Row]

    def of(self, level: str) -> list[Row]:
        """The rows of one level."""
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
                lines.append(
                    "  ".join(cell.ljust(size) for cell, size in zip(line, sizes, strict=True)).rstrip()
                )
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


def asked_by(whose: Iterable[Any], renamed: str = "*") -> Asked:
    """What Snakemake's rules, or the rules of its jobs, ask for as the profile has it: rule -> GPUs, MPI ranks.

    `renamed` is what a rule * is called where the workflow is imported.
    """
    named = ((safe_names.own(getattr(one, "rule", one).name, renamed), one) for one in whose)
    return {name: _asked(name, one) for name, one in named}


def _asked(name: str, one: Any) -> dict[str, Any]:
    resources = {name: _plain(value) for name, value in one.resources.items()}
    layout = site.layout(resources, cores=1, halves=name == site.TWO_HALVES)
    return {"gpu": layout.gpus, "ranks": layout.ranks, "launcher": layout.launcher}


def _plain(resource: Any) -> Any:
    """The value of a resource, which is wrapped in a rule and plain in a job.

    What depends on the wildcards is not known of a rule; as a number of GPUs it stands for one at least.
    """
    if not hasattr(resource, "is_evaluable"):
        return resource
    return 1 if resource.is_evaluable() else resource.value


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
    machine's GPUs. Nothing is looked at, and no table written, if no rule reads the data or runs a program.
    """
    remembered = Remembered(MEMORY)
    used = environment.flags(recipe, config, asked)
    if "inputs" in asked:  # which all that follows hangs on
        whole = environment.programs(recipe, config, asked)
        used |= {program: set() for program in whole if program not in used}
    if not used and "inputs" not in asked:
        return Report([])
    rows = list(_check_config(config, configfiles))
    data, facts = check_data(config["inputs"], remembered, config["particle"]["duplicates"])
    rows += data
    needs: list[disk.Need] = []
    if facts:
        rows += _check_numbers(config, recipe, facts)
        try:
            needs = disk.needed(recipe, config, numbers_of(facts))
        except UserError as error:
            rows.append(from_error(error, "box"))
    if used:
        rows += _check_set_up(config, asked, used, needs, local, limit, remembered)
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


def say(report: Report) -> None:
    """To the terminal what a run that starts should not pass over: the table, or the warnings alone."""
    lines = str(report).splitlines() if report.of(PROBLEM) else []
    for line in lines or [f"{row.checked}: {row.found}; {row.todo}." for row in report.of(WARNING)]:
        print(f"[preflight] {line}", file=sys.stderr, flush=True)


def check_data(
    sets: Sequence[Mapping[str, str]], remembered: Remembered, duplicates: str = "refuse"
) -> tuple[list[Row], dict[str, Any] | None]:
    """Every set in full, and all together; the facts about them, or None if there is a problem."""
    question = [*(dict(one) for one in sets), duplicates]
    answer = remembered.recall("data", question)
    if answer is None:
        from stacycle.inputs import merge

        found = Findings()
        merged = merge.read(sets, found, duplicates)
        with suppress(OSError):  # what cannot be written there is told elsewhere
            found.write_pairs()
        if merged is None:
            warnings = [from_error(warning, "data", WARNING) for warning in found.warnings]
            return [*(from_error(problem, "data") for problem in found.problems), *warnings], None
        answer = {"facts": merged.facts, "warnings": [(one.problem, one.cure) for one in found.warnings]}
        code = sorted(map(str, Path(__file__).parents[1].rglob("*.py")))  # other checks may find more
        remembered.keep("data", question, answer, [*code, *sorted(found.files)])
    rows, facts = [Row(WARNING, "data", *warning) for warning in answer["warnings"]], answer["facts"]
    return [*rows, *map(_row_of_set, facts["sets"]), _row_of_series(facts)], facts


def numbers_of(facts: Mapping[str, Any]) -> disk.Numbers:
    """What the sizes of results follow from."""
    seen = [
        one["visible_tilts"]
        for one in facts["tomograms"]
        for _ in range(one["particles"])
        if one["particles"]
    ]
    return disk.Numbers(
        particles=facts["particles"],
        visible_tilts=median(seen),
        series_pixel=facts["pixel_size"],
        tomograms=len(facts["tomograms"]),
        tilts=sum(one["tilts"] for one in facts["tomograms"]),
    )


def _row_of_set(one: Mapping[str, Any]) -> Row:
    found = (
        f"{one['particles_file']}: {one['particles']} particles; {one['tomograms_file']}: "
        f"{one['tomograms']} tomogram{'s' * (one['tomograms'] > 1)}; columns, names, numbers, positions"
    )
    return Row(FINE, "data", found)


def _row_of_series(facts: Mapping[str, Any]) -> Row:
    tilts = [one["tilts"] for one in facts["tomograms"]]
    span = f"{min(tilts)} tilts" if min(tilts) == max(tilts) else f"{min(tilts)} to {max(tilts)} tilts"
    found = f"{len(tilts)} of {span} at {facts['pixel_size']:g} Å: columns, images, headers, sizes of files"
    return Row(FINE, "tilt series", found)


def _check_config(config: Mapping[str, Any], configfiles: Sequence[str | Path]) -> Iterator[Row]:
    given = [_read(path) for path in configfiles if not Path(path).samefile(DEFAULT)]
    diameter, symmetry = config["particle"]["diameter"], config["particle"]["symmetry"]
    if configfiles and not any("diameter" in (one.get("particle") or {}) for one in given):
        found = (
            f"particle.diameter is the tutorial's {diameter:g} Å, a ribosome's; no config of yours says so"
        )
        yield Row(WARNING, "diameter", found, "set particle.diameter to the longest extent of your particle")
    if symmetry == "I5":
        yield Row(PROBLEM, "symmetry", "RELION knows I5 by name only", "use I, I1, I2, I3 or I4")
    for key, value in _texts(config):
        if not safe_names.has_no_controls(value):
            found = f"{key}, {value!r}, has a control character"
            yield Row(PROBLEM, "config", found, "take it out")


def _read(path: str | Path) -> dict[str, Any]:
    return yaml.safe_load(Path(path).read_text()) or {}


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


def _check_numbers(config: Mapping[str, Any], recipe: Recipe, facts: Mapping[str, Any]) -> Iterator[Row]:
    """Tilts and particles enough, and a particle that fits."""
    tomograms, count = facts["tomograms"], facts["particles"]
    fewest = max(FEWEST_TILTS, median(one["tilts"] for one in tomograms) / 2)
    yield from _check_sizes(config, recipe, facts)
    if few := [one for one in tomograms if one["tilts"] < fewest]:
        listed = ", ".join(f"{one['name']} ({one['tilts']})" for one in few[:4])
        more = f" and {len(few) - 4} more" if len(few) > 4 else ""
        found = f"few tilts in {len(few)} of {len(tomograms)} tilt series: {listed}{more}"
        yield Row(WARNING, "tilt series", found, "see whether they are whole, or leave them out")
    diameter = config["particle"]["diameter"]
    thin = min(tomograms, key=lambda one: min(one["size"]) * one["pixel_size"])
    if diameter > (extent := min(thin["size"]) * thin["pixel_size"]):
        found = f"particle.diameter, {diameter:g} Å, is more than {thin['name']} measures, {extent:.0f} Å"
        yield Row(WARNING, "diameter", found, "check the diameter and rlnTomoSizeX/Y/Z")
    classes = [
        int(K)
        for name, step in recipe
        if step == "class3d"
        for _, K in variants(recipe.settings(name, step)).values()
    ]
    if classes:
        yield _row_of_counts(count, max(classes), "class", FEWEST_PER_CLASS)
    steps = [step for _, step in recipe]
    if "refine3d" in steps:
        yield _row_of_counts(count, 2, "half set", FEWEST_PER_HALF)
        if "select" not in steps[: steps.index("refine3d")] and lineage.too_many(facts["near_pairs"], count):
            found = (
                f"{facts['near_pairs']} pairs of {count} particles lie within {lineage.NEAR:g} unbinned pixels, all in "
                f"{DUPLICATES}: the same particle, picked twice, which refine3d refuses"
            )
            yield Row(
                PROBLEM, "particles", found, "set particle.duplicates: keep_one, or remove one of each pair"
            )


def _check_sizes(config: Mapping[str, Any], recipe: Recipe, facts: Mapping[str, Any]) -> Iterator[Row]:
    """What a round is asked for that images of its pixel size and box cannot give."""
    series_pixel, diameter = facts["pixel_size"], config["particle"]["diameter"]
    tilts = max(one["tilts"] for one in facts["tomograms"])
    for name, round_ in recipe.rounds.items():
        pixel = series_pixel * round_["binning"]
        try:
            box = auto.box(round_["box"], diameter, pixel)
        except UserError:  # which is told elsewhere
            continue
        yield from _check_box(f"rounds.{name}.box", box, pixel, diameter)
        for step in round_["steps"]:
            given, where = recipe.settings(name, step), f"rounds.{name}.{step}"
            yield from _check_filters(where, given, pixel)
            mask = given.get("mask_diameter", "auto")
            if mask != "auto" and mask > box * pixel:
                found = f"{where}.mask_diameter, {mask:g} Å, is more than the box of {box} px, {box * pixel:.0f} Å"
                yield Row(WARNING, "config", found, "give less, a larger box, or auto")
            if step == "extract" and given["min_frames"] > tilts:
                found = f"{where}.min_frames, {given['min_frames']}, is more than the {tilts} tilts that there are"
                yield Row(PROBLEM, "config", found, "no particle would be left: lower it")
            if step == "extract" and (given["crop"] or 0) > box:
                found = f"{where}.crop, {given['crop']} px, is more than the box of {box} px"
                yield Row(PROBLEM, "config", found, "give less, or null")
            if step == "cycle":
                for part in ("mask", "postprocess"):
                    yield from _check_filters(f"{where}.{part}", given[part], series_pixel)
                if given["box"] != "auto":
                    yield from _check_box(f"{where}.box", given["box"], series_pixel, diameter)


def _check_box(where: str, box: int, pixel: float, diameter: float) -> Iterator[Row]:
    if box * pixel < diameter:
        found = f"{where}, {box} px of {pixel:g} Å, is smaller than the particle (particle.diameter, {diameter:g} Å)"
        yield Row(WARNING, "box", found, "give a box of 1.5 to 2 diameters, or auto")


def _check_filters(where: str, given: Mapping[str, Any], pixel: float) -> Iterator[Row]:
    """Low-pass filters and limits that are finer than any detail of the images; RELION's GUI rounds them a little."""
    finest = geometry.nyquist(pixel)
    keys = [("lowpass", PROBLEM), ("highres_limit", WARNING)]
    if given.get("bfactor") == "auto":
        keys.append(("autob_lowres", PROBLEM))
    for key, level in keys:
        value = given.get(key)
        if isinstance(value, int | float) and value < FINER * finest:
            found = (
                f"{where}.{key}, {value:g} Å, is finer than images of {pixel:g} Å/px can show, {finest:.4g} Å"
            )
            yield Row(level, "config", found, "give a coarser one" + ", or auto" * (key != "autob_lowres"))


def _row_of_counts(count: int, parts: int, kind: str, fewest: int) -> Row:
    found = f"{count / parts:.0f} of {count} for each {kind}, if shared out evenly among {parts}"
    if count >= fewest * parts:
        return Row(FINE, "particles", found)
    cure = f"below {fewest} each, results mean little: pick more particles" + ", or ask for fewer classes" * (
        kind == "class"
    )
    return Row(PROBLEM if count < 2 * parts else WARNING, "particles", found, cure)


def _check_set_up(
    config: Mapping[str, Any],
    asked: Asked,
    used: Mapping[str, set[str]],
    needs: Sequence[disk.Need],
    local: bool,
    limit: int | None,
    remembered: Remembered,
) -> list[Row]:
    engine = config["engine"]
    rows = list(environment.check_software(engine, used, remembered))
    if not any(row.level == PROBLEM and row.checked == "software" for row in rows):
        rows += environment.check_gpu(engine, asked, local, limit)
        rows += environment.check_mpi(engine, asked, local)
    if not local:
        rows = [_elsewhere(row) if row.level == PROBLEM else row for row in rows]
    stacks = max((need.bytes for need in needs if need.what == disk.IMAGES), default=0)
    if {"align", "class3d", "refine3d"} & set(asked):
        rows += environment.check_scratch(engine["scratch"], local, stacks)
    if needs:
        rows += environment.check_disk(needs, config.get("cleanup"), RESULTS)
    return rows


def _elsewhere(row: Row) -> Row:
    return replace(row, level=WARNING, found=f"{row.found} (here; jobs run elsewhere)")
